package netfailure

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
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
	host := func(u string) string { return strings.TrimPrefix(strings.TrimPrefix(u, "https://"), "http://") }
	proxy := &url.URL{Scheme: "http", Host: closed}
	through := func(u *url.URL) *http.Client {
		return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u), OnProxyConnectResponse: Connected}}
	}
	refuses := func(status int) *url.URL {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		return &url.URL{Scheme: "http", Host: host(server.URL)}
	}
	login, forbids := refuses(http.StatusProxyAuthRequired), refuses(http.StatusForbidden)
	t.Setenv("SSL_CERT_FILE", "")
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
		{"proxy with login", through(login), "https://registry.example/v2/",
			"the proxy " + login.Host + " answers 407 Proxy Authentication Required: put USER:PASSWORD@ " +
				"before the host in HTTPS_PROXY"},
		{"proxy that refuses", through(forbids), "https://registry.example/v2/",
			"the proxy " + forbids.Host + " answers 403 Forbidden: check HTTPS_PROXY, and NO_PROXY for hosts " +
				"that are reached without it"},
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
		{&net.DNSError{Err: "read udp 192.0.2.2:1->192.0.2.1:53: i/o timeout", Name: "registry.test",
			Server: "192.0.2.1:53", IsTimeout: true, IsTemporary: true},
			"the name of the host registry.test cannot be resolved now (timeout)"},
		{&net.OpError{Op: "proxyconnect", Net: "tcp",
			Err: &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "proxy.test",
				IsNotFound: true}}},
			"there is no host proxy.test (no such host), which HTTPS_PROXY or HTTP_PROXY names"},
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

// A proxy's variable that is malformed is named, and its password is not.
func TestWrongProxy(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		t.Setenv(name, "proxy.example:3128")
	}
	t.Setenv("https_proxy", "me:secret@proxy:port")
	const want = "https_proxy is no proxy's address: it must be such as http://proxy.example:3128"
	for _, cause := range []error{
		fmt.Errorf("invalid proxy address %q: %w", "me:secret@proxy:port", http.ErrNoLocation),
		&net.OpError{Op: "proxyconnect",
			Err: &net.OpError{Op: "dial", Addr: &net.TCPAddr{}, Err: syscall.ECONNREFUSED}},
		&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "dial", Err: &net.DNSError{Name: "http"}}},
	} {
		err := &url.Error{Op: "Get", URL: "https://h/v2/", Err: cause}
		if got := Text("", err); got != want || !OfProxy(err) {
			t.Errorf("%v: %q, want %q, and that no other attempt goes better", cause, got, want)
		}
	}
	for _, status := range []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		if OfProxy(&ProxyError{"proxy", status}) {
			t.Errorf("a proxy's %d is for good", status)
		}
	}
	if OfProxy(&ProxyError{"proxy", http.StatusBadGateway}) || OfProxy(http.ErrNoLocation) {
		t.Error("what may go better is taken for what does not")
	}
}

// What SSL_CERT_FILE names is looked at when a certificate is not trusted.
func TestTrusted(t *testing.T) {
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	other := filepath.Join(t.TempDir(), "other.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}
	if err := os.WriteFile(other, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"":        "SSL_CERT_FILE names a file of others to trust",
		"/nosuch": `SSL_CERT_FILE "/nosuch" cannot be read: no such file or directory`,
		words:     fmt.Sprintf("SSL_CERT_FILE %q has no certificate in PEM's form", words),
		other:     fmt.Sprintf("SSL_CERT_FILE %q does not have the authority that signed it", other),
	} {
		t.Setenv("SSL_CERT_FILE", file)
		want = "the certificate of h is not trusted (unknown authority); " + want
		if got := Text("h", x509.UnknownAuthorityError{}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
