package ecrclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// A registry that does not take the bytes of an upload is given up, too.
func TestStalledUpload(t *testing.T) {
	s := registrytest.Start(t)
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	s.Add(registrytest.Rule{Method: http.MethodPut, Times: 1,
		Fault: func(http.ResponseWriter, *http.Request, http.Handler) {
			<-end // the body stays unread
		}})
	content := noise(50, 24<<20) // far more than the connection's buffers, and some seconds' work for a slow registry
	desc := describe("application/octet-stream", content)
	r := open(t, s, ecrclient.WithStallTimeout(5*time.Second))
	if err := r.Push(t.Context(), desc, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(http.MethodPut, ""); n < 2 {
		t.Errorf("%d PUT", n)
	}
	if !bytes.Equal(s.Blob(t, repository, desc.Digest), content) {
		t.Error("the registry has other bytes")
	}
}

// The pause between attempts, as it is without a test's clock.
func TestPauseEndsWithContext(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Add(registrytest.Rule{Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		registrytest.Status(503, "", "")(w, r, next)
		if s.Count("", "") == 2 {
			cancel()
		}
	}})
	r, err := ecrclient.New(s.Host()+"/"+repository,
		ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1000, MinWait: time.Millisecond, MaxWait: time.Hour}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = r.Resolve(ctx, "v1"); !errors.Is(err, context.Canceled) || errors.Is(err, ecrclient.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// apiHost takes the place of the AWS API and notes under which name.
type apiHost struct{ name string }

func (a *apiHost) Do(r *http.Request) (*http.Response, error) {
	a.name = r.URL.Host
	return &http.Response{
		StatusCode: http.StatusBadRequest, Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body:   io.NopCloser(strings.NewReader(`{"__type":"AccessDeniedException"}`)),
	}, nil
}

// The token is asked for in the way in which the registry is reached.
func TestTokenEndpoint(t *testing.T) {
	for host, want := range map[string]string{
		account + ".dkr.ecr.us-east-1.amazonaws.com":                "api.ecr.us-east-1.amazonaws.com",
		account + ".dkr.ecr-fips.us-gov-west-1.amazonaws.com":       "api.ecr-fips.us-gov-west-1.amazonaws.com",
		account + ".dkr-ecr.eu-west-1.on.aws":                       "ecr.eu-west-1.api.aws",
		account + ".dkr-ecr-fips.us-east-2.on.aws":                  "ecr-fips.us-east-2.api.aws",
		account + ".dkr.ecr.cn-north-1.amazonaws.com.cn":            "api.ecr.cn-north-1.amazonaws.com.cn",
		account + ".dkr.ecr.us-isof-south-1.csp.hci.ic.gov":         "api.ecr.us-isof-south-1.csp.hci.ic.gov",
		account + ".dkr-ecr.cn-north-1.on.amazonwebservices.com.cn": "ecr.cn-north-1.api.amazonwebservices.com.cn",
	} {
		t.Run(host, func(t *testing.T) {
			api := new(apiHost)
			r, err := ecrclient.New(host+"/app", ecrclient.WithAWSConfig(aws.Config{
				Region: "us-west-2", HTTPClient: api,
				Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Resolve(t.Context(), "v1")
			checkError(t, err, ecrclient.ErrDenied, 400)
			if api.name != want {
				t.Errorf("asked %q, want %q", api.name, want)
			}
		})
	}
}

// Errors that a retry cannot fix are not retried.
func TestPermanentConnectionErrors(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	defer untrusted.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, row := range []struct {
		name, host string
		opts       []ecrclient.Option
		want       func(error) bool
	}{
		{"untrusted certificate", strings.TrimPrefix(untrusted.URL, "https://"),
			[]ecrclient.Option{ecrclient.WithPlainHTTP(false)}, func(err error) bool {
				_, ok := errors.AsType[*tls.CertificateVerificationError](err)
				return ok
			}},
		{"no TLS on the other side", strings.TrimPrefix(plain.URL, "http://"),
			[]ecrclient.Option{ecrclient.WithPlainHTTP(false)}, func(err error) bool {
				return errors.Is(err, http.ErrSchemeMismatch)
			}},
		{"no such name", "registry.test", []ecrclient.Option{ecrclient.WithTransport(&http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial",
					Err: &net.DNSError{Err: "no such host", Name: "registry.test", IsNotFound: true}}
			},
		})}, func(err error) bool {
			_, ok := errors.AsType[*net.DNSError](err)
			return ok
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			paused := new(waits)
			r, err := ecrclient.New(row.host+"/app", append(row.opts, ecrclient.WithSleep(paused.sleep))...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Resolve(t.Context(), "v1")
			if !row.want(err) || errors.Is(err, ecrclient.ErrUnavailable) || len(paused.list()) != 0 {
				t.Errorf("got %v after %d pauses", err, len(paused.list()))
			}
		})
	}
	t.Run("refused", func(t *testing.T) { // may be mended
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		paused := new(waits)
		r, err := ecrclient.New(listener.Addr().String()+"/app", ecrclient.WithSleep(paused.sleep))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Resolve(t.Context(), "v1")
		checkError(t, err, ecrclient.ErrUnavailable, 0)
		if len(paused.list()) != 4 {
			t.Errorf("%d pauses, want 4", len(paused.list()))
		}
	})
}
