package soci_test

import (
	"maps"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// zstd is the content of a layer that only reading shows to be zstd.
var zstd = []byte("\x28\xb5\x2f\xfd zstd, whatever its media type says")

// The unindexed image says with which minimum size, and for which platforms, it
// was found. It loses its tag only for one that rests on more.
func TestVerdict(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	amd := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(zstd)}).Manifest
	arm := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(zstd), Platform: "linux/arm64"}).Manifest
	image := s.PushIndex(t, repoName, "v1", false, amd, arm)
	verdict := func() string {
		return readIndex(t, s, "v1-soci").Annotations[soci.AnnotationVerdict]
	}
	for _, tt := range []struct {
		name     string
		minSize  int64
		platform string
		outcome  soci.Outcome
		want     string
	}{
		{"the first", 1000, "linux/amd64", soci.OutcomeTagged, "1,1000," + amd.Digest.String()},
		{"the same", 1000, "linux/amd64", soci.OutcomeAlreadyTagged, "1,1000," + amd.Digest.String()},
		{"another platform", 1000, "linux/arm64", soci.OutcomeTagged, "1,1000," + arm.Digest.String()},
		{"all platforms", 1000, "", soci.OutcomeTagged, "1,1000"},
		{"one of them again", 1000, "linux/amd64", soci.OutcomeAlreadyTagged, "1,1000"},
		{"a larger size", 2000, "", soci.OutcomeAlreadyTagged, "1,1000"},
		{"a smaller size", 10, "", soci.OutcomeTagged, "1,10"},
		{"a smaller size, one platform", 1, "linux/amd64", soci.OutcomeTagged, "1,1," + amd.Digest.String()},
	} {
		o := both("v1")
		o.MinLayerSize = tt.minSize
		if tt.platform != "" {
			o.Platforms = []string{tt.platform}
		}
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil {
			t.Fatalf("%s: %v, %s, %q, want %s, %q", tt.name, err, r.Enabled.Outcome, verdict(), tt.outcome, tt.want)
		}
		if r.Enabled.Outcome != tt.outcome || !r.Enabled.Unindexed || verdict() != tt.want {
			t.Errorf("%s: %v, %s, %q, want %s, %q", tt.name, err, r.Enabled.Outcome, verdict(), tt.outcome, tt.want)
		}
		if r.Enabled.Image.Digest != tagged(t, s, "v1-soci") {
			t.Errorf("%s: the result has %s, the tag names another", tt.name, r.Enabled.Image.Digest)
		}
	}

	// One of an earlier release has its tag until it is forced to go; one of other
	// rules has not.
	old := readIndex(t, s, "v1-soci")
	for _, tt := range []struct {
		name, said string
		force      bool
		outcome    soci.Outcome
	}{
		{"an earlier release", "", false, soci.OutcomeAlreadyTagged},
		{"an earlier release, forced", "", true, soci.OutcomeTagged},
		{"other rules", "0,1", false, soci.OutcomeTagged},
		{"no number", "1,x", false, soci.OutcomeTagged},
		{"no size", "1,-5", false, soci.OutcomeTagged},
	} {
		x := *old
		x.Annotations = maps.Clone(old.Annotations)
		delete(x.Annotations, soci.AnnotationVerdict)
		if tt.said != "" {
			x.Annotations[soci.AnnotationVerdict] = tt.said
		}
		s.PushManifest(t, repoName, "v1-soci", ocispec.MediaTypeImageIndex, []byte(encoded(x)))
		status, err := soci.Examine(t.Context(), repo, image, []string{"v1"}, both("v1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if e := status.Enabled[0]; e.State != soci.EnabledUnindexed ||
			e.Unindexable(status.Manifests) != (tt.said == "") {
			t.Errorf("%s: %s, unindexable %t", tt.name, e.State, e.Unindexable(status.Manifests))
		}
		o := both("v1")
		o.Force = tt.force
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil || r.Enabled.Outcome != tt.outcome {
			t.Errorf("%s: %v, %s, want %s", tt.name, err, r.Enabled.Outcome, tt.outcome)
		}
		if want := map[soci.Outcome]string{soci.OutcomeTagged: "1,1"}[tt.outcome]; verdict() != want {
			t.Errorf("%s: %q, want %q", tt.name, verdict(), want)
		}
	}
}
