package soci_test

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// Several manifests of one platform are several clients' choice: each has its
// SOCI index, whatever the order and whatever the others are.
func TestSamePlatformTwice(t *testing.T) {
	erofs := registrytest.Layer{MediaType: "application/vnd.erofs.layer.v1", Content: make([]byte, 4096)}
	zstd := registrytest.Layer{MediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
		Content: []byte("\x28\xb5\x2f\xfd" + strings.Repeat("z", 100))}
	gzip, other := layers(good(t, 0)), layers(good(t, 1))
	for _, tt := range []struct {
		name          string
		first, second []registrytest.Layer
		features      [2][]string
		variant       [2]string
		want          [2]soci.Outcome
	}{
		{"both gzip", gzip, other, [2][]string{}, [2]string{},
			[2]soci.Outcome{soci.OutcomeIndexed, soci.OutcomeIndexed}},
		{"the same layers under another config", gzip, gzip, [2][]string{}, [2]string{"v1", "v3"},
			[2]soci.Outcome{soci.OutcomeIndexed, soci.OutcomeIndexed}},
		{"EROFS first", []registrytest.Layer{erofs}, gzip, [2][]string{{"erofs"}, nil}, [2]string{},
			[2]soci.Outcome{soci.OutcomeNoLayer, soci.OutcomeIndexed}},
		{"EROFS second", gzip, []registrytest.Layer{erofs}, [2][]string{nil, {"erofs"}}, [2]string{},
			[2]soci.Outcome{soci.OutcomeIndexed, soci.OutcomeNoLayer}},
		{"zstd first", []registrytest.Layer{zstd}, gzip, [2][]string{}, [2]string{},
			[2]soci.Outcome{soci.OutcomeNoLayer, soci.OutcomeIndexed}},
		{"variants", gzip, other, [2][]string{}, [2]string{"v2", "v3"},
			[2]soci.Outcome{soci.OutcomeIndexed, soci.OutcomeIndexed}},
	} {
		for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
			t.Run(tt.name+", "+string(version), func(t *testing.T) {
				s := registrytest.Start(t)
				repo := openRepo(t, s)
				var parts []ocispec.Descriptor
				for i, l := range [][]registrytest.Layer{tt.first, tt.second} {
					d := s.PushImage(t, repoName, "",
						registrytest.Image{Layers: l, Platform: "linux/amd64/" + tt.variant[i]}).Manifest
					d.Platform.OSFeatures = tt.features[i]
					parts = append(parts, d)
				}
				image := s.PushIndex(t, repoName, "v1", false, parts...)
				o := both("v1")
				o.IndexVersion = version
				r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
				if err != nil || r.Outcome() != soci.OutcomeIndexed {
					t.Fatalf("%v %+v", err, r)
				}
				indexed := 0
				for i, want := range tt.want {
					m := r.Manifests[i]
					if m.Outcome != want || (m.Reason == "") != (want == soci.OutcomeIndexed) {
						t.Errorf("manifest %d: %s, %q, want %s", i, m.Outcome, m.Reason, want)
					}
					if want != soci.OutcomeIndexed {
						continue
					}
					indexed++
					if version != soci.V2 && m.Index.Digest == "" {
						t.Errorf("manifest %d has no SOCI index v1", i)
					}
					if version != soci.V1 &&
						readManifest(t, s,
							m.Enabled.Digest).Annotations[soci.AnnotationIndexDigest] != m.IndexV2.Digest.String() {
						t.Errorf("manifest %d does not name its SOCI index v2", i)
					}
				}
				if version == soci.V1 {
					return
				}
				if x := readIndex(t, s, "v1-soci"); len(x.Manifests) != 2+indexed ||
					!slices.Equal(x.Manifests[0].Platform.OSFeatures, tt.features[0]) {
					t.Errorf("%+v", x)
				}
				if status := examine(t, s, "v1"); status.Enabled[0].State != soci.EnabledMatches ||
					len(status.Enabled[0].Indexes) != indexed {
					t.Errorf("%+v", status.Enabled)
				}
			})
		}
	}
}
