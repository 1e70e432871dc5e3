package logsql

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// token is a word of a query. Kind is "name", "string", "number", "operator"
// or, at the end of the query, "end".
type token struct {
	kind, text string
	at         int
}

// keywords cannot be the names of fields unless they stand in backticks.
var keywords = []string{
	"fields", "display", "filter", "stats", "sort", "limit", "parse", "dedup", "pattern", "diff", "unmask", "unnest", "lookup", "join",
	"as", "by", "asc", "desc", "and", "or", "not", "in", "like", "source", "start", "end", "head", "tail",
}

var (
	space    = regexp.MustCompile(`^(?:\s+|#[^\n]*)+`)
	name     = regexp.MustCompile(`^@?[A-Za-z_][A-Za-z0-9_.@]*`)
	backtick = regexp.MustCompile("^@?`([^`\n]+)`")
	number   = regexp.MustCompile(`^[0-9]+(?:\.[0-9]+)?`)
	str      = regexp.MustCompile(`^(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')`)
	operator = regexp.MustCompile(`^(?:!=|<=|>=|[=<>+\-*/%(),|\[\]])`)
	escape   = regexp.MustCompile(`\\(.)`)
)

func lex(query string) ([]token, error) {
	var tokens []token
	for at := 0; ; {
		rest := query[at:]
		if blank := space.FindString(rest); blank != "" {
			at += len(blank)
			continue
		}
		if rest == "" {
			return append(tokens, token{"end", "", at}), nil
		}
		t := token{at: at}
		var found string
		switch {
		case backtick.MatchString(rest):
			found = backtick.FindString(rest)
			t.kind, t.text = "name", strings.ReplaceAll(found, "`", "")
		case name.MatchString(rest):
			found = name.FindString(rest)
			t.kind, t.text = "name", found
			if slices.Contains(keywords, strings.ToLower(found)) {
				t.kind, t.text = "keyword", strings.ToLower(found)
			}
		case number.MatchString(rest):
			found = number.FindString(rest)
			t.kind, t.text = "number", found
		case str.MatchString(rest):
			found = str.FindString(rest)
			t.kind, t.text = "string", escape.ReplaceAllString(found[1:len(found)-1], "$1")
		case operator.MatchString(rest):
			found = operator.FindString(rest)
			t.kind, t.text = "operator", found
		default:
			return nil, &SyntaxError{at, fmt.Sprintf("unexpected symbol found %.20q", rest)}
		}
		tokens = append(tokens, t)
		at += len(found)
	}
}
