package soci_test

import (
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// A suffixed tag that names more SOCI indexes than the image has manifests costs no
// more than reading it, whatever the size of the image's manifests.
func TestManyListedIndexes(t *testing.T) {
	const listed, padding = 5000, 100 << 10
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	var parts []ocispec.Descriptor
	for i, p := range []string{"linux/amd64", "linux/arm64"} {
		pushed := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, i)), Platform: p})
		m := readManifest(t, s, pushed.Manifest.Digest)
		m.Annotations = map[string]string{"padding": strings.Repeat("a", padding)}
		d := s.PushManifest(t, repoName, "", ocispec.MediaTypeImageManifest, jsonOf(t, m))
		d.Platform = pushed.Manifest.Platform
		parts = append(parts, d)
	}
	image := s.PushIndex(t, repoName, "v1", false, parts...)
	hostile := readIndex(t, s, image.Digest.String())
	for range listed {
		hostile.Manifests = append(hostile.Manifests, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest,
			ArtifactType: soci.ArtifactTypeV2, Digest: parts[0].Digest, Size: parts[0].Size})
	}
	s.PushManifest(t, repoName, "v1-soci", ocispec.MediaTypeImageIndex, jsonOf(t, hostile))
	for _, choice := range [][]string{nil, {"linux/amd64"}} {
		o := both("v1")
		o.Choice, o.DryRun = choice, true
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status, err := soci.Examine(t.Context(), repo, image, []string{"v1"}, soci.Options{MinLayerSize: 1,
			Choice: choice}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := soci.Plan(t.Context(), repo, repo, image, o); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		// Reading it takes some 30 MiB; writing one manifest for each takes 500.
		if n := after.TotalAlloc - before.TotalAlloc; n > 100<<20 || status.Enabled[0].State == soci.EnabledMatches {
			t.Errorf("%v: %d MiB were allocated, and it is %s", choice, n>>20, status.Enabled[0].State)
		}
	}
}
