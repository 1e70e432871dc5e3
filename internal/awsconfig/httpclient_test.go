package awsconfig_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"soci-index-builder/internal/awsconfig"
)

// closedBody is as the SDK's is after it was closed, once it has been read.
type closedBody struct{ io.Reader }

func (closedBody) Close() error { return nil }

func (b closedBody) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, struct{ io.Reader }{b.Reader})
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

func TestHTTPClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	send := func(client interface {
		Do(*http.Request) (*http.Response, error)
	}) (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL,
			closedBody{strings.NewReader("question")})
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = int64(len("question"))
		resp, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	for range 20 {
		if answer, err := send(awsconfig.NewHTTPClient(nil)); err != nil || answer != "question" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
}

func TestHTTPClientWithoutBody(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := awsconfig.NewHTTPClient(http.DefaultClient).Do(r)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
}
