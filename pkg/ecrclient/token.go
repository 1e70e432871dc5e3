package ecrclient

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"soci-index-builder/internal/awsconfig/awscode"
)

const (
	opAuthenticate = "authenticate"

	// tokenMargin is how long before it expires a token is replaced; a request
	// that has begun with it can still follow its redirect.
	tokenMargin = 5 * time.Minute

	// tokenLife is taken for a token that comes without an expiry; ECR's live
	// for 12 hours.
	tokenLife = time.Hour

	// tokenTimeout bounds all of the SDK's attempts at one token.
	tokenTimeout = time.Minute
)

// tokenSources provides all repositories of a registry with the same token.
type tokenSources struct {
	mu      sync.Mutex
	sources map[tokenKey]*tokenSource
}

// sharedTokens is shared by the whole process: a function that is called again
// for another repository still has its token.
var sharedTokens = &tokenSources{}

// tokenKey is what a token depends on.
type tokenKey struct {
	host        string
	credentials any // identity of the provider; nil for the default chain
	httpClient  any
	endpoint    string
	environment [sha256.Size]byte // of the default chain
}

// source returns the shared source for a host, a new one when o's configuration
// has no identity to find it by.
func (s *tokenSources) source(host string, h ECRHost, o *options) *tokenSource {
	key := tokenKey{host: host}
	if cfg := o.awsConfig; cfg != nil {
		if !hasIdentity(cfg.Credentials) || !hasIdentity(cfg.HTTPClient) {
			return newTokenSource(host, h, o)
		}
		key.credentials, key.httpClient = cfg.Credentials, cfg.HTTPClient
		key.endpoint = aws.ToString(cfg.BaseEndpoint)
	} else {
		key.environment = awsEnvironment()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources == nil {
		s.sources = make(map[tokenKey]*tokenSource)
	}
	source, ok := s.sources[key]
	if !ok {
		source = newTokenSource(host, h, o)
		s.sources[key] = source
	}
	return source
}

func hasIdentity(v any) bool { return v == nil || reflect.ValueOf(v).Comparable() }

// awsEnvironment returns a hash of what the default chain reads from the environment.
func awsEnvironment() [sha256.Size]byte {
	var set []string
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, "AWS_") || strings.HasPrefix(entry, "HOME=") {
			set = append(set, entry)
		}
	}
	slices.Sort(set)
	return sha256.Sum256([]byte(strings.Join(set, "\x00")))
}

// tokenSource keeps the token of one registry. It is safe for concurrent use.
type tokenSource struct {
	host   string
	region string
	fips   bool
	dual   bool
	cfg    *aws.Config // nil until loaded, when it was not given
	now    func() time.Time

	turn chan struct{} // held by the one who may ask AWS

	mu      sync.Mutex
	token   string
	renewAt time.Time
}

func newTokenSource(host string, h ECRHost, o *options) *tokenSource {
	s := &tokenSource{
		host: host, region: h.Region, fips: h.FIPS, dual: h.DualStack,
		now: o.now, turn: make(chan struct{}, 1),
	}
	if o.awsConfig != nil {
		cfg := o.awsConfig.Copy()
		cfg.Region = h.Region
		s.cfg = &cfg
	}
	return s
}

// get returns the token in the form that Basic authorization takes, and whether
// it had been there before the call.
func (s *tokenSource) get(ctx context.Context) (token string, cached bool, err error) {
	if token := s.valid(); token != "" {
		return token, true, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", false, ended(ctx)
	}
	// Another caller may have asked in the meantime. Its token is as new as one
	// of our own.
	if token := s.valid(); token != "" {
		return token, false, nil
	}
	token, expires, err := s.ask(ctx)
	if err != nil {
		if err := ended(ctx); err != nil {
			return "", false, err
		}
		return "", false, s.fail(err)
	}
	// Use the wall clock: a monotonic one stops while a function is frozen
	// between two events.
	now := s.now().Round(0)
	if expires.IsZero() {
		expires = now.Add(tokenLife)
	}
	s.mu.Lock()
	s.token = token
	s.renewAt = expires.Add(-min(tokenMargin, max(expires.Sub(now)/2, 0)))
	s.mu.Unlock()
	return token, false, nil
}

func (s *tokenSource) valid() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" || !s.now().Round(0).Before(s.renewAt) {
		return ""
	}
	return s.token
}

// drop discards token, unless a newer one has arrived.
func (s *tokenSource) drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// ask gets a token from AWS. The caller has the turn.
func (s *tokenSource) ask(ctx context.Context) (string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	api, err := s.load(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	out, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", time.Time{}, err
	}
	if len(out.AuthorizationData) == 0 {
		return "", time.Time{}, errors.New("AWS answered without a token")
	}
	data := out.AuthorizationData[0]
	token := aws.ToString(data.AuthorizationToken)
	// The decoder's error would quote a part of the token.
	plain, err := base64.StdEncoding.DecodeString(token)
	user, password, both := strings.Cut(string(plain), ":")
	wrong := ""
	switch {
	case err != nil:
		wrong = "is not base64"
	case !both:
		wrong = "is not base64 of user:password"
	case user == "":
		wrong = "has no user"
	case password == "":
		wrong = "has no password"
	}
	if wrong != "" {
		return "", time.Time{}, errors.New("AWS answered with a token that " + wrong)
	}
	return token, aws.ToTime(data.ExpiresAt), nil
}

// api returns the client of ECR's API.
func (s *tokenSource) api(ctx context.Context) (*ecr.Client, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	return s.load(ctx)
}

// load is api for a caller that has the turn.
func (s *tokenSource) load(ctx context.Context) (*ecr.Client, error) {
	if s.cfg == nil {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.region))
		if err != nil {
			return nil, err
		}
		s.cfg = &cfg
	}
	return ecr.NewFromConfig(*s.cfg, s.endpoint), nil
}

// endpoint requests the token in the way that the registry's host implies: a
// network that reaches it only by FIPS or IPv6 reaches the API in the same way.
// A custom endpoint stays as it is.
func (s *tokenSource) endpoint(o *ecr.Options) {
	if o.BaseEndpoint != nil {
		return
	}
	if s.fips {
		o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if s.dual {
		o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
}

// isDenied reports whether an error code of AWS is about credentials or
// permissions.
func isDenied(code string) bool { return awscode.IsDenied(code) || awscode.IsCredentials(code) }

// fail returns err with its class.
func (s *tokenSource) fail(err error) error {
	return awsError(&Error{Op: opAuthenticate, Repository: s.host}, err)
}

// awsError returns out with its cause, the AWS error err, and its class.
func awsError(out *Error, err error) *Error {
	out.Code = awscode.Of(err)
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		out.Status = response.HTTPStatusCode()
	}
	var class error
	switch {
	case isDenied(out.Code):
		class = ErrDenied
	case awscode.IsThrottled(err):
		class = ErrThrottled
	case retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary,
		errors.Is(err, context.DeadlineExceeded):
		class = ErrUnavailable
	}
	out.Err = redact(err)
	if class != nil && class != classOf(out.Status) {
		out.Err = fmt.Errorf("%w: %w", class, out.Err)
	}
	return out
}
