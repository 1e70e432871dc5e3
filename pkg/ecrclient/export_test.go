package ecrclient

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"
)

// WithSleep replaces the pause between two attempts.
func WithSleep(f func(context.Context, time.Duration) error) Option {
	return func(o *options) { o.sleep = f }
}

// WithResolver is the default transport with another resolver, another proxy, and
// another way to the registry.
func WithResolver(resolver *net.Resolver, proxy func(*http.Request) (*url.URL, error),
	registry func(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (
		net.Conn, error)) Option {
	dialer := newDialer()
	dialer.Resolver = resolver
	base := newTransport(dialer)
	base.DialContext, base.Proxy = registry(base.DialContext), proxy
	return func(o *options) { o.transport, o.outward = base, newTransport(outward(*dialer)) }
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
