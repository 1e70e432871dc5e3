package loginsights

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"soci-index-builder/internal/logquery"
)

// WriteTable writes rows as a table with a line of column names. Columns that
// are empty in all rows are left out. Times are in UTC.
func WriteTable(w io.Writer, columns []logquery.Column, rows []Row) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c logquery.Column) bool {
		return !slices.ContainsFunc(rows, func(r Row) bool { return r[c.Name] != "" })
	})
	lines := make([][]string, 1, len(rows)+1)
	for _, c := range columns {
		lines[0] = append(lines[0], strings.TrimPrefix(c.Name, "@"))
	}
	for _, row := range rows {
		var line []string
		for _, c := range columns {
			line = append(line, show(c.Kind, row[c.Name]))
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(columns))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.Reset()
		for i, cell := range line {
			fmt.Fprintf(&b, "%-*s  ", widths[i], cell) // the width is one of runes
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func show(kind logquery.Kind, value string) string {
	switch v := parse(kind, value).(type) {
	case time.Time:
		return v.Format("2006-01-02T15:04:05Z")
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
		}
	}
	return printable(value)
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
