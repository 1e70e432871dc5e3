package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Attempts are counted here, around a whole operation, and nowhere else:
// oras-go's retrying transport is not used. A transport sees no failure after
// the headers, and it would repeat a PUT in an upload session of unknown state;
// an operation begins with a new session.

// defaults fills the fields left zero.
func (p RetryPolicy) defaults() (RetryPolicy, error) {
	if p.MaxAttempts < 0 || p.MinWait < 0 || p.MaxWait < 0 {
		return p, fmt.Errorf("retry policy %+v: no field may be negative", p)
	}
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 5
	}
	if p.MinWait == 0 {
		p.MinWait = 250 * time.Millisecond
	}
	if p.MaxWait == 0 {
		p.MaxWait = 20 * time.Second
	}
	return p, nil
}

// wait is the pause after the failed attempt number n, counted from 1.
func (p RetryPolicy) wait(n int, asked time.Duration) time.Duration {
	d := p.MaxWait
	if n < 31 && p.MinWait<<(n-1) < p.MaxWait && p.MinWait<<(n-1) > 0 {
		d = p.MinWait << (n - 1)
	}
	d -= rand.N(d/2 + 1)
	return min(max(d, asked), p.MaxWait)
}

// retryable reports whether another attempt may go better, and how long the
// registry asked to wait before it.
func retryable(err error) (bool, time.Duration) {
	// The SDK has made its own attempts at a token.
	if e, ok := errors.AsType[*Error](err); ok && e.Op == opAuthenticate {
		return false, 0
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		switch e.status {
		case http.StatusUnauthorized, http.StatusForbidden:
			// A signed URL that has expired: the registry issues a new one.
			return e.redirectedTo != "", e.retryAfter
		}
		return retryableStatus(e.status), e.retryAfter
	}
	if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok { // from a token server
		return retryableStatus(e.StatusCode), 0
	}
	return errors.Is(err, ErrUnavailable), 0
}

func retryableStatus(status int) bool {
	if status == http.StatusNotImplemented {
		return false // nor will it be
	}
	class := classOf(status)
	return class == ErrThrottled || class == ErrUnavailable
}

// operation is what attempts are counted for, and its description in the log.
type operation struct {
	name      string
	reference string // tag or digest
}

// retry calls attempt until it succeeds, fails for good, or was called
// MaxAttempts times.
func (r *Repository) retry(ctx context.Context, op operation, attempt func(context.Context) error) error {
	for n := 1; ; n++ {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, op, n, err); err != nil {
			return r.fail(op, err)
		}
	}
}

// pause waits before the attempt that follows the failed attempt n. It returns
// an error when there is none to follow.
func (r *Repository) pause(ctx context.Context, op operation, n int, err error, attrs ...any) error {
	if err := ended(ctx); err != nil {
		return err
	}
	again, asked := retryable(err)
	if !again {
		return err
	}
	if n >= r.policy.MaxAttempts {
		if n > 1 {
			err = fmt.Errorf("gave up after %d attempts: %w", n, err)
		}
		return err
	}
	wait := r.policy.wait(n, asked)
	if deadline, ok := ctx.Deadline(); ok && r.now().Add(wait).After(deadline) {
		return fmt.Errorf("no time is left for another attempt: %w", err)
	}
	attrs = append(attrs, "op", op.name, "repository", r.remote.Reference.Repository, referenceAttr(op.reference),
		"attempt", n, "wait", wait.String(), "error", redact(err).Error())
	if e, ok := errors.AsType[*statusError](err); ok {
		attrs = append(attrs, "status", e.status)
	}
	r.log.InfoContext(ctx, "trying again", attrs...)
	return r.sleep(ctx, wait)
}

func referenceAttr(reference string) slog.Attr {
	if isDigest(reference) {
		return slog.String("digest", reference)
	}
	return slog.String("tag", reference)
}
