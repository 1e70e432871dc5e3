// Package live shows the events of a stack: as a tree with timers on a
// terminal, as lines elsewhere.
//
// Start with [NewTree] or [NewLines].
package live

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/text/terminal"
)

// Display shows events as they happen.
type Display interface {
	Event(execution.Event)
	Tick(now time.Time) // time passes
	End()               // nothing more is to come
}

// Seconds writes a time for people: 8s, 1m05s.
func Seconds(d time.Duration) string {
	s := int(max(d, 0).Round(time.Second) / time.Second)
	if s < 60 {
		return fmt.Sprintf("%ds", s)
	}
	return fmt.Sprintf("%dm%02ds", s/60, s%60)
}

// lines is a Display.
type lines struct {
	w     io.Writer
	began map[string]time.Time
}

// NewLines shows a line for each resource that begins or is done with
// something.
func NewLines(w io.Writer) Display { return &lines{w, map[string]time.Time{}} }

func (l *lines) Event(e execution.Event) {
	key := e.LogicalID
	began, running := l.began[key]
	if !e.Done() {
		if running && !e.OfStack {
			return // a second event of what is under way
		}
		if !running {
			l.began[key] = e.Time
		}
		if !e.OfStack {
			return
		}
	}
	took := ""
	if e.Done() {
		if running {
			took = "  " + Seconds(e.Time.Sub(began))
		}
		delete(l.began, key)
	}
	reason := ""
	if e.Failed() && !e.Cancelled() || e.OfStack && e.Reason != "" && e.Reason != "User Initiated" {
		reason = ": " + OneLine(e.Reason)
	}
	fmt.Fprintf(l.w, "  %s  %-12s %s%s%s\n", e.Time.UTC().Format("15:04:05"), e.Words(), e.Name(), took, reason)
}

func (*lines) Tick(time.Time) {}
func (*lines) End()           {}

// OneLine writes a text of AWS in one line, without what a terminal would take
// for a command.
func OneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s))
}

// tree is a Display that renews itself.
type tree struct {
	w      io.Writer
	screen terminal.Screen
	width  int // of the terminal, in columns
	height int

	rows    []*row // in the order of their beginning
	now     time.Time
	ahead   time.Duration // of AWS's clock
	painted int           // lines that stand on the screen
}

type row struct {
	e           execution.Event
	began, done time.Time
}

// NewTree shows the stack and below it its resources, on a terminal of this
// size.
func NewTree(w io.Writer, width, height int) Display {
	return &tree{w: w, screen: terminal.Of(w), width: max(width, 40), height: max(height, 6)}
}

func (t *tree) Event(e execution.Event) {
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.e.LogicalID == e.LogicalID && r.e.OfStack == e.OfStack })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &row{began: e.Time})
	}
	r := t.rows[i]
	if !r.done.IsZero() && !e.Done() { // it begins again, to be rolled back
		r.began, r.done = e.Time, time.Time{}
	}
	r.e = e
	if e.Done() {
		r.done = e.Time
	}
	if e.Time.After(t.now) {
		t.now = e.Time
	}
}

func (t *tree) Tick(now time.Time) {
	if last := t.now; t.ahead == 0 && !last.IsZero() {
		t.ahead = last.Sub(now)
	}
	if at := now.Add(t.ahead); at.After(t.now) {
		t.now = at
	}
	t.paint(false)
}

func (t *tree) End() { t.paint(true) }

// paint writes the tree over the one before. While it changes it is at most as
// high as the terminal: what is done is left out first.
func (t *tree) paint(all bool) {
	var b strings.Builder
	if t.painted > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", t.painted)
	}
	rows := t.rows
	left := 0
	if room := t.height - 3; !all && len(rows) > room {
		rows = slices.Clone(rows)
		rows = slices.DeleteFunc(rows, func(r *row) bool {
			drop := len(t.rows)-left > room && !r.done.IsZero() && !r.e.OfStack && !r.e.Failed()
			if drop {
				left++
			}
			return drop
		})
		if len(rows) > room {
			left += len(rows) - room
			rows = rows[:room]
		}
	}
	t.painted = 0
	for _, r := range rows {
		end, mark := r.done, " "
		switch {
		case r.e.Failed():
			mark = "x"
		case end.IsZero():
			end, mark = t.now, "-"
		default:
			mark = "+"
		}
		indent := "  "
		if r.e.OfStack {
			indent = ""
		}
		name := min(40, t.width-25) // leaves room for the words and the timer
		text := fmt.Sprintf("%s%s %-*s %-12s %s", indent, mark, name, r.e.Name(), r.e.Words(),
			Seconds(end.Sub(r.began)))
		if r.e.Failed() && !r.e.Cancelled() {
			text += "  " + OneLine(r.e.Reason)
		}
		if runes := []rune(text); len(runes) > t.width-1 {
			text = string(runes[:t.width-1])
		}
		b.WriteString(t.colour(text, indent, mark) + "\n")
		t.painted++
	}
	if left > 0 {
		fmt.Fprintf(&b, "  ... and %d more\n", left)
		t.painted++
	}
	_, _ = io.WriteString(t.w, b.String())
	if all {
		t.painted = 0
	}
}

// colour puts the mark of the terminal in the place of a line's plain one, which
// is as wide.
func (t *tree) colour(line, indent, mark string) string {
	tone, ok := map[string]terminal.Tone{"x": terminal.Bad, "+": terminal.Good}[mark]
	if !ok || !t.screen.Colours {
		return line
	}
	return indent + t.screen.Mark(tone) + strings.TrimPrefix(line, indent+mark+" ")
}
