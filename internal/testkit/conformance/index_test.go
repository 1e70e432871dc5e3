//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/soci/store"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orascontent "oras.land/oras-go/v2/content"

	"soci-index-builder/internal/testkit/memrepo"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

const (
	testSpanSize = testlayers.ImageSpanSize
	testMinSize  = testlayers.ImageMinLayerSize
)

// repository holds content for both builders: for soci in memory, and in
// containerd's content store for upstream.
type repository struct {
	*memrepo.Repository
	cs content.Store
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	cs, err := local.NewStore(filepath.Join(scratch(t), "content"))
	if err != nil {
		t.Fatal(err)
	}
	return &repository{Repository: memrepo.New(), cs: cs}
}

func (r *repository) add(t *testing.T, mediaType string, b []byte) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if _, ok := r.Blobs[desc.Digest]; ok {
		return desc
	}
	r.Blobs[desc.Digest] = b
	if err := content.WriteBlob(t.Context(), r.cs, desc.Digest.String(), bytes.NewReader(b), desc); err != nil {
		t.Fatal(err)
	}
	return desc
}

func (r *repository) addJSON(t *testing.T, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return r.add(t, mediaType, b)
}

// image adds an image manifest with its config.
func (r *repository) image(t *testing.T, docker bool, p ocispec.Platform,
	layers ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	manifestType, configType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig
	if docker {
		manifestType, configType = images.MediaTypeDockerSchema2Manifest, images.MediaTypeDockerSchema2Config
	}
	config := r.addJSON(t, configType, ocispec.Image{Platform: p})
	desc := r.addJSON(t, manifestType, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType, Config: config, Layers: layers,
	})
	return desc
}

// upstreamBuilder returns upstream's index builder and where it writes.
func (r *repository) upstreamBuilder(t *testing.T, tool string, more ...upstream.BuilderOption) (*upstream.IndexBuilder,
	store.Store) {
	t.Helper()
	dir := scratch(t)
	blobs, err := store.NewSociStore(filepath.Join(dir, "soci"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := upstream.NewDB(upstream.ArtifactsDbPath(dir)) // one for the process: upstream keeps the first
	if err != nil {
		t.Fatal(err)
	}
	builder, err := upstream.NewIndexBuilder(r.cs, blobs, append([]upstream.BuilderOption{
		upstream.WithSpanSize(testSpanSize), upstream.WithMinLayerSize(testMinSize),
		upstream.WithBuildToolIdentifier(tool), upstream.WithArtifactsDb(db), upstream.WithForceRecreateZtocs(true),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return builder, blobs
}

// upstreamIndex has upstream's index builder work on one platform.
func (r *repository) upstreamIndex(t *testing.T, image ocispec.Descriptor, p ocispec.Platform,
	tool string) (manifest []byte, blobs store.Store, err error) {
	t.Helper()
	builder, blobs := r.upstreamBuilder(t, tool)
	index, err := builder.Build(t.Context(), images.Image{Name: "image", Target: image}, upstream.WithPlatform(p))
	if err != nil {
		return nil, nil, err
	}
	manifest, err = upstream.MarshalIndex(index.Index)
	return manifest, blobs, err
}

// layers by what a test calls them.
func (r *repository) layer(t *testing.T, name, mediaType string) ocispec.Descriptor {
	t.Helper()
	return r.add(t, mediaType, testlayers.Named(name))
}

func TestIndex(t *testing.T) {
	for _, c := range imageCases() {
		t.Run(c.name, func(t *testing.T) {
			r := newRepository(t)
			image := c.image(t, r)
			result, err := soci.IndexImage(t.Context(), r, r, image, soci.Options{
				SpanSize: testSpanSize, MinLayerSize: testMinSize, BuildToolIdentifier: buildTool,
			})
			if err != nil {
				t.Fatal(err)
			}
			byPlatform := make(map[string]soci.ManifestResult)
			for _, m := range result.Manifests {
				if m.Outcome != soci.OutcomePassedOver {
					byPlatform[m.Platform] = m
				}
			}
			if len(byPlatform) != len(c.platforms) {
				t.Errorf("we found %d platforms, not %d", len(byPlatform), len(c.platforms))
			}
			want := make(map[digest.Digest]bool) // everything that upstream wrote
			for _, p := range c.platforms {
				m, ok := byPlatform[platforms.Format(platforms.Normalize(p))]
				if !ok {
					t.Fatalf("no result for %s", platforms.Format(platforms.Normalize(p)))
				}
				compareIndex(t, r, image, p, m, want)
			}
			for d, desc := range r.Pushed {
				if !want[d] {
					t.Errorf("we pushed %s (%s), which upstream does not have", d, desc.MediaType)
				}
			}
			if len(want) != len(r.Pushed) {
				t.Errorf("we pushed %d blobs and manifests, upstream wrote %d", len(r.Pushed), len(want))
			}
		})
	}
}

// Only our SOCI indexes have the annotation of unindexable layers. Upstream keeps
// it, so that a client finds the SOCI index again under its digest.
func TestIndexWithUnindexableLayers(t *testing.T) {
	r := newRepository(t)
	var sparse ocispec.Descriptor
	for _, b := range testlayers.UnsupportedLayers() {
		if b.Name == "gnu-sparse-plain" {
			sparse = r.add(t, b.MediaType, append(b.Blob, make([]byte, testMinSize)...))
		}
	}
	image := r.image(t, false, amd64, r.layer(t, "writer/go-6", gzipLayer), sparse)
	result, err := soci.IndexImage(t.Context(), r, r, image,
		soci.Options{SpanSize: testSpanSize, MinLayerSize: testMinSize})
	if err != nil {
		t.Fatal(err)
	}
	b := r.Blobs[result.Manifests[0].Index.Digest]
	var index upstream.Index
	if err := upstream.UnmarshalIndex(b, &index); err != nil {
		t.Fatal(err)
	}
	if index.Annotations[soci.AnnotationUnindexable] == "" {
		t.Errorf("it is not annotated: %v", index.Annotations)
	}
	if again, err := upstream.MarshalIndex(&index); err != nil || !bytes.Equal(again, b) {
		t.Errorf("upstream reads\n%s\nand writes\n%s (%v)", b, again, err)
	}
}

// compareIndex compares what was pushed for one manifest with upstream's, and
// adds what upstream wrote to all.
func compareIndex(t *testing.T, r *repository, image ocispec.Descriptor, p ocispec.Platform, m soci.ManifestResult,
	all map[digest.Digest]bool) {
	t.Helper()
	want, blobs, err := r.upstreamIndex(t, image, p, buildTool)
	if errors.Is(err, upstream.ErrEmptyIndex) {
		if m.Outcome != soci.OutcomeNoLayer {
			t.Errorf("%s: upstream finds no layer to index, our outcome is %s", m.Platform, m.Outcome)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: upstream: %v", m.Platform, err)
	}
	if m.Outcome != soci.OutcomeIndexed {
		t.Fatalf("%s: upstream builds an index, our outcome is %s", m.Platform, m.Outcome)
	}
	got := r.Blobs[m.Index.Digest]
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: the index is\n%s\nupstream's\n%s", m.Platform, got, want)
	}
	var index upstream.Index
	if err := upstream.UnmarshalIndex(got, &index); err != nil {
		t.Fatal(err)
	}
	if again, err := upstream.MarshalIndex(&index); err != nil || !bytes.Equal(again, got) {
		t.Errorf("%s: upstream reads our index and writes\n%s (%v)", m.Platform, again, err)
	}
	parsed, err := soci.ParseIndex(want)
	if err != nil || parsed.Subject == nil || parsed.Subject.Digest != m.Manifest.Digest {
		t.Errorf("%s: we read upstream's index with error %v and subject %v, of manifest %s", m.Platform, err,
			parsed.Subject, m.Manifest.Digest)
	}
	all[m.Index.Digest] = true
	for _, desc := range append(index.Blobs, index.Config) {
		all[desc.Digest] = true
		theirs, err := orascontent.FetchAll(t.Context(), blobs, desc)
		if err != nil {
			t.Fatalf("%s: upstream did not write %s: %v", m.Platform, desc.Digest, err)
		}
		if !bytes.Equal(theirs, r.Blobs[desc.Digest]) {
			t.Errorf("%s: %s differs", m.Platform, desc.Digest)
		}
	}
}
