package live_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/live"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func event(seconds int, id, status, reason string) execution.Event {
	return execution.Event{LogicalID: id, Type: "AWS::SQS::Queue", Status: status, Reason: reason,
		OfStack: id == "prod",
		Time:    start.Add(time.Duration(seconds) * time.Second)}
}

var events = []execution.Event{
	event(0, "prod", "UPDATE_IN_PROGRESS", "User Initiated"),
	event(1, "FailureQueue", "UPDATE_IN_PROGRESS", ""),
	event(2, "PushRule", "CREATE_IN_PROGRESS", ""),
	event(3, "PushRule", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
	event(70, "FailureQueue", "UPDATE_COMPLETE", ""),
	event(71, "PushRule", "CREATE_FAILED", "it is\nno \x1b[31mrule"),
	event(72, "FilterRole", "UPDATE_FAILED", "Resource update cancelled"),
	event(73, "prod", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed"),
	event(74, "PushRule", "DELETE_IN_PROGRESS", ""),
	event(75, "PushRule", "DELETE_COMPLETE", ""),
	event(80, "prod", "UPDATE_ROLLBACK_COMPLETE", ""),
}

func TestLines(t *testing.T) {
	var b bytes.Buffer
	d := live.NewLines(&b)
	for _, e := range events {
		d.Event(e)
	}
	d.End()
	want := `  03:04:05  updating     stack prod
  03:05:15  updated      failure queue  1m09s
  03:05:16  FAILED       push rule  1m09s: it is no  [31mrule
  03:05:17  cancelled    filter role
  03:05:18  rolling back stack prod: The following resource(s) failed
  03:05:20  deleted      push rule  1s
  03:05:25  rolled back  stack prod  1m20s
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

// The tree is as high as the terminal while it changes; at the end all of it is
// there. Each picture takes the place of the one before.
func TestTree(t *testing.T) {
	var b bytes.Buffer
	d := live.NewTree(&b, 70, 6)
	for _, e := range events[:4] {
		d.Event(e)
	}
	d.Tick(start.Add(time.Hour)) // of another clock
	want := "- stack prod                               updating     3s\n" +
		"  - failure queue                            updating     2s\n" +
		"  - push rule                                creating     1s\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
	b.Reset()
	d.Tick(start.Add(time.Hour + 10*time.Second))
	if !strings.HasPrefix(b.String(), "\x1b[3A\x1b[J- stack prod  ") ||
		!strings.Contains(b.String(), "updating     13s\n") {
		t.Errorf("got %q", b.String())
	}
	for _, e := range events[4:] {
		d.Event(e)
	}
	b.Reset()
	d.Tick(start.Add(time.Hour + time.Minute))
	if n := strings.Count(b.String(), "\n"); n > 5 || !strings.Contains(b.String(), "  ... and 1 more\n") {
		t.Errorf("%d lines:\n%s", n, &b)
	}
	b.Reset()
	d.End()
	if n := strings.Count(b.String(), "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, &b)
	}
	for line := range strings.Lines(b.String()) {
		if len(strings.TrimPrefix(line, "\x1b[4A\x1b[J")) > 70 {
			t.Errorf("too long for the terminal: %q", line)
		}
	}
}
