//go:build conformance

package conformance

import (
	"encoding/json"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// list adds an image index.
func (r *repository) list(t *testing.T, index ocispec.Index) ocispec.Descriptor {
	t.Helper()
	index.Versioned = specs.Versioned{SchemaVersion: 2}
	if index.MediaType == "" {
		index.MediaType = ocispec.MediaTypeImageIndex
	}
	return r.addJSON(t, index.MediaType, index)
}

// listed returns the descriptor of an image for an image index.
func listed(desc ocispec.Descriptor, p ocispec.Platform) ocispec.Descriptor {
	desc.Platform = &p
	return desc
}

// edited adds a manifest with something changed.
func (r *repository) edited(t *testing.T, desc ocispec.Descriptor, edit func(m *ocispec.Manifest)) ocispec.Descriptor {
	t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(r.Blobs[desc.Digest], &m); err != nil {
		t.Fatal(err)
	}
	edit(&m)
	return r.addJSON(t, desc.MediaType, m)
}

// convertCases are images that make a difference only to SOCI-enabled images.
func convertCases() []imageCase {
	linux := func(arch, variant string) ocispec.Platform {
		return ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant}
	}
	html := map[string]string{"org.opencontainers.image.title": "<a> & b\u2028", "b": "", "a": "é"}
	return []imageCase{
		{name: "single, arm64", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, false, arm64, r.layer(t, "writer/go-9", gzipLayer))
		}},
		{name: "single, with os.version", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.image(t, true, ocispec.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"},
				r.layer(t, "writer/go-9", gzipLayer))
		}},
		{name: "annotated manifest", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.edited(t, r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)),
				func(m *ocispec.Manifest) { m.Annotations = html })
		}},
		{name: "manifest with everything", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			subject := r.image(t, false, amd64)
			return r.edited(t, r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)),
				func(m *ocispec.Manifest) {
					m.Subject, m.ArtifactType = &subject, ocispec.MediaTypeImageConfig
					m.Config.Annotations, m.Config.URLs = html, []string{"https://example.com/?a=1&b=2"}
					m.Layers[0].Annotations = html
				})
		}},
		{name: "manifest without a media type", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.edited(t, r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)),
				func(m *ocispec.Manifest) { m.MediaType = "" })
		}},
		{name: "index with everything", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			a := listed(r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)), amd64)
			a.Annotations, a.URLs = html,
				[]string{"https://example.com/?a=1&b=2"} // annotations of the list that upstream drops
			b := listed(r.edited(t, r.image(t, true, arm64, r.layer(t, "writer/go-1", dockerLayer)),
				func(m *ocispec.Manifest) { m.Annotations = html }), arm64)
			b.ArtifactType = images.MediaTypeDockerSchema2Config
			subject := r.image(t, false, amd64)
			return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{a, b}, Annotations: html, Subject: &subject,
				ArtifactType: "application/example"})
		}},
		{name: "index without a media type", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			b, err := json.Marshal(map[string]any{"schemaVersion": 2, "unknown": "field",
				"manifests": []ocispec.Descriptor{listed(r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)),
					amd64)}})
			if err != nil {
				t.Fatal(err)
			}
			return r.add(t, ocispec.MediaTypeImageIndex, b)
		}},
		{name: "platforms with nothing to index", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.list(t,
				ocispec.Index{MediaType: images.MediaTypeDockerSchema2ManifestList, Manifests: []ocispec.Descriptor{
					listed(r.image(t, true, amd64, r.layer(t, "tar/types", dockerLayer)), amd64),
					listed(r.image(t, true, arm64, r.layer(t, "writer/go-9", dockerLayer)), arm64),
					listed(r.image(t, false, linux("s390x", "")), linux("s390x", "")),
				}})
		}},
		{name: "variants", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			var all []ocispec.Descriptor
			for i, p := range []ocispec.Platform{linux("arm", "v7"), linux("arm", "v6"), linux("arm64", ""),
				linux("amd64", "v1"), linux("x86_64", "v3"), linux("386", "")} {
				layer := []string{"writer/go-9", "writer/go-1", "writer/go-6"}[i%3]
				all = append(all, listed(r.image(t, false, p, r.layer(t, layer, gzipLayer)), p))
			}
			return r.list(t, ocispec.Index{Manifests: all})
		}},
		{name: "the same layers for two platforms", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			l := r.layer(t, "writer/go-9", gzipLayer)
			return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{listed(r.image(t, false, amd64, l), amd64),
				listed(r.image(t, false, arm64, l), arm64)}})
		}},
		{name: "one manifest listed twice", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			a := listed(r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)), amd64)
			return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{a, a}})
		}},
		{name: "attestation that is an artifact", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			a := listed(r.image(t, true, amd64, r.layer(t, "writer/go-9", dockerLayer)), amd64)
			config := r.add(t, ocispec.MediaTypeEmptyJSON, []byte("{}"))
			attestation := listed(r.addJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
				ArtifactType: "application/vnd.docker.attestation.manifest.v1+json", Subject: &a,
				Layers: []ocispec.Descriptor{config},
			}), ocispec.Platform{OS: "unknown", Architecture: "unknown"})
			attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest",
				"vnd.docker.reference.digest": a.Digest.String()}
			return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{attestation, a}})
		}},
		{name: "something else listed", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			a := listed(r.image(t, false, amd64, r.layer(t, "writer/go-9", gzipLayer)), amd64)
			other := r.add(t, "application/example", []byte("{}"))
			other.Annotations = html
			other.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"} // upstream wants one everywhere
			return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{other, a}})
		}},
	}
}

// samePlatformCases list several manifests of one platform, of which upstream
// indexes the first alone.
func samePlatformCases() []imageCase {
	return []imageCase{
		{name: "two manifests for one platform", image: func(t *testing.T, r *repository) ocispec.Descriptor {
			return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{
				listed(r.image(t, false, arm64, r.layer(t, "writer/go-9", gzipLayer)), arm64),
				listed(r.image(t, false, arm64, r.layer(t, "writer/go-1", gzipLayer)),
					ocispec.Platform{OS: "linux", Architecture: "arm64"}),
			}})
		}},
		{name: "the first of two manifests for one platform has no layer",
			image: func(t *testing.T, r *repository) ocispec.Descriptor {
				return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{
					listed(r.image(t, false, amd64), amd64),
					listed(r.image(t, false, amd64, r.layer(t, "writer/go-1", gzipLayer)), amd64),
					listed(r.image(t, false, arm64, r.layer(t, "writer/go-1", gzipLayer)), arm64),
				}})
			}},
	}
}
