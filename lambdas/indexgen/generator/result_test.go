package generator

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/pkg/soci"
)

// Lambda hands on no larger result of an asynchronous invocation.
func TestResultIsBounded(t *testing.T) {
	desc := ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1 << 40}
	r := &soci.Result{Image: desc}
	const manifests, layers = 256, 1024
	for i := range manifests {
		m := soci.ManifestResult{Manifest: desc, Platform: "linux/arm64/v8", Outcome: soci.OutcomeIndexed, Index: desc}
		for j := range layers {
			l := soci.LayerResult{Layer: desc, Ztoc: desc, Seconds: 123.456789}
			if (i+j)%2 == 0 {
				l = soci.LayerResult{Layer: desc, Reason: soci.SkipEntryType, Detail: strings.Repeat("name", 1000)}
			}
			m.Layers = append(m.Layers, l)
		}
		r.Manifests = append(r.Manifests, m)
	}
	result := newResult(ecrevent.Detail{RepositoryName: strings.Repeat("a", 256)}, r)
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 256<<10 {
		t.Errorf("the result has %d bytes", len(b))
	}
	if len(result.Manifests) != manifests || result.LayersOmitted != manifests*layers-maxLayers {
		t.Errorf("%d manifests and %d layers omitted", len(result.Manifests), result.LayersOmitted)
	}
}
