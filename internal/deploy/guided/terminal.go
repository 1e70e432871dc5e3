package guided

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"soci-index-builder/internal/text/terminal"
)

// ErrEnded: the input ended where an answer was needed.
var ErrEnded = errors.New("the input ended without an answer: nothing was changed")

// Terminal asks the user questions, which are answered line by line.
type Terminal struct {
	in     io.Reader
	out    io.Writer
	screen terminal.Screen
}

// NewTerminal asks on out and reads answers from in, whatever they are.
func NewTerminal(in io.Reader, out io.Writer) *Terminal { return &Terminal{in, out, terminal.Of(out)} }

// OpenTerminal returns the terminal that in and out are, or nil if one of them is not
// a terminal: then no questions can be asked.
func OpenTerminal(in io.Reader, out io.Writer) *Terminal {
	if !isTerminal(in) || !isTerminal(out) {
		return nil
	}
	return NewTerminal(in, out)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Say shows one line, which is broken at its spaces where the terminal is not as
// wide.
func (t *Terminal) Say(format string, args ...any) {
	t.Printf("%s\n", t.screen.Fill(fmt.Sprintf(format, args...)))
}

// Printf shows text as it is.
func (t *Terminal) Printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// maxLine is more than a terminal hands over in one line.
const maxLine = 64 * 1024 // 64 KiB

// Line shows the prompt and returns what is typed, without the blanks around it.
// The error is that of ctx as soon as it is cancelled, or matches ErrEnded.
func (t *Terminal) Line(ctx context.Context, prompt string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	t.Printf("%s", prompt)
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	// A read cannot be cancelled. After a cancellation no more questions are asked, and
	// the goroutine ends with the program.
	go func() {
		line, err := readLine(t.in)
		done <- read{line, err}
	}()
	select {
	case <-ctx.Done():
		t.Printf("\n")
		return "", ctx.Err()
	case r := <-done:
		if r.err == nil {
			return strings.TrimSpace(r.line), nil
		}
		t.Printf("\n")
		if errors.Is(r.err, io.EOF) {
			// Ctrl-C of a terminal that ends the input too.
			return "", errors.Join(ctx.Err(), ErrEnded)
		}
		return "", fmt.Errorf("reading the answer: %w", r.err)
	}
}

// readLine reads byte by byte, so that everything behind the line is left for the next
// reader.
func readLine(in io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := in.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return string(line), nil
		case n == 1 && len(line) == maxLine:
			return "", fmt.Errorf("the line has more than %d bytes", maxLine)
		case n == 1:
			line = append(line, b[0])
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return string(line), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// Question is one that is asked until the answer is allowed.
type Question struct {
	Text    string // "Stack name"
	Help    string // lines above it; may be empty
	Default string // taken for an empty answer; empty for none

	// Check returns an error that says what is allowed. It gets the default as well, and the empty
	// answer when there is no default. Nil allows everything.
	Check func(answer string) error
}

// nothing answers a question with the empty text where there is a default.
const nothing = "-"

// Ask asks until the answer is allowed, and returns it. An answer of "-" is the
// empty one. Its errors are those of Line.
func (t *Terminal) Ask(ctx context.Context, q Question) (string, error) {
	if q.Help != "" {
		t.Printf("\n")
		for line := range strings.SplitSeq(strings.TrimRight(q.Help, "\n"), "\n") {
			t.Say("%s", line)
		}
	}
	prompt := q.Text + ": "
	if q.Default != "" {
		prompt = fmt.Sprintf("%s [%s]: ", q.Text, q.Default)
	}
	for {
		answer, err := t.Line(ctx, prompt)
		if err != nil {
			return "", err
		}
		switch answer {
		case "":
			answer = q.Default
		case nothing:
			answer = ""
		}
		if q.Check == nil {
			return answer, nil
		}
		if err = q.Check(answer); err == nil {
			return answer, nil
		}
		t.Say("  %.100q: %s", answer, oneLine(err))
	}
}

// Confirm asks for yes or no. byDefault is the answer of an empty line.
func (t *Terminal) Confirm(ctx context.Context, question string, byDefault bool) (bool, error) {
	choices := "[y/N]"
	if byDefault {
		choices = "[Y/n]"
	}
	lines := strings.Split(question, "\n")
	for i, line := range lines {
		lines[i] = t.screen.Fill(line)
	}
	question = strings.Join(lines, "\n")
	for {
		answer, err := t.Line(ctx, question+" "+choices+" ")
		if err != nil {
			return false, err
		}
		switch strings.ToLower(answer) {
		case "":
			return byDefault, nil
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
		t.Printf("  %.100q: must be y or n\n", answer)
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
