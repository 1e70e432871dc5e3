package ecrclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"soci-index-builder/internal/text/netfailure"
)

const (
	defaultStallTimeout  = 60 * time.Second
	defaultHeaderTimeout = 30 * time.Second
	defaultUserAgent     = "soci-index-builder"
	maxRedirects         = 10 // as net/http's own
)

// sharedTransport is that of every Repository without WithTransport: what one
// has connected, another can use.
var sharedTransport = sync.OnceValue(func() *http.Transport { return newTransport(newDialer()) })

// outwardTransport is sharedTransport for requests to where registries that are
// elsewhere lead.
var outwardTransport = sync.OnceValue(func() *http.Transport { return newTransport(outward(*newDialer())) })

func newDialer() *net.Dialer {
	return &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
}

func newTransport(dialer *net.Dialer) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,

		OnProxyConnectResponse: netfailure.Connected,

		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   15 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   MaxConnections, // pieces of blobs read at once
		DisableCompression:    true,
	}
}

// watchedTransport sends requests and gives up on those that stop moving: no
// answer within header of the request being sent, no byte of the request's body and
// no KiB of the answer's within stall. Only here is a lost connection (unavailableError)
// distinguished from a cancelled call and from failures that no retry can fix.
type watchedTransport struct {
	base      http.RoundTripper
	outward   http.RoundTripper // for hosts that the registry names, if it is elsewhere; nil for base
	registry  *origin
	header    time.Duration
	stall     time.Duration
	userAgent string
}

func (t *watchedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	parent := req.Context()
	ctx, cancel := context.WithCancelCause(parent)
	out := req.Clone(ctx)
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", t.userAgent)
	}
	dog := newWatchdog(cancel)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &sentBody{ReadCloser: req.Body, t: t, dog: dog}
		if get := req.GetBody; get != nil {
			out.GetBody = func() (io.ReadCloser, error) {
				body, err := get()
				if err != nil {
					return nil, err
				}
				return &sentBody{ReadCloser: body, t: t, dog: dog}, nil
			}
		}
		dog.watch(t.stall, "byte taken")
	} else {
		dog.watch(t.header, "answer")
	}
	resp, err := t.roundTrip(out)
	dog.end()
	if err != nil {
		err = lost(parent, ctx, out.URL.Host, err)
		cancel(nil)
		return nil, err
	}
	resp.Request = req
	resp.Body = &receivedBody{ReadCloser: resp.Body, t: t, dog: newWatchdog(cancel), parent: parent, ctx: ctx,
		host: out.URL.Host, cancel: cancel}
	return resp, nil
}

// roundTrip sends a request by the transport for its host.
func (t *watchedTransport) roundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case t.outward == nil || proxied(t.base, req):
	case t.registry.is(req):
		req = t.registry.watch(req)
	case !t.registry.isHere():
		return t.outward.RoundTrip(req)
	}
	return t.base.RoundTrip(req)
}

// sentBody is a request's body; every read of it is progress.
type sentBody struct {
	io.ReadCloser
	t   *watchedTransport
	dog *watchdog
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.dog.watch(b.t.header, "answer")
	} else {
		b.dog.watch(b.t.stall, "byte taken")
	}
	return n, err
}

// minProgress is how many bytes of a body must come within the stall timeout: one
// byte at a time would go on for years.
const minProgress = 1 << 10 // 1 KiB

// receivedBody is a response's body.
type receivedBody struct {
	io.ReadCloser
	came        int           // bytes of the next minProgress
	waited      time.Duration // for them
	t           *watchedTransport
	dog         *watchdog
	parent, ctx context.Context
	host        string
	cancel      context.CancelCauseFunc
}

func (b *receivedBody) Read(p []byte) (int, error) {
	what := "byte received"
	if b.came > 0 {
		what = "KiB received"
	}
	start := time.Now()
	b.dog.watchFor(b.t.stall-b.waited, stallError{what: what, after: b.t.stall})
	n, err := b.ReadCloser.Read(p)
	b.dog.rest()
	b.waited += time.Since(start)
	if b.came += n; b.came >= minProgress {
		b.came, b.waited = 0, 0
	}
	if err != nil && err != io.EOF {
		err = lost(b.parent, b.ctx, b.host, err)
	}
	return n, err
}

func (b *receivedBody) Close() error {
	b.dog.end()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// watchdog ends a request unless it is called again in time.
type watchdog struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	stall stallError // what the timer is for
	ended bool
}

func newWatchdog(cancel context.CancelCauseFunc) *watchdog { return &watchdog{cancel: cancel} }

// watch ends the request if nothing else is called for d.
func (w *watchdog) watch(d time.Duration, what string) {
	w.watchFor(d, stallError{what: what, after: d})
}

// watchFor is watch with the reason.
func (w *watchdog) watchFor(d time.Duration, stall stallError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.stall = stall
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.bite)
	} else {
		w.timer.Reset(d)
	}
}

func (w *watchdog) bite() {
	w.mu.Lock()
	stall := w.stall
	w.mu.Unlock()
	w.cancel(&stall)
}

// rest stops watching until watch is called.
func (w *watchdog) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// end stops watching for good.
func (w *watchdog) end() {
	w.rest()
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
}

// stallError is why a request was ended.
type stallError struct {
	what  string
	after time.Duration
}

func (e *stallError) Error() string { return fmt.Sprintf("no %s for %v", e.what, e.after) }

// Timeout makes it a timeout for callers that check for one.
func (e *stallError) Timeout() bool { return true }

// unavailableError is a failure of the connection that may not recur in another
// attempt, in plain words.
type unavailableError struct {
	text  string
	cause error
}

func (e *unavailableError) Error() string        { return e.text }
func (e *unavailableError) Unwrap() error        { return e.cause }
func (e *unavailableError) Is(target error) bool { return target == ErrUnavailable }

// lost returns why a request to a host failed.
func lost(parent, ctx context.Context, host string, err error) error {
	if err := ended(parent); err != nil {
		return err
	}
	var stalled *stallError
	if errors.As(context.Cause(ctx), &stalled) {
		return &unavailableError{host + ": " + stalled.Error(), stalled}
	}
	if here, ok := errors.AsType[*thisMachineError](err); ok {
		return &refusedError{here.refusal(host), err}
	}
	if netfailure.OfProxy(err) {
		return &refusedError{netfailure.Text(host, err), err}
	}
	if permanent(err) {
		return err
	}
	return &unavailableError{cmp.Or(netfailure.Text(host, err), err.Error()), err}
}

// refusedError is a failure of the connection that recurs, in plain words.
type refusedError struct {
	text  string
	cause error
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.cause }

// plain leaves out the request, if the error says what happened between the hosts.
func plain(err error) error {
	if _, authenticating := errors.AsType[*Error](err); authenticating {
		return err
	}
	if keys, ok := errors.AsType[*keysError](err); ok {
		return keys
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &refusedError{"the server that gives out the registry's tokens answered with none (check the host, " +
			"and HTTPS_PROXY)", err}
	}
	at, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if again, ok := errors.AsType[*unavailableError](at); ok {
		return again
	}
	if refused, ok := errors.AsType[*refusedError](at); ok {
		return refused
	}
	if up, ok := errors.AsType[timeUpError](at); ok {
		return up
	}
	if text := netfailure.Text("", at); text != "" {
		return &refusedError{text, err}
	}
	return err
}

// permanent reports whether the same connection would fail in the same way
// again: a certificate that is not trusted, no TLS on the other side, a name
// that does not exist.
func permanent(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		dns          *net.DNSError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &record), errors.As(err, &authority),
		errors.As(err, &hostname), errors.As(err, &invalid):
		return true
	case errors.As(err, &dns):
		return dns.IsNotFound
	}
	return false
}

// checkRedirect follows redirects to where blobs are stored, and removes
// anything that is meant only for the registry. net/http keeps Authorization
// for the same host name with another port, and for subdomains.
func (t *watchedTransport) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	switch req.URL.Scheme {
	case "https":
	case "http":
		if via[0].URL.Scheme == "https" {
			return errors.New("refused a redirect from https to http")
		}
	default:
		return fmt.Errorf("refused a redirect to scheme %q", req.URL.Scheme)
	}
	if host := req.URL.Hostname(); isThisMachine(host) && !t.registry.isHere() {
		return fmt.Errorf(
			"refused a redirect to %s, an address of this machine or of its network alone; a registry that is "+
				"on this machine must be named so, as by localhost", host)
	}
	for _, hop := range append(via[1:len(via):len(via)], req) {
		if !sameOrigin(via[0].URL, hop.URL) {
			req.Header.Del("Authorization")
			req.Header.Del("Cookie")
			req.Header.Del("Referer") // may be a signed URL itself
			break
		}
	}
	return nil
}

// sameOrigin reports whether a and b have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) &&
		strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return "80"
}
