package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// localRegistry is an OCI registry inside the process, on a free port of the
// loopback interface. It keeps blobs in a directory and manifests in memory.
//
// It is not the one of the tests (internal/testkit/localregistry): a program that links
// that one computes the hash of a password whenever it starts.
type localRegistry struct {
	http     *http.Server
	listener net.Listener
	done     chan struct{} // closed when the listener is no longer served
}

// startRegistry starts a registry, which runs until it is closed.
func startRegistry(blobs string) (*localRegistry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("local registry: %w", err)
	}
	quiet := log.New(io.Discard, "", 0)
	r := &localRegistry{
		listener: listener,
		done:     make(chan struct{}),
		http: &http.Server{
			Handler: registry.New(registry.Logger(quiet), registry.WithReferrersSupport(true),
				registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs))),
			ReadHeaderTimeout: 30 * time.Second,
			ErrorLog:          quiet,
		},
	}
	go func() {
		defer close(r.done)
		_ = r.http.Serve(listener) // always ErrServerClosed, by close
	}()
	return r, nil
}

// host is "127.0.0.1:port".
func (r *localRegistry) host() string { return r.listener.Addr().String() }

// close ends the registry. Requests under way get a few seconds.
func (r *localRegistry) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err := r.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, r.http.Close())
	}
	<-r.done
	return err
}
