package ecrclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"oras.land/oras-go/v2/registry/remote/errcode"
)

// doer sends a request with the credentials of its registry.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}

// client is what oras-go sends its requests through. It is between oras-go and the
// authentication so that nothing oras-go puts into an error can hold a signed URL,
// and so that statuses keep their Retry-After. It makes one attempt; attempts are
// counted where the operation is known (retry.go).
type client struct {
	auth doer
	http doer // without credentials
	log  *slog.Logger
	now  func() time.Time
}

// Do asks the registry. It returns responses below 400, and 404, which oras-go
// handles itself. Any other is a *statusError.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	resp, _, err := c.send(c.auth, req, req.URL)
	return resp, err
}

// send is Do, for req itself or for a request in its place: asked is the URL at
// the registry. It returns where the answer came from if not from there, which
// the response does not say.
func (c *client) send(via doer, req *http.Request, asked *url.URL) (*http.Response, *url.URL, error) {
	if body, ok := req.Body.(*contentBody); ok && req.GetBody == nil {
		req.GetBody = body.reopen()
	}
	start := c.now()
	resp, err := via.Do(req)
	attrs := []any{"method", req.Method, "path", asked.Path, "seconds", c.now().Sub(start).Seconds()}
	if err != nil {
		err = redact(err)
		if lost, ok := errors.AsType[*unavailableError](err); ok {
			attrs = append(attrs, "cause", redactText(lost.cause.Error()))
		}
		c.log.DebugContext(req.Context(), "registry request failed", append(attrs, "error", err)...)
		return nil, nil, plain(err)
	}
	var redirectedTo string
	var from *url.URL
	if !sameOrigin(asked, resp.Request.URL) {
		from = resp.Request.URL
		redirectedTo = from.Host
		attrs = append(attrs, "redirected_to", redirectedTo)
	}
	c.log.DebugContext(req.Context(), "registry request", append(attrs, "status", resp.StatusCode)...)

	seen := *resp.Request
	seen.URL = redactURL(seen.URL)
	resp.Request = &seen
	if resp.StatusCode >= 400 && resp.StatusCode != http.StatusNotFound {
		defer resp.Body.Close()
		return nil, nil, newStatusError(resp, redirectedTo, c.now())
	}
	list := strings.HasSuffix(asked.Path, "/tags/list")
	switch page := isPage(resp) && from == nil; {
	case page && list && resp.StatusCode >= 300: // 404, which oras-go would tell without the page
		defer resp.Body.Close()
		return nil, nil, newStatusError(resp, "", c.now())
	case page && (list || strings.Contains(asked.Path, "/manifests/")) && resp.StatusCode < 300:
		resp.Body.Close()
		return nil, nil, fmt.Errorf("%w (check the host, and HTTPS_PROXY): %d %s with a web page", ErrNotRegistry,
			resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return resp, from, nil
}

// isPage reports whether an answer is a web page, as of a proxy, and not one of
// a registry that names no better media type. A registry that asks for a login
// may do so with a page.
func isPage(resp *http.Response) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") &&
		resp.StatusCode != http.StatusUnauthorized && resp.Header.Get("Docker-Content-Digest") == "" &&
		resp.Header.Get("Docker-Distribution-Api-Version") == ""
}

// statusError is an answer with an error status.
type statusError struct {
	status       int
	code         string // the first of the body's error codes
	message      string
	redirectedTo string        // the host that answered, when not the registry
	page         bool          // the answer is a web page, so it is hardly the registry's
	retryAfter   time.Duration // 0 if the answer did not say
}

func (e *statusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.status, http.StatusText(e.status))
	switch {
	case e.code != "" && e.message != "":
		fmt.Fprintf(&b, " (%s: %s)", e.code, e.message)
	case e.code != "" || e.message != "":
		fmt.Fprintf(&b, " (%s%s)", e.code, e.message)
	}
	switch {
	case e.page && e.status == http.StatusNotFound:
		b.WriteString(", with a web page instead of a registry's answer (check the image's name, the host, and " +
			"HTTPS_PROXY)")
	case e.page:
		b.WriteString(", with a web page instead of a registry's answer (check the host, and HTTPS_PROXY)")
	case e.redirectedTo != "":
		fmt.Fprintf(&b, " from %s, where the registry redirects to", e.redirectedTo)
	}
	return b.String()
}

// Is matches the class of the status.
func (e *statusError) Is(target error) bool {
	if target == ErrNotRegistry {
		return e.page
	}
	class := classOf(e.status)
	return class != nil && class == target
}

const (
	maxErrorBody    = 8 << 10 // bytes of an error answer that are read
	maxErrorMessage = 400     // characters of its message that are kept
)

func newStatusError(resp *http.Response, redirectedTo string, now time.Time) *statusError {
	e := &statusError{
		status:       resp.StatusCode,
		redirectedTo: redirectedTo,
		page:         redirectedTo == "" && isPage(resp),
		retryAfter:   retryAfter(resp.Header.Get("Retry-After"), now),
	}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, maxErrorBody)).Decode(&body) == nil && len(body.Errors) > 0 {
		e.code = printable(body.Errors[0].Code)
		e.message = printable(body.Errors[0].Message)
	}
	return e
}

// printable makes foreign text fit for one line of an error.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, redactText(s))
	if runes := []rune(s); len(runes) > maxErrorMessage {
		s = string(runes[:maxErrorMessage]) + "..."
	}
	return strings.TrimSpace(s)
}

// retryAfter reads the header in its two forms, seconds and date.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
