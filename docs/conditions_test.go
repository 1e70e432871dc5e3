package docs

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"slices"
	"strings"
	"testing"
)

// manyParts is how many parts of a condition make its failure a riddle when a
// single value is printed.
const manyParts = 4

// riddles returns the numbers of the lines of a test's source at which a
// condition of many parts fails the test with fewer than two values printed:
// it does not say which part it was. Each part belongs in a fact
// of the package expect, or in a condition of its own.
func riddles(t *testing.T, source []byte) []int {
	t.Helper()
	set := gotoken.NewFileSet()
	file, err := parser.ParseFile(set, "", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	ast.Inspect(file, func(n ast.Node) bool {
		is, ok := n.(*ast.IfStmt)
		if !ok || parts(is.Cond) < manyParts {
			return true
		}
		for _, s := range is.Body.List {
			if printed, fails := failure(s); fails && printed < 2 {
				all = append(all, set.Position(is.Pos()).Line)
			}
		}
		return true
	})
	return all
}

// parts counts what and, or and not put together.
func parts(e ast.Expr) int {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return parts(e.X)
	case *ast.UnaryExpr:
		if e.Op == gotoken.NOT {
			return parts(e.X)
		}
	case *ast.BinaryExpr:
		if e.Op == gotoken.LAND || e.Op == gotoken.LOR {
			return parts(e.X) + parts(e.Y)
		}
	}
	return 1
}

// failure returns how many values a statement prints that fails a test.
func failure(s ast.Stmt) (printed int, fails bool) {
	expr, ok := s.(*ast.ExprStmt)
	if !ok {
		return 0, false
	}
	call, ok := expr.X.(*ast.CallExpr)
	if !ok {
		return 0, false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return 0, false
	}
	if x, ok := method.X.(*ast.Ident); !ok || !slices.Contains([]string{"t", "tb", "b", "f"}, x.Name) {
		return 0, false
	}
	switch method.Sel.Name {
	case "Error", "Fatal":
		return len(call.Args), true
	case "Errorf", "Fatalf":
		return len(call.Args) - 1, true
	}
	return 0, false
}

func TestRiddles(t *testing.T) {
	for name, tt := range map[string]struct {
		source string
		want   bool
	}{
		"three parts":           {`if a || b != 1 || !c { t.Fatal(err) }`, false},
		"four parts":            {`if a || b != 1 || !c || d { t.Fatal(err) }`, true},
		"in brackets":           {`if a && (b || !(c && d)) { t.Errorf("%v", err) }`, true},
		"two values":            {`if a || b || c || d { t.Errorf("%v %v", a, d) }`, false},
		"text alone":            {`if a || b || c || d { t.Error("no") }`, true},
		"a value with a text":   {`if a || b || c || d { t.Error("no", a) }`, false},
		"another statement":     {`if a || b || c || d { n++; t.Fatal(a) }`, true},
		"no failure":            {`if a || b || c || d { return }`, false},
		"behind another one":    {`if x { return } else if a || b || c || d { tb.Fatal(a) }`, true},
		"calls are not its own": {`if f(a || b, c || d, e) || g { t.Fatal(a) }`, false},
	} {
		source := "package p\n\nfunc Test() {\n" + tt.source + "\n}\n"
		if got := riddles(t, []byte(source)); (len(got) > 0) != tt.want {
			t.Errorf("%s: lines %d, want that there is one: %t", name, got, tt.want)
		}
	}
}

// A test that fails says what was not as it should be.
func TestConditionsTell(t *testing.T) {
	goFiles(t, func(file string, source []byte) {
		if !strings.HasSuffix(file, "_test.go") {
			return
		}
		for _, line := range riddles(t, source) {
			t.Errorf("%s:%d has a condition of %d parts or more, and prints fewer than 2 values", file, line, manyParts)
		}
	})
}
