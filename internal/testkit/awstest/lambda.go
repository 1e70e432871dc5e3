package awstest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Lambda is the service's API, for [Server.Handle] under "lambda". It knows
// the functions that [Lambda.Function] named, and invokes them.
type Lambda struct {
	mux *http.ServeMux

	mu          sync.Mutex
	functions   map[string]func(payload []byte) error
	invocations []Invocation
}

// Invocation is one that Lambda accepted.
type Invocation struct {
	Function  string // its name
	Qualifier string // version or alias; empty if none was named
	Type      string // Event or RequestResponse
	Payload   []byte
}

// NewLambda returns a Lambda without functions.
func NewLambda() *Lambda {
	l := &Lambda{mux: http.NewServeMux(), functions: map[string]func([]byte) error{}}
	l.Handle("POST /2015-03-31/functions/{name}/invocations", http.HandlerFunc(l.invoke))
	return l
}

// Handle has h answer another operation; pattern is http.ServeMux's.
func (l *Lambda) Handle(pattern string, h http.Handler) { l.mux.Handle(pattern, h) }

func (l *Lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.mux.ServeHTTP(w, r) }

// Function makes a function. Each invocation calls accept with the payload,
// before it is answered; with an error it is not accepted, and an *Error is
// what the caller gets. A nil accept accepts everything.
func (l *Lambda) Function(name string, accept func(payload []byte) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.functions[name] = accept
}

// Invocations returns what was accepted, in order.
func (l *Lambda) Invocations() []Invocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Invocation(nil), l.invocations...)
}

// FunctionARN is the ARN of a function of this account.
func FunctionARN(name string) string {
	return "arn:aws:lambda:" + Region + ":" + Account + ":function:" + name
}

// functionName reads a function's name, or its ARN, with or without a version
// or an alias.
func functionName(s string) (name, qualifier string) {
	if _, rest, ok := strings.Cut(s, ":function:"); ok {
		s = rest
	}
	name, qualifier, _ = strings.Cut(s, ":")
	return name, qualifier
}

func (l *Lambda) invoke(w http.ResponseWriter, r *http.Request) {
	name, qualifier := functionName(r.PathValue("name"))
	if q := r.URL.Query().Get("Qualifier"); q != "" {
		qualifier = q
	}
	l.mu.Lock()
	accept, ok := l.functions[name]
	l.mu.Unlock()
	if !ok {
		WriteError(w, r, &Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException",
			Message: "Function not found: " + FunctionARN(name)})
		return
	}
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	if !json.Valid(payload) {
		WriteError(w, r, &Error{Status: http.StatusBadRequest, Code: "InvalidRequestContentException",
			Message: "Could not parse request body into json"})
		return
	}
	if accept != nil {
		if err := accept(payload); err != nil {
			writeAny(w, r, err)
			return
		}
	}
	one := Invocation{Function: name, Qualifier: qualifier, Type: r.Header.Get("X-Amz-Invocation-Type"),
		Payload: payload}
	l.mu.Lock()
	l.invocations = append(l.invocations, one)
	l.mu.Unlock()
	if one.Type == "Event" {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte("null"))
}
