package deptest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/deptest"
)

// Compiling regular expressions was half of what the functions did before their
// first poll: a product's are compiled when they are first used, by lazyregexp.
func TestNoPatternsAtStart(t *testing.T) {
	packages := deptest.List(t, []string{m + "/cmd/...", m + "/lambdas/...", m + "/pkg/...", m + "/internal/..."},
		[]string{m + "/internal/testkit", m + "/internal/devtools", m + "/lambdas/processtest"})
	files := 0
	for _, p := range packages {
		names, err := filepath.Glob(filepath.Join("../../..", strings.TrimPrefix(p, m+"/"), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, pos := range compiledAtStart(file) {
				t.Errorf("%s: the pattern is compiled whenever a program with this package starts: use lazyregexp",
					set.Position(pos))
			}
		}
	}
	if files < 300 {
		t.Errorf("%d files were read, fewer than there are", files)
	}
}

func TestCompiledAtStart(t *testing.T) {
	for source, want := range map[string]int{
		`import "regexp"; var a = regexp.MustCompile("a")`:                                               1,
		`import "regexp"; var (a, _ = regexp.Compile("a"); b = []any{regexp.MustCompilePOSIX("b")})`:     2,
		`import re "regexp"; var a = re.MustCompile("a")`:                                                1,
		`import "regexp"; var a = func() any { return regexp.MustCompile("a") }()`:                       1,
		`import "regexp"; var a any; func init() { a = regexp.MustCompile("a") }`:                        1,
		`import "regexp"; func f() any { return regexp.MustCompile("a") }`:                               0,
		`import "regexp"; type t int; func (t) init() any { return regexp.MustCompile("a") }`:            0,
		`import ("regexp"; "sync"); var a = sync.OnceValue(func() any { return regexp.MustCompile("")})`: 0,
		`import "soci-index-builder/internal/names/lazyregexp"; var a = lazyregexp.New("a")`:             0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "a.go", "package a; "+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := compiledAtStart(file); len(got) != want {
			t.Errorf("%s: found %d, want %d", source, len(got), want)
		}
	}
}

// compiledAtStart returns where a file compiles regular expressions before main
// begins.
func compiledAtStart(file *ast.File) []token.Pos {
	var names []string // of package regexp in this file
	for _, i := range file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err != nil || p != "regexp" {
			continue
		}
		if i.Name == nil {
			names = append(names, "regexp")
		} else {
			names = append(names, i.Name.Name)
		}
	}
	var found []token.Pos
	var visit func(n ast.Node) bool
	visit = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit: // runs when it is called
			return false
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.FuncLit); ok { // and that is at once
				ast.Inspect(f.Body, visit)
			}
			called, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || !strings.Contains(called.Sel.Name, "Compile") {
				return true
			}
			if in, ok := called.X.(*ast.Ident); ok && slices.Contains(names, in.Name) {
				found = append(found, n.Pos())
			}
		}
		return true
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			ast.Inspect(d, visit)
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				ast.Inspect(d.Body, visit)
			}
		}
	}
	return found
}
