package registrytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
)

// Rule says which requests meet a fault.
type Rule struct {
	Method string // "" is every method
	Path   string // regular expression, found anywhere in the path; "" is every path
	Skip   int    // so many matching requests pass first
	Times  int    // so many then meet the fault; 0 is all
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

// Wrap gives a handler that does what next does, until Add is called.
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

// Requests gives what has arrived so far.
func (f *Faults) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.requests...)
}

// Count gives the number of requests so far that have the method ("" is every
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

// record notes the request and gives the fault that it meets.
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

// Reset closes the connection without an answer.
func Reset() Fault {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
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
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n, then: func() { f.hold(r) }}, r)
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
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n, then: func() { panic(http.ErrAbortHandler) }}, r)
	}
}

// Short sends n bytes of the body as if they were all, with no length
// announced: a premature end that HTTP does not show.
func Short(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n, unannounced: true}, r)
	}
}

// Lengthen sends extra bytes after the body, with their number announced or
// with none.
func Lengthen(extra []byte, announced bool) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&lengthener{ResponseWriter: w, extra: len(extra), announced: announced}, r)
		_, _ = w.Write(extra)
	}
}

// Corrupt flips the byte at offset n of the body.
func Corrupt(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&corrupter{ResponseWriter: w, at: n}, r)
	}
}

// Header sets a header of the answer, over what next sets; value "" removes it.
func Header(name, value string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&headerSetter{ResponseWriter: w, name: name, value: value}, r)
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

// cutter passes left bytes and then calls then, or drops the rest.
type cutter struct {
	http.ResponseWriter
	left        int64
	then        func()
	unannounced bool
}

func (c *cutter) WriteHeader(status int) {
	if c.unannounced {
		c.Header().Del("Content-Length")
	}
	c.ResponseWriter.WriteHeader(status)
	if c.unannounced {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
	}
	if c.left == 0 {
		c.cut()
	}
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	n, err := c.ResponseWriter.Write(p[:c.left])
	c.left = 0
	if err != nil {
		return n, err
	}
	c.cut()
	return len(p), nil
}

func (c *cutter) cut() {
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	if c.then != nil {
		c.then()
	}
}

type lengthener struct {
	http.ResponseWriter
	extra     int
	announced bool
}

func (l *lengthener) WriteHeader(status int) {
	if n, err := strconv.Atoi(l.Header().Get("Content-Length")); err == nil && l.announced {
		l.Header().Set("Content-Length", fmt.Sprint(n+l.extra))
	} else {
		l.Header().Del("Content-Length")
	}
	l.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(l.ResponseWriter).Flush()
}

type corrupter struct {
	http.ResponseWriter
	at int64
}

func (c *corrupter) Write(p []byte) (int, error) {
	if c.at >= 0 && c.at < int64(len(p)) {
		p = append([]byte(nil), p...)
		p[c.at] ^= 0xff
	}
	c.at -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

type headerSetter struct {
	http.ResponseWriter
	name, value string
}

func (h *headerSetter) WriteHeader(status int) {
	if h.value == "" {
		h.Header().Del(h.name)
	} else {
		h.Header().Set(h.name, h.value)
	}
	h.ResponseWriter.WriteHeader(status)
}
