// Package registrytest provides tests with a real OCI registry over HTTP that
// injects faults and records every request. Begin with Start.
package registrytest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"soci-index-builder/internal/testkit/localregistry"
)

// Server is a registry behind Faults. What a test puts into it with its Push
// methods goes past the faults and is not recorded.
type Server struct {
	*Faults
	Registry *localregistry.Registry

	front *httptest.Server
	log   *pushLog
	named *unnamed
}

// Start runs a registry in memory until the test ends. As ECR, it has HEAD but
// not GET for blobs that no manifest names. Each of wrap goes around the registry, the first one innermost; the faults
// are outermost.
func Start(t testing.TB, wrap ...func(http.Handler) http.Handler) *Server {
	t.Helper()
	return StartWith(t, localregistry.Config{}, wrap...)
}

// StartWith is Start with a registry of another configuration.
func StartWith(t testing.TB, cfg localregistry.Config, wrap ...func(http.Handler) http.Handler) *Server {
	t.Helper()
	log := &pushLog{}
	named := &unnamed{named: make(map[string]bool)}
	cfg.Wrap = func(next http.Handler) http.Handler { return log.wrap(named.wrap(next)) }
	registry, err := localregistry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler := registry.Handler()
	for _, w := range wrap {
		handler = w(handler)
	}
	s := &Server{Faults: Wrap(handler), Registry: registry, log: log, named: named}
	t.Cleanup(func() { // after serve's, whose requests end before
		if err := registry.Close(); err != nil {
			t.Errorf("closing the registry: %v", err)
		}
	})
	s.front = serve(t, s.Faults)
	return s
}

// URL is "http://127.0.0.1:port".
func (s *Server) URL() string { return s.front.URL }

// Host is "127.0.0.1:port".
func (s *Server) Host() string { return strings.TrimPrefix(s.front.URL, "http://") }

// serve runs f until the test ends; requests that it holds are let go.
func serve(t testing.TB, f *Faults) *httptest.Server {
	var running sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.release()
		server.CloseClientConnections()
		server.Close()
		running.Wait() // a request whose client has left
	})
	return server
}
