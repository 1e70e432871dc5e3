package deploy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// answer is one that may be lost.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) copy(w http.ResponseWriter) {
	for key, values := range a.header {
		w.Header()[key] = values
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(a.body.Bytes())
}

// withForm is the request with its body, which was read.
func withForm(r *http.Request, form url.Values) *http.Request {
	out := r.Clone(r.Context())
	out.Form, out.PostForm = nil, nil
	out.Body = io.NopCloser(strings.NewReader(form.Encode()))
	return out
}
