//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
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

	"soci-index-builder/internal/testlayers"
	"soci-index-builder/pkg/soci"
)

const (
	testSpanSize = testlayers.ImageSpanSize
	testMinSize  = testlayers.ImageMinLayerSize
)

// repository holds content for both builders: as soci's Source and
// Destination, and in containerd's content store for upstream.
type repository struct {
	cs content.Store

	mu     sync.Mutex
	blobs  map[digest.Digest][]byte
	pushed map[digest.Digest]ocispec.Descriptor
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	cs, err := local.NewStore(filepath.Join(scratch(t), "content"))
	if err != nil {
		t.Fatal(err)
	}
	return &repository{cs: cs, blobs: make(map[digest.Digest][]byte), pushed: make(map[digest.Digest]ocispec.Descriptor)}
}

func (r *repository) add(t *testing.T, mediaType string, b []byte) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if _, ok := r.blobs[desc.Digest]; ok {
		return desc
	}
	r.blobs[desc.Digest] = b
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

func (r *repository) Fetch(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("no content %s", desc.Digest)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r *repository) Exists(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.pushed[desc.Digest]
	return ok, nil
}

func (r *repository) Push(_ context.Context, desc ocispec.Descriptor, b io.Reader) error {
	all, err := io.ReadAll(b)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pushed[desc.Digest]; ok {
		return fmt.Errorf("%s was pushed twice", desc.Digest)
	}
	if desc.Digest != digest.FromBytes(all) || desc.Size != int64(len(all)) {
		return fmt.Errorf("%s names other content", desc.Digest)
	}
	r.pushed[desc.Digest], r.blobs[desc.Digest] = desc, all
	return nil
}

// image adds an image manifest with its config.
func (r *repository) image(t *testing.T, docker bool, p ocispec.Platform, layers ...ocispec.Descriptor) ocispec.Descriptor {
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

// upstreamIndex has upstream's index builder work on one platform.
func (r *repository) upstreamIndex(t *testing.T, image ocispec.Descriptor, p ocispec.Platform, tool string) (manifest []byte, blobs store.Store, err error) {
	t.Helper()
	dir := scratch(t)
	blobs, err = store.NewSociStore(filepath.Join(dir, "soci"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := upstream.NewDB(upstream.ArtifactsDbPath(dir)) // one for the process: upstream keeps the first
	if err != nil {
		t.Fatal(err)
	}
	builder, err := upstream.NewIndexBuilder(r.cs, blobs,
		upstream.WithSpanSize(testSpanSize), upstream.WithMinLayerSize(testMinSize),
		upstream.WithBuildToolIdentifier(tool), upstream.WithArtifactsDb(db), upstream.WithForceRecreateZtocs(true))
	if err != nil {
		t.Fatal(err)
	}
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
	return r.add(t, mediaType, plainLayer(t, name))
}

func TestIndex(t *testing.T) {
	const (
		gzipLayer   = ocispec.MediaTypeImageLayerGzip
		tarLayer    = ocispec.MediaTypeImageLayer
		dockerLayer = images.MediaTypeDockerSchema2LayerGzip
		dockerTar   = images.MediaTypeDockerSchema2Layer
	)
	amd64 := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 := ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	zstd := testlayers.UnsupportedLayers()[0]

	// Each case makes an image; the platforms are those that upstream is
	// asked for one by one.
	cases := []struct {
		name      string
		platforms []ocispec.Platform
		image     func(t *testing.T, r *repository) ocispec.Descriptor
	}{
		{"several layers", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64,
				r.layer(t, "writer/go-6", gzipLayer), r.layer(t, "tar/types", gzipLayer), r.layer(t, "member/7k", gzipLayer), r.layer(t, "plain/base", tarLayer))
		}},
		{"docker", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, true, amd64,
				r.layer(t, "writer/klauspost-1", dockerLayer), r.layer(t, "tar/types", dockerLayer), r.layer(t, "plain/base", dockerTar))
		}},
		{"docker manifest with an OCI layer", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, true, amd64, r.layer(t, "writer/klauspost-1", gzipLayer), r.layer(t, "writer/go-1", dockerLayer))
		}},
		{"duplicate layer", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			a, b := r.layer(t, "writer/go-9", gzipLayer), r.layer(t, "writer/go-1", gzipLayer)
			return r.image(t, false, amd64, a, b, a, a)
		}},
		{"duplicate layer under two media types", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer), r.layer(t, "writer/go-9", dockerLayer))
		}},
		{"two blobs of one archive", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64, r.layer(t, "writer/go-0", gzipLayer), r.layer(t, "block/stored", gzipLayer), r.layer(t, "plain/base", tarLayer))
		}},
		{"zstd layer", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			big := append(bytes.Repeat(zstd.Blob, 1+testMinSize/len(zstd.Blob)), zstd.Blob...)
			return r.image(t, false, amd64, r.add(t, zstd.MediaType, big), r.layer(t, "writer/go-9", gzipLayer))
		}},
		{"layer sizes around the least", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			var layers []ocispec.Descriptor
			for _, n := range []int{testMinSize - 1, testMinSize, testMinSize + 1} {
				layers = append(layers, r.add(t, tarLayer, append(plainLayer(t, "plain/small"), make([]byte, testMinSize)...)[:n]))
			}
			return r.image(t, false, amd64, layers...)
		}},
		{"only small layers", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64, r.layer(t, "tar/types", gzipLayer), r.layer(t, "tar/xattrs", gzipLayer))
		}},
		{"no layers", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor { return r.image(t, false, amd64) }},
		{"descriptor with annotations", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			l := r.layer(t, "writer/go-9", gzipLayer)
			l.Annotations = map[string]string{"org.opencontainers.image.title": "<layer> & more"}
			l.URLs = []string{"https://example.com/layer"}
			return r.image(t, false, amd64, l)
		}},
		{"image index", []ocispec.Platform{amd64, arm64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			shared := r.layer(t, "writer/go-9", gzipLayer)
			a := r.image(t, false, amd64, shared, r.layer(t, "writer/go-1", gzipLayer))
			b := r.image(t, false, arm64, shared, r.layer(t, "member/bgzip", gzipLayer))
			a.Platform, b.Platform = &amd64, &arm64
			attestation := r.addJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
				Config: r.addJSON(t, ocispec.MediaTypeImageConfig, ocispec.Image{Platform: ocispec.Platform{OS: "unknown", Architecture: "unknown"}}),
				Layers: []ocispec.Descriptor{r.add(t, "application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))},
			})
			attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
			attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": a.Digest.String()}
			return r.addJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{a, b, attestation},
			})
		}},
		{"docker manifest list", []ocispec.Platform{amd64, arm64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			a := r.image(t, true, amd64, r.layer(t, "writer/go-1", dockerLayer))
			b := r.image(t, true, arm64, r.layer(t, "tar/types", dockerLayer))
			a.Platform, b.Platform = &amd64, &arm64
			return r.addJSON(t, images.MediaTypeDockerSchema2ManifestList, ocispec.Index{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: images.MediaTypeDockerSchema2ManifestList, Manifests: []ocispec.Descriptor{a, b},
			})
		}},
	}
	for _, c := range cases {
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
			for d, desc := range r.pushed {
				if !want[d] {
					t.Errorf("we pushed %s (%s), which upstream does not have", d, desc.MediaType)
				}
			}
			if len(want) != len(r.pushed) {
				t.Errorf("we pushed %d blobs and manifests, upstream wrote %d", len(r.pushed), len(want))
			}
		})
	}
}

// compareIndex compares what was pushed for one manifest with upstream's, and
// adds what upstream wrote to all.
func compareIndex(t *testing.T, r *repository, image ocispec.Descriptor, p ocispec.Platform, m soci.ManifestResult, all map[digest.Digest]bool) {
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
	got := r.blobs[m.Index.Digest]
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
		t.Errorf("%s: we read upstream's index with error %v and subject %v, of manifest %s", m.Platform, err, parsed.Subject, m.Manifest.Digest)
	}
	all[m.Index.Digest] = true
	for _, desc := range append(index.Blobs, index.Config) {
		all[desc.Digest] = true
		rc, err := blobs.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatalf("%s: upstream did not write %s: %v", m.Platform, desc.Digest, err)
		}
		theirs, err := io.ReadAll(rc)
		rc.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(theirs, r.blobs[desc.Digest]) {
			t.Errorf("%s: %s differs", m.Platform, desc.Digest)
		}
	}
}
