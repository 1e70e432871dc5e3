package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// FileName is the settings file that is read where no other is named.
const FileName = "soci-index-builder.toml"

const maxFile = 1 << 20 // bytes; nobody writes that much by hand

// newEnvironment is the name under which settings are saved where none is
// given.
const newEnvironment = "default"

// Environment is one environment of a settings file, which need not be there
// yet.
type Environment struct {
	file     string
	name     string // empty: the file has no environment, and none was asked for
	hasFile  bool
	hasTable bool
}

// File returns the name of the file, and whether it was there when it was read.
func (e *Environment) File() (name string, exists bool) { return e.file, e.hasFile }

// Name returns the name of the environment, and whether it was there. The name
// is that under which Save will write.
func (e *Environment) Name() (name string, exists bool) {
	if e.name == "" {
		return newEnvironment, false
	}
	return e.name, e.hasTable
}

// String returns file and environment: "soci-index-builder.toml [prod]".
func (e *Environment) String() string {
	name, _ := e.Name()
	return e.file + " [" + name + "]"
}

// Load reads the file that the flags name, or the one in this folder, and
// returns its settings below those of the flags. When mayBeNew, a file or an
// environment that is not there is not an error: Save will make it. Its error
// matches ErrInvalid for whatever is wrong with what is in the file.
func (f *Flags) Load(mayBeNew bool) (Given, *Environment, error) {
	name, must := f.file, !mayBeNew
	if name == "" {
		name, must = FileName, must && f.env != ""
	}
	content, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if !must {
			return f.Given(), &Environment{file: name, name: f.env}, nil
		}
		if f.file == "" {
			return Given{}, nil,
				invalidf("--env %s: there is no %s in this folder: name the file by --config", f.env, name)
		}
		return Given{}, nil, invalidf("--config %s: there is no such file", name)
	}
	if err != nil {
		return Given{}, nil, fmt.Errorf("reading the settings file: %w", err)
	}
	given, env, err := read(name, content, f.env, mayBeNew)
	if err != nil {
		return Given{}, nil, err
	}
	return Merge(f.given, given), env, nil
}

func readFile(name string) ([]byte, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	content, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = invalidf("%s has more than %d bytes", name, maxFile)
	}
	return content, err
}

// read takes the settings of one environment, or of the only one, out of a file.
// All environments are checked.
func read(name string, content []byte, env string, mayBeNew bool) (Given, *Environment, error) {
	d, err := parseDocument(name, content)
	if err != nil {
		return Given{}, nil, err
	}
	r := &reader{name: name, given: map[string]*Given{"": {origins: map[string]Origin{}}},
		told: map[string]bool{}}
	r.all(d)
	if len(r.errs) > 0 {
		return Given{}, nil, errors.Join(r.errs...)
	}
	known := strings.Join(r.order, ", ")
	e := &Environment{file: name, hasFile: true, name: env}
	switch {
	case env == "" && len(r.order) > 1:
		return Given{}, nil, invalidf("%s has the environments %s: choose one by --env", name, known)
	case env == "" && len(r.order) == 1:
		e.name = r.order[0]
	case env != "" && r.given[env] == nil && !mayBeNew:
		if known == "" {
			return Given{}, nil, invalidf("--env %s: %s has no environment", env, name)
		}
		return Given{}, nil, invalidf("--env %s: %s has no such environment%s: it has %s", env, name,
			didYouMean(env, r.order), known)
	}
	own := r.given[e.name]
	e.hasTable = e.name != "" && own != nil
	if !e.hasTable {
		return Merge(*r.given[""]), e, nil
	}
	return Merge(*own, *r.given[""]), e, nil
}

// reader makes settings of a document. Values outside of any environment belong to the
// environment "".
type reader struct {
	name  string
	given map[string]*Given
	order []string        // of the environments in the file
	told  map[string]bool // settings, with their environments, that are wrong altogether
	errs  []error
}

func (r *reader) fail(line int, format string, args ...any) {
	r.errs = append(r.errs, invalidf("%s:%d: %s", r.name, line, fmt.Sprintf(format, args...)))
}

func (r *reader) all(d *document) {
	for _, s := range d.sections[1:] {
		r.table(s.path, s.line)
	}
	for _, s := range d.sections {
		for _, t := range s.inner {
			r.table(t.path, t.line)
		}
	}
	for i := range d.entries {
		r.entry(&d.entries[i])
	}
}

// split returns the environment of a path, and what is left of it.
func split(path []string) (env string, rest []string) {
	if settingOf(path[0]) != nil {
		return "", path
	}
	return path[0], path[1:]
}

// table takes note of a table that the file has, be there something in it or
// not.
func (r *reader) table(path []string, line int) {
	env, rest := split(path)
	if env != "" && !r.environment(env, line) {
		return
	}
	if len(rest) == 0 {
		return
	}
	t := settingOf(rest[0])
	switch {
	case t == nil:
		r.unknown(line, env, rest[0])
	case t.kind() != kindTable:
		r.noTable(line, env, t)
	case len(rest) > 1:
		r.fail(line, "%s must be a string, not a table", strings.Join(rest, "."))
	}
}

// environment takes note of an environment.
func (r *reader) environment(name string, line int) bool {
	if r.given[name] != nil {
		return true
	}
	if err := checkEnvironment(name); err != nil {
		r.fail(line, "the name of the environment %.100q %v", name, err)
		return false
	}
	r.given[name] = &Given{origins: map[string]Origin{}}
	r.order = append(r.order, name)
	return true
}

func (r *reader) unknown(line int, env, key string) {
	if r.told[env+"."+key] {
		return
	}
	r.told[env+"."+key] = true
	in := ""
	if env != "" {
		in = fmt.Sprintf(" in the environment %s%s", env, didYouMean(env, settingNames()))
	}
	r.fail(line, "unknown key %.100q%s%s: allowed are %s", key, didYouMean(key, settingNames()), in,
		strings.Join(settingNames(), ", "))
}

// noTable: a setting has keys below it and takes none.
func (r *reader) noTable(line int, env string, t *setting) {
	if r.told[env+"."+t.name] {
		return
	}
	r.told[env+"."+t.name] = true
	hint := ""
	if env == "" {
		hint = "; an environment cannot have the name of a setting"
	}
	r.fail(line, "%s must be %s, not a table%s", t.name, t.kind().word(), hint)
}

func (r *reader) entry(e *entry) {
	env, rest := split(e.path)
	if len(rest) == 0 || len(e.path) == 1 && env != "" { // no table, so no environment
		r.unknown(e.line, "", e.path[0])
		return
	}
	if env != "" && !r.environment(env, e.line) {
		return
	}
	t := settingOf(rest[0])
	key := strings.Join(rest[1:], ".")
	switch {
	case t == nil:
		r.unknown(e.line, env, rest[0])
		return
	case t.kind() != kindTable && len(rest) > 1:
		r.noTable(e.line, env, t)
		return
	case t.kind() == kindTable && len(rest) == 1:
		r.fail(e.line, "%s must be a table of strings, not %s", t.name, word(e.kind))
		return
	case len(rest) > 2:
		r.fail(e.line, "%s must be a table of strings: %s is nested too deep; a key with a dot in it wants "+
			"quotation marks",
			t.name, strings.Join(rest, "."))
		return
	}
	g := r.given[env]
	name := strings.Join(rest, ".")
	values, ok := r.values(t, e)
	if !ok {
		return
	}
	for _, v := range values {
		if err := t.put(&g.Settings, key, v); err != nil {
			r.fail(e.line, "%s = %.200q: %v", name, v, err)
			return
		}
	}
	g.origins[name] = Origin{Kind: File, File: r.name, Line: e.line}
}

// values returns the texts of an entry, if it is of the setting's kind.
func (r *reader) values(t *setting, e *entry) ([]string, bool) {
	allowed := t.kind().word()
	switch t.kind() {
	case kindText:
		if e.kind == unstable.String {
			return []string{e.text}, true
		}
	case kindSwitch:
		if e.kind == unstable.Bool {
			return []string{e.text}, true
		}
	case kindTable:
		// A parameter that is a number or a switch may be written as one.
		if slices.Contains([]unstable.Kind{unstable.String, unstable.Bool, unstable.Integer}, e.kind) &&
			(t.name == "parameter" || e.kind == unstable.String) {
			return []string{e.text}, true
		}
		allowed = kindText.word()
		if t.name == "parameter" {
			allowed = "a string, whole number or boolean"
		}
	case kindList:
		if e.kind == unstable.Array && e.bad == "" {
			return e.list, true
		}
		if e.kind == unstable.Array {
			r.fail(e.line, "%s must be %s, and has %s", t.name, allowed, e.bad)
			return nil, false
		}
	}
	_, rest := split(e.path)
	r.fail(e.line, "%s must be %s, not %s", strings.Join(rest, "."), allowed, word(e.kind))
	return nil, false
}
