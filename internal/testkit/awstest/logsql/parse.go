// Package logsql runs queries in the language of CloudWatch Logs Insights over
// lines in memory, so that tests see what a query finds: fields, filter,
// stats, sort and limit, with the functions that the project's queries use.
// Whatever it does not know is a syntax error.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
//
// Start with [Parse].
package logsql

import (
	"fmt"
	"slices"
	"strconv"
)

// SyntaxError: Logs Insights would not take the query.
type SyntaxError struct {
	At   int // offset in bytes
	What string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at offset %d", e.What, e.At) }

// Query is one that was parsed.
type Query struct {
	commands []command
	fields   []string // that it reads, as the lines name them
	made     []string // names that it gives itself
}

type command struct {
	name    string
	columns []column // of fields, display and stats; of sort: its one key
	by      []column
	where   expr
	n       int  // of limit
	desc    bool // of sort
}

type column struct {
	name string
	expr expr
}

// expr is an expression: an operator or a function with its arguments, a field
// or a literal.
type expr struct {
	op    string // "field", "literal", "count(*)", "sum", "and", "=", "in" and so on
	name  string // of a field
	value any    // of a literal: float64 or string
	args  []expr
}

var (
	aggregates = []string{"count", "count_distinct", "sum", "avg", "max", "min", "pct", "latest"}
	functions  = []string{"ispresent"}
)

// Parse reads a query. The error is a *SyntaxError.
func Parse(query string) (*Query, error) {
	tokens, err := lex(query)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, query: &Query{}}
	if err := p.run(); err != nil {
		return nil, err
	}
	return p.query, nil
}

// Fields are those of the lines that the query reads, sorted.
func (q *Query) Fields() []string {
	fields := slices.Clone(q.fields)
	slices.Sort(fields)
	return slices.Compact(fields)
}

// Columns are those of the result, in order.
func (q *Query) Columns() []string {
	var names []string
	for _, c := range q.commands {
		switch c.name {
		case "display":
			names = nil
			fallthrough
		case "fields":
			for _, col := range c.columns {
				if !slices.Contains(names, col.name) {
					names = append(names, col.name)
				}
			}
		case "stats":
			names = nil
			for _, col := range append(slices.Clone(c.by), c.columns...) {
				names = append(names, col.name)
			}
		}
	}
	return names
}

type parser struct {
	tokens []token
	query  *Query
	stats  bool // within the functions of stats
}

func (p *parser) run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			syntax, ours := r.(*SyntaxError)
			if !ours {
				panic(r)
			}
			err = syntax
		}
	}()
	for {
		p.query.commands = append(p.query.commands, p.command())
		if p.peek().kind == "end" {
			return nil
		}
		p.expect("|")
	}
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != "end" {
		p.tokens = p.tokens[1:]
	}
	return t
}

// take takes the next token if it is this operator or keyword.
func (p *parser) take(text string) bool {
	if t := p.peek(); (t.kind == "operator" || t.kind == "keyword") && t.text == text {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(text string) {
	if !p.take(text) {
		p.fail("want " + text)
	}
}

func (p *parser) fail(what string) {
	t := p.peek()
	panic(&SyntaxError{t.at, fmt.Sprintf("unexpected symbol found %q, %s", t.text, what)})
}

func (p *parser) command() command {
	t := p.peek()
	if t.kind != "keyword" {
		p.fail("want a command")
	}
	p.next()
	c := command{name: t.text}
	switch t.text {
	case "fields", "display":
		c.columns = p.columns()
	case "filter":
		c.where = p.or()
	case "stats":
		p.stats = true
		c.columns = p.columns()
		p.stats = false
		if p.take("by") {
			c.by = p.columns()
		}
	case "sort":
		c.columns = []column{{expr: p.sum()}}
		if c.desc = p.take("desc"); !c.desc {
			p.take("asc")
		}
	case "limit":
		n := p.next()
		if c.n, _ = strconv.Atoi(n.text); n.kind != "number" || c.n < 1 {
			p.fail("want a number behind limit")
		}
	default:
		p.fail(t.text + " is not known here")
	}
	return c
}

func (p *parser) columns() []column {
	var all []column
	for {
		start := p.peek()
		c := column{expr: p.sum()}
		switch {
		case p.take("as"):
			alias := p.next()
			if alias.kind != "name" {
				p.fail("want a name behind as")
			}
			c.name = alias.text
			p.query.made = append(p.query.made, c.name)
		case c.expr.op == "field":
			c.name = c.expr.name
		default:
			panic(&SyntaxError{start.at, "an expression without a name: its column could not be told"})
		}
		all = append(all, c)
		if !p.take(",") {
			return all
		}
	}
}

func (p *parser) binary(operators []string, operand func() expr) expr {
	left := operand()
	for {
		t := p.peek()
		if (t.kind != "operator" && t.kind != "keyword") || !slices.Contains(operators, t.text) {
			return left
		}
		p.next()
		left = expr{op: t.text, args: []expr{left, operand()}}
	}
}

func (p *parser) or() expr  { return p.binary([]string{"or"}, p.and) }
func (p *parser) and() expr { return p.binary([]string{"and"}, p.comparison) }

func (p *parser) comparison() expr {
	left := p.sum()
	t := p.peek()
	switch {
	case p.take("in"):
		e := expr{op: "in", args: []expr{left}}
		p.expect("[")
		for {
			e.args = append(e.args, p.primary())
			if !p.take(",") {
				p.expect("]")
				return e
			}
		}
	case t.kind == "operator" && slices.Contains([]string{"=", "!=", "<", "<=", ">", ">="}, t.text):
		p.next()
		return expr{op: t.text, args: []expr{left, p.sum()}}
	}
	return left
}

func (p *parser) sum() expr     { return p.binary([]string{"+", "-"}, p.product) }
func (p *parser) product() expr { return p.binary([]string{"*", "/", "%"}, p.primary) }

func (p *parser) primary() expr {
	t := p.peek()
	switch {
	case p.take("("):
		e := p.or()
		p.expect(")")
		return e
	case t.kind == "number":
		p.next()
		n, _ := strconv.ParseFloat(t.text, 64) // the lexer lets nothing else pass
		return expr{op: "literal", value: n}
	case t.kind == "string":
		p.next()
		return expr{op: "literal", value: t.text}
	case t.kind != "name":
		p.fail("want a field, a function or a value")
	}
	p.next()
	if !p.take("(") {
		if !slices.Contains(p.query.made, t.text) {
			p.query.fields = append(p.query.fields, t.text)
		}
		return expr{op: "field", name: t.text}
	}
	known := functions
	if p.stats {
		known = append(slices.Clone(aggregates), functions...)
	}
	if !slices.Contains(known, t.text) {
		panic(&SyntaxError{t.at, "no function " + t.text + " here"})
	}
	if t.text == "count" {
		p.expect("*")
		p.expect(")")
		return expr{op: "count(*)"}
	}
	e := expr{op: t.text, args: []expr{p.sum()}}
	for p.take(",") {
		e.args = append(e.args, p.sum())
	}
	p.expect(")")
	if want := map[bool]int{true: 2, false: 1}[t.text == "pct"]; len(e.args) != want {
		panic(&SyntaxError{t.at, fmt.Sprintf("%s takes %d arguments, not %d", t.text, want, len(e.args))})
	}
	return e
}
