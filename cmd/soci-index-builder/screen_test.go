package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"

	"soci-index-builder/internal/text/terminal"
)

// session is a run of the program on a real terminal.
type session struct {
	raw    string // what was written to it
	screen *screen
	stdout string // what did not go to the terminal
	code   int    // exit code
}

// sessionOptions say how the program runs.
type sessionOptions struct {
	columns, rows uint16
	env           []string
	pipeStdout    bool   // only standard error is the terminal
	interruptAt   string // Ctrl-C when the screen has had this; a regular expression
	answerAt      string // "y" when the screen has had this; a regular expression

	// When the screen has had resizeAt, the terminal gets another size.
	resizeAt string // a regular expression
	resized  pty.Winsize
}

// onTerminal runs the program on a terminal, to its end.
func onTerminal(t *testing.T, o sessionOptions, args ...string) *session {
	t.Helper()
	cmd := exec.Command(programName, args...)
	cmd.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR="), o.env...)
	cmd.Dir = t.TempDir()
	s := &session{screen: newScreen(int(o.columns), int(o.rows))}
	var stdout strings.Builder
	if o.pipeStdout {
		cmd.Stdout = &stdout
	}
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: o.rows, Cols: o.columns})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	interrupted, answered, resized := false, false, -1
	b := make([]byte, 4096)
	for {
		n, err := terminal.Read(b)
		s.raw += string(b[:n])
		if o.interruptAt != "" && !interrupted && regexp.MustCompile(o.interruptAt).MatchString(s.raw) {
			interrupted = true
			if _, err := terminal.Write([]byte{3}); err != nil { // Ctrl-C
				t.Fatal(err)
			}
		}
		if o.answerAt != "" && !answered && regexp.MustCompile(o.answerAt).MatchString(s.raw) {
			answered = true
			if _, err := terminal.WriteString("y\n"); err != nil {
				t.Fatal(err)
			}
		}
		if o.resizeAt != "" && resized < 0 && regexp.MustCompile(o.resizeAt).MatchString(s.raw) {
			resized = len(s.raw)
			if err := pty.Setsize(terminal, &o.resized); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil { // the program has ended: io.EOF, or EIO on Linux
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			break
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	s.code, s.stdout = cmd.ProcessState.ExitCode(), stdout.String()
	if o.interruptAt != "" && !interrupted {
		t.Fatalf("the screen never had %q: %q", o.interruptAt, s.raw)
	}
	if o.answerAt != "" && !answered {
		t.Fatalf("the screen never had %q: %q", o.answerAt, s.raw)
	}
	if o.resizeAt != "" {
		if resized < 0 {
			t.Fatalf("the screen never had %q: %q", o.resizeAt, s.raw)
		}
		s.screen.write(s.raw[:resized])
		s.screen.columns, s.screen.rows = int(o.resized.Cols), int(o.resized.Rows)
		s.screen.top = max(s.screen.top, s.screen.row-s.screen.rows+1)
		s.screen.write(s.raw[resized:])
		return s
	}
	s.screen.write(s.raw)
	return s
}

// hidesCursor reports whether the cursor is hidden at the end.
func (s *session) hidesCursor() bool {
	return strings.LastIndex(s.raw, "\x1b[?25l") > strings.LastIndex(s.raw, "\x1b[?25h")
}

// screen is a terminal as far as the program uses one: it knows the lines that
// are seen and those that have scrolled out of sight.
type screen struct {
	columns, rows int
	lines         [][]rune // with those out of sight
	top           int      // the first line in sight
	row, column   int      // of the cursor, from the first of all lines
	wrapped       int      // lines that were too wide
}

func newScreen(columns, rows int) *screen {
	return &screen{columns: columns, rows: rows, lines: [][]rune{nil}}
}

var control = regexp.MustCompile(`^\x1b\[\??([0-9;]*)([A-Za-z])`)

func (s *screen) write(text string) {
	for text != "" {
		if m := control.FindStringSubmatch(text); m != nil {
			s.control(m[1], m[2])
			text = text[len(m[0]):]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r {
		case '\r':
			s.column = 0
		case '\n':
			s.feed()
		default:
			if s.column == s.columns {
				s.wrapped++
				s.column = 0
				s.feed()
			}
			line := s.lines[s.row]
			for len(line) <= s.column {
				line = append(line, ' ')
			}
			line[s.column] = r
			s.lines[s.row] = line
			s.column++
		}
	}
}

func (s *screen) feed() {
	s.row++
	if s.row == len(s.lines) {
		s.lines = append(s.lines, nil)
	}
	s.top = max(s.top, s.row-s.rows+1)
}

func (s *screen) control(number, command string) {
	n, _ := strconv.Atoi(number) // colours have several, and are of no interest
	switch command {
	case "A":
		s.row = max(s.row-max(n, 1), s.top)
	case "J":
		s.lines = s.lines[:s.row+1]
		s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
	case "K":
		if n == 2 {
			s.lines[s.row] = nil
		} else {
			s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
		}
	}
}

// text returns all lines, with those out of sight, without the blanks at their
// ends.
func (s *screen) text() string {
	var b strings.Builder
	for _, line := range s.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// tooWide returns the lines of a session that a terminal breaks.
func tooWide(raw string, columns int) []string {
	var wide []string
	for line := range strings.Lines(raw) {
		if line = strings.TrimRight(line, "\r\n"); terminal.Width(line) > columns {
			wide = append(wide, line)
		}
	}
	return wide
}
