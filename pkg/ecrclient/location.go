package ecrclient

import (
	"net/http"
	"net/url"
	"sync"
)

// location is where the registry redirects to for one blob: a signed URL that
// serves until it expires, so that not every piece takes two requests. It is as
// sensitive as a password: nothing meant for the registry is sent to it, and its query
// never appears in a text.
//
// The nil location is that of a blob for which every request is sent to the registry.
type location struct {
	mu     sync.Mutex
	url    *url.URL // nil to ask the registry
	served bool     // also another request than the redirected one
	single bool     // these URLs serve no other request
}

// get returns the URL to ask, nil for that of the registry.
func (l *location) get() *url.URL {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.url
}

// set takes what the registry redirected to, nil if it did not.
func (l *location) set(u *url.URL) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.single {
		l.url, l.served = u, false
	}
}

// serves notes that u has answered as it should.
func (l *location) serves(u *url.URL) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served = l.served || l.url == u
}

// refused notes that u no longer works. If it never did, its successors will
// not either.
func (l *location) refused(u *url.URL) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.url == u {
		l.url, l.single = nil, !l.served
	}
}

// refusedLocation reports whether an answer means that the URL does not serve,
// not that the blob cannot be had: what storage says of an expired URL differs.
func refusedLocation(err error) bool {
	e, ok := err.(*statusError)
	if !ok || e.status < 400 || e.status >= 500 {
		return false
	}
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusRequestedRangeNotSatisfiable:
		return false
	}
	return true
}
