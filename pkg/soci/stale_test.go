package soci_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Content that an image index has beside a digest is not kept beside another one: a
// client would take it for the manifest.
func TestEmbeddedContent(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	inner := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	nested := s.PushIndex(t, repoName, "", false,
		s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 1)), Platform: "linux/arm64"}).Manifest)
	inner.Data, nested.Data = s.Manifest(t, repoName, inner.Digest.String()),
		s.Manifest(t, repoName, nested.Digest.String())
	image := s.PushIndex(t, repoName, "v1", false, inner, nested)
	if _, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1")); err != nil {
		t.Fatal(err)
	}
	for _, d := range readIndex(t, s, "v1-soci").Manifests {
		if d.Digest == inner.Digest || d.Digest == nested.Digest || d.Data != nil {
			t.Errorf("%s %s with %d bytes of content", d.MediaType, d.Digest, len(d.Data))
		}
	}
}

// An image that was built from one without a layer to index has inherited that
// annotation, which its SOCI-enabled image does not have.
func TestInheritedUnindexed(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	for name, annotations := range map[string]map[string]string{
		"alone":          {soci.AnnotationUnindexed: "true"},
		"beside another": {soci.AnnotationUnindexed: "true", "kept": "yes"},
	} {
		image := s.PushImage(t, repoName, "v1",
			registrytest.Image{Layers: layers(good(t, 0)), Annotations: annotations}).Manifest
		image.Platform = nil
		r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
		if err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
			t.Fatalf("%s: %v %+v", name, err, r)
		}
		got := readManifest(t, s, r.Manifests[0].Enabled.Digest).Annotations
		if got[soci.AnnotationUnindexed] != "" || got[soci.AnnotationIndexDigest] == "" ||
			got["kept"] != annotations["kept"] {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A second run that tags the same image while this one builds has done its work.
func TestTaggedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.s.Add(registrytest.Rule{Method: http.MethodHead, Path: enabledTag, Times: 1, Fault: during(nil, func() {
		if _, err := w.index(w.old); err != nil {
			t.Error(err)
		}
	})})
	r, err := w.index(w.old)
	if err != nil || r.Enabled.Outcome != soci.OutcomeAlreadyTagged {
		t.Errorf("%v %+v", err, r)
	}
	if n := w.s.Count(http.MethodPut, enabledTag); n != 1 {
		t.Errorf("the suffixed tag was written %d times", n)
	}
}

// One layer that two manifests list under two media types is judged for each of
// them, and read once.
func TestOneLayerTwoMediaTypes(t *testing.T) {
	s := newStore()
	layer := s.add(gz, good(t, 0))
	foreign := layer
	foreign.MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	r, err := soci.IndexImage(t.Context(), s, s, s.index(s.image("amd64", layer, foreign), s.image("arm64", foreign)),
		everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	first, second := r.Manifests[0], r.Manifests[1]
	if len(first.Layers) != 2 {
		t.Fatalf("%+v", first)
	}
	if !first.Layers[0].Indexed() || first.Layers[1].Reason != soci.SkipForeign ||
		first.Outcome != soci.OutcomeIndexed {
		t.Errorf("%+v", first)
	}
	if second.Outcome != soci.OutcomeNoLayer || second.Layers[0].Reason != soci.SkipForeign ||
		s.fetched[layer.Digest] != 1 {
		t.Errorf("%+v, read %d times", second, s.fetched[layer.Digest])
	}
}

// A SOCI index v1 that was stored and not listed, which clients do not find, is
// none that is there: the next run lists it.
func TestStoredAndNotListed(t *testing.T) {
	s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	o := both("v1")
	o.IndexVersion = soci.V1
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/sha256-", Times: 1,
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
	if _, err := soci.IndexImage(t.Context(), repo, repo, image, o); err == nil {
		t.Fatal("the list was not written, and there is no error")
	}
	for _, there := range []bool{false, true} {
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil || r.Manifests[0].AlreadyThere != there {
			t.Errorf("%v, want already there: %t: %+v", err, there, r)
		}
		found, err := openRepo(t, s).Referrers(t.Context(), image, soci.ArtifactTypeV1)
		if err != nil || len(found) != 1 {
			t.Errorf("referrers: %v, %v", found, err)
		}
	}
}

// What the image index of another image says of that one's layers is not said of
// this one's, where the next build would believe it.
func TestInheritedVerdict(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	p := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))})
	var index ocispec.Index
	if err := json.Unmarshal(s.Manifest(t, repoName,
		s.PushIndex(t, repoName, "", false, p.Manifest).Digest.String()), &index); err != nil {
		t.Fatal(err)
	}
	index.Annotations = map[string]string{"kept": "yes", soci.AnnotationVerdict: "1,5",
		soci.AnnotationUnindexable: "1,65536," + p.Layers[0].Digest.String() + "=sparse-file"}
	image := s.PushManifest(t, repoName, "v1", ocispec.MediaTypeImageIndex, []byte(encoded(index)))
	for _, tt := range []struct {
		min     int64
		verdict string
	}{{1, ""}, {1 << 30, "1,1073741824"}} {
		o := both("v1")
		o.MinLayerSize = tt.min
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil || r.Enabled.Unindexed != (tt.verdict != "") {
			t.Fatalf("%v %+v", err, r)
		}
		got := readIndex(t, s, "v1-soci").Annotations
		if got[soci.AnnotationUnindexable] != "" || got[soci.AnnotationVerdict] != tt.verdict || got["kept"] != "yes" {
			t.Errorf("minimum size %d: %v", tt.min, got)
		}
	}
}

// A suffixed tag that names something damaged stays, since it may be somebody's own
// image, and the error says what to do.
func TestTagNamesDamaged(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	own := s.PushIndex(t, repoName, "v1-soci", false, image)
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/manifests/" + own.Digest.String(),
		Fault: registrytest.Corrupt(10)})
	_, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if !errors.Is(err, ecrclient.ErrDigestMismatch) || !strings.Contains(err.Error(), "delete that tag") {
		t.Errorf("%v", err)
	}
	if got := tagged(t, s, "v1-soci"); got != own.Digest {
		t.Errorf("the tag names %s", got)
	}
}
