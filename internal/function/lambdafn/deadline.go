package lambdafn

import (
	"context"
	"time"
)

// LastMoments returns a context for a call that an invocation makes at its end,
// to say how it went: of at most d, and of half the time that is left at most,
// so that there is time for another call and for the answer.
func LastMoments(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline)/2)
	}
	return context.WithTimeout(ctx, d)
}
