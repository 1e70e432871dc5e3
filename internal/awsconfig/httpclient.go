package awsconfig

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsclient "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// HTTPClient sends the SDK's requests.
type HTTPClient struct{ from aws.HTTPClient }

// NewHTTPClient wraps the client of a configuration; nil is the SDK's default.
//
// The SDK closes a request's body as soon as the response has begun. net/http
// may not have asked the body for its end until then, and the SDK's body,
// which is an io.WriterTo, answers with io.EOF as an error: net/http takes the
// request for not sent and closes the connection, from which a response of
// more than a few KiB is still read. Without WriteTo the end is an end.
func NewHTTPClient(from aws.HTTPClient) *HTTPClient {
	if from == nil {
		from = awsclient.NewBuildableClient()
	}
	return &HTTPClient{from}
}

// Do implements aws.HTTPClient.
func (c *HTTPClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context()) // a copy
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.from.Do(r)
}
