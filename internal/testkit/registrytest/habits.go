package registrytest

import (
	"net/http"
	"strings"
)

// Habits of registries that the specification does not have, or leaves open.

// RefuseRange answers a Range request with a status and passes any other on.
func RefuseRange(status int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Range") == "" {
			next.ServeHTTP(w, r)
			return
		}
		Status(status, "", "")(w, r, next)
	}
}

// Page answers with a page of HTML, as a proxy or a web interface does that
// stands where the registry's API should be.
func Page(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body>There is nothing here.</body></html>"))
	}
}

// Text answers with a status and a line of plain text.
func Text(status int, text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + "\n"))
	}
}

// ImmutableTags refuses to move a tag that is there, with a status and an error
// code. By digest, and under a new tag, manifests are taken.
func ImmutableTags(status int, code string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		reference := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if r.Method == http.MethodPut && !strings.Contains(reference, ":") {
			look := r.Clone(r.Context())
			look.Method, look.Body = http.MethodHead, http.NoBody
			seen := &discard{header: http.Header{}}
			if next.ServeHTTP(seen, look); seen.status == http.StatusOK {
				Status(status, code, "the tag cannot be changed")(w, r, next)
				return
			}
		}
		next.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter of which only the status is kept.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) { d.status = status }

func (d *discard) Write(p []byte) (int, error) {
	if d.status == 0 {
		d.status = http.StatusOK
	}
	return len(p), nil
}
