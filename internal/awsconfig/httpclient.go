package awsconfig

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsclient "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"soci-index-builder/internal/text/netfailure"
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
	if builds, ok := from.(*awsclient.BuildableClient); ok {
		from = builds.WithTransportOptions(func(t *http.Transport) { t.OnProxyConnectResponse = netfailure.Connected })
	}
	return &HTTPClient{from}
}

// whole is how much of an answer is read before the SDK gets it.
const whole = 1 << 20 // 1 MiB

// Do implements aws.HTTPClient. An answer that breaks off within its first MiB is
// a request that failed, which the SDK repeats; it would take what it has for
// an answer that is wrong.
func (c *HTTPClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context()) // a copy
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	answer, err := c.from.Do(r)
	if err != nil {
		return answer, err
	}
	begin, err := io.ReadAll(io.LimitReader(answer.Body, whole))
	if err != nil {
		answer.Body.Close()
		return nil, fmt.Errorf("%s answered %s and broke off: %w", r.URL.Host, answer.Status, err)
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), answer.Body), answer.Body}
	return answer, nil
}
