// Package logquery holds named CloudWatch Logs Insights queries on the
// functions' logs. It is the only source of the queries in docs/logs.md, in the
// stack, and in the command line.
//
// Start with [All] or [Find], then [Query.Text].
package logquery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/names"
)

// Group is one of the stack's log groups, by the function that writes to it.
type Group string

// The log groups.
const (
	Filter       Group = "filter"
	Generator    Group = "generator"
	Repositories Group = "repository names" // of the custom resource
)

// Use reports whether a query is about one image.
type Use int

// The uses of an image.
const (
	NoImage       Use = iota // the lines that it looks at name no image
	OptionalImage            // about all images unless one is given
	RequiredImage            // about one image
)

// Kind of the values in a column.
type Kind int

// The kinds of values.
const (
	Text   Kind = iota
	Number      // decimal, perhaps with an exponent
	Time        // "2006-01-02 15:04:05.000" in UTC, or milliseconds since 1970
)

// Column of a query's result.
type Column struct {
	Name string // as Logs Insights names it
	Kind Kind
}

// Query is a question to the logs.
type Query struct {
	Name     string // of a-z and hyphens
	Question string // one sentence
	Note     string // how to read the answer, and what to do; Markdown
	Nothing  string // what it means that there is no answer; may be empty
	Groups   []Group
	Image    Use
	Columns  []Column // those that the result can have, in order

	// metrics: the query looks at the lines of metrics, which name an image by
	// fields with capital letters.
	metrics bool
	stages  []string
	limit   int // rows, by default; 0: as many as there are
}

// Params are what a query is about.
type Params struct {
	Image names.Image // the zero value: all images
	Limit int         // rows at most; 0: the query's own limit
}

// The errors of Find and Query.Text.
var (
	ErrUnknown      = errors.New("unknown query")
	ErrNeedsImage   = errors.New("needs an image, as REPOSITORY:TAG or REPOSITORY@DIGEST")
	ErrTakesNoImage = errors.New("takes no image: the log lines that it looks at name none")
)

// All returns the queries in the order of the documentation.
func All() []Query { return slices.Clone(queries) }

// Find returns the query of a name. Its error is ErrUnknown, and lists the
// names.
func Find(name string) (Query, error) {
	names := make([]string, len(queries))
	for i, q := range queries {
		if names[i] = q.Name; q.Name == name {
			return q, nil
		}
	}
	return Query{}, fmt.Errorf("%w %q: there are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// Text returns the query in the language of Logs Insights. The error is
// ErrNeedsImage, ErrTakesNoImage or names.ErrInvalid.
func (q Query) Text(p Params) (string, error) {
	stages := q.stages
	switch none := p.Image == (names.Image{}); {
	case none && q.Image == RequiredImage:
		return "", fmt.Errorf("query %s %w", q.Name, ErrNeedsImage)
	case !none && q.Image == NoImage:
		return "", fmt.Errorf("query %s %w", q.Name, ErrTakesNoImage)
	case !none:
		if err := check(p.Image); err != nil {
			return "", fmt.Errorf("query %s: %w", q.Name, err)
		}
		stages = append([]string{stage(p.Image, q.metrics)}, stages...)
	}
	if limit := cmp.Or(p.Limit, q.limit); limit > 0 {
		stages = append(slices.Clip(stages), "limit "+strconv.Itoa(limit))
	}
	return strings.Join(stages, "\n| "), nil
}

// Rows is how many rows to ask for at most; limit is Params.Limit.
func (q Query) Rows(limit int) int { return cmp.Or(limit, q.limit, defaultRows) }

// defaultRows is enough to read.
const defaultRows = 100

// Sample returns the query as it is documented and saved: about the image
// Example if it needs one.
func (q Query) Sample() string {
	var p Params
	if q.Image == RequiredImage {
		p.Image = Example
	}
	text, err := q.Text(p)
	if err != nil {
		panic("internal error: " + err.Error()) // Example is valid
	}
	return text
}

// quote writes s as a string of the query language. Names of images need no
// escape; it is here so that nothing else could end the string either.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
