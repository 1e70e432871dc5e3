package registrytest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Signature is what every signed URL has in its query; it must be seen
// nowhere else.
const Signature = "5ec4e75169a7u4e"

// SignedURLs is a second server, on another port, to which the registry's
// redirects lead. It serves the registry's content to requests with a URL
// that it signed, and refuses those with an Authorization header.
type SignedURLs struct {
	*Faults
	URL string

	mu     sync.Mutex
	issued int
	oldest int // of those that are still good
	leaked []Request
}

// StartSignedURLs runs the server until the test ends.
func StartSignedURLs(t testing.TB, s *Server) *SignedURLs {
	t.Helper()
	signed := &SignedURLs{}
	registry := s.Registry.Handler()
	signed.Faults = Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !signed.admit(r) {
			// As S3 does: the body repeats what must not be seen.
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><SignatureProvided>%s</SignatureProvided></Error>",
				Signature)
			return
		}
		registry.ServeHTTP(w, r)
	}))
	signed.URL = serve(t, signed.Faults).URL
	return signed
}

// Storage is the name of a host, which dialers of a test connect with 127.0.0.1.
const Storage = "storage.example"

// Elsewhere gives the server the name Storage and returns it: a registry that is not
// on this machine does not redirect to an address of it.
func (s *SignedURLs) Elsewhere() *SignedURLs {
	s.URL = strings.Replace(s.URL, "127.0.0.1", Storage, 1)
	return s
}

func (s *SignedURLs) admit(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		s.leaked = append(s.leaked, Request{
			Method: r.Method, Path: r.URL.Path, Authorization: r.Header.Get("Authorization"),
		})
		return false
	}
	var number int
	q := r.URL.Query()
	_, err := fmt.Sscan(q.Get("X-Amz-Date"), &number)
	return err == nil && q.Get("X-Amz-Signature") == Signature && number > s.oldest && number <= s.issued
}

// Redirect answers 307 with a fresh signed URL of what was asked for.
func (s *SignedURLs) Redirect() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		s.mu.Lock()
		s.issued++
		location := fmt.Sprintf("%s%s?X-Amz-Date=%d&X-Amz-Signature=%s", s.URL, r.URL.Path, s.issued, Signature)
		s.mu.Unlock()
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// RedirectBasic is Redirect for requests with a user and password; others get the
// registry's own answer, which asks for them.
func (s *SignedURLs) RedirectBasic() Fault {
	redirect := s.Redirect()
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if _, _, ok := r.BasicAuth(); !ok {
			next.ServeHTTP(w, r)
			return
		}
		redirect(w, r, next)
	}
}

// Expire makes all URLs that were issued so far worthless.
func (s *SignedURLs) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest = s.issued
}

// Issued returns the number of URLs so far.
func (s *SignedURLs) Issued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

// Leaked returns the requests that brought what was meant for the registry.
func (s *SignedURLs) Leaked() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.leaked...)
}
