package expect

import (
	"slices"
	"testing"
)

type word string

func TestDiffer(t *testing.T) {
	var none error
	for name, tt := range map[string]struct {
		got, want any
		differ    bool
	}{
		"same":                       {"a", "a", false},
		"not the same":               {"a", "b", true},
		"a constant of a type":       {word("a"), "a", false},
		"another of that type":       {word("a"), "b", true},
		"a number":                   {int64(3), 3, false},
		"a character":                {byte('0'), '0', false},
		"another character":          {byte('0'), '1', true},
		"another number":             {int64(3), 4, true},
		"a number that is no int8":   {int8(1), 257, true},
		"a negative one":             {uint32(1 << 31), -1 << 31, true},
		"a number that is no text":   {"\x03", 3, true},
		"a text that is no number":   {3, "3", true},
		"a type that is no constant": {"a", word("a"), true},
		"lists":                      {[]string{"a"}, []string{"a"}, false},
		"other lists":                {[]string{"a"}, []string{"b"}, true},
		"nothing":                    {none, nil, false},
		"nothing, wanted something":  {none, "a", true},
		"booleans":                   {true, false, true},
	} {
		if got := (Facts{{"it", tt.got, tt.want}}).differ(); (len(got) > 0) != tt.differ {
			t.Errorf("%s: %q, want that it differs: %t", name, got, tt.differ)
		}
	}
}

func TestWords(t *testing.T) {
	got := Facts{{"A", "x", "y"}, {"B", 1, 1}, {"C", 1.5, true}}.differ()
	if want := []string{`A is "x", want "y"`, "C is 1.5, want true"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
