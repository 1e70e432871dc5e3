// Package vpc reads from Amazon EC2 how a private network is configured, as far
// as it decides on which services can be reached from its subnets.
//
// It speaks EC2's Query protocol itself: the SDK's module of EC2 takes minutes
// to compile, and six requests are made of it.
//
// Start with [Open].
package vpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsclient "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"soci-index-builder/internal/awsconfig/awscode"
)

// Client asks EC2. It may be used by several goroutines at once.
type Client struct {
	cfg     aws.Config
	retryer aws.Retryer
	signer  *v4.Signer

	// ahead is how far EC2's clock is ahead of this machine's, in nanoseconds, as
	// far as EC2 has refused a request for it.
	ahead atomic.Int64
}

// Open returns the client of a region.
func Open(cfg aws.Config) *Client {
	c := &Client{cfg: cfg, signer: v4.NewSigner()}
	if cfg.HTTPClient == nil {
		c.cfg.HTTPClient = awsclient.NewBuildableClient()
	}
	if c.retryer = retry.NewStandard(); cfg.Retryer != nil {
		c.retryer = cfg.Retryer()
	}
	return c
}

const (
	version = "2016-11-15" // of the API

	maxAnswer   = 32 << 20 // bytes of an answer that are read
	maxPages    = 100      // of one list
	maxAttempts = 10       // of one request
)

// endpoint is where requests go, by the same settings, in the same order, as of a
// client of the SDK. The names of the region's services differ only in their first
// part, so EC2's follows from that of SQS.
func (c *Client) endpoint(ctx context.Context) (string, error) {
	base := aws.ToString(c.cfg.BaseEndpoint)
	_, ofAll := os.LookupEnv("AWS_ENDPOINT_URL")
	if _, own := os.LookupEnv("AWS_ENDPOINT_URL_EC2"); own || !ofAll {
		if one := c.ownEndpoint(ctx); one != "" {
			base = one
		}
	}
	if base != "" {
		return base, nil
	}
	p := sqs.EndpointParameters{Region: &c.cfg.Region}
	for _, source := range c.cfg.ConfigSources {
		if s, ok := source.(interface {
			GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error)
		}); ok && p.UseFIPS == nil {
			if state, found, err := s.GetUseFIPSEndpoint(ctx); err == nil && found {
				p.UseFIPS = aws.Bool(state == aws.FIPSEndpointStateEnabled)
			}
		}
		if s, ok := source.(interface {
			GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error)
		}); ok && p.UseDualStack == nil {
			if state, found, err := s.GetUseDualStackEndpoint(ctx); err == nil && found {
				p.UseDualStack = aws.Bool(state == aws.DualStackEndpointStateEnabled)
			}
		}
	}
	e, err := sqs.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, p)
	if err != nil {
		return "", err
	}
	return "https://ec2" + strings.TrimPrefix(e.URI.Host, "sqs"), nil
}

// ownEndpoint is what the environment or the profile says of EC2 alone.
func (c *Client) ownEndpoint(ctx context.Context) string {
	for _, source := range c.cfg.ConfigSources {
		if s, ok := source.(interface {
			GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error)
		}); ok {
			if ignore, found, err := s.GetIgnoreConfiguredEndpoints(ctx); err == nil && found && ignore {
				return ""
			}
		}
	}
	for _, source := range c.cfg.ConfigSources {
		if s, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		}); ok {
			if url, found, err := s.GetServiceBaseEndpoint(ctx, "EC2"); err == nil && found {
				return url
			}
		}
	}
	return ""
}

// list asks for all pages of a list of which filter must be one of values. Each
// page is decoded into a new answer, which add takes; it returns the token of the
// next page.
func list[T any](ctx context.Context, c *Client, action, filter string, values []string, add func(*T) string) error {
	form := url.Values{"Action": {action}, "Version": {version}, "Filter.1.Name": {filter}}
	for i, v := range values {
		form.Set("Filter.1.Value."+strconv.Itoa(i+1), v)
	}
	for range maxPages {
		var page T
		if err := c.call(ctx, action, form, &page); err != nil {
			return err
		}
		next := add(&page)
		if next == "" {
			return nil
		}
		form.Set("NextToken", next)
	}
	return &smithy.OperationError{ServiceID: "EC2", OperationName: action,
		Err: fmt.Errorf("the list has more than %d pages", maxPages)}
}

// call makes a request, again if that can help. Its errors are of the SDK's types.
func (c *Client) call(ctx context.Context, action string, form url.Values, answer any) error {
	corrected := false
	for attempt := 1; ; attempt++ {
		err := c.send(ctx, form, answer)
		if err == nil {
			return nil
		}
		if wrong, ok := errors.AsType[*clockError](err); ok && !corrected {
			corrected = true
			c.ahead.Store(int64(wrong.ahead))
			attempt--
			continue
		}
		last := attempt == maxAttempts || attempt == c.retryer.MaxAttempts()
		if last || !c.retryer.IsErrorRetryable(err) {
			return &smithy.OperationError{ServiceID: "EC2", OperationName: action, Err: err}
		}
		delay, err := c.retryer.RetryDelay(attempt, err)
		if err != nil {
			return err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) send(ctx context.Context, form url.Values, answer any) error {
	endpoint, err := c.endpoint(ctx)
	if err != nil {
		return err
	}
	body := form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	credentials, err := c.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(body))
	ahead := time.Duration(c.ahead.Load())
	asked := time.Now()
	if err := c.signer.SignHTTP(ctx, credentials, request, hex.EncodeToString(sum[:]), "ec2", c.cfg.Region,
		asked.Add(ahead)); err != nil {
		return err
	}
	response, err := c.cfg.HTTPClient.Do(request)
	if err != nil {
		return &smithyhttp.RequestSendError{Err: err}
	}
	defer response.Body.Close()
	answered := time.Now()
	failed := func(err error) error {
		return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: response}, Err: err}
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return failed(err)
	case len(b) > maxAnswer:
		return failed(fmt.Errorf("the answer has more than %d bytes", maxAnswer))
	case response.StatusCode == http.StatusOK:
		if err := decode(b, form.Get("Action")+"Response", answer); err != nil {
			return failed(&smithy.DeserializationError{Err: err})
		}
		return nil
	}
	var refusal struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
	}
	if err := xml.Unmarshal(b, &refusal); err != nil || refusal.Code == "" {
		return failed(&smithy.DeserializationError{Err: errors.Join(err, errors.New("it is no answer of EC2"))})
	}
	refused := failed(&smithy.GenericAPIError{Code: refusal.Code, Message: refusal.Message})
	if is, ok := clockOf(response, answered.Sub(asked), answered); ok && awscode.MayBeClock(refusal.Code) &&
		(is-ahead).Abs() > maxClockError {
		return &clockError{refused, is}
	}
	return refused
}

// clockError is the refusal of a request because of its time.
type clockError struct {
	error
	ahead time.Duration // of EC2's clock, by its answer
}

func (e *clockError) Unwrap() error { return e.error }

// The same as in the SDK's clients.
const (
	maxClockError = 4 * time.Minute  // beyond which the clock may be the reason
	maxTrusted    = 15 * time.Minute // that an answer may take to tell the time
)

// clockOf returns how far the server's clock is ahead. An answer out of a cache does not
// show that.
func clockOf(response *http.Response, took time.Duration, answered time.Time) (time.Duration, bool) {
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil || took > maxTrusted || response.Header.Get("Age") != "" {
		return 0, false
	}
	return date.Sub(answered), true
}

// decode reads the document of a name: a proxy's page may be XML too.
func decode(b []byte, name string, answer any) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		token, err := d.Token()
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok {
			if start.Name.Local != name {
				return fmt.Errorf("it is %.100q, not %s", start.Name.Local, name)
			}
			return d.DecodeElement(answer, &start)
		}
	}
}
