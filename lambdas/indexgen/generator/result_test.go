package generator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/lambdafn"
	"soci-index-builder/pkg/ecrclient"
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

func TestClassify(t *testing.T) {
	tests := []struct {
		err  error
		want lambdafn.Class
	}{
		{ecrevent.ErrInvalid, lambdafn.Permanent},
		{ErrOutOfTime, lambdafn.Permanent},
		{soci.ErrTruncated, lambdafn.Permanent},
		{soci.ErrCorrupt, lambdafn.Permanent},
		{soci.ErrUnsupported, lambdafn.Permanent},
		{soci.ErrLimit, lambdafn.Permanent},
		{soci.ErrInvalidOption, lambdafn.Permanent},
		{ecrclient.ErrManifestTooLarge, lambdafn.Permanent},
		{ecrclient.ErrInvalidReference, lambdafn.Permanent},
		{soci.ErrDigestMismatch, lambdafn.Transient},
		{ecrclient.ErrDigestMismatch, lambdafn.Transient},
		{ecrclient.ErrNotFound, lambdafn.Transient},
		{ecrclient.ErrDenied, lambdafn.Transient},
		{ecrclient.ErrThrottled, lambdafn.Transient},
		{ecrclient.ErrUnavailable, lambdafn.Transient},
		{errors.New("nobody foresaw this"), lambdafn.Transient},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			if got := classify(fmt.Errorf("layer 1: %w", tt.err)); got != tt.want {
				t.Errorf("class %s, want %s", got, tt.want)
			}
		})
	}
}
