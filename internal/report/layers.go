package report

import (
	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// Layers counts layers by what became of them.
type Layers struct {
	Built   int // zTOCs that are new
	Reused  int // zTOCs that were there before
	Skipped map[soci.SkipReason]int

	Bytes   int64   // compressed bytes of the layers with a zTOC
	Seconds float64 // spent on them
}

// CountLayers counts the layers of manifests, each layer once however often it
// stands there.
func CountLayers(manifests ...soci.ManifestResult) Layers {
	seen := map[digest.Digest]bool{}
	count := Layers{Skipped: map[soci.SkipReason]int{}}
	for _, m := range manifests {
		for _, l := range m.Layers {
			if seen[l.Layer.Digest] {
				continue
			}
			seen[l.Layer.Digest] = true
			if !l.Indexed() {
				count.Skipped[l.Reason]++
				continue
			}
			if l.Reused {
				count.Reused++
			} else {
				count.Built++
			}
			count.Bytes += l.Layer.Size
			count.Seconds += l.Seconds
		}
	}
	return count
}

// Indexed counts the layers with a zTOC.
func (l Layers) Indexed() int { return l.Built + l.Reused }

// WithoutZtoc counts the layers that were skipped, for whatever reason.
func (l Layers) WithoutZtoc() (n int) {
	for _, one := range l.Skipped {
		n += one
	}
	return n
}
