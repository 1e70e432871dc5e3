package terminal

import (
	"io"
	"slices"
	"strings"

	"github.com/acarl005/stripansi"
	"github.com/mattn/go-runewidth"
)

// Table is rows of cells in columns that are as wide as what they hold. To fit a
// terminal that is too narrow for them, the texts of the last column are broken into
// lines, in their column or below their row, then names in the first column become
// headings of their rows, and then columns that may be missing are left out. What
// is still too wide is shortened in the middle.
type Table struct {
	screen   Screen
	w        io.Writer
	indent   string
	head     []string
	rows     [][]string
	optional []string
}

// NewTable returns a table whose rows begin with indent. With full, nothing is
// done to fit it.
func NewTable(w io.Writer, indent string, full bool) *Table {
	t := &Table{screen: Of(w), w: w, indent: indent}
	if full {
		t.screen.Width = 0
	}
	return t
}

// Head names the columns.
func (t *Table) Head(names ...string) { t.head = names }

// Optional names columns that may be left out.
func (t *Table) Optional(names ...string) { t.optional = names }

// Row adds a row. The last cell of a row with fewer columns than others may be
// wider than its column.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

const (
	gap        = 2  // between columns
	leastCell  = 12 // columns that are shortened keep these
	leastProse = 24 // columns in which prose can be read
)

// Flush writes the table, without the names of columns if it has no rows.
func (t *Table) Flush() error {
	columns := len(t.head)
	for _, row := range t.rows {
		columns = max(columns, len(row))
	}
	if len(t.rows) == 0 || columns == 0 {
		return nil
	}
	l := layout{table: t, indent: t.indent}
	for i := range columns {
		l.columns = append(l.columns, i)
	}
	l.measure()
	if t.screen.Width > 0 {
		l.fit(t.screen.Width)
	}
	var b strings.Builder
	if t.head != nil {
		head := make([]string, len(t.head))
		for i, name := range t.head {
			head[i] = t.screen.Paint(Bold, name)
		}
		l.row(&b, head, true)
	}
	heading := ""
	for _, row := range t.rows {
		if l.headings && row[0] != heading {
			heading = row[0]
			b.WriteString(t.indent + heading + "\n")
		}
		l.row(&b, row, false)
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

// layout is how a table is written.
type layout struct {
	table    *Table
	indent   string
	columns  []int // those that are shown
	widths   []int // theirs
	headings bool  // the first column is above the rows
	room     int   // for the last cell of a row; 0 is any
	below    bool  // the last column is below the row
}

func (l *layout) measure() {
	l.widths = make([]int, len(l.columns))
	last := len(l.columns) - 1
	for _, row := range append([][]string{l.table.head}, l.table.rows...) {
		for i, column := range l.columns {
			if column < len(row)-1 || column < len(row) && i == last {
				l.widths[i] = max(l.widths[i], Width(row[column]))
			}
		}
	}
}

// fit finds a layout for the columns of a terminal.
func (l *layout) fit(width int) {
	names := l.table.head
	if l.fits(width, false) || l.fits(width, true) {
		return
	}
	if len(l.columns) > 2 && len(names) > 0 {
		l.headings, l.columns, l.indent = true, l.columns[1:], l.indent+"  "
		l.measure()
		if l.fits(width, false) || l.fits(width, true) {
			return
		}
	}
	l.columns = slices.DeleteFunc(l.columns, func(i int) bool {
		return i < len(names) && slices.Contains(l.table.optional, names[i])
	})
	l.measure()
	if l.fits(width, false) || l.fits(width, true) {
		return
	}
	last := len(l.columns) - 1
	kept := l.widths[last]
	if l.below = kept > leastCell; l.below {
		kept = -gap
	}
	shorten(l.widths[:last], width-len(l.indent)-last*gap-kept)
	l.room = width
}

// fits reports whether the columns fit, with the last one below or not, and
// keeps that if they do.
func (l *layout) fits(width int, below bool) bool {
	last := len(l.columns) - 1
	before := len(l.indent) + last*gap + total(l.widths[:last])
	need := min(l.widths[last], leastProse)
	if below {
		need = -gap
		if l.widths[last] <= leastCell { // no prose
			return false
		}
	}
	if before+need > width {
		return false
	}
	l.below, l.room = below, width
	return true
}

func (l *layout) row(b *strings.Builder, row []string, head bool) {
	line := l.indent
	for i, column := range l.columns {
		if column >= len(row) {
			break
		}
		cell := row[column]
		if column == len(row)-1 || i == len(l.columns)-1 {
			l.end(b, line, cell, l.below && i == len(l.columns)-1, head)
			return
		}
		if l.room > 0 {
			cell = Shorten(cell, l.widths[i])
		}
		line += cell + strings.Repeat(" ", max(l.widths[i]-Width(cell), 0)+gap)
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// end writes the last cell of a row behind what comes before it. A command in it
// that has no room there is below, on a line of its own.
func (l *layout) end(b *strings.Builder, line, cell string, below, head bool) {
	at := Width(line)
	beside := strings.Repeat(" ", at)
	low := l.indent + "    "
	if !below && l.room > 0 && at+max(min(leastProse, Width(cell)), longestWord(proseOf(cell))) > l.room {
		below = true
	}
	if !below && (l.room == 0 || at+Width(cell) <= l.room) {
		b.WriteString(strings.TrimRight(line+cell, " ") + "\n")
		return
	}
	room, indent := l.room-at, beside
	if below {
		room, indent = l.room-len(low), low
		if line = strings.TrimRight(line, " "); line != "" {
			b.WriteString(line + "\n")
		}
		if head { // what stands below needs no name
			return
		}
		line = low
	}
	for _, p := range parts(cell) {
		texts := []string{p.text}
		switch {
		case !p.command:
			texts = Wrap(p.text, room)
		case Width(p.text) > room && strings.TrimSpace(line) != "":
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = low
		case Width(p.text) > room:
			line = low
		}
		for _, text := range texts {
			b.WriteString(line + text + "\n")
			line = indent
		}
	}
}

// longestWord returns the width of the longest word of a text.
func longestWord(s string) int {
	longest := 0
	for _, w := range words(s) {
		longest = max(longest, Width(w.text))
	}
	return longest
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
