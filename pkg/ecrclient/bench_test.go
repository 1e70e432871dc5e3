package ecrclient_test

import (
	"io"
	"testing"

	"soci-index-builder/internal/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// A blob over loopback; the registry shares the processors.
func BenchmarkFetch(b *testing.B) {
	b.Setenv("DOCKER_CONFIG", b.TempDir())
	s := registrytest.Start(b)
	content := noise(60, 64<<20)
	desc := s.PushBlob(b, repository, content)
	r, err := ecrclient.New(s.Host() + "/" + repository)
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
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, rc, buf); err != nil || n != desc.Size {
			b.Fatalf("%d bytes, %v", n, err)
		}
		rc.Close()
	}
}
