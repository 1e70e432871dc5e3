package settings

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a settings file with the positions of its values, which the library's
// decoder does not return.
type document struct {
	text     []byte
	entries  []entry   // in the order of the file
	sections []section // likewise; the first is the text before any header
}

// entry is a key with a value that is no table.
type entry struct {
	path    []string // from the root, with that of its section
	section int      // index of the section it stands in
	inline  int      // length of the path up to the inline table around it; 0 when there is none
	line    int      // from 1

	begin, end int // of the whole "key = value" in the text
	value      int // where the value begins

	kind unstable.Kind
	text string   // of a string, boolean or number
	list []string // of an array of strings
	bad  string   // what an array has that is no string
}

// section is a table that has a header.
type section struct {
	path  []string
	line  int
	begin int // of the header's line
	end   int // behind the last line that belongs to it: its header's, or that of its last key

	// inner are the inline tables in it: the place behind the opening brace, and
	// whether something is in it.
	inner []inlineTable
}

type inlineTable struct {
	path  []string
	begin int // behind the brace
	empty bool
	line  int
}

// parseDocument reads a file. Its error names a line where it can.
func parseDocument(name string, text []byte) (*document, error) {
	// The decoder finds what the parser alone does not: keys that are defined
	// twice.
	var ignored map[string]any
	if err := toml.Unmarshal(text, &ignored); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			return nil, syntaxError(name, text, at)
		}
		return nil, invalidf("%s: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	d := &document{text: text, sections: []section{{}}}
	p := &unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, first, last := keys(node)
			line := p.Shape(first.Raw).Start.Line
			if node.Kind == unstable.ArrayTable {
				return nil, invalidf("%s:%d: [[%s]] is a list of tables: allowed is [%[3]s]", name, line,
					strings.Join(path, "."))
			}
			d.sections = append(d.sections, section{path: path, line: line, begin: d.lineBegin(int(first.Raw.Offset)),
				end: d.lineEnd(int(last.Raw.Offset + last.Raw.Length))})
		case unstable.KeyValue:
			in := len(d.sections) - 1
			if err := d.add(p, node, d.sections[in].path, 0); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			d.sections[in].end = d.lineEnd(int(node.Raw.Offset + node.Raw.Length))
		}
	}
	if err := p.Error(); err != nil {
		return nil, invalidf("%s: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	return d, nil
}

// keys returns the parts of a node's key, and the nodes of the first and last.
func keys(node *unstable.Node) (path []string, first, last *unstable.Node) {
	it := node.Key()
	for it.Next() {
		last = it.Node()
		if first == nil {
			first = last
		}
		path = append(path, string(last.Data))
	}
	return path, first, last
}

const maxDepth = 8 // of inline tables; three make sense

// add adds the entries of a "key = value", of which an inline table has several.
func (d *document) add(p *unstable.Parser, node *unstable.Node, above []string, inline int) error {
	path, first, last := keys(node)
	path = append(append([]string{}, above...), path...)
	line := p.Shape(first.Raw).Start.Line
	if len(path) > maxDepth {
		return invalidf("line %d: tables are nested more than %d deep", line, maxDepth)
	}
	in := len(d.sections) - 1
	v := node.Value()
	e := entry{
		path: path, section: in, inline: inline, line: line, kind: v.Kind,
		begin: int(node.Raw.Offset), end: int(node.Raw.Offset + node.Raw.Length),
		value: d.behindEquals(int(last.Raw.Offset + last.Raw.Length)),
	}
	switch v.Kind {
	case unstable.InlineTable:
		it := v.Children()
		empty := true
		for it.Next() {
			empty = false
			if err := d.add(p, it.Node(), path, len(path)); err != nil {
				return err
			}
		}
		d.sections[in].inner = append(d.sections[in].inner,
			inlineTable{path: path, begin: e.value + 1, empty: empty, line: line})
		return nil
	case unstable.Array:
		it := v.Children()
		for it.Next() {
			one := it.Node()
			if one.Kind != unstable.String {
				e.bad = word(one.Kind)
			}
			e.list = append(e.list, string(one.Data))
		}
	case unstable.String, unstable.Bool:
		e.text = string(v.Data)
	case unstable.Integer:
		// Base 0 has the underscores and the prefixes of TOML.
		n, err := strconv.ParseInt(strings.TrimPrefix(string(v.Data), "+"), 0, 64)
		if err != nil {
			return invalidf("line %d: %s is not a whole number of 64 bits", line, v.Data)
		}
		e.text = strconv.FormatInt(n, 10)
	}
	d.entries = append(d.entries, e)
	return nil
}

// word names a kind of value for messages.
func word(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "a boolean"
	case unstable.Integer, unstable.Float:
		return "a number"
	case unstable.Array:
		return "an array"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

// behindEquals returns the place of a value, whose key ends at i.
func (d *document) behindEquals(i int) int {
	for i < len(d.text) && (d.text[i] == ' ' || d.text[i] == '\t' || d.text[i] == '=') {
		i++
	}
	return i
}

func (d *document) lineBegin(i int) int { return bytes.LastIndexByte(d.text[:i], '\n') + 1 }

// lineEnd returns the place behind the line break of the line of i, or the end
// of the text.
func (d *document) lineEnd(i int) int {
	if n := bytes.IndexByte(d.text[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(d.text)
}
