package ecrclient_test

import (
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// A blob as one stream, by the defaults and always ahead, from a registry that
// limits each connection and from one that does not. The registry shares the
// processors.
func BenchmarkFetch(b *testing.B) {
	b.Setenv("DOCKER_CONFIG", b.TempDir())
	content := noise(60, 64<<20)
	for _, registry := range []struct {
		name    string
		rate    int64 // bytes per second and connection, 0 for no limit
		latency time.Duration
	}{
		{"unlimited", 0, 0},
		{"80MiBps-20ms", 80 << 20, 20 * time.Millisecond},
		{"30MiBps-50ms", 30 << 20, 50 * time.Millisecond},
	} {
		for _, client := range []struct {
			name     string
			parallel ecrclient.Parallel
		}{
			{"stream", ecrclient.Parallel{Window: 1}},
			{"default", ecrclient.Parallel{}},
			{"pieces", ecrclient.Parallel{FastStream: math.MaxInt64}},
		} {
			b.Run(registry.name+"/"+client.name, func(b *testing.B) {
				s := registrytest.Start(b)
				desc := s.PushBlob(b, repository, content)
				if registry.rate > 0 {
					s.Add(registrytest.Rule{Method: http.MethodGet,
						Fault: registrytest.Throttle(registry.rate, registry.latency)})
				}
				r, err := ecrclient.New(s.Host()+"/"+repository, ecrclient.WithParallel(client.parallel))
				if err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, 64<<10)
				b.SetBytes(desc.Size)
				b.ReportAllocs()
				for b.Loop() {
					rc, err := r.Fetch(b.Context(), desc)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{rc},
						buf); err != nil ||
						n != desc.Size {
						b.Fatalf("%d bytes, %v", n, err)
					}
					if err := rc.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
