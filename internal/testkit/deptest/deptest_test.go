package deptest

import (
	"slices"
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
	g, err := load(".")
	if err != nil {
		t.Fatal(err)
	}
	if self := Module + "/internal/testkit/deptest"; !slices.Equal(g.roots, []string{self}) {
		t.Errorf("roots %q", g.roots)
	}
	if got := g.violations(Forbidden{"syscall": "x"}); len(got) != 1 {
		t.Errorf("syscall: %q", got)
	}
	if _, err := load("./nowhere"); err == nil {
		t.Error("a package that is not there is found")
	}
}
