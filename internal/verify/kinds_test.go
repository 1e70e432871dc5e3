package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/soci"
)

// pushIndex pushes a SOCI index with what it lists, in all of its parts.
func (i *image) pushIndex(t *testing.T, m ocispec.Manifest, blobs ...[]byte) {
	t.Helper()
	for _, b := range append(blobs, []byte("{}")) {
		i.server.PushBlob(t, "team/app", b)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	i.server.PushManifest(t, "team/app", "", m.MediaType, raw)
}

// expect verifies the image, and compares the differences found: want must be
// part of one of them, "" is a sound image.
func (i *image) expect(t *testing.T, want string) *verify.Report {
	t.Helper()
	report, err := i.verify(t)
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Join(all(report), "\n")
	if (found == "") != (want == "") || !strings.Contains(found, want) || (report.Differences() == 0) != (want == "") {
		t.Errorf("%d differences:\n%s\nwant %q", report.Differences(), found, want)
	}
	return report
}

func TestPrefetch(t *testing.T) {
	const ranges = `{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":1},{"start_span":1,"end_span":1,"priority":1}]}`
	for _, row := range []struct {
		name     string
		artifact string
		change   func(m *ocispec.Manifest) // its last blob is the prefetch artifact
		fault    registrytest.Fault        // of the artifact
		want     string
	}{
		{name: "sound", artifact: ranges},
		{name: "before the zTOCs", artifact: ranges, change: func(m *ocispec.Manifest) {
			last := len(m.Layers) - 1
			m.Layers = append([]ocispec.Descriptor{m.Layers[last]}, m.Layers[:last]...)
		}},
		{name: "beyond the last span", artifact: `{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":99}]}`,
			want: "range 0 ends at span 99, the last span of the layer is"},
		{name: "as many as a client can count",
			artifact: `{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":2147483647}]}`,
			want:     "range 0 ends at span 2147483647"},
		{name: "backwards", artifact: `{"version":"1.0","prefetch_spans":[{"start_span":1,"end_span":0}]}`,
			want: "begins at span 1 and ends at 0"},
		{name: "another version", artifact: `{"version":"1.1","prefetch_spans":[{"start_span":0,"end_span":0}]}`,
			want: `version "1.1"`},
		{name: "no JSON", artifact: "a zTOC", want: "prefetch artifact"},
		{name: "no spans", artifact: `{"version":"1.0","prefetch_spans":[]}`, want: "it names no span"},
		{name: "too large", artifact: ranges, change: func(m *ocispec.Manifest) { m.Layers[2].Size = 1 << 40 },
			want: "at most"},
		{name: "not there", artifact: ranges, fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", ""),
			want: "it is not in the repository"},
		{name: "damaged", artifact: ranges, fault: registrytest.Corrupt(5),
			want: "it is damaged: its bytes have the digest"},
		{name: "another size", artifact: ranges, change: func(m *ocispec.Manifest) { m.Layers[2].Size++ },
			want: "it is damaged"},
		{name: "of a layer that the image does not have", artifact: ranges, change: func(m *ocispec.Manifest) {
			m.Layers[2].Annotations = map[string]string{soci.AnnotationLayerDigest: digest.FromString(
				"another").String()}
		}, want: "which the image does not have"},
		{name: "of no layer", artifact: ranges, change: func(m *ocispec.Manifest) { m.Layers[2].Annotations = nil },
			want: `for a layer ""`},
		{name: "of a layer without a zTOC", artifact: ranges,
			change: func(m *ocispec.Manifest) { m.Layers = m.Layers[1:] },
			want:   "the SOCI index has no zTOC of the layer"},
		{name: "and no zTOC", artifact: ranges, change: func(m *ocispec.Manifest) { m.Layers = m.Layers[2:] },
			want: "it lists no zTOC"},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := pushImage(t, testlayers.Named("writer/go-6"), testlayers.Named("member/two"))
			m, ztocs := i.index(t)
			m.Layers = append(m.Layers, ocispec.Descriptor{
				MediaType: soci.PrefetchMediaType, Digest: digest.FromString(row.artifact),
				Size:        int64(len(row.artifact)),
				Annotations: map[string]string{soci.AnnotationLayerDigest: i.pushed.Layers[0].Digest.String()},
			})
			if row.change != nil {
				row.change(&m)
			}
			i.pushIndex(t, m, append(ztocs, []byte(row.artifact))...)
			if row.fault != nil {
				i.server.Add(registrytest.Rule{Path: digest.FromString(row.artifact).Encoded(), Fault: row.fault})
			}
			report := i.expect(t, row.want)
			if row.want != "" {
				return
			}
			p := report.Indexes[0].Prefetch
			if len(report.Layers()) != 2 || len(p) != 1 {
				t.Fatalf("%d layers, prefetch artifacts %+v", len(report.Layers()), p)
			}
			if p[0].Ranges != 2 || p[0].Spans != 3 || p[0].Layer != i.pushed.Layers[0].Digest {
				t.Errorf("%d layers, prefetch artifacts %+v", len(report.Layers()), p)
			}
		})
	}
}

// Content that cannot be fetched is an error, not a difference.
func TestPrefetchTransferFails(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	m, ztocs := i.index(t)
	prefetch := []byte(`{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0}]}`)
	m.Layers = append(m.Layers, ocispec.Descriptor{
		MediaType: soci.PrefetchMediaType, Digest: digest.FromBytes(prefetch), Size: int64(len(prefetch)),
		Annotations: map[string]string{soci.AnnotationLayerDigest: i.pushed.Layers[0].Digest.String()},
	})
	i.pushIndex(t, m, ztocs[0], prefetch)
	i.server.Add(registrytest.Rule{Path: digest.FromBytes(prefetch).Encoded(),
		Fault: registrytest.Status(http.StatusServiceUnavailable, "", "")})
	if report, err := i.verify(t); err == nil || errors.Is(err, verify.ErrDifference) ||
		!strings.Contains(err.Error(), "prefetch artifact") {
		t.Errorf("%+v, %v", report, err)
	}
}

// zTOCs that are not there, damaged, swapped or another image's.
func TestWrongZtocs(t *testing.T) {
	for _, row := range []struct {
		name  string
		wrong func(t *testing.T, i *image, m *ocispec.Manifest, ztocs [][]byte)
		want  string
	}{
		{"missing", func(t *testing.T, i *image, m *ocispec.Manifest, _ [][]byte) {
			i.server.Add(registrytest.Rule{Path: m.Layers[1].Digest.Encoded(),
				Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
		}, "it is not in the repository"},
		{"a byte damaged", func(t *testing.T, i *image, m *ocispec.Manifest, _ [][]byte) {
			i.server.Add(registrytest.Rule{Path: m.Layers[1].Digest.Encoded(), Fault: registrytest.Corrupt(500)})
		}, "it is damaged: its bytes have the digest sha256:"},
		{"shorter", func(t *testing.T, i *image, m *ocispec.Manifest, _ [][]byte) { m.Layers[1].Size++ },
			"it is damaged"},
		{"swapped", func(t *testing.T, i *image, m *ocispec.Manifest, _ [][]byte) {
			a, b := &m.Layers[0], &m.Layers[1]
			a.Digest, a.Size, b.Digest, b.Size = b.Digest, b.Size, a.Digest, a.Size
		}, "the zTOC is for a layer of"},
		{"one of another image", func(t *testing.T, i *image, m *ocispec.Manifest, _ [][]byte) {
			m.Layers[1].Annotations[soci.AnnotationLayerDigest] = digest.FromString("another").String()
		}, "which the image does not have"},
		{"all of another image", func(t *testing.T, i *image, m *ocispec.Manifest, _ [][]byte) {
			for n := range m.Layers {
				m.Layers[n].Annotations[soci.AnnotationLayerDigest] = digest.FromString("another").String()
			}
		}, "the SOCI index is that of another image"},
		{"attributes hidden", func(t *testing.T, i *image, m *ocispec.Manifest, ztocs [][]byte) {
			m.Layers[0].Annotations["com.amazon.soci.disable-xattrs"] = "true"
		}, "has a client show no extended attributes, but"},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := pushImage(t, testlayers.Named("tar/xattr-values"), testlayers.Named("member/two"))
			m, ztocs := i.index(t)
			row.wrong(t, i, &m, ztocs)
			i.pushIndex(t, m, ztocs...)
			i.expect(t, row.want)
		})
	}
	t.Run("no attributes to hide", func(t *testing.T) {
		i := pushImage(t, testlayers.Named("member/two"))
		m, ztocs := i.index(t)
		m.Layers[0].Annotations["com.amazon.soci.disable-xattrs"] = "true"
		i.pushIndex(t, m, ztocs...)
		i.expect(t, "")
	})
}

// The SOCI index v2 of another image.
func TestIndexOfAnotherImage(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	m, ztocs := i.index(t)
	m.Config.MediaType, m.Subject = soci.ArtifactTypeV2, nil
	i.pushIndex(t, m, ztocs...)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	i.server.PushImage(t, "team/app", "1", registrytest.Image{
		Layers:      []registrytest.Layer{{Content: testlayers.Named("member/two")}},
		Annotations: map[string]string{soci.AnnotationIndexDigest: digest.FromBytes(raw).String()},
	})
	i.expect(t, "the SOCI index is that of another image")
	// An image that was built from it still has its layers.
	i.server.PushImage(t, "team/app", "1", registrytest.Image{
		Layers: []registrytest.Layer{{Content: testlayers.Named("writer/go-6")},
			{Content: testlayers.Named("member/two")}},
		Annotations: map[string]string{soci.AnnotationIndexDigest: digest.FromBytes(raw).String()},
	})
	i.expect(t, "")
}

// A layer that is named by another digest than sha256 is sound.
func TestDigestAlgorithms(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		t.Run(algorithm.String(), func(t *testing.T) {
			blob := testlayers.Named("writer/go-6")
			server := registrytest.Start(t)
			i := &image{server: server, repo: open(t, server), blobs: [][]byte{blob},
				pushed: server.PushImage(t, "team/app", "1", registrytest.Image{
					Layers: []registrytest.Layer{{Content: blob, Algorithm: algorithm}},
				})}
			o := soci.Options{SpanSize: spanSize, MinLayerSize: 1}
			if _, err := soci.IndexImage(t.Context(), i.repo, i.repo, i.pushed.Manifest, o); err != nil {
				t.Fatal(err)
			}
			report := i.expect(t, "")
			if d := report.Layers()[0].Layer.Digest; d != algorithm.FromBytes(blob) || report.Layers()[0].Files == 0 {
				t.Errorf("layer %s: %+v", d, report.Layers()[0])
			}
			// A byte that no span needs for its content: in the gzip header.
			i.server.Add(registrytest.Rule{Method: http.MethodGet, Path: i.pushed.Layers[0].Digest.Encoded(),
				Fault: registrytest.Corrupt(4)})
			i.expect(t, "the layer itself is not what the image names")
		})
	}
}

// An image that was copied without one of its manifests.
func TestMissingManifest(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	m, ztocs := i.index(t)
	i.pushIndex(t, m, ztocs...)
	gone := i.server.PushImage(t, "team/app", "",
		registrytest.Image{Platform: "linux/arm64",
			Layers: []registrytest.Layer{{Content: testlayers.Named("member/two")}}})
	i.server.PushIndex(t, "team/app", "1", false, i.pushed.Manifest, gone.Manifest)
	i.server.Add(registrytest.Rule{Path: gone.Manifest.Digest.Encoded(),
		Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
	report := i.expect(t, "")
	if len(report.Missing) != 1 || report.Missing[0].Platform != "linux/arm64" || len(report.WithoutIndex) != 0 {
		t.Errorf("missing %v, without index %v", report.Missing, report.WithoutIndex)
	}
}

// A manifest that is not an image is named by its kind, and is not reported as an
// image without a SOCI index.
func TestNoImage(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	artifact := func(artifactType, configType, layerType string, subject *ocispec.Descriptor) ocispec.Descriptor {
		config := i.server.PushBlob(t, "team/app", []byte("{}"))
		config.MediaType = configType
		blob := i.server.PushBlob(t, "team/app", []byte("content"))
		blob.MediaType = layerType
		raw, err := json.Marshal(ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			ArtifactType: artifactType,
			Config:       config, Layers: []ocispec.Descriptor{blob}, Subject: subject,
		})
		if err != nil {
			t.Fatal(err)
		}
		return i.server.PushManifest(t, "team/app", "", ocispec.MediaTypeImageManifest, raw)
	}
	const (
		chart = "application/vnd.cncf.helm.config.v1+json"
		wasm  = "application/vnd.wasm.config.v0+json"
		sbom  = "application/spdx+json"
	)
	attestation := i.server.PushAttestation(t, "team/app", i.pushed.Manifest).Manifest
	for _, row := range []struct {
		name string
		desc ocispec.Descriptor
		want string
	}{
		{"chart", artifact("", chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", nil), chart},
		{"wasm", artifact("", wasm, "application/wasm", nil), wasm},
		{"SBOM", artifact(sbom, ocispec.MediaTypeEmptyJSON, sbom, &i.pushed.Manifest), sbom},
		{"attestation", attestation, "attestation"},
	} {
		t.Run(row.name, func(t *testing.T) {
			report, err := verify.Image(context.Background(), i.repo, row.desc, verify.Options{})
			if !errors.Is(err, verify.ErrNoIndex) || !strings.Contains(err.Error(), "is not an image (") ||
				!strings.Contains(err.Error(), row.want) {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
	// Beside an image, it is passed over.
	m, ztocs := i.index(t)
	i.pushIndex(t, m, ztocs...)
	i.server.PushIndex(t, "team/app", "1", false, i.pushed.Manifest, attestation)
	if report := i.expect(t, ""); len(report.WithoutIndex) != 0 {
		t.Errorf("without index: %v", report.WithoutIndex)
	}
}
