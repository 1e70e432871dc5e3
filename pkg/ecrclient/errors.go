package ecrclient

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The classes of failure, for errors.Is.
var (
	// ErrNotFound: the registry has no such repository, manifest or blob (404).
	ErrNotFound = errors.New("not found")

	// ErrDenied: the registry, or AWS when it was asked for a token, did not
	// accept the credentials or their permissions (401, 403).
	ErrDenied = errors.New("access denied")

	// ErrThrottled: too many requests (429), also after all attempts.
	ErrThrottled = errors.New("throttled")

	// ErrUnavailable: the registry could not serve the request now (408, 5xx),
	// or the connection was refused, reset, cut short or stalled, also after
	// all attempts.
	ErrUnavailable = errors.New("registry unavailable")

	// ErrManifestTooLarge: a manifest exceeds MaxManifestSize.
	ErrManifestTooLarge = errors.New("manifest too large")

	// ErrDigestMismatch: the bytes are not those that the descriptor names, by
	// size or by digest.
	ErrDigestMismatch = errors.New("content does not match its descriptor")

	// ErrInvalidReference: not a reference of the form host/name[:tag|@digest].
	ErrInvalidReference = errors.New("invalid reference")

	// ErrReferrersUnknown: the registry's referrers API refused (403), or
	// failed after all attempts (5xx). It must not be concluded that a manifest
	// has no referrers.
	ErrReferrersUnknown = errors.New("the registry does not tell which manifests refer to this one")

	// ErrNotRegistry: the answer is a web page, as of a proxy or of a server that is
	// no registry. It matches the class of its status too.
	ErrNotRegistry = errors.New("the answer is not from a registry")

	// ErrNoRange: the registry does not serve Range requests.
	ErrNoRange = errors.New("registry does not serve ranges")
)

// Error describes a failed operation on a repository. It matches one of the
// classes above with errors.Is, ErrReferrersUnknown together with that of its
// cause; errors.Is also finds context.Canceled and context.DeadlineExceeded
// when the caller's context ended. Its text has neither credentials nor the
// query of any URL.
type Error struct {
	Op         string // what was being done: "fetch blob"
	Repository string // host/name, or the host alone for "authenticate"
	Reference  string // tag or digest, "" if none
	Status     int    // of the last HTTP answer, 0 if there was none
	Code       string // the registry's or AWS's error code (DENIED), "" if none
	Err        error  // the cause
}

// ECRHost returns the host that the error is of, taken apart; it is false for
// one that is not ECR's.
func (e *Error) ECRHost() (ECRHost, bool) {
	host, _, _ := strings.Cut(e.Repository, "/")
	return ParseECRHost(host)
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteByte(' ')
	b.WriteString(e.Repository)
	if e.Reference != "" {
		if strings.Contains(e.Reference, ":") {
			b.WriteByte('@')
		} else {
			b.WriteByte(':')
		}
		b.WriteString(e.Reference)
	}
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, ": %v", e.Err)
	case e.Status != 0:
		fmt.Fprintf(&b, ": %d %s", e.Status, http.StatusText(e.Status))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches the class of the status.
func (e *Error) Is(target error) bool {
	class := classOf(e.Status)
	return class != nil && class == target
}

// Temporary reports whether the same call may succeed later with nothing
// changed: the registry was throttling, unavailable or out of reach.
func (e *Error) Temporary() bool {
	return errors.Is(e, ErrThrottled) || errors.Is(e, ErrUnavailable)
}

// classOf returns the class of a status, nil if it has none.
func classOf(status int) error {
	switch {
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrDenied
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case status == http.StatusRequestTimeout, status >= 500:
		return ErrUnavailable
	}
	return nil
}
