package inventory_test

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// account is an account of AWS with a registry.
type account struct {
	t        *testing.T
	registry *registrytest.Server
	aws      *awstest.Server
	ecr      *awstest.ECR
	layers   [][]byte
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{t: t, registry: registrytest.Start(t), aws: awstest.Start(t)}
	a.ecr = awstest.NewECR(a.registry)
	a.aws.Handle("ecr", a.ecr)
	stored, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range stored {
		if l.Compression == testlayers.Gzip {
			a.layers = append(a.layers, l.Blob())
		}
	}
	return a
}

func (a *account) source(o ...inventory.ECROption) *inventory.ECRSource {
	return inventory.ECR(a.aws.RetryingConfig(5), append(o, inventory.WithClientOptions(
		ecrclient.WithEndpoint(a.registry.URL()), ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1})))...)
}

// image pushes one with layers of the given numbers.
func (a *account) image(repository, tag string, layers ...int) ocispec.Descriptor {
	a.t.Helper()
	img := registrytest.Image{Annotations: map[string]string{"made for": repository + ":" + tag}}
	for _, n := range layers {
		img.Layers = append(img.Layers, registrytest.Layer{Content: a.layers[n]})
	}
	d := a.registry.PushImage(a.t, repository, tag, img).Manifest
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

func (a *account) index(repository, tag string, set func(*soci.Options)) *soci.Result {
	a.t.Helper()
	o := soci.Options{MinLayerSize: 1, IndexVersion: soci.Both, Tag: tag, TagUnindexed: true}
	if set != nil {
		set(&o)
	}
	return a.registry.Index(a.t, repository, tag, o)
}

func (a *account) delete(repository string, d digest.Digest) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodDelete,
		a.registry.Registry.URL()+"/v2/"+repository+"/manifests/"+d.String(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := registrytest.Client.Do(req)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		a.t.Fatal(resp, err)
	}
	resp.Body.Close()
}

func rules(t *testing.T, list string) filters.Rules {
	t.Helper()
	f, err := filters.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return filters.Rules{Filters: f, TagSuffix: "-soci"}
}

// lines returns each record as "repository:tag state reason".
func lines(t *testing.T, records iter.Seq2[inventory.Record, error]) []string {
	t.Helper()
	var out []string
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		reason := strings.ReplaceAll(r.Reason, r.Digest.String(), "sha256:itself")
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s:%s %s %s", r.Repository, r.Tag, r.State, reason)))
	}
	return out
}

func compare(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// fill pushes an image of every state.
func (a *account) fill() {
	another := func(o *soci.Options) { o.BuildToolIdentifier = "another tool" }
	a.image("app", "bare", 0)
	a.image("app", "done", 0, 1)
	a.index("app", "done", nil)
	a.image("app", "half", 1)
	a.index("app", "half", func(o *soci.Options) { o.IndexVersion = soci.V1 })
	a.image("app", "moved", 0)
	a.index("app", "moved", nil)
	a.image("app", "moved", 2)
	a.image("app", "other", 2, 1)
	a.index("app", "other", another)
	a.image("app", "nothing")
	a.image("app", "said")
	a.index("app", "said", nil)
	a.registry.PushImage(a.t, "app", "out", registrytest.Image{Layers: []registrytest.Layer{{Content: a.layers[0]}},
		Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Labels":{"soci-index-builder.skip":"true"}}}`)})
	a.registry.PushImage(a.t, "app", "zstd", registrytest.Image{Layers: []registrytest.Layer{
		{MediaType: "application/vnd.oci.image.layer.v1.tar+zstd", Content: []byte("zstd")}}})
	a.image("app", "taken", 3)
	a.image("app", "taken-soci", 4)
	gone := a.image("app", "broken", 5)
	a.delete("app", a.index("app", "broken", nil).Manifests[0].IndexV2.Digest)
	a.registry.PushReferrer(a.t, "app", gone, "application/vnd.cncf.notary.signature", []byte("signed"))
	a.registry.PushManifest(a.t, "app", "bad", ocispec.MediaTypeImageManifest,
		append([]byte(`{"manifests":[],`),
			a.registry.Manifest(a.t, "app", "bare")[1:]...)) // both an image and an image index
	amd := a.registry.PushImage(a.t, "team/web", "",
		registrytest.Image{Layers: []registrytest.Layer{{Content: a.layers[0]}}})
	arm := a.registry.PushImage(a.t, "team/web", "",
		registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{{Content: a.layers[1]}}})
	a.registry.PushIndex(a.t, "team/web", "1", false, amd.Manifest, arm.Manifest,
		a.registry.PushAttestation(a.t, "team/web", amd.Manifest).Manifest)
	a.index("team/web", "1", nil)
	a.image("team/web", "2-debug", 1)
	a.image("team/web", "", 6)
}
