// Package expect compares several facts, and tells which of them differ.
package expect

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// Facts are rows of three: a name, what is, and what should be. An untyped
// constant that should be has the type of what is.
type Facts [][3]any

// Equal reports whether all facts are as they should be. If not, the test fails
// with the text and the facts that differ.
func Equal(t testing.TB, facts Facts, format string, args ...any) bool {
	t.Helper()
	differ := facts.differ()
	if len(differ) > 0 {
		t.Errorf("%s: %s", fmt.Sprintf(format, args...), strings.Join(differ, "; "))
	}
	return len(differ) == 0
}

func (f Facts) differ() []string {
	var all []string
	for _, one := range f {
		name, got, want := one[0], one[1], one[2]
		if !reflect.DeepEqual(got, like(want, got)) {
			all = append(all, fmt.Sprintf("%s is %s, want %s", name, text(got), text(want)))
		}
	}
	return all
}

// like returns a value as the type of another, where an untyped constant would
// have had it: a whole number, a character or a text, whose value stays the same.
func like(value, other any) any {
	v, to := reflect.ValueOf(value), reflect.TypeOf(other)
	if !v.IsValid() || to == nil || v.Type() == to {
		return value
	}
	switch value.(type) {
	case int, rune, string:
	default:
		return value
	}
	if v.CanInt() && !reflect.Zero(to).CanInt() && !reflect.Zero(to).CanUint() && !reflect.Zero(to).CanFloat() ||
		v.Kind() == reflect.String && to.Kind() != reflect.String {
		return value
	}
	converted := v.Convert(to)
	if back := converted.Convert(v.Type()); !back.Equal(v) {
		return value
	}
	return converted.Interface()
}

func text(v any) string {
	if s := reflect.ValueOf(v); s.IsValid() && s.Kind() == reflect.String {
		return fmt.Sprintf("%q", s.String())
	}
	return fmt.Sprintf("%+v", v)
}
