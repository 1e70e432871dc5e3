package soci_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// derive pushes an image as builders make it of a SOCI-enabled one: the
// annotations of the base are inherited.
func derive(t *testing.T, s *registrytest.Server, tag string, base ocispec.Descriptor,
	blobs ...[]byte) ocispec.Descriptor {
	t.Helper()
	annotations := maps.Clone(readManifest(t, s, base.Digest).Annotations)
	if annotations[soci.AnnotationIndexDigest] == "" {
		t.Fatal("the base has no annotation to inherit")
	}
	annotations["kept"] = "yes"
	d := s.PushImage(t, repoName, tag, registrytest.Image{Layers: layers(blobs...), Annotations: annotations}).Manifest
	d.Platform = nil
	return d
}

// An image that was built from a SOCI-enabled one inherits its annotation, and
// is an image like any other: it gets its own SOCI indexes, and its
// SOCI-enabled image names those alone.
func TestDerivedImages(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	base := s.PushImage(t, repoName, "base", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	made, err := soci.IndexImage(t.Context(), repo, repo, base, both("base"))
	if err != nil {
		t.Fatal(err)
	}
	enabled := made.Manifests[0].Enabled
	plain := s.PushImage(t, repoName, "",
		registrytest.Image{Layers: layers(good(t, 3)), Platform: "linux/arm64"}).Manifest

	single := derive(t, s, "kaniko", enabled, good(t, 0), good(t, 1))
	child := derive(t, s, "", enabled, good(t, 2))
	child.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	child.Annotations = map[string]string{soci.AnnotationIndexDigest: enabled.Annotations[soci.AnnotationIndexDigest]}
	list := s.PushIndex(t, repoName, "ko", false, child, plain)
	copied := ocispec.Descriptor{MediaType: enabled.MediaType, Digest: enabled.Digest, Size: enabled.Size}
	s.PushManifest(t, repoName, "copied", enabled.MediaType, s.Manifest(t, repoName, enabled.Digest.String()))

	for _, tt := range []struct {
		tag   string
		image ocispec.Descriptor
		n     int // manifests
	}{{"kaniko", single, 1}, {"ko", list, 2}, {"copied", copied, 1}} {
		for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
			t.Run(tt.tag+" "+string(version), func(t *testing.T) {
				o := both(tt.tag)
				o.IndexVersion = version
				r, err := soci.IndexImage(t.Context(), repo, repo, tt.image, o)
				if err != nil || r.Outcome() != soci.OutcomeIndexed || len(r.Manifests) != tt.n {
					t.Fatalf("%v %+v", err, r)
				}
				if version == soci.V1 {
					return
				}
				x := readIndex(t, s, tt.tag+"-soci")
				for i, m := range r.Manifests {
					if m.Enabled.Digest != x.Manifests[i].Digest {
						t.Fatalf("%s stands for manifest %d, not %s", x.Manifests[i].Digest, i, m.Enabled.Digest)
					}
					a := readManifest(t, s, m.Enabled.Digest).Annotations
					if a[soci.AnnotationIndexDigest] != m.IndexV2.Digest.String() {
						t.Errorf("manifest %d names %s, not its SOCI index %s", i, a[soci.AnnotationIndexDigest],
							m.IndexV2.Digest)
					}
				}
				if status := examine(t, s, tt.tag); status.LeftAlone != "" ||
					status.Enabled[0].State != soci.EnabledMatches {
					t.Errorf("examined: %+v", status)
				}
				// The results are left alone in turn.
				for _, d := range []ocispec.Descriptor{r.Enabled.Image, r.Manifests[0].IndexV2} {
					if r, err := soci.IndexImage(t.Context(), repo, repo, d, both(tt.tag+"-soci")); err != nil ||
						r.LeftAlone != soci.OutcomeOwnArtifact {
						t.Errorf("%v %+v", err, r)
					}
				}
				for _, d := range []ocispec.Descriptor{r.Manifests[0].Enabled,
					tt.image} { // as an event without a tag tells of them
					if r, err := soci.IndexImage(t.Context(), repo, repo, d, both("")); err != nil ||
						r.LeftAlone != soci.OutcomeOwnArtifact {
						t.Errorf("%v %+v", err, r)
					}
				}
			})
		}
	}
}

// An image that inherited the annotation and has nothing to index stands under
// the suffixed tag without it: clients would look for another image's SOCI
// index.
func TestDerivedUnindexed(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	foreign := map[string]string{soci.AnnotationIndexDigest: digest.FromString("another repository's").String()}
	small := s.PushImage(t, repoName, "small",
		registrytest.Image{Layers: layers([]byte("tiny")), Annotations: foreign, Docker: true}).Manifest
	other := s.PushImage(t, repoName, "",
		registrytest.Image{Layers: layers([]byte("less")), Platform: "linux/arm64"}).Manifest
	attestation := s.PushAttestation(t, repoName, small).Manifest
	list := s.PushIndex(t, repoName, "list", false, small, other, attestation)
	for tag, image := range map[string]ocispec.Descriptor{"small": {MediaType: small.MediaType, Digest: small.Digest,
		Size: small.Size}, "list": list} {
		o := both(tag)
		o.MinLayerSize = 1000
		for range 2 {
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatalf("%s: %v %+v", tag, err, r)
			}
			if r.Outcome() != soci.OutcomeNoLayer || !r.Enabled.Unindexed || r.Manifests[0].Reason == "" {
				t.Fatalf("%s: %v %+v", tag, err, r)
			}
		}
		x := readIndex(t, s, tag+"-soci")
		m := readManifest(t, s, x.Manifests[0].Digest)
		if want := map[string]string{soci.AnnotationUnindexed: "true"}; !maps.Equal(m.Annotations, want) ||
			!maps.Equal(x.Manifests[0].Annotations, want) || len(m.Layers) != 1 {
			t.Errorf("%s: it lists %+v: %+v", tag, x.Manifests[0], m)
		}
		if tag == "list" && (x.Manifests[1].Digest != other.Digest ||
			x.Manifests[2].Annotations["vnd.docker.reference.digest"] != x.Manifests[0].Digest.String()) {
			t.Errorf("%+v", x.Manifests)
		}
		// With examine's least size there would be something to index.
		status, err := soci.Examine(t.Context(), repo, image, []string{tag}, soci.Options{}, nil)
		if err != nil || status.Enabled[0].State != soci.EnabledUnindexed {
			t.Errorf("%s: %v %+v", tag, err, status)
		}
	}
}

// Two stacks of different settings, and two releases, leave each other's
// output alone; so do SOCI-enabled images of which a part is late or gone.
func TestFormTells(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "v1")
	first := both("v1")
	r, err := soci.IndexImage(t.Context(), repo, repo, image, first)
	if err != nil {
		t.Fatal(err)
	}
	other := both("v1-soci") // the push of the first stack's tag, as the second sees it
	other.MinLayerSize, other.TagSuffix, other.BuildToolIdentifier = 100_000, "-lazy", "another release/2"
	left := func(what string, d ocispec.Descriptor, tag string, lacking int) {
		t.Helper()
		o := other
		o.Tag = tag
		s.Clear()
		got, err := soci.IndexImage(t.Context(), repo, repo, d, o)
		if err != nil || got.LeftAlone != soci.OutcomeOwnArtifact || len(got.Lacking) != lacking {
			t.Errorf("%s: %v %+v", what, err, got)
		}
		if n := s.Count(http.MethodPut, "") + s.Count(http.MethodPost, ""); n != 0 {
			t.Errorf("%s: %d requests that write", what, n)
		}
	}
	left("SOCI-enabled image", r.Enabled.Image, "v1-soci", 0)
	for _, m := range r.Manifests[:2] {
		left("its manifest", m.Enabled, "", 0)
		left("SOCI index v2", m.IndexV2, "", 0)
		left("SOCI index v1", m.Index, "", 0)
	}
	unindexed := both("v1")
	unindexed.MinLayerSize, unindexed.TagSuffix = 1<<30, "-none"
	none, err := soci.IndexImage(t.Context(), repo, repo, image, unindexed)
	if err != nil || !none.Enabled.Unindexed {
		t.Fatalf("%v %+v", err, none)
	}
	left("unindexed image", none.Enabled.Image, "v1-none", 0)

	// Replication brings the SOCI index last; later it is deleted.
	s.Add(registrytest.Rule{Path: "/manifests/" + r.Manifests[0].IndexV2.Digest.String() + "$",
		Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
	left("without one of its SOCI indexes", r.Enabled.Image, "v1-soci", 0)
}

// A SOCI-enabled image that lacks the SOCI index of a platform says so: as all
// others it is left alone.
func TestLacking(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "v1")
	o := both("v1")
	o.Platforms = []string{"linux/arm64"}
	r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := soci.IndexImage(t.Context(), repo, repo, r.Enabled.Image, both("copy"))
	// The platform whose layer is zstd by its media type could not have one.
	if err != nil {
		t.Fatalf("%v %+v", err, got)
	}
	if got.LeftAlone != soci.OutcomeOwnArtifact || !slices.Equal(got.Lacking, []string{"linux/amd64"}) ||
		!strings.Contains(got.Reason, "none for linux/amd64") {
		t.Errorf("%v %+v", err, got)
	}
	if status := examine(t, s, "v1-soci"); !slices.Equal(status.Lacking, []string{"linux/amd64"}) {
		t.Errorf("%+v", status)
	}
	small := both("copy")
	small.MinLayerSize = 1 << 30
	if got, err := soci.IndexImage(t.Context(), repo, repo, r.Enabled.Image, small); err != nil ||
		len(got.Lacking) != 0 {
		t.Errorf("nothing to index: %v %+v", err, got)
	}
}
