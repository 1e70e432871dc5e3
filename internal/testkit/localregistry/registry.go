// Package localregistry runs a complete OCI registry in the process, on a free
// port of the loopback interface. Begin with New.
package localregistry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

// manifestLimit is far above what registries accept, so that a manifest that a
// client must refuse can be stored.
const manifestLimit = 64 << 20 // 64 MiB

// Config of New. The zero value is a registry in memory.
type Config struct {
	// Dir keeps the content, one OCI layout per repository; it must exist and
	// stays behind. The default is to keep everything in memory.
	Dir string

	// NoReferrers leaves out the referrers API, as registries older than
	// distribution-spec 1.1 do. The default is to have it.
	NoReferrers bool

	// Wrap goes around the registry, whatever way a request comes. The default
	// is none.
	Wrap func(http.Handler) http.Handler

	// Logger takes the registry's own log. The default is none.
	Logger *slog.Logger
}

// Registry is a running registry. It is safe for concurrent use.
type Registry struct {
	server   *olareg.Server
	requests *underWay
	handler  http.Handler
	http     *http.Server
	listener net.Listener
	done     chan struct{} // closed when the listener is no longer served
}

// New starts a registry, which runs until Close.
func New(cfg Config) (*Registry, error) {
	on, off := true, false
	conf := config.Config{
		Storage: config.ConfigStorage{
			StoreType: config.StoreMem,
			// Nothing that a caller pushed goes away by itself.
			GC: config.ConfigGC{Frequency: -1, Untagged: &off, EmptyRepo: &off},
		},
		API: config.ConfigAPI{
			DeleteEnabled: &on,
			Manifest:      config.ConfigAPIManifest{Limit: manifestLimit},
		},
		Log: cfg.Logger,
	}
	if cfg.NoReferrers {
		conf.API.Referrer.Enabled = &off
	}
	if cfg.Dir != "" {
		if info, err := os.Stat(cfg.Dir); err != nil {
			return nil, fmt.Errorf("local registry: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("local registry: %s is not a directory", cfg.Dir)
		}
		conf.Storage.StoreType = config.StoreDir
		conf.Storage.RootDir = cfg.Dir
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("local registry: %w", err)
	}
	server := olareg.New(conf)
	requests := &underWay{next: server}
	var handler http.Handler = requests
	if cfg.Wrap != nil {
		handler = cfg.Wrap(handler)
	}
	r := &Registry{
		server:   server,
		requests: requests,
		handler:  handler,
		listener: listener,
		done:     make(chan struct{}),
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 30 * time.Second,
			ErrorLog:          log.New(io.Discard, "", 0),
		},
	}
	go func() {
		defer close(r.done)
		_ = r.http.Serve(listener) // always ErrServerClosed, by Close
	}()
	return r, nil
}

// URL is "http://127.0.0.1:port".
func (r *Registry) URL() string { return "http://" + r.Host() }

// Host is "127.0.0.1:port", the host part of references to this registry.
func (r *Registry) Host() string { return r.listener.Addr().String() }

// Handler is the registry itself, to be served in another way as well.
func (r *Registry) Handler() http.Handler { return r.handler }

// Close ends the registry and drops what it kept in memory. Requests under way
// get a few seconds.
func (r *Registry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err := r.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = r.http.Close()
	}
	<-r.done
	r.requests.wait(3 * time.Second)
	return errors.Join(err, r.server.Close())
}

// underWay knows the requests that have not been answered, those that come
// through Registry.Handler among them: the store must not be closed under them.
type underWay struct {
	next     http.Handler
	requests sync.WaitGroup
}

// ServeHTTP implements http.Handler.
func (u *underWay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.requests.Add(1)
	defer u.requests.Done()
	u.next.ServeHTTP(w, r)
}

// wait returns when all have been answered, or after some time.
func (u *underWay) wait(most time.Duration) {
	done := make(chan struct{})
	go func() {
		u.requests.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(most):
	}
}
