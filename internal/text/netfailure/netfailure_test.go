package netfailure

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Errors of real connections are explained in plain words, with the host.
func TestText(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	proxy := &url.URL{Scheme: "http", Host: closed}
	host := func(u string) string { return strings.TrimPrefix(strings.TrimPrefix(u, "https://"), "http://") }
	otherName := secure.Client()
	otherName.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, host(secure.URL))
	}
	for _, tt := range []struct {
		name   string
		client *http.Client
		url    string
		want   string
	}{
		{"refused", &http.Client{}, "http://" + closed, "nothing listens at " + closed + " (connection refused)"},
		{"silent", &http.Client{Timeout: 50 * time.Millisecond}, silent.URL,
			host(silent.URL) + " does not answer (timeout)"},
		{"broken off", &http.Client{}, silent.URL + "/abort",
			host(silent.URL) + " broke off the connection (unexpected EOF)"},
		{"proxy", &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}, "http://registry.example/v2/",
			"nothing listens at the proxy " + closed + " (connection refused)"},
		{"untrusted", &http.Client{}, secure.URL,
			"the certificate of " + host(secure.URL) + " is not trusted (unknown " +
				"authority); SSL_CERT_FILE names a file of others to trust"},
		{"another name", otherName, "https://other.test/",
			"the certificate of other.test is for other names: example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := tt.client.Get(tt.url)
			if err == nil {
				resp.Body.Close()
				t.Fatal("it was reached")
			}
			if got := Text("", err); got != tt.want && !strings.HasPrefix(got, tt.want+", ") {
				t.Errorf("%v is told as %q, want %q", err, got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: "registry.test", IsNotFound: true},
			"there is no host registry.test (no such host)"},
		{&net.DNSError{Err: "server misbehaving", Name: "registry.test", IsTemporary: true},
			"the name of the host registry.test cannot be resolved now (server misbehaving)"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}, "there is no way to h:1 from here (no route)"},
		{&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET},
			"h:1 broke off the connection (connection reset)"},
		{http.ErrNoCookie, ""},
		{&url.Error{Op: "Get", URL: "http://h:1/v2/", Err: context.DeadlineExceeded},
			"the time that the caller allowed for the request to h:1 is up"},
		{fmt.Errorf("%w: %w", http.ErrNoCookie, context.DeadlineExceeded),
			"the time that the caller allowed for the request to h:1 is up"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}, "h:1 does not answer (timeout)"},
		{x509.HostnameError{Host: "h",
			Certificate: &x509.Certificate{DNSNames: []string{"a.test", "\x1b[2J\n", "c", "d",
				"e", "f", strings.Repeat("g", 1000)}}},
			`the certificate of h:1 is for other names: a.test, \x1b[2J\n, c, d, e, and 2 more`},
	} {
		if got := Text("h:1", tt.err); got != tt.want {
			t.Errorf("%v is told as %q, want %q", tt.err, got, tt.want)
		}
	}
}
