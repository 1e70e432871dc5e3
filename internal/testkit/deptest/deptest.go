// Package deptest finds packages that a package must not import, directly or
// not, and the chain of imports. Start with [Check].
package deptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Module is the path of this module.
const Module = "soci-index-builder"

// Forbidden are the reasons why packages must not be imported, by import path.
// A path stands for all that are below it as well.
type Forbidden map[string]string

// Check fails the test for each package that the packages of patterns depend
// on, directly or not, and that is forbidden. Tests of the packages do not
// count. Patterns are those of go list.
func Check(t testing.TB, forbidden Forbidden, patterns ...string) {
	t.Helper()
	g, err := load(patterns...)
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
	g, err := load(patterns...)
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

func load(patterns ...string) (*graph, error) {
	list := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Imports,DepOnly"}, patterns...)...)
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	var failed strings.Builder
	list.Stderr = &failed
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w: %s", strings.Join(patterns, " "), err, failed.String())
	}
	g := &graph{imports: map[string][]string{}}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
			DepOnly    bool
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list writes: %w", err)
		}
		g.imports[p.ImportPath] = p.Imports
		if !p.DepOnly {
			g.roots = append(g.roots, p.ImportPath)
		}
	}
	if len(g.roots) == 0 {
		return nil, fmt.Errorf("go list %s: no package", strings.Join(patterns, " "))
	}
	return g, nil
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
