// Package pace limits the rate of work, so that the services behind it are not
// overloaded. Start with [Pacer.Wait].
package pace

import (
	"context"
	"time"

	smithytime "github.com/aws/smithy-go/time"
)

// Pacer spaces pieces of work: each begins after the time that the previous one
// costs. Unused time is not saved. A Pacer is for one goroutine.
type Pacer struct {
	// Now and Sleep are time.Now and a timer by default.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error

	next time.Time
}

// Wait returns when the next piece may begin; cost is how long the one after
// it then has to wait. Its error is that of ctx.
func (p *Pacer) Wait(ctx context.Context, cost time.Duration) error {
	now, sleep := time.Now, smithytime.SleepWithContext
	if p.Now != nil {
		now = p.Now
	}
	if p.Sleep != nil {
		sleep = p.Sleep
	}
	t := now()
	if t.Before(p.next) {
		if err := sleep(ctx, p.next.Sub(t)); err != nil {
			return err
		}
		t = p.next
	}
	p.next = t.Add(cost)
	return ctx.Err()
}
