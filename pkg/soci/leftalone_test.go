package soci_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// Artifacts of ours, others of the same kind, and images that opt out: no layer
// is read, and nothing is pushed. Our manifests are pushed only by digest, so an
// annotated one, or an image index that lists one, is ours only without a tag.
func TestLeftAlone(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, parts := platformImages(t, s, "v1")
	made, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil {
		t.Fatal(err)
	}
	small := s.PushImage(t, repoName, "small", registrytest.Image{}).Manifest
	unindexed, err := soci.IndexImage(t.Context(), repo, repo, small, both("small"))
	if err != nil {
		t.Fatal(err)
	}
	listed := readIndex(t, s, "v1-soci").Manifests
	bare := made.Manifests[0].IndexV2
	bare.ArtifactType = "" // as a registry describes it
	skip := func(labels string) registrytest.Pushed {
		return s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0)),
			Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Labels":` + labels + `}}`)})
	}
	optedOut := skip(`{"soci-index-builder.skip":"true"}`).Manifest
	for _, tt := range []struct {
		name  string
		image ocispec.Descriptor
		want  soci.Outcome
	}{
		{"SOCI-enabled image", made.Enabled.Image, soci.OutcomeOwnArtifact},
		{"untagged: manifest of it", made.Manifests[0].Enabled, soci.OutcomeOwnArtifact},
		{"untagged: manifest of it, as a registry describes it",
			ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: listed[0].Digest,
				Size: listed[0].Size},
			soci.OutcomeOwnArtifact},
		{"SOCI index v2", made.Manifests[0].IndexV2, soci.OutcomeOwnArtifact},
		{"SOCI index v2, as a registry describes it", bare, soci.OutcomeOwnArtifact},
		{"SOCI index v1", made.Manifests[0].Index, soci.OutcomeOwnArtifact},
		{"list of referrers", s.PushIndex(t, repoName, "", false, made.Manifests[0].Index), soci.OutcomeOwnArtifact},
		{"SOCI-enabled image in an image index", s.PushIndex(t, repoName, "", false, made.Enabled.Image),
			soci.OutcomeOwnArtifact},
		{"untagged: its manifest beside another", s.PushIndex(t, repoName, "", false, parts[0], ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: listed[1].Digest, Size: listed[1].Size,
			Platform: listed[1].Platform}), soci.OutcomeOwnArtifact},
		{"unindexed image", unindexed.Enabled.Image, soci.OutcomeOwnArtifact},
		{"unindexed image in an image index", s.PushIndex(t, repoName, "", false, unindexed.Enabled.Image, parts[0]),
			soci.OutcomeOwnArtifact},
		{"label", optedOut, soci.OutcomeOptedOut},
		{"label of one platform", s.PushIndex(t, repoName, "", false, parts[1], optedOut), soci.OutcomeOptedOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Clear()
			for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
				o := both("again")
				if strings.HasPrefix(tt.name, "untagged: ") {
					o.Tag = ""
				}
				o.IndexVersion = version
				r, err := soci.IndexImage(t.Context(), repo, repo, tt.image, o)
				if err != nil {
					t.Fatalf("%s: %v", version, err)
				}
				expect.Equal(t, expect.Facts{
					{"Outcome", r.Outcome(), tt.want},
					{"without a reason", r.Reason == "", false},
					{"number of manifests", len(r.Manifests), 0},
					{"Enabled.Outcome", r.Enabled.Outcome, ""},
				}, "%s", version)
			}
			if n := s.Count(http.MethodPut, "") + s.Count(http.MethodPost, ""); n != 0 {
				t.Errorf("%d requests that write", n)
			}
		})
	}
	if r, err := soci.IndexImage(t.Context(), repo, repo, skip(`{"soci-index-builder.skip":"false"}`).Manifest,
		everyLayer); err != nil || r.Outcome() != soci.OutcomeIndexed {
		t.Errorf("a label that is not true: %v %+v", err, r)
	}
}

// Artifacts that look like images by their config have no SOCI-enabled image.
func TestArtifacts(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	subject := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	wasm := s.PushBlob(t, repoName, []byte(`{}`))
	wasm.MediaType = "application/vnd.wasm.config.v0+json"
	for _, tt := range []struct {
		name  string
		image ocispec.Descriptor
	}{
		{"cosign signature", s.PushImage(t, repoName, "t",
			registrytest.Image{Config: []byte(`{"architecture":"","os":"","config":{}}`),
				Layers: []registrytest.Layer{{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
					Content: []byte("{}")}}}).Manifest},
		{"attestation by itself", s.PushAttestation(t, repoName, subject).Manifest},
		{"wasm", s.PushManifest(t, repoName, "t", ocispec.MediaTypeImageManifest, []byte(encoded(ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: wasm,
			Layers: []ocispec.Descriptor{wasm}})))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.image.Platform, tt.image.Annotations = nil, nil // as a registry describes it
			r, err := soci.IndexImage(t.Context(), repo, repo, tt.image, both("t"))
			if err != nil {
				t.Fatalf("%v %+v", err, r)
			}
			if r.Outcome() != soci.OutcomePassedOver || r.Enabled.Outcome != soci.OutcomePassedOver ||
				r.BytesPushed != 0 {
				t.Errorf("%v %+v", err, r)
			}
		})
	}
}
