package registrytest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
)

// Rule says which requests meet a fault. Skip and Times count all requests that
// match the rule, also those that another rule decides.
type Rule struct {
	Method string // "" is every method
	Path   string // regular expression, found anywhere in the path; "" is every path
	Skip   int    // how many matching requests pass first
	Times  int    // how many then meet the fault; 0 is all
	Fault  Fault
}

// Fault answers in place of next, or lets next answer and spoils that.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Request is one request as it arrived.
type Request struct {
	Method        string
	Path          string
	Query         string
	Range         string
	Authorization string
	UserAgent     string
	ContentLength int64 // -1 if it was not announced
}

// Faults is a handler that spoils the answers of another. It is safe for
// concurrent use.
type Faults struct {
	next http.Handler
	done chan struct{}
	once sync.Once

	mu       sync.Mutex
	rules    []*activeRule
	requests []Request
}

type activeRule struct {
	Rule
	path *regexp.Regexp
	seen int
}

// Wrap returns a handler that does what next does, until Add is called.
func Wrap(next http.Handler) *Faults {
	return &Faults{next: next, done: make(chan struct{})}
}

// Add appends rules; of those that match a request the first one that is
// neither skipping nor used up decides. A bad Path panics.
func (f *Faults) Add(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		f.rules = append(f.rules, &activeRule{Rule: r, path: regexp.MustCompile(r.Path)})
	}
}

// Clear forgets the rules and the requests.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.requests = nil, nil
}

// Requests returns what has arrived so far.
func (f *Faults) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.requests...)
}

// Count returns the number of requests so far that have the method ("" is every
// one) and the path (a regular expression, found anywhere).
func (f *Faults) Count(method, path string) int {
	re := regexp.MustCompile(path)
	n := 0
	for _, r := range f.Requests() {
		if (method == "" || r.Method == method) && re.MatchString(r.Path) {
			n++
		}
	}
	return n
}

func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := f.record(r); fault != nil {
		fault(w, r, f.next)
		return
	}
	f.next.ServeHTTP(w, r)
}

// record notes the request and returns the fault for it.
func (f *Faults) record(r *http.Request) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Range: r.Header.Get("Range"),
		Authorization: r.Header.Get("Authorization"), UserAgent: r.UserAgent(), ContentLength: r.ContentLength,
	})
	var fault Fault
	for _, rule := range f.rules {
		if rule.Method != "" && rule.Method != r.Method || !rule.path.MatchString(r.URL.Path) {
			continue
		}
		rule.seen++
		if fault == nil && rule.seen > rule.Skip && (rule.Times == 0 || rule.seen <= rule.Skip+rule.Times) {
			fault = rule.Fault
		}
	}
	return fault
}

// release lets go of the requests that Stall holds.
func (f *Faults) release() { f.once.Do(func() { close(f.done) }) }

// Status answers with a status and an OCI error body; header is made of pairs
// of name and value.
func Status(status int, code, message string, header ...string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"errors": []map[string]string{{"code": code, "message": message}},
		})
	}
}

// Reset answers with a TCP reset.
func Reset() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Stall takes the request and does not answer until the client gives up.
func (f *Faults) Stall() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see the client leave
		f.hold(r)
	}
}

// StallAfter sends n bytes of the body and then no more until the client gives
// up.
func (f *Faults) StallAfter(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(cut(w, n, nil, func() { f.hold(r) }), r)
	}
}

func (f *Faults) hold(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.done:
	}
	panic(http.ErrAbortHandler)
}

// Truncate sends n bytes of the body and then closes the connection.
func Truncate(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(cut(w, n, nil, func() { panic(http.ErrAbortHandler) }), r)
	}
}

// Short sends n bytes of the body as if they were all, with no length
// announced: a premature end that HTTP does not show.
func Short(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(cut(w, n, unannounced, func() {}), r)
	}
}

// Lengthen sends extra bytes after the body, with their number announced or
// with none.
func Lengthen(extra []byte, announced bool) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		edit := unannounced
		if announced {
			edit = func(h http.Header) {
				if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil {
					h.Set("Content-Length", strconv.Itoa(n+len(extra)))
				}
			}
		}
		next.ServeHTTP(&spoiler{ResponseWriter: w, edit: edit, write: w.Write}, r)
		_, _ = w.Write(extra)
	}
}

// Corrupt flips the byte at offset n of the body.
func Corrupt(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		at := n
		next.ServeHTTP(&spoiler{ResponseWriter: w, write: func(p []byte) (int, error) {
			if at >= 0 && at < int64(len(p)) {
				p = append([]byte(nil), p...)
				p[at] ^= 0xff
			}
			at -= int64(len(p))
			return w.Write(p)
		}}, r)
	}
}

// Header sets a header of the answer, over what next sets; value "" removes it.
func Header(name, value string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&spoiler{ResponseWriter: w, write: w.Write, edit: func(h http.Header) {
			h.Del(name)
			if value != "" {
				h.Set(name, value)
			}
		}}, r)
	}
}

// IgnoreRange answers a Range request with all of the content.
func IgnoreRange() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := r.Clone(r.Context())
		whole.Header.Del("Range")
		next.ServeHTTP(w, whole)
	}
}

// Both has the second fault within the first.
func Both(outer, inner Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		outer(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner(w, r, next) }))
	}
}

// spoiler is a ResponseWriter with a way to change the header before it goes
// out and another way to write the body.
type spoiler struct {
	http.ResponseWriter
	edit  func(http.Header) // nil for none
	write func([]byte) (int, error)
	wrote bool
}

func (s *spoiler) WriteHeader(status int) {
	s.wrote = true
	if s.edit != nil {
		s.edit(s.Header())
	}
	s.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *spoiler) Write(p []byte) (int, error) {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return s.write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (s *spoiler) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func unannounced(h http.Header) { h.Del("Content-Length") }

// cut lets n bytes pass, then calls then once, and drops the rest.
func cut(w http.ResponseWriter, n int64, edit func(http.Header), then func()) *spoiler {
	isCut := false
	return &spoiler{ResponseWriter: w, edit: edit, write: func(p []byte) (int, error) {
		part := p[:min(int64(len(p)), n)]
		if len(part) > 0 {
			if _, err := w.Write(part); err != nil {
				return 0, err
			}
			n -= int64(len(part))
		}
		if len(part) < len(p) && !isCut {
			isCut = true
			_ = http.NewResponseController(w).Flush()
			then()
		}
		return len(p), nil
	}}
}
