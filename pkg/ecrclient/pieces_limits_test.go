package ecrclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// counting tells how many answers are open at once.
type counting struct {
	base http.RoundTripper

	mu        sync.Mutex
	open, max int
	full      int
	reached   chan struct{} // closed when full are open
}

func (c *counting) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	if c.max = max(c.max, c.open); c.open == c.full && n > 0 {
		select {
		case <-c.reached:
		default:
			close(c.reached)
		}
	}
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.add(1)
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		c.add(-1)
		return nil, err
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, c: c}
	return resp, nil
}

type countedBody struct {
	io.ReadCloser
	c    *counting
	once sync.Once
}

func (b *countedBody) Close() error {
	b.once.Do(func() { b.c.add(-1) })
	return b.ReadCloser.Close()
}

// The limits hold for all blobs of a repository, and of the process, together;
// and they are made use of.
func TestMaxConnections(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, row := range []struct {
		name                string
		repositories, blobs int
		parallel            ecrclient.Parallel
		limit               int
	}{
		{"of a repository", 1, 3, ecrclient.Parallel{MaxConnections: 5, Window: 8}, 5},
		{"of the process", 3, 2, ecrclient.Parallel{MaxConnections: 20, Window: 32}, ecrclient.MaxConnections},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.parallel.PieceSize, row.parallel.FastStream = 1000, math.MaxInt64
			c := &counting{base: &http.Transport{}, full: row.limit, reached: make(chan struct{})}
			s := registrytest.Start(t)
			s.Add(registrytest.Rule{Method: http.MethodGet,
				Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if !strings.HasPrefix(r.Header.Get("Range"), "bytes=0-") {
						<-c.reached
					}
					next.ServeHTTP(w, r)
				}})
			var work sync.WaitGroup
			for i := range row.repositories {
				r := openParallel(t, s, ecrclient.WithParallel(row.parallel), ecrclient.WithTransport(c))
				for j := range row.blobs {
					content := noise(uint64(40+10*i+j), 80_000)
					desc := s.PushBlob(t, repository, content)
					work.Go(func() {
						got, err := fetchAllBy(t.Context(), r, desc, 700)
						if err != nil || !bytes.Equal(got, content) {
							t.Errorf("%d bytes, %v", len(got), err)
						}
					})
				}
			}
			work.Wait()
			// Each blob may have its stream beside its pieces.
			if most := row.limit + row.repositories*row.blobs; c.max > most || c.open != 0 {
				t.Errorf("%d at once, limit %d; %d left open", c.max, most, c.open)
			}
		})
	}
}

// Close, and the end of the context, stop all that a reader has begun.
func TestPiecesEnd(t *testing.T) {
	const piece, window = 1000, 4
	content := noise(36, 50_000)
	for _, how := range []string{"Close", "Close during Read", "context", "context, no Close"} {
		t.Run(how, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			s.Add(registrytest.Rule{Method: http.MethodGet, Skip: 1, Fault: s.StallAfter(10)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			rc, err := open(t, s, ahead(piece, window)).Fetch(ctx, desc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(iotest.OneByteReader(rc), make([]byte, piece+5)); err != nil {
				t.Fatal(err)
			}
			for s.Count(http.MethodGet, "") < 1+window {
				runtime.Gosched()
			}
			switch how {
			case "Close":
			case "Close during Read":
				if _, err := io.ReadFull(rc, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				go rc.Close()
				if n, err := rc.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
					t.Errorf("Read: %d, %v", n, err)
				}
			default:
				cancel()
				n, err := rc.Read(make([]byte, 10))
				if e, ok := errors.AsType[*ecrclient.Error](err); !ok || !errors.Is(e, context.Canceled) {
					t.Errorf("Read: %v, want %v", err, context.Canceled)
				}
				if n != 0 || errors.Is(err, ecrclient.ErrUnavailable) {
					t.Errorf("Read: %d bytes, %v, want none, and that the registry is not to blame", n, err)
				}
			}
			if how != "context, no Close" {
				for range 2 {
					if err := rc.Close(); err != nil {
						t.Error(err)
					}
				}
				if n := running(); n != 0 {
					t.Errorf("%d goroutines after Close", n)
				}
			}
			for running() > 0 { // without Close it may take a moment
				runtime.Gosched()
			}
			if n, err := rc.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("Read afterwards: %d, %v", n, err)
			}
		})
	}
}

// running returns the number of goroutines that work for readers.
func running() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "ecrclient.(*pieceReader).readAhead(") +
		strings.Count(string(buf[:runtime.Stack(buf, true)]), "ecrclient.(*pieceReader).fill(")
}
