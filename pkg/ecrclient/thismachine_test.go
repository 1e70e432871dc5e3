package ecrclient_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// A name that resolves to this machine leads no further than its address does; a
// registry that is itself here by such a name may lead to other servers here.
func TestNamesThatResolveToThisMachine(t *testing.T) {
	var stored atomic.Int64
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stored.Add(1)
		_, _ = io.WriteString(w, "content")
	}))
	defer storage.Close()
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		port := r.In.URL.Port() // of this machine, whatever the name
		r.Out.URL.Scheme, r.Out.URL.Host = "http", "127.0.0.1:"+port
	}})
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(storage.URL, "http://"), ":")
	const refused = "refused a request to storage.example:"
	for _, tt := range []struct {
		name, host string
		elsewhere  bool // the registry
		proxy      func(*http.Request) (*url.URL, error)
		want       string // of the error
	}{
		{name: "from elsewhere by a name", host: "storage.example", elsewhere: true, want: refused},
		{name: "from elsewhere by an address", host: "127.0.0.1", elsewhere: true,
			want: "refused a redirect to 127.0.0.1"},
		{name: "from here by a name", host: "storage.example"},
		{name: "from here by an address", host: "127.0.0.1"},
		{name: "the name is for a proxy to resolve", host: "storage.example", elsewhere: true,
			proxy: http.ProxyURL(at)},
		{name: "an address behind a proxy", host: "127.0.0.1", proxy: http.ProxyURL(at),
			want: "refused a redirect to 127.0.0.1"},
		{name: "the registry's own name", host: "registry.example", elsewhere: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			stored.Store(0)
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, []byte("content"))
			s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/",
				Fault: redirectTo("http://" + tt.host + ":" + port + "/blob")})
			_, own, _ := strings.Cut(s.Host(), ":")
			paused := new(waits)
			r, err := ecrclient.New("registry.example:"+own+"/"+repository, ecrclient.WithPlainHTTP(true),
				ecrclient.WithSleep(paused.sleep),
				ecrclient.WithResolver(loopbackResolver(t), tt.proxy, func(dial dialFunc) dialFunc {
					return func(ctx context.Context, network, address string) (net.Conn, error) {
						conn, err := dial(ctx, network, address)
						if err == nil && tt.elsewhere && strings.HasPrefix(address, "registry.example:") {
							conn = elsewhere{conn}
						}
						return conn, err
					}
				}))
			if err != nil {
				t.Fatal(err)
			}
			// Twice: the second request goes to the location that the first was sent to.
			for range 2 {
				got, err := fetchAll(t.Context(), r, desc)
				if tt.want == "" && (err != nil || string(got) != "content") {
					t.Errorf("%q, %v", got, err)
				}
				if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%v, want %q", err, tt.want)
				}
			}
			if came := stored.Load() > 0; came == (tt.want != "") || len(paused.list()) != 0 {
				t.Errorf("%d requests came, and there were %d pauses", stored.Load(), len(paused.list()))
			}
		})
	}
}

// Nor does a token server that a registry elsewhere names.
func TestTokenServerThatResolvesToThisMachine(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	var asked atomic.Int64
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `{"token":"abc"}`)
	}))
	defer tokens.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(tokens.URL, "http://"), ":")
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://tokens.example:`+port+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer front.Close()
	_, own, _ := strings.Cut(strings.TrimPrefix(front.URL, "http://"), ":")
	for _, away := range []bool{true, false} {
		r, err := ecrclient.New("registry.example:"+own+"/"+repository, ecrclient.WithPlainHTTP(true),
			ecrclient.WithResolver(loopbackResolver(t), nil, func(dial dialFunc) dialFunc {
				return func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := dial(ctx, network, address)
					if err == nil && away {
						conn = elsewhere{conn}
					}
					return conn, err
				}
			}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Resolve(t.Context(), "v1")
		if err == nil || strings.Contains(err.Error(), "refused a request to tokens.example") != away ||
			(asked.Load() == 0) != away {
			t.Errorf("the registry is elsewhere: %t: %v after %d requests for a token", away, err, asked.Load())
		}
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// elsewhere is a connection to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 80} }

// loopbackResolver asks a server of its own, for which every name is 127.0.0.1.
func loopbackResolver(t *testing.T) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			// The header of 12 bytes, one question, and of the rest nothing.
			end := 12
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			if end += 5; end > n {
				continue
			}
			answer := append([]byte{b[0], b[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, b[12:end]...)
			if b[end-3] == 1 { // type A: the question's name, type, class, a minute, 4 bytes
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
			}
			_, _ = server.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}
