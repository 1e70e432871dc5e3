package verify_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const spanSize = 32 << 10

type image struct {
	server *registrytest.Server
	repo   *ecrclient.Repository
	pushed registrytest.Pushed
	blobs  [][]byte
}

func open(t *testing.T, s *registrytest.Server) *ecrclient.Repository {
	t.Helper()
	repo, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// pushImage pushes an image of these layers that has no SOCI index.
func pushImage(t *testing.T, blobs ...[]byte) *image {
	t.Helper()
	server := registrytest.Start(t)
	img := registrytest.Image{}
	for _, b := range blobs {
		img.Layers = append(img.Layers, registrytest.Layer{Content: b})
	}
	return &image{server: server, repo: open(t, server), pushed: server.PushImage(t, "team/app", "1", img),
		blobs: blobs}
}

// index returns the SOCI index v1 of an image, and the bytes of its zTOCs.
func (i *image) index(t *testing.T) (m ocispec.Manifest, ztocs [][]byte) {
	t.Helper()
	config := ocispec.Descriptor{MediaType: soci.ArtifactTypeV1, Digest: digest.FromString("{}"), Size: 2}
	subject := i.pushed.Manifest
	subject.Platform = nil
	m = ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Subject: &subject,
		Annotations: map[string]string{soci.AnnotationBuildToolIdentifier: soci.BuildToolIdentifier},
	}
	for n, blob := range i.blobs {
		z, err := soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{SpanSize: spanSize})
		if err != nil {
			t.Fatal(err)
		}
		b, err := z.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ztocs = append(ztocs, b)
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: soci.ZtocMediaType, Digest: digest.FromBytes(b), Size: int64(len(b)),
			Annotations: map[string]string{
				soci.AnnotationLayerDigest:    i.pushed.Layers[n].Digest.String(),
				soci.AnnotationLayerMediaType: i.pushed.Layers[n].MediaType,
				soci.AnnotationSpanSize:       "32768",
			},
		})
	}
	return m, ztocs
}

func (i *image) verify(t *testing.T) (*verify.Report, error) {
	t.Helper()
	desc, err := i.repo.Resolve(context.Background(), "1")
	if err != nil {
		t.Fatal(err)
	}
	return verify.Image(context.Background(), i.repo, desc, verify.Options{})
}

// all returns every difference of a report.
func all(r *verify.Report) []string {
	var texts []string
	for _, index := range r.Indexes {
		for _, d := range index.Differences {
			texts = append(texts, d.String())
		}
	}
	for _, l := range r.Layers() {
		for _, d := range l.Differences {
			texts = append(texts, d.String())
		}
	}
	return texts
}

func TestImage(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"), testlayers.Named("member/two"))
	_, err := soci.IndexImage(context.Background(), i.repo, i.repo, i.pushed.Manifest,
		soci.Options{SpanSize: spanSize, MinLayerSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	i.server.Clear()
	report, err := i.verify(t)
	if err != nil {
		t.Fatal(err)
	}
	if found := all(report); report.Differences() != 0 || len(found) != 0 {
		t.Fatal(found)
	}
	spans := 0
	for n, l := range report.Layers() {
		expect.Equal(t, expect.Facts{
			{"Layer.Digest", l.Layer.Digest, i.pushed.Layers[n].Digest},
			{"l.Spans < 2", l.Spans < 2, false},
			{"l.Files == 0", l.Files == 0, false},
			{"l.Bytes == 0", l.Bytes == 0, false},
		}, "%+v", l)
		spans += l.Spans
	}
	// Each span was asked for by its range.
	ranged := 0
	for _, r := range i.server.Requests() {
		if r.Range != "" {
			ranged++
		}
	}
	if len(report.Layers()) != 2 || ranged < spans {
		t.Errorf("%d layers, %d spans, %d requests with a range", len(report.Layers()), spans, ranged)
	}
}

func TestTamperedIndex(t *testing.T) {
	for _, row := range []struct {
		name   string
		tamper func(*ocispec.Manifest)
		raw    func([]byte) []byte
		want   string
	}{
		{name: "nothing"},
		{name: "zTOCs of two layers swapped", tamper: func(m *ocispec.Manifest) {
			a, b := m.Layers[0].Annotations, m.Layers[1].Annotations
			a[soci.AnnotationLayerDigest], b[soci.AnnotationLayerDigest] = b[soci.AnnotationLayerDigest],
				a[soci.AnnotationLayerDigest]
		}, want: "the zTOC is for a layer of"},
		{name: "a layer that the image does not have", tamper: func(m *ocispec.Manifest) {
			m.Layers[0].Annotations[soci.AnnotationLayerDigest] = digest.FromString("another").String()
		}, want: "which the image does not have"},
		{name: "layer's media type", tamper: func(m *ocispec.Manifest) {
			m.Layers[0].Annotations[soci.AnnotationLayerMediaType] = ocispec.MediaTypeImageLayer
		}, want: "the image has it as"},
		{name: "zTOC's media type", tamper: func(m *ocispec.Manifest) { m.Layers[0].MediaType = "text/plain" },
			want: `is of type "text/plain"`},
		{name: "span size",
			tamper: func(m *ocispec.Manifest) { m.Layers[0].Annotations[soci.AnnotationSpanSize] = "32769" },
			want:   "the zTOC's span size is 32768"},
		{name: "zTOC's size", tamper: func(m *ocispec.Manifest) { m.Layers[0].Size++ }, want: "it is damaged"},
		{name: "zTOC is something else", tamper: func(m *ocispec.Manifest) {
			m.Layers[0].Digest, m.Layers[0].Size = m.Config.Digest, m.Config.Size
		}, want: "not a zTOC"},
		{name: "subject's size", tamper: func(m *ocispec.Manifest) { m.Subject.Size++ }, want: "its subject is"},
		{name: "no zTOC", tamper: func(m *ocispec.Manifest) { m.Layers = []ocispec.Descriptor{} },
			want: "it lists no zTOC"},
		{name: "artifact type", tamper: func(m *ocispec.Manifest) { m.ArtifactType = soci.ArtifactTypeV1 },
			want: "not as the snapshotter writes it"},
		{name: "indented", raw: func(b []byte) []byte {
			var out bytes.Buffer
			_ = json.Indent(&out, b, "", " ")
			return out.Bytes()
		}, want: "not as the snapshotter writes it when it stores it, from byte 1 on"},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := pushImage(t, testlayers.Named("writer/go-6"), testlayers.Named("member/two"))
			m, ztocs := i.index(t)
			if row.tamper != nil {
				row.tamper(&m)
			}
			i.server.PushBlob(t, "team/app", []byte("{}"))
			for _, z := range ztocs {
				i.server.PushBlob(t, "team/app", z)
			}
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if row.raw != nil {
				raw = row.raw(raw)
			}
			i.server.PushManifest(t, "team/app", "", m.MediaType, raw)
			i.expect(t, row.want)
		})
	}
}

// A registry returns other bytes for a range than for the whole blob.
func TestWrongByteInARange(t *testing.T) {
	var plain bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&plain, gzip.NoCompression)
	zr, err := gzip.NewReader(bytes.NewReader(testlayers.Named("writer/go-6")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(zw, zr); err != nil {
		t.Fatal(err)
	}
	zw.Close()
	i := pushImage(t, plain.Bytes())
	if _, err := soci.IndexImage(context.Background(), i.repo, i.repo, i.pushed.Manifest,
		soci.Options{SpanSize: spanSize, MinLayerSize: 1}); err != nil {
		t.Fatal(err)
	}
	// The first request is for the whole layer, the third for the second span.
	i.server.Add(registrytest.Rule{Method: "GET", Path: i.pushed.Layers[0].Digest.Encoded(), Skip: 2, Times: 1,
		Fault: registrytest.Corrupt(1000)})
	report, err := i.verify(t)
	if err != nil {
		t.Fatal(err)
	}
	found := all(report)
	if len(found) != 2 {
		t.Fatalf("%q", found)
	}
	if !strings.Contains(found[0], "span 1, file") || !strings.Contains(found[0], "through the zTOC") ||
		!strings.Contains(found[1], "digest") {
		t.Fatalf("%q", found)
	}
}

func TestNoIndex(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	if _, err := i.verify(t); !errors.Is(err, verify.ErrNoIndex) {
		t.Errorf("%v, want ErrNoIndex", err)
	}
	t.Run("not an image", func(t *testing.T) {
		m, ztocs := i.index(t)
		i.server.PushBlob(t, "team/app", []byte("{}"))
		i.server.PushBlob(t, "team/app", ztocs[0])
		raw, _ := json.Marshal(m)
		desc := i.server.PushManifest(t, "team/app", "", m.MediaType, raw)
		if _, err := verify.Image(context.Background(), i.repo, desc, verify.Options{}); !errors.Is(err,
			verify.ErrNoIndex) {
			t.Errorf("%v, want ErrNoIndex", err)
		}
	})
}

// A failed download is an error, not a difference.
func TestTransferFails(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	if _, err := soci.IndexImage(context.Background(), i.repo, i.repo, i.pushed.Manifest,
		soci.Options{SpanSize: spanSize, MinLayerSize: 1}); err != nil {
		t.Fatal(err)
	}
	layer := i.pushed.Layers[0].Digest.Encoded()
	for _, row := range []struct {
		name string
		rule registrytest.Rule
		want error
	}{
		{"layer refused", registrytest.Rule{Path: layer, Fault: registrytest.Status(403, "DENIED", "no")},
			ecrclient.ErrDenied},
		{"span refused", registrytest.Rule{Path: layer, Skip: 2, Fault: registrytest.Status(403, "DENIED", "no")},
			ecrclient.ErrDenied},
		{"span cut", registrytest.Rule{Path: layer, Skip: 2, Fault: registrytest.Truncate(10)},
			ecrclient.ErrUnavailable},
		{"ranges ignored", registrytest.Rule{Path: layer, Skip: 1, Fault: registrytest.IgnoreRange()}, nil},
		{"ranges refused", registrytest.Rule{Path: layer, Skip: 1, Fault: registrytest.RefuseRange(416)}, nil},
		{"referrers refused", registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(500, "UNKNOWN", "no")},
			ecrclient.ErrUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			i.server.Clear()
			desc, err := i.repo.Resolve(context.Background(), "1")
			if err != nil {
				t.Fatal(err)
			}
			i.server.Add(row.rule)
			report, err := verify.Image(context.Background(), i.repo, desc, verify.Options{})
			if !errors.Is(err, row.want) {
				t.Errorf("%+v, %v, want %v", report, err, row.want)
			}
			if row.want == nil && (report == nil || len(report.Indexes) != 1) {
				t.Fatalf("%+v, want one SOCI index", report)
			}
			if row.want == nil && len(report.Indexes[0].Layers) != 1 {
				t.Errorf("%+v, want one layer", report.Indexes[0])
			}
			if errors.Is(err, verify.ErrDifference) {
				t.Errorf("%v is a difference", err)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		i.server.Clear()
		ctx, cancel := context.WithCancel(context.Background())
		_, err := verify.Image(ctx, i.repo, i.pushed.Manifest,
			verify.Options{Progress: func(ocispec.Descriptor, int64) { cancel() }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	})
}

// Version 2: the image manifest names its SOCI index.
func TestVersion2(t *testing.T) {
	for _, row := range []struct {
		name   string
		tamper func(*ocispec.Manifest)
		push   bool
		want   string
	}{
		{"sound", func(*ocispec.Manifest) {}, true, ""},
		{"with a subject", func(m *ocispec.Manifest) { m.Subject = &m.Config }, true, "a v2 index has none"},
		{"of version 1", func(m *ocispec.Manifest) { m.Config.MediaType, m.Subject = soci.ArtifactTypeV1, &m.Config },
			true, "its config is of type"},
		{"not there", func(*ocispec.Manifest) {}, false, "not in the repository"},
	} {
		t.Run(row.name, func(t *testing.T) {
			blob := testlayers.Named("writer/go-6")
			i := pushImage(t, blob)
			m, ztocs := i.index(t)
			m.Config.MediaType, m.Subject = soci.ArtifactTypeV2, nil
			row.tamper(&m)
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			i.server.PushBlob(t, "team/app", []byte("{}"))
			i.server.PushBlob(t, "team/app", ztocs[0])
			if row.push {
				i.server.PushManifest(t, "team/app", "", m.MediaType, raw)
			}
			i.server.PushImage(t, "team/app", "1", registrytest.Image{
				Layers:      []registrytest.Layer{{Content: blob}},
				Annotations: map[string]string{soci.AnnotationIndexDigest: digest.FromBytes(raw).String()},
			})
			report := i.expect(t, row.want)
			if report.Indexes[0].Version != "v2" {
				t.Errorf("version %s", report.Indexes[0].Version)
			}
		})
	}
}
