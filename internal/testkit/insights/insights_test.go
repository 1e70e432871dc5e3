package insights

import (
	"reflect"
	"testing"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name, query string
		want        *Query // nil: an error
	}{
		{"fields and filter",
			"filter a.b = \"x\" and c != \"y\" and d in [\"1\", \"2\"] | fields c / 2 / d as e, `f-g`, " +
				"@log | sort e desc | limit 5",
			&Query{Fields: []string{"a.b", "c", "d", "f-g", "@log"}, Columns: []string{"e", "f-g", "@log"},
				Values: map[string][]string{"a.b": {"x"}, "d": {"1", "2"}}}},
		{"stats", "fields a as b\n| stats count(*) as n, max(b * (c + 1)) / 2 as most, latest(@timestamp) as last by " +
			"`filter`, level # why\n| sort n desc",
			&Query{Fields: []string{"a", "c", "@timestamp", "filter", "level"},
				Columns: []string{"n", "most", "last", "filter", "level"}, Values: map[string][]string{}}},
		{"a string with quotes and a bar", `filter a = "x\"|\\y" | fields b`,
			&Query{Fields: []string{"a", "b"}, Columns: []string{"b"}, Values: map[string][]string{"a": {`x"|\y`}}}},
		{"empty", "", nil},
		{"no command", "n = 1", nil},
		{"bar at the end", "filter a = 1 |", nil},
		{"open bracket", "filter (a = 1", nil},
		{"open string", `filter a = "b`, nil},
		{"string over two lines", "filter a = \"b\nc\"", nil},
		{"string that ends early", `filter a = "b" or 1 = 1" `, nil},
		{"word of the language for a field", "fields message, filter", nil},
		{"word of the language in capitals", "fields message, Limit", nil},
		{"word of the language for a name", "fields a as limit", nil},
		{"two commands without a bar", "filter a = 1 fields a", nil},
		{"column without a name", "fields a + 1", nil},
		{"hyphen without backticks", "fields a.b-c", nil},
		{"strange symbol", "filter a = {}", nil},
	}
	for _, tt := range tests {
		got, err := Read(tt.query)
		if (err != nil) != (tt.want == nil) || err == nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: Read(%q) = %+v, %v, want %+v", tt.name, tt.query, got, err, tt.want)
		}
	}
}
