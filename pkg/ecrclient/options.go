package ecrclient

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithytime "github.com/aws/smithy-go/time"
)

// Option changes one default of New.
type Option func(*options)

type options struct {
	plainHTTP     *bool
	endpoint      string
	awsConfig     *aws.Config
	credentials   CredentialFunc
	logger        *slog.Logger
	retry         RetryPolicy
	stall         time.Duration
	headerTimeout time.Duration
	parallel      Parallel
	transport     http.RoundTripper
	outward       http.RoundTripper // see watchedTransport
	userAgent     string

	// Set from outside only in tests: the clock, the pause between two
	// attempts, and the tokens that clients share.
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	tokens *tokenSources
}

// newOptions applies opts and fills in the defaults.
func newOptions(opts []Option) (*options, error) {
	o := &options{
		logger:        slog.New(slog.DiscardHandler),
		stall:         defaultStallTimeout,
		headerTimeout: defaultHeaderTimeout,
		userAgent:     defaultUserAgent,
		now:           time.Now,
		sleep:         smithytime.SleepWithContext,
		tokens:        sharedTokens,
	}
	for _, opt := range opts {
		opt(o)
	}
	if o.transport == nil {
		o.transport, o.outward = sharedTransport(), outwardTransport()
	}
	if o.stall <= 0 {
		return nil, fmt.Errorf("stall timeout %v: must be positive", o.stall)
	}
	var err error
	if o.retry, err = o.retry.defaults(); err != nil {
		return nil, err
	}
	o.parallel, err = o.parallel.defaults()
	return o, err
}

// CredentialFunc returns the user and password for host ("name[:port]"); both
// empty is anonymous.
type CredentialFunc func(ctx context.Context, host string) (user, password string, err error)

// RetryPolicy bounds the attempts at one operation. A field left zero has its
// default.
type RetryPolicy struct {
	// MaxAttempts is the number of attempts at one operation, the first one
	// included; while a blob is read it counts from the last byte that came, as long
	// as no more than 1000 connections, and one for each MiB, are lost.
	// The default is 5.
	MaxAttempts int

	// MinWait is the pause before the second attempt; it doubles from one
	// attempt to the next, and up to half of it is left to chance. The
	// default is 250 ms.
	MinWait time.Duration

	// MaxWait bounds every pause, also one that the registry asks for with
	// Retry-After. The default is 20 s.
	MaxWait time.Duration
}

// WithPlainHTTP chooses between http and https. The default is http only for
// loopback hosts.
func WithPlainHTTP(plain bool) Option { return func(o *options) { o.plainHTTP = &plain } }

// WithEndpoint sends every request to the registry at url
// ("http://127.0.0.1:5000") instead of the reference's host. Then no AWS call
// is made. The default is the reference's host.
func WithEndpoint(url string) Option { return func(o *options) { o.endpoint = url } }

// WithAWSConfig sets the configuration for requesting tokens; its region is
// replaced by that of the ECR host. The default is what the SDK's default chain
// finds, loaded when an ECR host is first contacted.
func WithAWSConfig(cfg aws.Config) Option { return func(o *options) { o.awsConfig = &cfg } }

// WithCredentials replaces both the ECR token and the credentials of a login.
// The default for an ECR host is a token from AWS; for any other host it is the
// entry for the host, or for a path that leads to the repository, in the first
// of these files that has one: the file that REGISTRY_AUTH_FILE names, Docker's
// config.json with its helpers, and podman's auth.json.
func WithCredentials(f CredentialFunc) Option { return func(o *options) { o.credentials = f } }

// WithLogger takes the log lines of retries and resumed blobs (info) and of
// requests (debug). The default is none.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithRetry bounds the attempts. See RetryPolicy for the default.
func WithRetry(p RetryPolicy) Option { return func(o *options) { o.retry = p } }

// WithStallTimeout sets how long a transfer may go without a byte, or an answer's
// body without a KiB, before the connection is closed. The default is 60 s.
func WithStallTimeout(d time.Duration) Option { return func(o *options) { o.stall = d } }

// WithParallel bounds the requests by which blobs are read ahead. See Parallel
// for the default.
func WithParallel(p Parallel) Option { return func(o *options) { o.parallel = p } }

// WithTransport sends the requests. The default is a transport that all
// repositories of the process share, and that does not connect to this machine
// where a registry elsewhere leads there; another connects as it likes.
func WithTransport(t http.RoundTripper) Option { return func(o *options) { o.transport = t } }

// WithUserAgent sets the program's name in requests. The default is
// "soci-index-builder".
func WithUserAgent(s string) Option { return func(o *options) { o.userAgent = s } }
