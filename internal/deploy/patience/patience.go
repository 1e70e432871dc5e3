// Package patience asks AWS again and again until something has happened.
// It continues if AWS cannot be reached for a while or throttles the requests: what it
// waits for does not depend on them.
//
// Start with [Patience.Until].
package patience

import (
	"context"
	"errors"
	"fmt"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
)

// ErrTooLong: it has not happened in the time allowed.
var ErrTooLong = errors.New("it takes too long")

// Patience is how to wait. Its zero value asks every 3 s, without end, and
// tolerates 5 min of temporary errors.
type Patience struct {
	Pause  time.Duration // between two questions; 0 is 3 s
	Errors time.Duration // for which passing errors are borne; 0 is 5 min
	Limit  time.Duration // for all of it; 0 is none
}

// Every is the pause between two questions.
func (p Patience) Every() time.Duration {
	if p.Pause == 0 {
		return 3 * time.Second
	}
	return p.Pause
}

// Passing reports whether an error may be gone with the next attempt: AWS could
// not be reached, or was asked too often.
func Passing(err error) bool {
	err = awserror.Explain(err)
	return errors.Is(err, awserror.ErrThrottled) || errors.Is(err, awserror.ErrUnreachable)
}

// Bearing counts passing errors.
type Bearing struct {
	p     Patience
	since time.Time
}

// Bear begins to count.
func (p Patience) Bear() *Bearing { return &Bearing{p: p} }

// Take returns nil for an error that passes and for none, and the error when it
// does not pass, or has lasted too long.
func (b *Bearing) Take(err error) error {
	if err == nil {
		b.since = time.Time{}
		return nil
	}
	if !Passing(err) {
		return err
	}
	limit := b.p.Errors
	if limit == 0 {
		limit = 5 * time.Minute
	}
	switch now := time.Now(); {
	case b.since.IsZero():
		b.since = now
	case now.Sub(b.since) > limit:
		return err
	}
	return nil
}

// Until asks until the answer is true. The error is that of ask, of the context,
// or matches ErrTooLong.
func (p Patience) Until(ctx context.Context, ask func(context.Context) (bool, error)) error {
	b, began := p.Bear(), time.Now()
	for {
		done, err := ask(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if done && err == nil {
			return nil
		}
		if err = b.Take(err); err != nil {
			return err
		}
		if p.Limit > 0 && time.Since(began) > p.Limit {
			return fmt.Errorf("%w: more than %s", ErrTooLong, p.Limit)
		}
		select {
		case <-time.After(p.Every()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
