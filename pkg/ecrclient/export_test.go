package ecrclient

import (
	"context"
	"time"
)

// WithSleep replaces the pause between two attempts.
func WithSleep(f func(context.Context, time.Duration) error) Option {
	return func(o *options) { o.sleep = f }
}

// WithClock replaces the clock.
func WithClock(f func() time.Time) Option { return func(o *options) { o.now = f } }

// WithHeaderTimeout replaces the time that an answer may take.
func WithHeaderTimeout(d time.Duration) Option { return func(o *options) { o.headerTimeout = d } }

// WithOwnTokens returns repositories that share the option tokens of their own.
func WithOwnTokens() Option {
	tokens := &tokenSources{}
	return func(o *options) { o.tokens = tokens }
}

// Wait is the pause after failed attempt n.
func (p RetryPolicy) Wait(n int, asked time.Duration) time.Duration {
	p, _ = p.defaults()
	return p.wait(n, asked)
}

const (
	MaxReferrers  = maxReferrers
	MaxPages      = maxPages
	MaxEmptyPages = maxEmptyPages
	MaxPageLink   = maxPageLink
)
