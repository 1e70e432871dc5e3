//go:build !parallel_always

package soci_test

import (
	"bytes"
	"runtime"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// A layer of 16 MiB has several workers, unless it has one byte less, or
// LayerWorkers is 1.
func TestParallelFrom(t *testing.T) {
	const from, processors = 16 << 20, 3
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	body := testlayers.GoGzip(archive(t, "noise", testlayers.Noise(1, from-40_000)), 0, 0)
	for _, tt := range []struct {
		size, workers, want int
	}{
		{from - 1, 0, 0}, {from, 0, processors}, {from, 1, 0}, {from, 2, 2}, {from, 64, processors},
	} {
		// The header makes up for what is missing.
		blob := testlayers.GzipHeader{Extra: make([]byte, tt.size-len(body)-2)}.Bytes()
		blob = append(blob, body[10:]...)
		if len(blob) != tt.size {
			t.Fatal(len(blob))
		}
		r := &watched{r: bytes.NewReader(blob), half: int64(tt.size / 2), want: tt.want}
		z, err := soci.BuildZtoc(r, soci.ZtocOptions{Size: int64(tt.size), LayerWorkers: tt.workers})
		if err != nil {
			t.Fatal(err)
		}
		if z.CompressedSize != int64(tt.size) || r.got != tt.want {
			t.Errorf("a layer of %d bytes with LayerWorkers %d has %d workers, not %d", tt.size, tt.workers, r.got,
				tt.want)
		}
	}
}
