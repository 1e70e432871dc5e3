package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Flags are the flags of all settings, and --config and --env, which name the
// file and the environment in it. Call Bind, then parse, then Load.
type Flags struct {
	given     Given
	file, env string
}

// Bind defines the flags. Each checks its value when it is parsed.
func (f *Flags) Bind(flags *pflag.FlagSet) {
	f.BindOnly(flags, settingNames()...)
	flags.Var(&checked{to: &f.file, of: "file", check: checkFile}, "config",
		"settings file; the default is "+FileName+" in this folder, if it is there")
	flags.Var(&checked{to: &f.env, of: "name", check: checkEnvironment}, "env",
		"environment in the settings file; the default is the only one")
}

// BindOnly defines the flags of some settings alone, for a command that takes no
// others; it needs Given, and no Load.
func (f *Flags) BindOnly(flags *pflag.FlagSet, names ...string) {
	f.given.origins = map[string]Origin{}
	for _, name := range names {
		t := settingOf(name)
		added := flags.VarPF(&flagValue{f, t}, t.name, "", t.usage)
		if t.kind() == kindSwitch {
			added.NoOptDefVal = "true"
		}
	}
}

// Given returns what was set by flags.
func (f *Flags) Given() Given { return Merge(f.given) }

// flagValue is the flag of a setting.
type flagValue struct {
	flags *Flags
	of    *setting
}

func (v *flagValue) String() string {
	if v.of == nil { // the zero value that pflag makes to compare with
		return ""
	}
	if v.of.kind() == kindTable {
		return ""
	}
	if s := v.flags.given.text(v.of, ""); s != "false" {
		return s
	}
	return ""
}

func (v *flagValue) Type() string {
	if v.of.kind() == kindSwitch {
		return "bool"
	}
	return v.of.value
}

// Set takes a value once more where the setting has several.
func (v *flagValue) Set(s string) error {
	g, t := &v.flags.given, v.of
	name := t.name
	switch t.kind() {
	case kindSwitch:
		on, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("must be true or false")
		}
		s = strconv.FormatBool(on)
		fallthrough
	case kindText:
		if _, twice := g.origins[name]; twice && t.name == "filters" {
			return errors.New("is given twice: give all filters in one list, with commas between them")
		}
		if err := t.put(&g.Settings, "", s); err != nil {
			return err
		}
	case kindList:
		for _, one := range strings.Split(s, ",") {
			if err := t.put(&g.Settings, "", strings.TrimSpace(one)); err != nil {
				return err
			}
		}
	case kindTable:
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("must be %s", t.value)
		}
		if err := t.put(&g.Settings, key, value); err != nil {
			return err
		}
		name += "." + key
		g.origins[name] = Origin{Kind: Flag, Flag: "--" + t.name + " " + key}
		return nil
	}
	g.origins[name] = Origin{Kind: Flag, Flag: "--" + name}
	return nil
}

// checked is a flag that is text with a check.
type checked struct {
	to    *string
	of    string
	check func(string) error
}

func (c *checked) String() string {
	if c.to == nil {
		return ""
	}
	return *c.to
}

func (c *checked) Type() string { return c.of }

func (c *checked) Set(s string) error {
	if err := c.check(s); err != nil {
		return err
	}
	*c.to = s
	return nil
}

func checkFile(s string) error {
	return unless(s != "" && !strings.ContainsRune(s, 0), errors.New("must be the name of a file"))
}
