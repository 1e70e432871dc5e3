// Package insights reads, for tests, what a query in the language of CloudWatch
// Logs Insights needs of the log lines. It evaluates nothing, and knows only the
// forms in which this project writes queries.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
package insights

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Query is what a query reads and returns.
type Query struct {
	Fields  []string            // of the log lines, in the order of their first use
	Columns []string            // of the result, in order
	Values  map[string][]string // strings that a field is to be equal to, or one of
}

// Words of the language, which are fields only in backticks.
var (
	commands = strings.Fields("fields display filter stats sort limit parse dedup pattern diff unmask unnest lookup " +
		"join source head tail")
	links  = strings.Fields("as by asc desc and or in")
	others = strings.Fields("not like start end")
)

// token matches, after blanks and comments, a string, a name in backticks, a
// bare name, a number or an operator.
var token = regexp.MustCompile("^(?:\\s|#[^\n]*)*(?:" +
	`("(?:[^"\\\n]|\\.)*")` + "|`([^`\n]+)`" + `|(@?[A-Za-z_][\w.@]*)|([0-9]+(?:\.[0-9]+)?)` +
	`|(!=|<=|>=|[=<>+\-*/%(),|\[\]])` + ")")

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

type reader struct {
	Query
	command  string
	made     []string // names that the query itself makes
	field    string   // the latest
	operator string   // the latest
	last     string   // the token before
	depth    int      // of brackets
	item     []string // tokens of the column at hand
}

// Read reads a query.
func Read(query string) (*Query, error) {
	r := &reader{Query: Query{Values: map[string][]string{}}}
	for rest := strings.TrimSpace(query); rest != ""; rest = strings.TrimSpace(rest) {
		m := token.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("unexpected symbol %.20q", rest)
		}
		rest = rest[len(m[0]):]
		var err error
		switch {
		case m[1] != "":
			if r.operator != "!=" {
				value := unescape.Replace(m[1][1 : len(m[1])-1])
				r.Values[r.field] = append(r.Values[r.field], value)
			}
			r.item = append(r.item, m[1])
		case m[2] != "":
			r.name(m[2])
		case m[3] != "":
			err = r.bare(m[3], strings.HasPrefix(strings.TrimSpace(rest), "("))
		case m[4] != "":
			r.item = append(r.item, m[4])
		default:
			err = r.symbol(m[5])
		}
		if err != nil {
			return nil, err
		}
		r.last = strings.TrimSpace(m[0])
	}
	if err := r.column(); err != nil {
		return nil, err
	}
	if r.command == "" || r.depth != 0 {
		return nil, fmt.Errorf("the query ends early: %q", query)
	}
	return &r.Query, nil
}

// bare takes a name without backticks.
func (r *reader) bare(name string, function bool) error {
	switch word := strings.ToLower(name); {
	case r.command == "":
		if !slices.Contains(commands, word) {
			return fmt.Errorf("%q is no command", name)
		}
		r.command = word
		if word == "stats" || word == "display" {
			r.Columns = nil
		}
	case word == "by":
		return r.column()
	case slices.Contains(links, word):
		r.operator = word
	case slices.Contains(commands, word) || slices.Contains(others, word):
		return fmt.Errorf("%q is a word of the language: as a name it stands in backticks", name)
	case function:
		r.item = append(r.item, name)
	default:
		r.name(name)
	}
	return nil
}

// name takes the name of a field, or one that the query makes.
func (r *reader) name(name string) {
	if strings.EqualFold(r.last, "as") {
		r.made = append(r.made, name)
		r.item = []string{name}
		return
	}
	r.field = name
	r.item = append(r.item, name)
	if !slices.Contains(r.made, name) && !slices.Contains(r.Fields, name) {
		r.Fields = append(r.Fields, name)
	}
}

func (r *reader) symbol(symbol string) error {
	switch symbol {
	case "(", "[":
		r.depth++
	case ")", "]":
		r.depth--
	case "|":
		if err := r.column(); err != nil {
			return err
		}
		r.command = ""
		return nil
	case ",":
		if r.depth == 0 {
			return r.column()
		}
	default:
		r.operator = symbol
	}
	r.item = append(r.item, symbol)
	return nil
}

// column ends a column of the commands that have any.
func (r *reader) column() error {
	item := r.item
	r.item = nil
	if !slices.Contains([]string{"fields", "display", "stats"}, r.command) {
		return nil
	}
	if len(item) != 1 {
		return fmt.Errorf("a column without one name: %q", item)
	}
	if !slices.Contains(r.Columns, item[0]) {
		r.Columns = append(r.Columns, item[0])
	}
	return nil
}
