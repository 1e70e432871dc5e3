package deptest

import (
	"slices"
	"strings"
	"testing"
)

func TestViolations(t *testing.T) {
	g := &graph{roots: []string{"a", "b"}, imports: map[string][]string{
		"a": {"c", "fmt"}, "b": {"x/one"}, "c": {"d"}, "d": {"bad/sub"}, "bad/sub": {"worse"}, "x/one": {"badly"},
	}}
	for _, tt := range []struct {
		name      string
		forbidden Forbidden
		want      []string
	}{
		{"nothing", Forbidden{"no": "x"}, nil},
		{"below a path, the shortest way", Forbidden{"bad": "it is bad"},
			[]string{"a -> c -> d -> bad/sub: bad must not be imported: it is bad"}},
		{"not what it imports too", Forbidden{"bad": "1", "worse": "2"},
			[]string{"a -> c -> d -> bad/sub: bad must not be imported: 1"}},
		{"several", Forbidden{"fmt": "f", "x/one": "o"},
			[]string{"b -> x/one: x/one must not be imported: o", "a -> fmt: fmt must not be imported: f"}},
		{"a root", Forbidden{"a": "r"}, []string{"a: a must not be imported: r"}},
	} {
		got := g.violations(tt.forbidden)
		slices.Sort(got)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The output of go list is read: this package imports os/exec, and through it
// syscall.
func TestLoad(t *testing.T) {
	g, err := load(nil, ".")
	if err != nil {
		t.Fatal(err)
	}
	if self := Module + "/internal/testkit/deptest"; !slices.Equal(g.roots, []string{self}) {
		t.Errorf("roots %q", g.roots)
	}
	if got := g.violations(Forbidden{"syscall": "x"}); len(got) != 1 {
		t.Errorf("syscall: %q", got)
	}
	if _, err := load(nil, "./nowhere"); err == nil {
		t.Error("a package that is not there is found")
	}
}

// Files that need a build tag count, unless they are excepted.
func TestTagged(t *testing.T) {
	const (
		command  = Module + "/cmd/soci-index-builder"
		scripted = command + "/scripted.go"
		kit      = Module + "/internal/testkit/functionzip"
	)
	g, err := load(nil, command)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.violations(Forbidden{kit: "x"}); len(got) != 1 || !strings.HasPrefix(got[0], command+" -> "+kit) {
		t.Errorf("with its tagged files the command line imports %q", got)
	}
	if len(g.imports[kit]) == 0 {
		t.Errorf("nothing is known of what %s imports", kit)
	}
	g, err = load(Except{scripted: "x"}, command)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.violations(Forbidden{kit: "x"}); len(got) != 0 {
		t.Errorf("without the excepted file there is %q", got)
	}
	for _, none := range []string{command + "/main.go", command + "/nothing.go"} {
		if _, err := load(Except{none: "x"}, command); err == nil {
			t.Errorf("%s is excepted", none)
		}
	}
}
