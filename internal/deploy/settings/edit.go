package settings

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// errLayout: a file is written in a way that cannot be updated and kept.
var errLayout = errors.New("is written in a way that cannot be updated in place")

// change is a value to write: a string, a bool or a []string.
type change struct {
	path  []string // within the environment
	value any
}

// edit writes the changes into one environment of a file. Everything else stays
// as it is, byte for byte. What comes out is read again and compared: the error
// matches errLayout when that does not have what it must.
func edit(text []byte, env string, changes []change) ([]byte, error) {
	want := map[string]any{}
	if err := toml.Unmarshal(text, &want); err != nil {
		return nil, err
	}
	crlf := bytes.Contains(text, []byte("\r\n"))
	for _, c := range changes {
		d, err := parseDocument("file", text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errLayout, err)
		}
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		at, until, put := d.place(env, c.path, line)
		if crlf {
			put = strings.ReplaceAll(strings.ReplaceAll(put, "\r\n", "\n"), "\n", "\r\n")
		}
		text = slices.Concat(text[:at], []byte(put), text[until:])
		if err := set(want, append([]string{env}, c.path...), c.value); err != nil {
			return nil, err
		}
	}
	got := map[string]any{}
	if err := toml.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		return nil, errLayout
	}
	return text, nil
}

// set puts a value into a tree of tables.
func set(tree map[string]any, path []string, value any) error {
	for ; len(path) > 1; path = path[1:] {
		if tree[path[0]] == nil {
			tree[path[0]] = map[string]any{}
		}
		below, ok := tree[path[0]].(map[string]any)
		if !ok {
			return errLayout
		}
		tree = below
	}
	if list, ok := value.([]string); ok {
		all := []any{}
		for _, one := range list {
			all = append(all, one)
		}
		value = all
	}
	tree[path[0]] = value
	return nil
}

// written is a "key = value" as the library writes it.
type written struct{ key, value string }

func (w written) String() string { return w.key + " = " + w.value }

func (c change) line() (written, error) {
	line, err := toml.Marshal(map[string]any{c.path[len(c.path)-1]: c.value})
	if err != nil {
		return written{}, err
	}
	key, err := toml.Marshal(map[string]any{c.path[len(c.path)-1]: true})
	if err != nil {
		return written{}, err
	}
	k := strings.TrimSuffix(string(key), " = true\n")
	return written{k, strings.TrimSuffix(strings.TrimPrefix(string(line), k+" = "), "\n")}, nil
}

// place returns what of the text is to be replaced by what.
func (d *document) place(env string, path []string, line written) (at, until int, put string) {
	whole := append([]string{env}, path...)
	table := whole[:len(whole)-1]
	for i := range d.entries { // the value is there
		if e := &d.entries[i]; slices.Equal(e.path, whole) {
			return e.value, e.end, line.value
		}
	}
	for _, s := range d.sections { // the table is written in one line
		for _, in := range s.inner {
			if slices.Equal(in.path, table) {
				if in.empty {
					return in.begin, in.begin, " " + line.String() + " "
				}
				return in.begin, in.begin, " " + line.String() + ","
			}
		}
	}
	for i := range d.sections { // the table has a header
		if s := &d.sections[i]; i > 0 && slices.Equal(s.path, table) {
			return s.end, s.end, d.lineBreak(s.end) + line.String() + "\n"
		}
	}
	for i := len(d.entries) - 1; i >= 0; i-- { // the table is made of dotted keys
		e := &d.entries[i]
		if e.inline == 0 && len(e.path) == len(whole) && slices.Equal(e.path[:len(e.path)-1], table) {
			end := d.lineEnd(e.end)
			key := line.key
			if s := d.sections[e.section].path; len(s) < len(table) {
				key = dotted(table[len(s):]) + "." + key
			}
			return end, end, d.lineBreak(end) + key + " = " + line.value + "\n"
		}
	}
	header := "[" + dotted(table) + "]\n" + line.String() + "\n"
	end := -1
	for i := 1; i < len(d.sections); i++ {
		if s := &d.sections[i]; s.path[0] == env {
			if len(table) == 1 { // only tables of the environment are there
				return s.begin, s.begin, header + "\n"
			}
			end = s.end
		}
	}
	if end < 0 {
		end = len(d.text)
	}
	blank := "\n"
	if len(bytes.TrimSpace(d.text[:end])) == 0 {
		blank = ""
	}
	return end, end, d.lineBreak(end) + blank + header
}

// lineBreak returns a line break where the text has none before i.
func (d *document) lineBreak(i int) string {
	if i > 0 && d.text[i-1] != '\n' {
		return "\n"
	}
	return ""
}

// dotted writes a key. The names of settings and environments need no quotation
// marks.
func dotted(path []string) string { return strings.Join(path, ".") }
