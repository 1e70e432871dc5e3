package loginsights

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/logquery"
	imagenames "soci-index-builder/internal/names"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/soci"
)

// WriteTable writes rows as a table with a line of column names. Columns that
// are empty in all rows are left out, and the words of the functions' log are told
// as sentences. Times are in UTC. On a terminal that is too
// narrow for the columns, each row is a block of lines. Digests of images are short.
// With full they are whole, and nothing is done to fit a terminal.
func WriteTable(w io.Writer, columns []logquery.Column, rows []Row, full bool) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c logquery.Column) bool {
		return !slices.ContainsFunc(rows, func(r Row) bool { return r[c.Name] != "" })
	})
	var names []string
	for _, c := range columns {
		names = append(names, strings.TrimPrefix(c.Name, "@"))
	}
	t := terminal.NewTable(w, "", full)
	t.Head(names...)
	widths := make([]int, len(names))
	cells := make([][]string, len(rows))
	for n, row := range rows {
		for i, c := range columns {
			cell := show(c, row[c.Name])
			if c.Name == "digest" && !full {
				cell = imagenames.ShortDigest(cell)
			}
			cells[n] = append(cells[n], cell)
			widths[i] = max(widths[i], len(names[i]), terminal.Width(cells[n][i]))
		}
		t.Row(cells[n]...)
	}
	if width := terminal.Of(w).Width; full || width == 0 || fits(widths, width) {
		return t.Flush()
	}
	return writeBlocks(w, names, cells)
}

// fits reports whether columns can be read side by side, the last one broken into
// lines.
func fits(widths []int, screen int) bool {
	if len(widths) == 0 {
		return true
	}
	const gap, prose = 2, 24 // columns of the screen
	last := len(widths) - 1
	sum := min(widths[last], prose)
	for _, w := range widths[:last] {
		sum += w + gap
	}
	return sum <= screen
}

// writeBlocks writes rows one below the other, as names and values that are not
// empty, under the value of the first column, with its name unless it is a time.
func writeBlocks(w io.Writer, names []string, rows [][]string) error {
	for _, row := range rows {
		head := cmp.Or(row[0], "-")
		if names[0] != "timestamp" {
			head = names[0] + ": " + head
		}
		if _, err := fmt.Fprintln(w, head); err != nil {
			return err
		}
		t := terminal.NewTable(w, "  ", false)
		for i, cell := range row {
			if i > 0 && cell != "" {
				t.Row(names[i], cell)
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func show(c logquery.Column, value string) string {
	switch v := parse(c.Kind, value).(type) {
	case time.Time:
		return v.Format("2006-01-02T15:04:05Z")
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
		}
	}
	return printable(cmp.Or(sentence(c.Name, value), value))
}

// sentence says for people what a word means that the functions log; it is empty
// for a value that is none.
func sentence(column, value string) string {
	if strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return ""
	}
	switch column {
	case "class":
		return failure.Class(value).Text()
	case "outcome", "sociOutcome":
		return soci.Outcome(value).Text()
	case "reason", "sociReason":
		return cmp.Or(failure.Reason(value).Text(), soci.SkipReason(value).Text())
	}
	return ""
}

// printable keeps what stands in a log from steering the terminal: names in it
// come from inside images.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n', r == '\t', r == '\r':
			b.WriteByte(' ')
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Values returns a row with its values as JSON should have them: a number as
// such, a time as RFC 3339.
func Values(columns []logquery.Column, row Row) map[string]any {
	values := make(map[string]any, len(row))
	for _, c := range columns {
		if v, ok := row[c.Name]; ok {
			values[c.Name] = parse(c.Kind, v)
		}
	}
	return values
}

// parse returns a time.Time in UTC, a json.Number, or the value as it is when it
// is not of its kind. An aggregate of times can come as the time itself or as
// milliseconds.
func parse(kind logquery.Kind, value string) any {
	number, err := strconv.ParseFloat(value, 64)
	isNumber := err == nil && !math.IsInf(number, 0) && !math.IsNaN(number)
	switch kind {
	case logquery.Text:
	case logquery.Number:
		if isNumber {
			return json.Number(strconv.FormatFloat(number, 'f', -1, 64))
		}
	case logquery.Time:
		if isNumber {
			return time.UnixMilli(int64(number)).UTC()
		}
		if at, err := time.Parse("2006-01-02 15:04:05.999", value); err == nil {
			return at
		}
	}
	return value
}
