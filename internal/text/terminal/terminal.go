// Package terminal is how text for people looks: with colours and marks, and
// fitted to the width, where it goes to a terminal; plain elsewhere.
//
// Start with [Of].
package terminal

import (
	"io"
	"os"

	"github.com/fatih/color"
	"golang.org/x/term"
)

// Screen is where text goes. The zero value is plain, as for a pipe or a file.
type Screen struct {
	Width, Height int  // of the terminal, in columns and rows; 0 elsewhere
	Colours       bool // also marks

	moves bool // its cursor moves
}

// Of returns the screen that w writes to. NO_COLOR turns colours and marks off;
// so does TERM=dumb, whose terminals do not move the cursor either.
func Of(w io.Writer) Screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Screen{}
	}
	s := Screen{moves: os.Getenv("TERM") != "dumb"}
	s.Colours = s.moves && os.Getenv("NO_COLOR") == ""
	if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
		s.Width, s.Height = max(width, minWidth), max(height, minHeight)
	} else {
		s.Width, s.Height = 80, 24
	}
	return s
}

// Below these sizes text is cut by the terminal, not here.
const minWidth, minHeight = 40, 6

// Live reports whether what stands on the screen can be renewed.
func (s Screen) Live() bool { return s.moves }

// Tone is what a text means, which decides its colour and mark.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warning
	Bad
	Faint // beside the point
	Bold  // a heading
)

var attributes = map[Tone]color.Attribute{
	Good: color.FgGreen, Warning: color.FgYellow, Bad: color.FgRed, Faint: color.Faint, Bold: color.Bold,
}

// Paint returns the text in the colour of the tone.
func (s Screen) Paint(t Tone, text string) string {
	a, ok := attributes[t]
	if !s.Colours || !ok || text == "" {
		return text
	}
	c := color.New(a)
	c.EnableColor() // Of has decided; the library looks at the standard output only
	return c.Sprint(text)
}

// Mark returns a mark of the tone with a space behind it, such as a check mark;
// nothing where there are no colours.
func (s Screen) Mark(t Tone) string {
	mark := map[Tone]string{Good: "✓", Warning: "!", Bad: "✗"}[t]
	if !s.Colours || mark == "" {
		return ""
	}
	return s.Paint(t, mark) + " "
}
