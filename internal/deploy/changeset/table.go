package changeset

import (
	"fmt"
	"io"
	"strings"

	"soci-index-builder/internal/text/terminal"
)

// marks stand before a change, as in other tools.
var marks = map[Action]string{Remove: "-", Replace: "!", MayReplace: "?", Modify: "~", Add: "+"}

// maxShown is how long a value may be in the table, in characters.
const maxShown = 70

// Write writes the changes as a table, properties with old and new value. On a
// terminal they fit its width. With full nothing is shortened.
func Write(w io.Writer, changes []Change, full bool) error {
	screen := terminal.Of(w)
	t := terminal.NewTable(w, "", full)
	for _, c := range changes {
		t.Row(marks[c.Action]+" "+string(c.Action), c.LogicalID, c.Type)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range changes {
		if len(c.Properties) == 0 && c.Consequence == "" {
			continue
		}
		note := ""
		if c.Consequence != "" {
			note = ": " + c.Consequence
		} else if c.DependsOnOthersOnly {
			note = ": as far as others change"
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", screen.Fill(c.LogicalID+note)); err != nil {
			return err
		}
		for _, p := range c.Properties {
			if _, err := fmt.Fprintln(w, screen.Fill("    "+p.Path+p.values(full))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p Property) values(full bool) string {
	text := ""
	if p.Known {
		text = ": " + Difference(p.Old, p.New, full)
	}
	if p.Replaces {
		text += " (needs a new resource)"
	}
	return text
}

// Difference writes "old -> new", long values shortened to where they differ. With
// full nothing is shortened.
func Difference(old, value string, full bool) string {
	if !full && len(old)+len(value) > 2*maxShown {
		old, value = shorten(old, value)
	}
	return quote(old) + " -> " + quote(value)
}

func quote(s string) string {
	if s == "" {
		return "(none)"
	}
	return strings.Join(strings.Fields(s), " ")
}

// shorten leaves out what two long values have in common at their beginning.
func shorten(a, b string) (string, string) {
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	cut := max(0, same-15)
	tail := func(s string) string {
		if cut > 0 {
			s = "..." + strings.ToValidUTF8(s[min(cut, len(s)):], "")
		}
		if r := []rune(s); len(r) > maxShown {
			s = string(r[:maxShown-3]) + "..."
		}
		return s
	}
	return tail(a), tail(b)
}

// Counts writes the summary: "2 to add, 1 to change".
func (c *ChangeSet) Counts() string {
	n := c.Summary()
	var parts []string
	for _, a := range []Action{Add, Modify, Replace, MayReplace, Remove} {
		if n[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n[a], a))
		}
	}
	return strings.Join(parts, ", ")
}
