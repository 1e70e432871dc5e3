package logsql

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// lines stand a minute apart.
func lines(messages ...string) []Line {
	all := make([]Line, len(messages))
	for i, m := range messages {
		all[i] = Line{Group: "/aws/lambda/f", Time: noon.Add(time.Duration(i) * time.Minute), Message: m}
	}
	return all
}

func table(rows [][]Cell) string {
	var all []string
	for _, row := range rows {
		var cells []string
		for _, c := range row {
			cells = append(cells, c.Field+"="+c.Value)
		}
		all = append(all, strings.Join(cells, " "))
	}
	return strings.Join(all, "; ")
}

func TestRun(t *testing.T) {
	data := lines(
		`{"level":"ERROR","n":1,"tag":"a","m":{"deep":2,"with-hyphen":7},"list":["x","y"],"yes":true}`,
		`not JSON`,
		`{"level":"INFO","n":10,"tag":"b\"c\\d"}`,
		`{"level":"ERROR","n":2.5,"tag":""}`,
	)
	tests := []struct{ name, query, want string }{
		{"no fields", `filter n = 1 | limit 1`, `@timestamp=2026-01-02 12:00:00.000 @message=` + data[0].Message},
		{"what is missing is left out", `fields n, tag | filter level = "ERROR"`, "n=1 tag=a; n=2.5 tag="},
		{"nested, list, bool", `filter n = 1 | fields m.deep, list.1, yes, @log`, "m.deep=2 list.1=y yes=1 @log=1:/aws/lambda/f"},
		{"hyphen in backticks", "filter n = 1 | fields `m.with-hyphen`", "m.with-hyphen=7"},
		{"arithmetic, left to right", `filter n = 10 | fields n / 2 / 5 as a, n - 1 - 2 * 3 as b, 0.5 * (n + 1) as c`, "a=1 b=3 c=5.5"},
		{"division by zero", `filter n = 10 | fields n / (n - 10) as a, n`, "n=10"},
		{"escapes", `filter tag = "b\"c\\d" | fields n`, "n=10"},
		{"comment", "# one\nfilter n = 10 # two\n| fields n", "n=10"},
		{"and before or", `filter n = 1 and tag = "x" or n = 10 | fields n`, "n=10"},
		{"brackets", `filter n = 1 and (tag = "x" or n = 10) | fields n`, ""},
		{"in", `filter n in [1, 2.5] | fields n`, "n=1; n=2.5"},
		{"ispresent", `filter ispresent(n) | stats count(*) as c`, "c=3"},
		{"numbers are sorted as such", `filter ispresent(n) | fields n | sort n desc`, "n=10; n=2.5; n=1"},
		{"stats", `filter ispresent(n) | stats count(*) as c, sum(n) as s, avg(n) as a, max(n) as hi, min(n) as lo, pct(n, 50) as p, latest(tag) as t by level | sort level asc`,
			"level=ERROR c=2 s=3.5 a=1.75 hi=2.5 lo=1 p=2.5 t=; level=INFO c=1 s=10 a=10 hi=10 lo=10 p=10 t=b\"c\\d"},
		{"by what is missing", `stats count(*) as c by level | sort c asc`, "c=1; level=INFO c=1; level=ERROR c=2"},
		{"functions of expressions", `stats sum(n * 2) / 10 as s, count_distinct(level) as l`, "s=2.7 l=2"},
		{"latest time", `stats max(@timestamp) as last, latest(@timestamp) as at`, fmt.Sprintf("last=%d at=2026-01-02 12:03:00.000", noon.Add(3*time.Minute).UnixMilli())},
		{"display", `fields n, tag | display tag | filter n = 1`, "tag=a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := Parse(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			if got := table(q.Run(data, Options{Account: "1"})); got != tt.want {
				t.Errorf("%s\ngives %s\nwant  %s", tt.query, got, tt.want)
			}
		})
	}
}

func TestMissingDiffers(t *testing.T) {
	q, err := Parse(`filter a != "x" | stats count(*) as c`)
	if err != nil {
		t.Fatal(err)
	}
	data := lines(`{"a":"x"}`, `{"a":"y"}`, `{}`)
	for differs, want := range map[bool]string{false: "c=1", true: "c=2"} {
		if got := table(q.Run(data, Options{MissingDiffers: differs})); got != want {
			t.Errorf("MissingDiffers %t gives %s, want %s", differs, got, want)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	tests := []struct{ name, query string }{
		{"empty", ""},
		{"no command", `n = 1`},
		{"unknown command", `explode n`},
		{"command that is not known here", `parse @message "a*"`},
		{"keyword for a field", `fields message, filter`},
		{"keyword in capitals for a field", `fields message, Limit`},
		{"keyword for a name", `fields a as limit`},
		{"hyphen", `fields a.b-c`},
		{"open string", `filter a = "b`},
		{"string that ends early", `filter a = "b" or 1 = 1" `},
		{"string over two lines", "filter a = \"b\nc\""},
		{"open bracket", `filter (a = 1`},
		{"open list", `filter a in [1, 2`},
		{"two commands without a bar", `filter a = 1 fields a`},
		{"bar at the end", `filter a = 1 |`},
		{"aggregate outside of stats", `fields max(a) as b`},
		{"unknown function", `fields explode(a) as b`},
		{"too few arguments", `stats pct(a) as b`},
		{"too many arguments", `stats max(a, 1) as b`},
		{"count of a field", `stats count(a) as b`},
		{"no name", `fields a + 1`},
		{"limit of nothing", `limit 0`},
		{"limit of a word", `limit many`},
		{"strange symbol", `filter a = {}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.query)
			if _, ok := errors.AsType[*SyntaxError](err); !ok {
				t.Errorf("Parse(%q) = %v, want a *SyntaxError", tt.query, err)
			}
		})
	}
}

func TestFieldsAndColumns(t *testing.T) {
	q, err := Parse("filter a.b = \"x\" | fields c / d as e, `f-g` | stats max(e) as h, latest(@timestamp) as k by `f-g`, level | sort h desc")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := q.Fields(), []string{"@timestamp", "a.b", "c", "d", "f-g", "level"}; !slices.Equal(got, want) {
		t.Errorf("Fields = %q, want %q", got, want)
	}
	if got, want := q.Columns(), []string{"f-g", "level", "h", "k"}; !slices.Equal(got, want) {
		t.Errorf("Columns = %q, want %q", got, want)
	}
}
