package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                       "0s",
		999_999 * time.Nanosecond:               "0s",
		50*time.Millisecond + 900_000:           "50ms",
		999*time.Millisecond + 999_999:          "999ms",
		time.Second + 999*time.Millisecond:      "1s",
		59*time.Second + 999*time.Millisecond:   "59s",
		30*time.Minute + 999*time.Millisecond:   "30m",
		2*time.Hour + 999*time.Millisecond:      "2h",
		time.Hour + 59*time.Second + 99_999_999: "1h0m59s",
	} {
		if got := elapsed(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// stopwatch is for what a command says about the time that it took.
type stopwatch struct{ began time.Time }

func (s *stopwatch) start(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: stopwatch")
	}
	s.began = time.Now()
}

var notIndexedAfter = regexp.MustCompile(`(?m): not indexed after (\S+)$`)

// waited checks that standard error tells of a time from LEAST to what has passed
// since the stopwatch was started: a time that is rounded up is longer.
func (s *stopwatch) waited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || s.began.IsZero() {
		ts.Fatalf("usage: stopwatch, then waited LEAST")
	}
	least, err := time.ParseDuration(args[0])
	ts.Check(err)
	passed := time.Since(s.began)
	m := notIndexedAfter.FindStringSubmatch(ts.ReadFile("stderr"))
	if m == nil {
		ts.Fatalf("standard error has no such time: %s", ts.ReadFile("stderr"))
	}
	d, err := time.ParseDuration(m[1])
	ts.Check(err)
	if d < least || d > passed {
		ts.Fatalf("not indexed after %v: it was %v at least, and %v at most", d, least, passed)
	}
}
