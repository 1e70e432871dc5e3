//go:build scripted

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/term"

	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/functionzip"
	"soci-index-builder/pkg/ecrclient"
)

// The program of a script carries functions, as that of a release does, and asks
// without pauses. TEST_FUNCTIONS=none leaves it as a plain go build makes it.
func init() {
	deployPatience = patience.Patience{Pause: time.Millisecond}
	openTerminal = func(in io.Reader, out io.Writer) *guided.Terminal {
		if os.Getenv("TEST_TERMINAL") == "real" {
			return guided.OpenTerminal(in, out)
		}
		// ttyin has only the standard input be a terminal.
		if f, ok := in.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			return nil
		}
		return guided.NewTerminal(in, out)
	}
	if to := os.Getenv("TEST_ECR"); to != "" {
		ecrEndpoint = func() []ecrclient.Option { return []ecrclient.Option{ecrclient.WithTransport(ecrAt(to))} }
	}
	if os.Getenv("TEST_FUNCTIONS") == "none" {
		return
	}
	functionCode = func(architecture, function string) ([]byte, error) {
		if _, err := embedded.Template(embedded.Zip, architecture); err != nil {
			return nil, err
		}
		return functionzip.New(architecture, fmt.Sprintf("%s for %s %s", function, architecture,
			os.Getenv("TEST_FUNCTIONS")))
	}
}

// ecrAt is a registry in the place of ECR's, which wants a token as that does.
type ecrAt string

func (a ecrAt) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		return &http.Response{StatusCode: http.StatusUnauthorized, ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Www-Authenticate": {`Basic realm="ecr",service="ecr.amazonaws.com"`}},
			Body:   http.NoBody}, nil
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", string(a)
	return http.DefaultTransport.RoundTrip(r)
}
