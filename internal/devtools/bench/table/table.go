// Package table formats tables for a terminal and as Markdown, and updates the
// parts of a document that consist of them.
package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Table has a first column of names; the others are numbers.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
	Notes   []string
}

// Add adds a row, which has as many cells as there are columns.
func (t *Table) Add(cells ...string) {
	if len(cells) != len(t.Columns) {
		panic(fmt.Sprintf("internal error: %d cells in table %q of %d columns", len(cells), t.Title, len(t.Columns)))
	}
	t.Rows = append(t.Rows, cells)
}

// Section is a part of a report that can be renewed by itself.
type Section struct {
	Name   string
	Tables []*Table
}

// Text sets a section for a terminal.
func (s Section) Text(w io.Writer) error {
	var b strings.Builder
	for _, t := range s.Tables {
		t.text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", t.Title)
	if len(t.Rows) > 0 {
		widths := make([]int, len(t.Columns))
		lines := append([][]string{t.Columns}, t.Rows...)
		for _, cells := range lines {
			for i, c := range cells {
				widths[i] = max(widths[i], utf8.RuneCountInString(c))
			}
		}
		for _, cells := range lines {
			var line strings.Builder
			for i, c := range cells {
				gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
				if i == 0 {
					line.WriteString("  " + c + gap)
				} else {
					line.WriteString("  " + gap + c)
				}
			}
			b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
	}
	for _, n := range t.Notes {
		fmt.Fprintf(b, "  %s\n", n)
	}
}

// Markdown sets a section for a document.
func (s Section) Markdown() string {
	var b strings.Builder
	for i, t := range s.Tables {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "**%s**\n\n", t.Title)
		if len(t.Rows) > 0 {
			markdownRow(&b, t.Columns)
			b.WriteString("|---|" + strings.Repeat("---:|", len(t.Columns)-1) + "\n")
			for _, cells := range t.Rows {
				markdownRow(&b, cells)
			}
		}
		for j, n := range t.Notes {
			if j == 0 && len(t.Rows) > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	return b.String()
}

func markdownRow(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// ErrMarkers: a document has not exactly one place for a section.
var ErrMarkers = errors.New("the document's markers")

// Renew replaces what stands between the markers of each section,
// "<!-- bench:NAME:begin -->" and "<!-- bench:NAME:end -->". A section that
// has no markers, or whose markers are not one pair, is ErrMarkers.
func Renew(document []byte, sections []Section) ([]byte, error) {
	for _, s := range sections {
		begin, end := markers(s.Name)
		head, _, tail, err := cut(document, s.Name)
		if err != nil {
			return nil, err
		}
		document = bytes.Join([][]byte{head, begin, []byte(s.Markdown()), end, tail}, nil)
	}
	return document, nil
}

func markers(section string) (begin, end []byte) {
	return []byte("<!-- bench:" + section + ":begin -->\n"), []byte("<!-- bench:" + section + ":end -->")
}

// cut returns what stands before, between and behind the markers of a section.
func cut(document []byte, section string) (head, content, tail []byte, err error) {
	begin, end := markers(section)
	if bytes.Count(document, begin) != 1 || bytes.Count(document, end) != 1 {
		return nil, nil, nil, fmt.Errorf("%w: not one pair of %s%s", ErrMarkers, begin, end)
	}
	head, rest, _ := bytes.Cut(document, begin)
	content, tail, ok := bytes.Cut(rest, end)
	if !ok {
		return nil, nil, nil, fmt.Errorf("%w: %s comes before %s", ErrMarkers, end, begin)
	}
	return head, content, tail, nil
}

// Read returns the first table of a section, as [Section.Markdown] has written
// it: its columns, and rows of as many cells. A section without one has no
// columns. The error is ErrMarkers.
func Read(document []byte, section string) (columns []string, rows [][]string, err error) {
	_, content, _, err := cut(document, section)
	if err != nil {
		return nil, nil, err
	}
	for line := range strings.Lines(string(content)) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
		switch {
		case !ok && len(rows) > 0:
			return columns, rows, nil
		case !ok:
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line, " |"), " | ")
		switch {
		case columns == nil:
			columns = cells
		case len(cells) != len(columns):
			return nil, nil, fmt.Errorf("%w: section %s has a row of %d cells below %d columns", ErrMarkers, section,
				len(cells), len(columns))
		default:
			rows = append(rows, cells)
		}
	}
	return columns, rows, nil
}

// None stands where there is no number.
const None = "–"

// MB returns bytes in units of 1,000,000.
func MB(n int64) string { return number(float64(n) / 1e6) }

// Seconds returns a duration in seconds.
func Seconds(d time.Duration) string { return number3(d.Seconds()) }

// Rate returns MB a second.
func Rate(n int64, d time.Duration) string {
	if d <= 0 {
		return None
	}
	return number(float64(n) / 1e6 / d.Seconds())
}

// Ratio returns how many times b goes into a, None where one is missing.
func Ratio(a, b time.Duration) string {
	if a <= 0 || b <= 0 {
		return None
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// number keeps at least two digits that count.
func number(f float64) string {
	switch {
	case f >= 10:
		return group(fmt.Sprintf("%.0f", f))
	case f >= 1 || f == 0:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// number3 keeps at least three.
func number3(f float64) string {
	switch {
	case f >= 100:
		return group(fmt.Sprintf("%.0f", f))
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1 || f == 0:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

// Count returns a number with commas.
func Count[T int | int64](n T) string { return group(fmt.Sprint(n)) }

func group(s string) string {
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
