package ecrclient_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

const ecrHost = account + ".dkr.ecr.eu-central-1.amazonaws.com"

// fakeAWS is the ECR API and the registry behind it. Tokens of its own clock
// expire; the registry takes only those that are good.
type fakeAWS struct {
	*registrytest.Server
	api *httptest.Server

	mu      sync.Mutex
	now     time.Time
	life    time.Duration
	calls   int
	tokens  map[string]time.Time // password to expiry
	refuse  func(w http.ResponseWriter)
	release chan struct{} // when set, an answer waits for it
	regions []string      // that requests were signed for
}

func newFakeAWS(t *testing.T) *fakeAWS {
	f := &fakeAWS{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), life: 12 * time.Hour,
		tokens: make(map[string]time.Time)}
	f.Server = registrytest.Start(t, f.guard)
	f.api = httptest.NewServer(http.HandlerFunc(f.getAuthorizationToken))
	t.Cleanup(f.api.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_REGION", "us-west-2") // not the registry's
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("AWS_ENDPOINT_URL_ECR", f.api.URL)
	return f
}

func (f *fakeAWS) getAuthorizationToken(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if scope := strings.Split(r.Header.Get("Authorization"), "/"); len(scope) > 2 {
		f.regions = append(f.regions, scope[2])
	}
	if wait := f.release; wait != nil {
		f.mu.Unlock()
		<-wait
		f.mu.Lock()
	}
	if f.refuse != nil {
		f.refuse(w)
		return
	}
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken") {
		http.Error(w, "unknown operation", http.StatusBadRequest)
		return
	}
	secret := fmt.Sprintf("secret-%d", f.calls)
	f.tokens[secret] = f.now.Add(f.life)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": []map[string]any{{
		"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + secret)),
		"expiresAt":          f.now.Add(f.life).Unix(),
		"proxyEndpoint":      "https://" + ecrHost,
	}}})
}

// guard is the registry's own look at the token.
func (f *fakeAWS) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, secret, _ := r.BasicAuth()
		f.mu.Lock()
		expires, known := f.tokens[secret]
		good := user == "AWS" && known && f.now.Before(expires)
		f.mu.Unlock()
		if !good {
			registrytest.Status(http.StatusForbidden, "DENIED", "Your authorization token has expired.")(w, r, nil)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (f *fakeAWS) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fakeAWS) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *fakeAWS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// open returns a repository of an ECR host, which the test's registry answers
// for.
func (f *fakeAWS) open(t *testing.T, host string, opts ...ecrclient.Option) *ecrclient.Repository {
	t.Helper()
	opts = append([]ecrclient.Option{
		ecrclient.WithPlainHTTP(true), ecrclient.WithTransport(dialing(f.Host())), ecrclient.WithClock(f.clock),
		ecrclient.WithSleep(new(waits).sleep),
	}, opts...)
	r, err := ecrclient.New(host+"/"+repository, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dialing connects every ECR host with address, and registrytest.Storage with the test's
// other servers.
func dialing(address string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, wanted string) (net.Conn, error) {
		if strings.Contains(wanted, "ecr") {
			wanted = address
		}
		wanted = strings.Replace(wanted, registrytest.Storage, "127.0.0.1", 1)
		return new(net.Dialer).DialContext(ctx, network, wanted)
	}}
}

func TestECRToken(t *testing.T) {
	f := newFakeAWS(t)
	f.PushImage(t, repository, "v1", registrytest.Image{})
	resolve := func(t *testing.T, r *ecrclient.Repository) {
		t.Helper()
		if _, err := r.Resolve(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	own := ecrclient.WithOwnTokens()
	r := f.open(t, ecrHost, own)
	if f.count() != 0 {
		t.Fatal("New asked AWS")
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		calls int // so far
	}{
		{"the first request", 0, 1},
		{"soon after", time.Minute, 1},
		{"ten minutes before the end", 12*time.Hour - 11*time.Minute, 1},
		{"four minutes before the end", 6 * time.Minute, 2},
		{"soon after that", time.Minute, 2},
		{"days later", 72 * time.Hour, 3},
	} {
		f.advance(step.after)
		resolve(t, r)
		resolve(t, f.open(t, ecrHost, own)) // another Repository, the same token
		if got := f.count(); got != step.calls {
			t.Fatalf("%s: %d tokens, want %d", step.name, got, step.calls)
		}
	}
	if got := f.Count("", ""); got != 12 {
		t.Errorf("%d requests to the registry, want 12: the token comes with the first one", got)
	}

	t.Run("dropped when refused", func(t *testing.T) {
		f.mu.Lock()
		clear(f.tokens)
		f.mu.Unlock()
		calls := f.count()
		content := noise(40, 100_000)
		for range 2 {
			if err := r.Push(t.Context(), describe("application/octet-stream", content),
				bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.count(); got != calls+1 {
			t.Errorf("%d new tokens", got-calls)
		}
	})
	t.Run("dropped between POST and PUT", func(t *testing.T) {
		calls := f.count()
		content := noise(41, 100_000)
		f.Add(registrytest.Rule{Method: http.MethodPut, Times: 1,
			Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				f.mu.Lock()
				clear(f.tokens)
				f.mu.Unlock()
				next.ServeHTTP(w, r)
			}})
		desc := describe("application/octet-stream", content)
		if err := r.Push(t.Context(), desc, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if got := f.count(); got != calls+1 || !bytes.Equal(f.Blob(t, repository, desc.Digest), content) {
			t.Errorf("%d new tokens", got-calls)
		}
	})
	t.Run("told by 400 that it has ended", func(t *testing.T) {
		f.Clear()
		calls := f.count()
		f.Add(registrytest.Rule{Times: 2,
			Fault: registrytest.Status(400, "DENIED",
				"Your authorization token has expired. Reauthenticate and try again.")})
		resolve(t, r)
		if f.count() != calls+1 {
			t.Errorf("%d new tokens", f.count()-calls)
		}
		f.Clear()
	})
	t.Run("denied for good", func(t *testing.T) {
		f.Clear()
		f.Add(registrytest.Rule{Fault: registrytest.Status(403, "DENIED",
			"not authorized to perform: ecr:BatchGetImage")})
		calls := f.count()
		_, err := r.Resolve(t.Context(), "v1")
		checkError(t, err, ecrclient.ErrDenied, 403)
		if f.count() != calls+1 || f.Count("", "") != 2 {
			t.Errorf("%d new tokens, %d requests; want 1 and 2", f.count()-calls, f.Count("", ""))
		}
		f.Clear()
	})
	t.Run("signed for the registry's region", func(t *testing.T) {
		for _, region := range f.regions {
			if region != "eu-central-1" {
				t.Errorf("signed for %q", region)
			}
		}
	})
	t.Run("a token for each host", func(t *testing.T) {
		calls := f.count()
		resolve(t, f.open(t, account+".dkr.ecr-fips.us-east-1.amazonaws.com", own))
		resolve(t, f.open(t, account+".dkr-ecr.us-east-1.on.aws", own))
		if f.count() != calls+2 {
			t.Errorf("%d new tokens, want 2", f.count()-calls)
		}
	})
	t.Run("given credentials replace the token", func(t *testing.T) {
		calls := f.count()
		r := f.open(t, ecrHost, ecrclient.WithOwnTokens(),
			ecrclient.WithCredentials(func(context.Context, string) (string, string, error) {
				return user, password, nil
			}))
		if _, err := r.Resolve(t.Context(), "v1"); !errors.Is(err, ecrclient.ErrDenied) || f.count() != calls {
			t.Errorf("%v after %d tokens", err, f.count()-calls)
		}
	})
}

// Without options of its own every Repository of the process shares the
// token, and another environment has another one.
func TestECRTokenShared(t *testing.T) {
	f := newFakeAWS(t)
	f.PushImage(t, repository, "v1", registrytest.Image{})
	cfg := aws.Config{
		Region: "us-west-2", BaseEndpoint: aws.String(f.api.URL),
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("AKID", "secret", "")),
	}
	for _, row := range []struct {
		name  string
		opts  []ecrclient.Option
		calls int
	}{
		{"default", nil, 1},
		{"default again", nil, 1},
		{"configuration", []ecrclient.Option{ecrclient.WithAWSConfig(cfg)}, 2},
		{"configuration again", []ecrclient.Option{ecrclient.WithAWSConfig(cfg.Copy())}, 2},
	} {
		if _, err := f.open(t, ecrHost, row.opts...).Resolve(t.Context(), "v1"); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if f.count() != row.calls {
			t.Errorf("%s: %d tokens so far, want %d", row.name, f.count(), row.calls)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "ANOTHER")
	if _, err := f.open(t, ecrHost).Resolve(t.Context(), "v1"); err != nil || f.count() != 3 {
		t.Errorf("another environment: %v, %d tokens", err, f.count())
	}
	for region := range len(f.regions) {
		if f.regions[region] != "eu-central-1" {
			t.Errorf("signed for %q", f.regions)
		}
	}
	// A provider that is a function has no identity to share by.
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
	})
	if _, err := f.open(t, ecrHost, ecrclient.WithAWSConfig(cfg)).Resolve(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
}

func TestECRTokenConcurrent(t *testing.T) {
	f := newFakeAWS(t)
	f.PushImage(t, repository, "v1", registrytest.Image{})
	f.release = make(chan struct{})
	own := ecrclient.WithOwnTokens()
	const n = 16
	var wg sync.WaitGroup
	for range n {
		r := f.open(t, ecrHost, own)
		wg.Go(func() {
			if _, err := r.Resolve(t.Context(), "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	// One more, which does not want to wait.
	ctx, cancel := context.WithCancel(t.Context())
	r := f.open(t, ecrHost, own)
	gone := make(chan error)
	go func() { _, err := r.Resolve(ctx, "v1"); gone <- err }()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled one: %v", err)
	}
	close(f.release)
	wg.Wait()
	// The cancelled one may have been the first to ask.
	if got := f.count(); got > 2 {
		t.Errorf("%d tokens for %d goroutines", got, n)
	}
}

func TestECRTokenRefused(t *testing.T) {
	answer := func(status int, code string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":%q,"message":"told by AWS"}`, code)
		}
	}
	data := func(body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			fmt.Fprint(w, body)
		}
	}
	for _, row := range []struct {
		name   string
		refuse func(http.ResponseWriter)
		class  error
		status int
		code   string
	}{
		{"no rights", answer(400, "AccessDeniedException"), ecrclient.ErrDenied, 400, "AccessDeniedException"},
		{"expired credentials", answer(400, "ExpiredTokenException"), ecrclient.ErrDenied, 400,
			"ExpiredTokenException"},
		{"unknown access key", answer(400, "InvalidAccessKeyId"), ecrclient.ErrDenied, 400, "InvalidAccessKeyId"},
		{"unknown session", answer(400, "InvalidToken"), ecrclient.ErrDenied, 400, "InvalidToken"},
		{"no credentials of AWS", answer(400, "AuthFailure"), ecrclient.ErrDenied, 400, "AuthFailure"},
		{"throttled", answer(400, "ThrottlingException"), ecrclient.ErrThrottled, 400, "ThrottlingException"},
		{"server fault", answer(500, "ServerException"), ecrclient.ErrUnavailable, 500, "ServerException"},
		{"no connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, ecrclient.ErrUnavailable, 0, ""},
		{"no data", data(`{"authorizationData":[]}`), nil, 0, ""},
		{"no token", data(`{"authorizationData":[{"expiresAt":1767323045}]}`), nil, 0, ""},
		{"not base64", data(`{"authorizationData":[{"authorizationToken":"$` + registrytest.Signature +
			`","expiresAt":1767323045}]}`), nil, 0, ""},
		{"not user:password", data(`{"authorizationData":[{"authorizationToken":"` + registrytest.Signature +
			`","expiresAt":1767323045}]}`), nil, 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFakeAWS(t)
			f.refuse = row.refuse
			_, err := f.open(t, ecrHost, ecrclient.WithOwnTokens()).Resolve(t.Context(), "v1")
			checkError(t, err, row.class, row.status)
			if e, _ := errors.AsType[*ecrclient.Error](err); e.Code != row.code {
				t.Errorf("code %q", e.Code)
			}
			if f.count() != 1 || f.Count("", "") != 0 {
				t.Errorf("%d calls of AWS, %d of the registry; want 1 and 0", f.count(), f.Count("", ""))
			}
			if !strings.Contains(err.Error(), "authenticate "+ecrHost) ||
				strings.Contains(err.Error(), registrytest.Signature) {
				t.Errorf("got %q", err)
			}
		})
	}
}

// The token of AWS stays with the registry.
func TestECRRedirect(t *testing.T) {
	f := newFakeAWS(t)
	content := noise(42, 50_000)
	desc := f.PushBlob(t, repository, content)
	signed := registrytest.StartSignedURLs(t, f.Server).Elsewhere()
	f.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: signed.Redirect()})
	log := new(bytes.Buffer)
	r := f.open(t, ecrHost, ecrclient.WithOwnTokens(),
		ecrclient.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))

	signed.Add(registrytest.Rule{Times: 1, Fault: registrytest.Truncate(10)})
	got, err := fetchAll(t.Context(), r, desc)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	// A refusal by the other server says nothing about the token.
	calls := f.count()
	signed.Add(registrytest.Rule{Fault: registrytest.Status(401, "", "")})
	_, err = fetchAll(t.Context(), r, desc)
	checkError(t, err, ecrclient.ErrDenied, 401)
	if f.count() != calls {
		t.Errorf("%d new tokens", f.count()-calls)
	}
	if leaked := signed.Leaked(); len(leaked) > 0 {
		t.Errorf("the token was shown to %s: %+v", signed.URL, leaked)
	}
	for _, secret := range []string{registrytest.Signature, "secret-",
		base64.StdEncoding.EncodeToString([]byte("AWS:secret"))} {
		if strings.Contains(log.String(), secret) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in the log or the error: %v\n%s", secret, err, log)
		}
	}
	for _, request := range signed.Requests() {
		if request.Authorization != "" {
			t.Errorf("Authorization in %+v", request)
		}
	}

	// The same host name, another port: net/http would take the token along.
	t.Run("another port", func(t *testing.T) {
		f.Clear()
		f.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Times: 1,
			Fault: redirectTo("http://" + ecrHost + ":8080/elsewhere?sig=" + registrytest.Signature)})
		// The other port wants the token as well. It does not get it, and the
		// registry is asked again.
		if _, err := fetchAll(t.Context(), r, desc); err != nil {
			t.Error(err)
		}
		requests := f.Requests()
		if len(requests) != 3 {
			t.Fatalf("requests %+v", requests)
		}
		if requests[0].Authorization == "" || requests[1].Path != "/elsewhere" || requests[1].Authorization != "" {
			t.Errorf("requests %+v", requests)
		}
	})
	t.Run("the same origin", func(t *testing.T) {
		f.Clear()
		f.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Times: 1,
			Fault: redirectTo("/v2/" + repository + "/blobs/" + desc.Digest.String())})
		got, err := fetchAll(t.Context(), r, desc)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
