package registrytest

import (
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// Stored is a manifest that was pushed. A registry itself does not list what
// has no tag.
type Stored struct {
	Repository string
	Digest     digest.Digest
	At         time.Time // of its first push
}

// Stored returns every manifest that was ever pushed, each once, in the order of
// the pushes. Some may have been deleted since.
func (s *Server) Stored() []Stored {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.all)
}

// pushLog notes the manifests that a registry takes.
type pushLog struct {
	mu  sync.Mutex
	all []Stored
}

var manifestPath = regexp.MustCompile(`^/v2/(.+)/manifests/[^/]+$`)

func (l *pushLog) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := manifestPath.FindStringSubmatch(r.URL.Path)
		if r.Method != http.MethodPut || m == nil {
			next.ServeHTTP(w, r)
			return
		}
		seen := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(seen, r)
		d := digest.Digest(w.Header().Get("Docker-Content-Digest"))
		if seen.status == http.StatusCreated && d.Validate() == nil {
			l.add(Stored{m[1], d, time.Now()})
		}
	})
}

func (l *pushLog) add(s Stored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := slices.ContainsFunc(l.all,
		func(k Stored) bool { return k.Repository == s.Repository && k.Digest == s.Digest })
	if !known {
		l.all = append(l.all, s)
	}
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
