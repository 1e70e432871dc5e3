package soci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/localregistry"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// A layer's zTOC is built from a stream of its compressed bytes.
func ExampleBuildZtoc() {
	layers, err := testlayers.Stored()
	if err != nil {
		fmt.Println(err)
		return
	}
	z, err := soci.BuildZtoc(bytes.NewReader(layers[0].Blob()), soci.ZtocOptions{SpanSize: 64 << 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, s := range z.Spans() {
		fmt.Printf("span %d: compressed bytes %d to %d, uncompressed from %d\n", i, s.Start, s.End, s.OutStart)
	}
	fmt.Printf("%d entries, the last is %s at %d\n", len(z.Entries), z.Entries[len(z.Entries)-1].Name,
		z.Entries[len(z.Entries)-1].Offset)
	// Output:
	// span 0: compressed bytes 10 to 56979, uncompressed from 0
	// span 1: compressed bytes 56978 to 60697, uncompressed from 131070
	// 11 entries, the last is usr/last at 137216
}

// An image of a registry is indexed in both versions, and again: nothing is
// read or pushed the second time.
func ExampleIndexImage() {
	ctx := context.Background()
	registry, err := localregistry.New(localregistry.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer registry.Close()
	repo, err := ecrclient.New(registry.Host() + "/team/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	image, err := pushExample(ctx, repo, "1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		r, err := soci.IndexImage(ctx, repo, repo, image, soci.Options{
			IndexVersion: soci.Both, Tag: "1.0", MinLayerSize: 1, Catalog: repo.Catalog(ecrclient.CatalogOptions{}),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		m := r.Manifests[0]
		fmt.Println(r.Outcome(), m.Platform, "already there:", m.AlreadyThere, "tag:", r.Enabled.Tag)
	}
	// Output:
	// indexed linux/amd64 already there: false tag: 1.0-soci
	// indexed linux/amd64 already there: true tag: 1.0-soci
}

// pushExample pushes an image of one layer.
func pushExample(ctx context.Context, repo *ecrclient.Repository, tag string) (ocispec.Descriptor, error) {
	layers, err := testlayers.Stored()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	blob := func(mediaType string, b []byte) (ocispec.Descriptor, error) {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		return d, repo.Push(ctx, d, bytes.NewReader(b))
	}
	layer, err := blob(ocispec.MediaTypeImageLayerGzip, layers[0].Blob())
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	config, err := blob(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"amd64"}`))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	b, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config, Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b),
		Size: int64(len(b))}
	return image, repo.PushTag(ctx, image, bytes.NewReader(b), tag)
}
