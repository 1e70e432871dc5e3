package inspect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

var update = flag.Bool("update", false, "renew testdata")

// stored is a layer whose bytes are the same in every build.
func stored(t *testing.T, name string) []byte {
	t.Helper()
	all, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Name == name {
			return l.Blob()
		}
	}
	t.Fatalf("no layer %s", name)
	return nil
}

// pushTree pushes an image index of two platforms, one of them with a SOCI
// index v1 and the other with one of v2 that is missing, and an attestation.
func pushTree(t *testing.T) (*registrytest.Server, *ecrclient.Repository) {
	t.Helper()
	s := registrytest.Start(t)
	repo, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	amd := s.PushImage(t, "team/app", "", registrytest.Image{Layers: []registrytest.Layer{
		{Content: stored(t, "writer/go-6")}, {Content: stored(t, "member/two")},
	}})
	arm := s.PushImage(t, "team/app", "", registrytest.Image{
		Platform: "linux/arm64/v8", Docker: true,
		Layers:      []registrytest.Layer{{Content: stored(t, "member/two")}},
		Annotations: map[string]string{soci.AnnotationIndexDigest: digest.FromString("nowhere").String()},
	})
	attestation := s.PushAttestation(t, "team/app", amd.Manifest)
	s.PushIndex(t, "team/app", "1", false, amd.Manifest, arm.Manifest, attestation.Manifest)
	if _, err := soci.IndexImage(context.Background(), repo, repo, amd.Manifest,
		soci.Options{SpanSize: 64 << 10, MinLayerSize: 1}); err != nil {
		t.Fatal(err)
	}
	return s, repo
}

func load(t *testing.T, repo *ecrclient.Repository, reference string) *inspect.Node {
	t.Helper()
	desc, err := repo.Resolve(context.Background(), reference)
	if err != nil {
		t.Fatal(err)
	}
	root, err := inspect.Load(context.Background(), repo, desc)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTree(t *testing.T) {
	_, repo := pushTree(t)
	root := load(t, repo, "1")
	for _, row := range []struct {
		golden string
		write  func(*bytes.Buffer) error
	}{
		{"testdata/tree.txt", func(b *bytes.Buffer) error { return inspect.WriteText(b, root, true) }},
		{"testdata/tree.json", func(b *bytes.Buffer) error {
			e := json.NewEncoder(b)
			e.SetIndent("", "  ")
			return e.Encode(root)
		}},
	} {
		t.Run(row.golden, func(t *testing.T) {
			var got bytes.Buffer
			if err := row.write(&got); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(row.golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(row.golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", &got, want)
			}
		})
	}
	if images := root.Images(); len(images) != 2 {
		t.Errorf("%d images, want 2", len(images))
	}
}

// The platform of an image that no image index lists is in its config.
func TestSingleImage(t *testing.T) {
	s, repo := pushTree(t)
	s.PushImage(t, "team/app", "single",
		registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{{Content: stored(t, "member/two")}}})
	if root := load(t, repo, "single"); root.Kind != soci.KindImage || root.Platform != "linux/arm64" {
		t.Errorf("%s of %q", root.Kind, root.Platform)
	}
}

// Some tools give an image the type of its config as its artifact type.
func TestImageWithArtifactType(t *testing.T) {
	s, repo := pushTree(t)
	img := s.PushImage(t, "team/app", "",
		registrytest.Image{Layers: []registrytest.Layer{{Content: stored(t, "member/two")}}})
	img.Manifest.ArtifactType = ocispec.MediaTypeImageConfig
	other := img.Manifest
	other.ArtifactType = "application/vnd.example.thing"
	s.PushIndex(t, "team/app", "typed", false, img.Manifest, other)
	root := load(t, repo, "typed")
	if a, b := root.Manifests[0].Kind, root.Manifests[1].Kind; a != soci.KindImage || b != soci.KindArtifact {
		t.Errorf("%s and %s, want an image and an artifact", a, b)
	}
}

// A tree that leads nowhere in a part is shown all the same.
func TestMissingAndInvalid(t *testing.T) {
	s, repo := pushTree(t)
	img := s.PushImage(t, "team/app", "bad", registrytest.Image{
		Layers:      []registrytest.Layer{{Content: stored(t, "member/two")}},
		Annotations: map[string]string{soci.AnnotationIndexDigest: "not a digest"},
	})
	s.PushReferrer(t, "team/app", img.Manifest, soci.ArtifactTypeV1, []byte("no zTOC"))
	root := load(t, repo, "bad")
	if len(root.SociIndexes) != 2 {
		t.Fatalf("%d SOCI indexes, want 2", len(root.SociIndexes))
	}
	for _, index := range root.SociIndexes {
		if index.Manifest == nil && index.Invalid == "" {
			t.Errorf("%s index %s: nothing says why it cannot be read", index.Version, index.Digest)
		}
	}
	var text bytes.Buffer
	if err := inspect.WriteText(&text, root, true); err != nil || !strings.Contains(text.String(), "not a digest") &&
		!strings.Contains(text.String(), "invalid") {
		t.Errorf("%v\n%s", err, &text)
	}
}

func TestLimits(t *testing.T) {
	s, repo := pushTree(t)
	desc := s.PushImage(t, "team/app", "",
		registrytest.Image{Layers: []registrytest.Layer{{Content: stored(t, "member/two")}}}).Manifest
	for range 20 {
		desc = s.PushIndex(t, "team/app", "", false, desc)
	}
	if _, err := inspect.Load(context.Background(), repo, desc); !errors.Is(err, inspect.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
	if _, err := inspect.Load(context.Background(), repo, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("nowhere"), Size: 7,
	}); !errors.Is(err, ecrclient.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}
