package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"soci-index-builder/internal/embedded"
)

// Kind is what a value comes from.
type Kind int

// The kinds, weakest first.
const (
	Default Kind = iota // of the template, or of the program
	Stack               // what the deployed stack has
	File                // the settings file
	Answer              // given to a question
	Flag                // on the command line
)

// Origin says where a value comes from.
type Origin struct {
	Kind Kind
	Flag string // "--parameter LogLevel", of a Flag
	File string // name of the file, of a File
	Line int    // in the file, from 1
}

// String says it in words: "--filters", "soci-index-builder.toml:12".
func (o Origin) String() string {
	switch o.Kind {
	case Flag:
		return o.Flag
	case Answer:
		return "your answer"
	case File:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case Stack:
		return "the stack"
	}
	return "default"
}

// ErrInvalid is the class of errors of settings that were given: mistakes of the
// user's, not of AWS or the machine.
var ErrInvalid = errors.New("invalid setting")

// invalid marks an error as ErrInvalid and keeps its text.
type invalid struct{ error }

func (e invalid) Unwrap() error        { return e.error }
func (e invalid) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error { return invalid{fmt.Errorf(format, args...)} }

// Given are settings with the origin of each. A setting that was not given has no
// origin. The zero value has no settings.
type Given struct {
	Settings

	origins map[string]Origin
}

// Origin returns where a value comes from, by the name of its setting
// ("filters"), or that and a key ("parameter.LogLevel"). It reports false for
// what was not given.
func (g Given) Origin(name string) (Origin, bool) {
	o, ok := g.origins[name]
	return o, ok
}

// Of returns the settings s with one origin for all that is not zero: those of
// a deployed stack, say.
func Of(k Kind, s Settings) Given {
	g := Given{origins: map[string]Origin{}}
	for _, t := range table {
		from := t.field(&s)
		if text, ok := from.(*string); ok && t.normal != nil && *text != "" {
			normal := t.normal(*text)
			from = &normal
		}
		if !isZero(from) {
			g.take(t, from, func(string) Origin { return Origin{Kind: k} })
		}
	}
	return g
}

func isZero(field any) bool {
	switch f := field.(type) {
	case *string:
		return *f == ""
	case *bool:
		return !*f
	case **bool:
		return *f == nil
	case *[]string:
		return len(*f) == 0
	case *map[string]string:
		return len(*f) == 0
	}
	return true
}

// take copies a setting's value where it has none yet. origin returns that of
// the setting, or of one of its keys.
func (g *Given) take(t *setting, from any, origin func(name string) Origin) {
	to := t.field(&g.Settings)
	if field, ok := from.(*map[string]string); ok {
		all := to.(*map[string]string)
		for key, v := range *field {
			name := t.name + "." + key
			if _, there := g.origins[name]; there {
				continue
			}
			if *all == nil {
				*all = map[string]string{}
			}
			(*all)[key], g.origins[name] = v, origin(name)
		}
		return
	}
	if _, there := g.origins[t.name]; there {
		return
	}
	g.origins[t.name] = origin(t.name)
	switch to := to.(type) {
	case *string:
		*to = *from.(*string)
	case *bool:
		*to = *from.(*bool)
	case **bool:
		on := **from.(**bool)
		*to = &on
	case *[]string:
		*to = slices.Clone(*from.(*[]string))
	}
}

// given reports whether a setting that is no table, or any key of one, has an
// origin.
func (g *Given) given(t *setting) bool {
	if t.kind() != kindTable {
		_, ok := g.origins[t.name]
		return ok
	}
	return len(*t.field(&g.Settings).(*map[string]string)) > 0
}

// Merge returns the settings of all layers, of which earlier ones beat later
// ones. Tables are merged key by key, lists are taken as a whole. Tags of the
// stack stay unless a file has tags: that one then names all of them.
func Merge(layers ...Given) Given {
	g := Given{origins: map[string]Origin{}}
	for i := range layers {
		from := &layers[i]
		for _, t := range table {
			if !from.given(t) || t.name == "tag" && g.tagsOfFile() && from.onlyStack("tag.") {
				continue
			}
			g.take(t, t.field(&from.Settings), func(name string) Origin { return from.origins[name] })
		}
	}
	return g
}

func (g *Given) tagsOfFile() bool {
	for name, o := range g.origins {
		if o.Kind == File && strings.HasPrefix(name, "tag.") {
			return true
		}
	}
	return false
}

func (g *Given) onlyStack(prefix string) bool {
	for name, o := range g.origins {
		if strings.HasPrefix(name, prefix) && o.Kind != Stack {
			return false
		}
	}
	return true
}

// Resolve returns what a deploy works with: the layers merged, best first, then
// the defaults (zip, arm64), and checks that the settings agree with each other.
// Its error matches ErrInvalid.
func Resolve(layers ...Given) (Given, error) {
	g := Merge(append(slices.Clone(layers),
		Of(Default, Settings{Package: embedded.Zip, Architecture: architectures[0]}))...)
	var errs []error
	errs = append(errs, g.fitPackage()...)
	for _, function := range slices.Sorted(maps.Keys(g.Repositories)) {
		host, ok := parseURI(g.Repositories[function])
		if ok && g.Region != "" && host.Region != g.Region {
			errs = append(errs, invalidf("%s: the repository %s is in %s, and the stack in %s: "+
				"Lambda takes images only from its own region", g.origins["repository."+function],
				g.Repositories[function],
				host.Region, g.Region))
		}
	}
	if n := len(g.Tags); n > maxTags-managedTags {
		errs = append(errs, invalidf("tag: %d tags are given: CloudFormation takes %d, %d of which deploy sets itself",
			n, maxTags, managedTags))
	}
	return g, errors.Join(errs...)
}

// fitPackage refuses what is for the other package, or drops it where it comes
// from something weaker than the package does: the bucket of the file, when a
// flag asks for images.
func (g *Given) fitPackage() []error {
	var errs []error
	chosen := g.origins["package"]
	unfit := func(name string, is embedded.Package) bool {
		o, given := g.origins[name]
		if !given || g.Package == is {
			return false
		}
		if o.Kind < chosen.Kind {
			delete(g.origins, name)
			return true
		}
		errs = append(errs,
			invalidf("%s (%s) is for the package %s, and the package is %s (%s)", name, o, is, g.Package,
				chosen))
		return false
	}
	if unfit("bucket", embedded.Zip) {
		g.Bucket = ""
	}
	for _, function := range slices.Sorted(maps.Keys(g.Repositories)) {
		if unfit("repository."+function, embedded.Image) {
			delete(g.Repositories, function)
		}
	}
	return errs
}

// CheckAccount checks what must be in the account and the region that are
// deployed to, once these are known. Its error matches ErrInvalid.
func (g Given) CheckAccount(account, region string) error {
	var errs []error
	for _, function := range slices.Sorted(maps.Keys(g.Repositories)) {
		host, ok := parseURI(g.Repositories[function])
		if !ok || host.Account == account && host.Region == region {
			continue
		}
		errs = append(errs,
			invalidf("%s: the repository %s is of account %s in %s: allowed are those of account %s in %s",
				g.origins["repository."+function], g.Repositories[function], host.Account, host.Region, account,
				region))
	}
	if role, err := arn.Parse(g.RoleARN); err == nil && role.AccountID != account {
		errs = append(errs, invalidf("%s: the role %s is of account %s: allowed are those of account %s",
			g.origins["role-arn"], g.RoleARN, role.AccountID, account))
	}
	return errors.Join(errs...)
}

// Chosen is one setting for a plan.
type Chosen struct {
	Name  string // "filters", "parameter.LogLevel"
	Value string // of a list, comma-separated
	Origin
}

// Chosen returns everything that was given, in the order of the reference.
func (g Given) Chosen() []Chosen {
	var all []Chosen
	for _, t := range table {
		var part []Chosen
		for name, o := range g.origins {
			if name == t.name || strings.HasPrefix(name, t.name+".") {
				part = append(part, Chosen{name, g.text(t, strings.TrimPrefix(name[len(t.name):], ".")), o})
			}
		}
		slices.SortFunc(part, func(a, b Chosen) int { return cmp.Compare(a.Name, b.Name) })
		all = append(all, part...)
	}
	return all
}

// text returns a value as a flag takes it.
func (g *Given) text(t *setting, key string) string {
	switch field := t.field(&g.Settings).(type) {
	case *string:
		return *field
	case *bool:
		return strconv.FormatBool(*field)
	case **bool:
		return strconv.FormatBool(*field != nil && **field)
	case *[]string:
		return strings.Join(*field, ",")
	case *map[string]string:
		return (*field)[key]
	}
	return ""
}

// Only returns the settings with one kind of origin.
func (g Given) Only(k Kind) Given {
	out := Given{origins: map[string]Origin{}}
	for _, t := range table {
		from := t.field(&g.Settings)
		if all, ok := from.(*map[string]string); ok {
			part := map[string]string{}
			for key, v := range *all {
				if o, ok := g.origins[t.name+"."+key]; ok && o.Kind == k {
					part[key] = v
				}
			}
			from = &part
		} else if o, ok := g.origins[t.name]; !ok || o.Kind != k {
			continue
		}
		out.take(t, from, func(name string) Origin { return g.origins[name] })
	}
	return out
}
