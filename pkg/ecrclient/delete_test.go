package ecrclient_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

func TestDeleteManifest(t *testing.T) {
	s := registrytest.Start(t)
	r := open(t, s)
	image := s.PushImage(t, "team/app", "v1", registrytest.Image{})
	other := s.PushImage(t, "team/app", "v2", registrytest.Image{Platform: "linux/arm64"})
	s.PushManifest(t, "team/app", "v1-again", image.Manifest.MediaType, image.Bytes)
	if err := r.DeleteManifest(t.Context(), image.Manifest); err != nil {
		t.Fatal(err)
	}
	if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 1 || tags[0] != "v2" {
		t.Errorf("the tags %q, %v are left", tags, err)
	}
	if s.Manifest(t, "team/app", other.Manifest.Digest.String()) == nil {
		t.Error("another manifest is gone")
	}
	if err := r.DeleteManifest(t.Context(), image.Manifest); !errors.Is(err, ecrclient.ErrNotFound) {
		t.Errorf("deleted again: %v, want ErrNotFound", err)
	}
	if err := r.DeleteManifest(t.Context(), ocispec.Descriptor{Digest: "nonsense"}); !errors.Is(err,
		ecrclient.ErrInvalidReference) {
		t.Errorf("no digest: %v, want ErrInvalidReference", err)
	}
}

// Without a referrers API the list is under a tag, which must not keep naming
// manifests that are gone.
func TestDeleteManifestFromReferrersTag(t *testing.T) {
	s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	r := open(t, s)
	image := s.PushImage(t, "team/app", "v1", registrytest.Image{})
	var list []ocispec.Descriptor
	for _, content := range []string{"one", "two"} {
		d := s.PushReferrer(t, "team/app", image.Manifest, "application/vnd.example", []byte(content))
		d.ArtifactType = "application/vnd.example"
		list = append(list, d)
	}
	s.PushIndex(t, "team/app", "sha256-"+image.Manifest.Digest.Encoded(), false, list...)
	if err := r.DeleteManifest(t.Context(), list[0]); err != nil {
		t.Fatal(err)
	}
	left, err := r.Referrers(t.Context(), image.Manifest, "")
	if err != nil || len(left) != 1 || left[0].Digest != list[1].Digest {
		t.Errorf("the referrers are %v, %v", left, err)
	}
}

func TestDeletionDisabled(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		code   string
		want   bool
	}{
		{"405", 405, "", true},
		{"unsupported", 400, "UNSUPPORTED", true},
		{"denied", 403, "DENIED", false},
		{"unavailable", 503, "UNAVAILABLE", false},
		{"not there", 404, "MANIFEST_UNKNOWN", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			image := s.PushImage(t, "team/app", "v1", registrytest.Image{})
			s.Add(registrytest.Rule{Method: http.MethodDelete, Fault: registrytest.Status(tt.status, tt.code, "")})
			r, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			if err != nil {
				t.Fatal(err)
			}
			err = r.DeleteManifest(t.Context(), image.Manifest)
			e, ok := errors.AsType[*ecrclient.Error](err)
			if !ok || e.DeletionDisabled() != tt.want {
				t.Errorf("%v: deletion disabled is %t, want %t", err, !tt.want, tt.want)
			}
		})
	}
	if (&ecrclient.Error{Op: "fetch manifest", Status: 405}).DeletionDisabled() {
		t.Error("another operation is taken for it")
	}
}

// A registry may keep a tag when its manifest is deleted by digest.
func TestDeleteTag(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	r, err := ecrclient.New(strings.TrimPrefix(server.URL, "http://") + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	b := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := r.PushTag(t.Context(), desc, bytes.NewReader(b), "v1"); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteManifest(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(t.Context(), "v1"); err != nil {
		t.Fatalf("the registry has deleted the tag too, and the test shows nothing: %v", err)
	}
	if err := r.DeleteTag(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(t.Context(), "v1"); !errors.Is(err, ecrclient.ErrNotFound) {
		t.Errorf("the deleted tag: %v, want ErrNotFound", err)
	}
	if err := r.DeleteTag(t.Context(), "v1"); !errors.Is(err, ecrclient.ErrNotFound) {
		t.Errorf("deleted again: %v, want ErrNotFound", err)
	}
	if err := r.DeleteTag(t.Context(), desc.Digest.String()); !errors.Is(err, ecrclient.ErrInvalidReference) {
		t.Errorf("a digest: %v, want ErrInvalidReference", err)
	}
}
