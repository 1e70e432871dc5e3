package arnresolver

import (
	"io"
	"net/http"
)

// QuietTransport returns answers without their body. Package cfn prints that of
// a refusal, in which S3 repeats the signature of the URL.
type QuietTransport struct{ Base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (q *QuietTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := q.Base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	const enough = 64 << 10 // for the connection to be used again
	_, _ = io.CopyN(io.Discard, resp.Body, enough)
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength = http.NoBody, 0
	return resp, nil
}
