package terminal

import (
	"io"
	"slices"
	"strings"

	"github.com/acarl005/stripansi"
	"github.com/mattn/go-runewidth"
)

// Table is rows of cells in columns that are as wide as what they hold. On a
// terminal that is too narrow for them, the last column of the heading is broken
// into lines, and then the widest of the others are shortened in the middle.
type Table struct {
	screen Screen
	w      io.Writer
	indent string
	rows   [][]string
	head   bool
}

// NewTable returns a table whose rows begin with indent. With full, nothing is
// shortened to fit.
func NewTable(w io.Writer, indent string, full bool) *Table {
	t := &Table{screen: Of(w), w: w, indent: indent}
	if full {
		t.screen.Width = 0
	}
	return t
}

// Head adds the names of the columns. It comes first.
func (t *Table) Head(names ...string) {
	t.head = true
	t.rows = append(t.rows, names)
}

// Row adds a row. Its last cell may be wider than its column.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Len returns the number of rows, with that of the names.
func (t *Table) Len() int { return len(t.rows) }

const (
	gap        = 2  // between columns
	leastCell  = 12 // columns that are shortened keep these
	leastProse = 24 // columns in which prose can be read
)

// Flush writes the table, and empties it.
func (t *Table) Flush() error {
	columns := 0
	for _, row := range t.rows {
		columns = max(columns, len(row))
	}
	if columns == 0 {
		return nil
	}
	widths := t.widths(columns)
	last := columns - 1
	room := 0 // for the last column; 0 is any
	if width := t.screen.Width; width > 0 {
		before := width - len(t.indent) - last*gap // without the gaps
		room = before - total(widths[:last])
		switch {
		case room >= min(leastProse, widths[last]):
		case widths[last] <= leastProse: // no prose
			shorten(widths[:last], before-widths[last])
			room = widths[last]
		default:
			shorten(widths[:last], before+gap)
			room = -1 // on lines of its own
		}
	}
	var b strings.Builder
	for n, row := range t.rows {
		t.row(&b, row, widths, room, n == 0 && t.head)
	}
	t.rows, t.head = nil, false
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t *Table) widths(columns int) []int {
	widths := make([]int, columns)
	for _, row := range t.rows {
		for i, cell := range row {
			if i < len(row)-1 || i == columns-1 {
				widths[i] = max(widths[i], Width(cell))
			}
		}
	}
	return widths
}

// row writes one row. A short row ends with a cell that may take the room of
// all columns behind it.
func (t *Table) row(b *strings.Builder, row []string, widths []int, room int, head bool) {
	last := len(widths) - 1
	at := len(t.indent)
	var line strings.Builder
	line.WriteString(t.indent)
	for i, cell := range row {
		if i == len(row)-1 { // the end of the row
			t.end(b, line.String(), cell, at, i == last && room < 0, head)
			return
		}
		if room != 0 {
			cell = Shorten(cell, widths[i])
		}
		pad := widths[i] - Width(cell)
		if head {
			cell = t.screen.Paint(Bold, cell)
		}
		line.WriteString(cell + strings.Repeat(" ", pad+gap))
		at += widths[i] + gap
	}
}

// end writes the last cell of a row behind what comes before it.
func (t *Table) end(b *strings.Builder, before, cell string, at int, below, head bool) {
	paint := func(s string) string {
		if head {
			return t.screen.Paint(Bold, s)
		}
		return s
	}
	width := t.screen.Width
	if width == 0 {
		b.WriteString(strings.TrimRight(before+paint(cell), " ") + "\n")
		return
	}
	if below || width-at < min(leastProse, Width(cell)) {
		b.WriteString(strings.TrimRight(before, " ") + "\n")
		if head { // it names nothing that has a place
			return
		}
		indent := t.indent + "    "
		for _, line := range Wrap(cell, width-len(indent)) {
			b.WriteString(indent + line + "\n")
		}
		return
	}
	for n, line := range Wrap(cell, width-at) {
		if n > 0 {
			before = strings.Repeat(" ", at)
		}
		b.WriteString(strings.TrimRight(before+paint(line), " ") + "\n")
	}
	if cell == "" {
		b.WriteString(strings.TrimRight(before, " ") + "\n")
	}
}

func total(widths []int) int {
	sum := 0
	for _, w := range widths {
		sum += w
	}
	return sum
}

// shorten takes from the widest until all fit into room, or none may be
// narrower.
func shorten(widths []int, room int) {
	for len(widths) > 0 && total(widths) > room {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= leastCell {
			return
		}
		widths[widest]--
	}
}

// Width returns how many columns a text takes, whatever its colours.
func Width(s string) int { return runewidth.StringWidth(stripansi.Strip(s)) }

// Shorten returns a text of at most width columns. What is left out is in the
// middle: names differ at their ends. A text with colours is left as it is.
func Shorten(s string, width int) string {
	runes := []rune(s)
	if Width(s) <= width || width < 2 || strings.ContainsRune(s, '\x1b') {
		return s
	}
	left := (width - 1) / 3
	begin := runewidth.Truncate(s, left, "")
	n, room := len(runes), width-1-runewidth.StringWidth(begin)
	for n > 0 && room >= runewidth.RuneWidth(runes[n-1]) {
		n--
		room -= runewidth.RuneWidth(runes[n])
	}
	return begin + "…" + string(runes[n:])
}

// Wrap breaks a text at its spaces into lines of at most width columns. A word
// that is longer has a line of its own.
func Wrap(s string, width int) []string {
	var lines []string
	line, at := "", 0
	for word := range strings.FieldsSeq(s) {
		n := Width(word)
		if line != "" && at+1+n > width {
			lines = append(lines, line)
			line, at = "", 0
		}
		if line != "" {
			line, at = line+" ", at+1
		}
		line, at = line+word, at+n
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
