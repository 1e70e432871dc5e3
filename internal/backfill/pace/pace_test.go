package pace_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"soci-index-builder/internal/backfill/pace"
)

// clock moves by sleeping alone.
type clock struct{ now time.Time }

func (c *clock) sleep(_ context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return nil
}

func TestWait(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &clock{now: start}
	p := &pace.Pacer{Now: func() time.Time { return c.now }, Sleep: c.sleep}
	steps := []struct {
		name   string
		work   time.Duration // that passes before
		cost   time.Duration
		begins time.Duration // after start
	}{
		{"the first begins at once", 0, time.Second, 0},
		{"the next waits", 0, 3 * time.Second, time.Second},
		{"for as long as the one before cost", time.Second, time.Second, 4 * time.Second},
		{"time that passed is not saved", 10 * time.Second, time.Second, 14 * time.Second},
		{"so this one waits", 0, 0, 15 * time.Second},
		{"nothing costs nothing", 0, 0, 15 * time.Second},
	}
	for _, s := range steps {
		c.now = c.now.Add(s.work)
		if err := p.Wait(t.Context(), s.cost); err != nil {
			t.Fatal(err)
		}
		if got := c.now.Sub(start); got != s.begins {
			t.Errorf("%s: begins after %v, want %v", s.name, got, s.begins)
		}
	}
}

func TestWaitInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &pace.Pacer{}
	if err := p.Wait(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want %v", err, context.Canceled)
	}
}
