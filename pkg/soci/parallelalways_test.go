//go:build parallel_always

package soci_test

import (
	"bytes"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// With this build tag small layers, too, are decoded by several workers, whether
// or not their size is known.
func TestParallelAlways(t *testing.T) {
	blob := testlayers.GoGzip(archive(t, "mixed", testlayers.Mixed(1, 4<<20)), 6, 0)
	for _, size := range []int64{0, int64(len(blob))} {
		r := &watched{r: bytes.NewReader(blob), half: int64(len(blob) / 2), want: 4}
		if _, err := soci.BuildZtoc(r, soci.ZtocOptions{Size: size}); err != nil {
			t.Fatal(err)
		}
		if r.got < r.want {
			t.Errorf("%d workers, not %d or more", r.got, r.want)
		}
	}
}
