package guided

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/creack/pty"
)

func TestAsk(t *testing.T) {
	even := func(s string) error {
		if len(s)%2 != 0 {
			return errors.New("must have an even number\nof characters")
		}
		return nil
	}
	tests := []struct {
		name, in, byDefault, want, screen string
	}{
		{"answer", " ab \n", "", "ab", "Name: "},
		{"default", "\n", "xy", "xy", "Name [xy]: "},
		{"nothing", "-\n", "xy", "", "Name [xy]: "},
		{"asked again", "abc\nab\n", "xy", "ab",
			"Name [xy]:   \"abc\": must have an even number; of characters\nName [xy]: "},
		{"line break of Windows", "ab\r\n", "", "ab", "Name: "},
		{"last line without a break", "ab", "", "ab", "Name: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var screen bytes.Buffer
			got, err := NewTerminal(strings.NewReader(tt.in), &screen).Ask(t.Context(),
				Question{Text: "Name", Default: tt.byDefault, Check: even})
			if err != nil || got != tt.want || screen.String() != tt.screen {
				t.Errorf("Ask = %q, %v, with the screen %q", got, err, screen.String())
			}
		})
	}
}

func TestAskEnds(t *testing.T) {
	var screen bytes.Buffer
	_, err := NewTerminal(strings.NewReader("a\n"), &screen).Ask(t.Context(),
		Question{Text: "Name", Help: "Any name.\n", Check: func(string) error { return errors.New("must be another") }})
	if !errors.Is(err, ErrEnded) || screen.String() != "\nAny name.\nName:   \"a\": must be another\nName: \n" {
		t.Errorf("at the end of the input: %v, with the screen %q", err, screen.String())
	}
	broken := errors.New("broken")
	if _, err = NewTerminal(iotest.ErrReader(broken), io.Discard).Line(t.Context(), "? "); !errors.Is(err, broken) ||
		errors.Is(err, ErrEnded) {
		t.Errorf("a broken input: %v", err)
	}
	long := strings.NewReader(strings.Repeat("a", maxLine+1) + "\n")
	if _, err = NewTerminal(long, io.Discard).Line(t.Context(), "? "); err == nil || errors.Is(err, ErrEnded) {
		t.Errorf("a line without end: %v", err)
	}
}

// The next reader gets the bytes that follow the answer.
func TestLineReadsNoFurther(t *testing.T) {
	in := strings.NewReader("one\ntwo\n")
	if got, err := NewTerminal(in, io.Discard).Line(t.Context(), ""); got != "one" || err != nil {
		t.Fatal(got, err)
	}
	if rest, err := io.ReadAll(in); string(rest) != "two\n" || err != nil {
		t.Errorf("left over: %q, %v", rest, err)
	}
}

func TestConfirm(t *testing.T) {
	for _, tt := range []struct {
		in        string
		byDefault bool
		want      bool
	}{{"\n", true, true}, {"\n", false, false}, {"Y\n", false, true}, {"no\n", true, false},
		{"what\nyes\n", false, true}} {
		var screen bytes.Buffer
		got, err := NewTerminal(strings.NewReader(tt.in), &screen).Confirm(t.Context(), "Sure?", tt.byDefault)
		if err != nil || got != tt.want {
			t.Errorf("%q: %v, %v", tt.in, got, err)
		}
		if strings.Contains(tt.in, "what") && !strings.Contains(screen.String(), `"what": must be y or n`) {
			t.Errorf("the screen is %q", screen.String())
		}
	}
}

// A question that nobody answers ends with its context.
func TestCancelled(t *testing.T) {
	in, _ := io.Pipe() // has nothing, for ever
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		time.Sleep(10 * time.Millisecond)
		cancel()
	}()
	if _, err := NewTerminal(in, io.Discard).Line(ctx, "? "); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := NewTerminal(in, io.Discard).Line(ctx, "? "); !errors.Is(err, context.Canceled) {
		t.Errorf("asked after it was cancelled: %v", err)
	}
}

// openPTY returns both ends of a real terminal.
func openPTY(t *testing.T) (user, program interface {
	io.ReadWriteCloser
	Fd() uintptr
}) {
	t.Helper()
	p, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal can be had here: %v", err)
	}
	t.Cleanup(func() { p.Close(); tty.Close() })
	return p, tty
}

func TestOpenTerminal(t *testing.T) {
	_, tty := openPTY(t)
	in, out := io.Reader(tty), io.Writer(tty)
	if OpenTerminal(in, out) == nil {
		t.Error("a terminal is not taken for one")
	}
	if OpenTerminal(strings.NewReader(""), out) != nil || OpenTerminal(in, io.Discard) != nil {
		t.Error("something is taken for a terminal that is none")
	}
}
