package cleanup_test

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// go-containerregistry's registry keeps a tag, and the manifest under it, when
// the manifest is deleted by its digest.
func TestRegistryKeepsTags(t *testing.T) {
	a := newAccount(t)
	image := a.image("team/app:", "one", registrytest.Image{})
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)),
		registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	repo, err := ecrclient.New(host + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	push := func(desc ocispec.Descriptor, b []byte) {
		if err := repo.Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	push(image.Layers[0], a.gzip)
	push(image.Config, a.registry.Blob(t, repository, image.Config.Digest))
	if err := repo.PushTag(t.Context(), image.Manifest, bytes.NewReader(image.Bytes), "1"); err != nil {
		t.Fatal(err)
	}
	index := func() *soci.Result {
		result, err := soci.IndexImage(t.Context(), repo, repo, image.Manifest, soci.Options{
			IndexVersion: soci.Both, Tag: "1", MinLayerSize: 1, BuildToolIdentifier: ours})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	whole := func(result *soci.Result) {
		t.Helper()
		enabled := result.Enabled
		if desc, err := repo.Resolve(t.Context(), "1-soci"); err != nil || desc.Digest != enabled.Image.Digest {
			t.Errorf("the suffixed tag names %s, %v", desc.Digest, err)
		}
		for _, desc := range []ocispec.Descriptor{enabled.Image, result.Manifests[0].Index, result.Manifests[0].IndexV2,
			result.Manifests[0].Enabled} {
			if _, err := repo.FetchManifest(t.Context(), desc); err != nil {
				t.Error(err)
			}
		}
	}
	clean := func() {
		t.Helper()
		plain, err := cleanup.Registry(inventory.Registry(host, []string{"team/app"}), "team/app")
		if err != nil {
			t.Fatal(err)
		}
		if results := clean(t, plain, options()); len(results) != 4 {
			t.Errorf("%d went, want the SOCI index v1, and the SOCI-enabled image of 2 parts", len(results))
		}
		if tags, err := repo.Tags(t.Context()); err != nil || slices.Contains(tags, "1-soci") ||
			!slices.Contains(tags, "1") {
			t.Errorf("left are the tags %q, %v, want that of the image", tags, err)
		}
		if again := look(t, plain, options()); len(again.Items) > 0 {
			t.Errorf("a second run would have %s go", kinds(again))
		}
	}

	first := index()
	whole(first)
	clean()
	whole(index())

	// Another tool deletes the SOCI-enabled image alone; the tag stays.
	if err := repo.DeleteManifest(t.Context(), first.Enabled.Image); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Resolve(t.Context(), "1-soci"); err != nil {
		t.Fatalf("the registry has deleted the tag too, and the test shows nothing: %v", err)
	}
	again := index()
	whole(again)
	if again.Enabled.Outcome != soci.OutcomeTagged {
		t.Errorf("the outcome of the suffixed tag is %s", again.Enabled.Outcome)
	}
	if index().Enabled.Outcome != soci.OutcomeAlreadyTagged {
		t.Error("a further run has tagged again")
	}
	clean()
}
