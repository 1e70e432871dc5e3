//go:build conformance

package conformance

import (
	"bytes"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
)

const (
	gzipLayer   = ocispec.MediaTypeImageLayerGzip
	tarLayer    = ocispec.MediaTypeImageLayer
	dockerLayer = images.MediaTypeDockerSchema2LayerGzip
	dockerTar   = images.MediaTypeDockerSchema2Layer
)

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
)

// imageCase makes an image; the platforms are those that upstream is asked
// for.
type imageCase struct {
	name      string
	platforms []ocispec.Platform
	image     func(t *testing.T, r *repository) ocispec.Descriptor
}

// imageCases are images from which both builders make the same v1 indexes.
func imageCases() []imageCase {
	zstd := testlayers.UnsupportedLayers()[0]

	return []imageCase{
		{"several layers", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64,
				r.layer(t, "writer/go-6", gzipLayer), r.layer(t, "tar/types", gzipLayer),
				r.layer(t, "member/7k", gzipLayer),
				r.layer(t, "plain/base", tarLayer))
		}},
		{"docker", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, true, amd64,
				r.layer(t, "writer/klauspost-1", dockerLayer), r.layer(t, "tar/types", dockerLayer),
				r.layer(t, "plain/base", dockerTar))
		}},
		{"docker manifest with an OCI layer", []ocispec.Platform{amd64},
			func(t *testing.T, r *repository) ocispec.Descriptor {
				return r.image(t, true, amd64, r.layer(t, "writer/klauspost-1", gzipLayer),
					r.layer(t, "writer/go-1", dockerLayer))
			}},
		{"duplicate layer", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			a, b := r.layer(t, "writer/go-9", gzipLayer), r.layer(t, "writer/go-1", gzipLayer)
			return r.image(t, false, amd64, a, b, a, a)
		}},
		{"duplicate layer under two media types", []ocispec.Platform{amd64},
			func(t *testing.T, r *repository) ocispec.Descriptor {
				return r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer),
					r.layer(t, "writer/go-9", dockerLayer))
			}},
		{"two blobs of one archive", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64, r.layer(t, "writer/go-0", gzipLayer), r.layer(t, "block/stored", gzipLayer),
				r.layer(t, "plain/base", tarLayer))
		}},
		{"zstd layer", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			big := append(bytes.Repeat(zstd.Blob, 1+testMinSize/len(zstd.Blob)), zstd.Blob...)
			return r.image(t, false, amd64, r.add(t, zstd.MediaType, big), r.layer(t, "writer/go-9", gzipLayer))
		}},
		{"layer sizes around the least", []ocispec.Platform{amd64},
			func(t *testing.T, r *repository) ocispec.Descriptor {
				var layers []ocispec.Descriptor
				for _, n := range []int{testMinSize - 1, testMinSize, testMinSize + 1} {
					layers = append(layers, r.add(t, tarLayer,
						append(testlayers.Named("plain/small"), make([]byte, testMinSize)...)[:n]))
				}
				return r.image(t, false, amd64, layers...)
			}},
		{"only small layers", []ocispec.Platform{amd64}, func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, amd64, r.layer(t, "tar/types", gzipLayer), r.layer(t, "tar/xattrs", gzipLayer))
		}},
		{"no layers", []ocispec.Platform{amd64},
			func(t *testing.T, r *repository) ocispec.Descriptor { return r.image(t, false, amd64) }},
		{"descriptor with annotations", []ocispec.Platform{amd64},
			func(t *testing.T, r *repository) ocispec.Descriptor {
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
				Config: r.addJSON(t, ocispec.MediaTypeImageConfig,
					ocispec.Image{Platform: ocispec.Platform{OS: "unknown", Architecture: "unknown"}}),
				Layers: []ocispec.Descriptor{r.add(t, "application/vnd.in-toto+json",
					[]byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))},
			})
			attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
			attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest",
				"vnd.docker.reference.digest": a.Digest.String()}
			return r.addJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
				Manifests: []ocispec.Descriptor{a, b, attestation},
			})
		}},
		{"docker manifest list", []ocispec.Platform{amd64, arm64},
			func(t *testing.T, r *repository) ocispec.Descriptor {
				a := r.image(t, true, amd64, r.layer(t, "writer/go-1", dockerLayer))
				b := r.image(t, true, arm64, r.layer(t, "tar/types", dockerLayer))
				a.Platform, b.Platform = &amd64, &arm64
				return r.addJSON(t, images.MediaTypeDockerSchema2ManifestList, ocispec.Index{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: images.MediaTypeDockerSchema2ManifestList,
					Manifests: []ocispec.Descriptor{a, b},
				})
			}},
	}
}
