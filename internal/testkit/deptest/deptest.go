// Package deptest finds packages that a package must not import, directly or
// not, and the chain of imports. The files of this module count under whatever
// build tags and on whatever system they are compiled. Start with [Check].
package deptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Module is the path of this module.
const Module = "soci-index-builder"

// Forbidden are the reasons why packages must not be imported, by import path.
// A path stands for all that are below it as well.
type Forbidden map[string]string

// Except are the reasons why what a file imports does not count, by the file's
// import path: the package's, a slash and its name. Only a file that no plain
// build compiles can be one.
type Except map[string]string

// Check fails the test for each package that the packages of patterns depend
// on, directly or not, and that is forbidden. Tests of the packages do not
// count. Patterns are those of go list.
func Check(t testing.TB, forbidden Forbidden, patterns ...string) {
	t.Helper()
	CheckExcept(t, nil, forbidden, patterns...)
}

// CheckExcept is Check without the imports of some files. The test fails for a
// file that does not exist.
func CheckExcept(t testing.TB, except Except, forbidden Forbidden, patterns ...string) {
	t.Helper()
	g, err := load(except, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range g.violations(forbidden) {
		t.Error(v)
	}
}

// List returns the import paths of the packages that patterns name, less those
// that are one of except or below it.
func List(t testing.TB, patterns, except []string) []string {
	t.Helper()
	g, err := load(nil, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(g.roots, func(path string) bool {
		return slices.ContainsFunc(except, func(e string) bool { return below(path, e) })
	})
}

// graph is what packages import.
type graph struct {
	roots   []string // named by the patterns
	imports map[string][]string
}

// listed is what go list says about a package.
type listed struct {
	ImportPath     string
	Dir            string
	Imports        []string
	IgnoredGoFiles []string // not of a plain build on this system; tests too
	DepOnly        bool
}

func load(except Except, patterns ...string) (*graph, error) {
	all, err := list(nil, patterns...)
	if err != nil {
		return nil, err
	}
	g := &graph{imports: map[string][]string{}}
	var tagged []string // what only files with build tags may import
	excepted := 0
	add := func(p listed) error {
		if _, ok := g.imports[p.ImportPath]; ok {
			return nil
		}
		g.imports[p.ImportPath] = p.Imports
		if !below(p.ImportPath, Module) {
			return nil
		}
		for _, name := range p.IgnoredGoFiles {
			if _, ok := except[p.ImportPath+"/"+name]; ok {
				excepted++
				continue
			}
			imports, err := importsOf(filepath.Join(p.Dir, name))
			if err != nil {
				return err
			}
			g.imports[p.ImportPath] = slices.Concat(g.imports[p.ImportPath], imports)
			tagged = append(tagged, imports...)
		}
		return nil
	}
	for _, p := range all {
		if err := add(p); err != nil {
			return nil, err
		}
		if !p.DepOnly {
			g.roots = append(g.roots, p.ImportPath)
		}
	}
	// Files with build tags may import packages that have such files too.
	for len(tagged) > 0 {
		next := slices.DeleteFunc(tagged, func(path string) bool { _, ok := g.imports[path]; return ok || path == "C" })
		tagged = nil
		if len(next) == 0 {
			break
		}
		// A package of another system has no files here, which is no error.
		more, err := list([]string{"-e"}, next...)
		if err != nil {
			return nil, err
		}
		for _, p := range more {
			if err := add(p); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case len(g.roots) == 0:
		return nil, fmt.Errorf("go list %s: no package", strings.Join(patterns, " "))
	case excepted != len(except):
		return nil, fmt.Errorf("%d of the %d files of %q are there and need a build tag", excepted, len(except), except)
	}
	return g, nil
}

// list asks go about packages and all that they depend on.
func list(flags []string, patterns ...string) ([]listed, error) {
	args := slices.Concat([]string{"list", "-deps", "-json=ImportPath,Dir,Imports,IgnoredGoFiles,DepOnly"}, flags,
		patterns)
	command := exec.Command("go", args...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	var failed strings.Builder
	command.Stderr = &failed
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w: %s", strings.Join(patterns, " "), err, failed.String())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list writes: %w", err)
		}
		all = append(all, p)
	}
}

// importsOf returns what a file imports; nothing for a test.
func importsOf(file string) ([]string, error) {
	if strings.HasSuffix(file, "_test.go") {
		return nil, nil
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, i := range parsed.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	return all, nil
}

// violations tells of each forbidden package the shortest way to it.
func (g *graph) violations(forbidden Forbidden) []string {
	from := map[string]string{} // the package by way of which another was reached
	next := slices.Clone(g.roots)
	for _, root := range next {
		from[root] = ""
	}
	var all []string
	for ; len(next) > 0; next = next[1:] {
		path := next[0]
		// A forbidden package's own imports are not reported as well.
		if bad, ok := covering(forbidden, path); ok {
			way := path
			for p := from[path]; p != ""; p = from[p] {
				way = p + " -> " + way
			}
			all = append(all, fmt.Sprintf("%s: %s must not be imported: %s", way, bad, forbidden[bad]))
			continue
		}
		for _, i := range g.imports[path] {
			if _, seen := from[i]; !seen {
				from[i] = path
				next = append(next, i)
			}
		}
	}
	return all
}

func covering(forbidden Forbidden, path string) (string, bool) {
	for _, bad := range slices.Sorted(maps.Keys(forbidden)) {
		if below(path, bad) {
			return bad, true
		}
	}
	return "", false
}

// below reports whether path is above, or a path below it.
func below(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '/')
}
