package soci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// A bad image gets the error of its class, and nothing is pushed except zTOCs of
// sound layers, which nothing names.
func TestBadImages(t *testing.T) {
	broken := errors.New("the line broke")
	tests := []struct {
		name  string
		image func(s *store) ocispec.Descriptor
		o     soci.Options
		want  error
		text  string // that the message must hold
	}{
		{"layer is missing", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 1))
			delete(s.content, l.Digest)
			return s.image("amd64", s.add(gz, good(t, 0)), l)
		}, everyLayer, errNotThere, ""},
		{"source fails", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 1))
			s.fetchErr[l.Digest] = broken
			return s.image("amd64", s.add(gz, good(t, 0)), l)
		}, everyLayer, broken, ""},
		{"push fails", func(s *store) ocispec.Descriptor {
			s.pushErr = broken
			return s.image("amd64", s.add(gz, good(t, 0)))
		}, everyLayer, broken, "pushing"},
		{"layer is cut short in transfer", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			s.content[l.Digest] = s.content[l.Digest][:l.Size/2]
			return s.image("amd64", l)
		}, everyLayer, soci.ErrDigestMismatch, "arrived"},
		{"layer has a wrong digest", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			s.content[l.Digest] = append(bytes.Clone(good(t, 1)), make([]byte, 1<<20)...)[:l.Size]
			return s.image("amd64", l)
		}, everyLayer, soci.ErrDigestMismatch, "digest"},
		{"layer arrives as one of zstd", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			s.content[l.Digest] = unsupported(t, "zstd").Blob
			return s.image("amd64", l)
		}, everyLayer, soci.ErrDigestMismatch, "zstd"},
		{"layer of zstd arrives as one of xz", func(s *store) ocispec.Descriptor {
			l := s.add(testlayers.MediaTypeZstd, unsupported(t, "zstd").Blob)
			s.content[l.Digest] = []byte("\xfd7zXZ\x00")
			return s.image("amd64", l)
		}, everyLayer, soci.ErrDigestMismatch, "xz"},
		{"layer arrives as one beyond a limit", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			s.content[l.Digest] = testlayers.ManyFiles(1001)
			return s.image("amd64", l)
		}, soci.Options{MinLayerSize: 1, Limits: soci.Limits{MaxEntries: 1000}}, soci.ErrDigestMismatch,
			"1000 tar entries"},
		{"layer is longer than its descriptor says", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			s.content[l.Digest] = append(bytes.Clone(good(t, 0)), 0)
			return s.image("amd64", l)
		}, everyLayer, soci.ErrDigestMismatch, "more than"},
		{"layer is corrupt as it was pushed", func(s *store) ocispec.Descriptor {
			b := bytes.Clone(good(t, 0))
			b[len(b)-8] ^= 1
			return s.image("amd64", s.add(gz, b), s.add(gz, good(t, 1)))
		}, everyLayer, soci.ErrCorrupt, "CRC-32"},
		{"layer was truncated before it was pushed", func(s *store) ocispec.Descriptor {
			b := good(t, 0)
			return s.image("amd64", s.add(gz, b[:len(b)-1]))
		}, everyLayer, soci.ErrTruncated, ""},
		{"manifest is too large", func(s *store) ocispec.Descriptor {
			return s.addJSON(ocispec.MediaTypeImageManifest,
				ocispec.Manifest{Annotations: map[string]string{"a": strings.Repeat("x", 4<<20)}})
		}, everyLayer, soci.ErrLimit, "of at most 4194304 is supported"},
		{"manifest is not JSON", func(s *store) ocispec.Descriptor {
			return s.add(ocispec.MediaTypeImageManifest, []byte("<html>"))
		}, everyLayer, soci.ErrCorrupt, ""},
		{"manifest is another than asked for", func(s *store) ocispec.Descriptor {
			m := s.image("amd64", s.add(gz, good(t, 0)))
			s.content[m.Digest] = bytes.Repeat([]byte{' '}, int(m.Size))
			return m
		}, everyLayer, soci.ErrDigestMismatch, ""},
		{"manifest with two media types", func(s *store) ocispec.Descriptor {
			m := s.image("amd64", s.add(gz, good(t, 0)))
			m.MediaType = ocispec.MediaTypeImageIndex
			return m
		}, everyLayer, soci.ErrCorrupt, "media type"},
		{"manifest that is an index too", func(s *store) ocispec.Descriptor {
			return s.addJSON(ocispec.MediaTypeImageManifest,
				map[string]any{"schemaVersion": 2, "config": map[string]any{}, "manifests": []any{}})
		}, everyLayer, soci.ErrCorrupt, "the field manifests"},
		{"index that is a manifest too", func(s *store) ocispec.Descriptor {
			return s.addJSON(ocispec.MediaTypeImageIndex,
				map[string]any{"schemaVersion": 2, "config": map[string]any{}, "manifests": []any{}})
		}, everyLayer, soci.ErrCorrupt, "the field config"},
		{"index that has layers too", func(s *store) ocispec.Descriptor {
			return s.addJSON(ocispec.MediaTypeImageIndex,
				map[string]any{"schemaVersion": 2, "layers": []any{}, "manifests": []any{}})
		}, everyLayer, soci.ErrCorrupt, "the field layers"},
		{"manifest of schema 1 too", func(s *store) ocispec.Descriptor {
			return s.addJSON(ocispec.MediaTypeImageManifest,
				map[string]any{"schemaVersion": 2, "config": map[string]any{}, "fsLayers": []any{}})
		}, everyLayer, soci.ErrCorrupt, "the field fsLayers"},
		{"schema 1", func(s *store) ocispec.Descriptor {
			return s.add("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte("{}"))
		}, everyLayer, soci.ErrUnsupported, "schema 1"},
		{"descriptor without a size", func(s *store) ocispec.Descriptor {
			m := s.image("amd64")
			m.Size = 0
			return m
		}, everyLayer, soci.ErrCorrupt, "size"},
		{"layer with a bad digest", func(s *store) ocispec.Descriptor {
			return s.image("amd64", ocispec.Descriptor{MediaType: gz, Digest: "sha256:../../etc", Size: 5})
		}, everyLayer, soci.ErrCorrupt, "digest"},
		{"layer with a negative size", func(s *store) ocispec.Descriptor {
			return s.image("amd64", ocispec.Descriptor{MediaType: gz, Digest: digest.FromString(""), Size: -5})
		}, everyLayer, soci.ErrCorrupt, "size"},
		{"one layer, two sizes", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			m := l
			m.Size++
			return s.image("amd64", l, m)
		}, everyLayer, soci.ErrCorrupt, "in another"},
		{"one layer, two sizes in two manifests", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			m := l
			m.Size++
			return s.index(s.image("amd64", l), s.image("arm64", m))
		}, everyLayer, soci.ErrCorrupt, "bytes by manifest"},
		{"the same the other way round", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			m := l
			m.Size++
			return s.index(s.image("amd64", m), s.image("arm64", l))
		}, everyLayer, soci.ErrCorrupt, "bytes by manifest"},
		{"one layer, too small in one of two manifests", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			m := l
			m.Size = 1
			return s.index(s.image("amd64", l), s.image("arm64", m))
		}, soci.Options{MinLayerSize: 2}, soci.ErrCorrupt, "bytes by manifest"},
		{"layer of endless size", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			l.Size = 1<<40 + 1
			return s.image("amd64", l)
		}, everyLayer, soci.ErrLimit, "has 1099511627777 bytes, and at most 1099511627776 are supported"},
		{"entries of nothing", func(s *store) ocispec.Descriptor {
			return s.add(ocispec.MediaTypeImageIndex,
				[]byte(`{"schemaVersion":2,"manifests":[`+strings.Repeat("{},", 50_000)+`{}]}`))
		}, everyLayer, soci.ErrCorrupt, "more than 50000 descriptors"},
		{"layers of nothing", func(s *store) ocispec.Descriptor {
			return s.add(ocispec.MediaTypeImageManifest,
				[]byte(`{"schemaVersion":2,"config":{},"layers":[`+strings.Repeat("{},", 50_000)+`{}]}`))
		}, everyLayer, soci.ErrCorrupt, "more than 50000 descriptors"},
		{"too many entries in all image indexes together", func(s *store) ocispec.Descriptor {
			var all []ocispec.Descriptor
			for n := range 3 {
				attestation := ocispec.Descriptor{MediaType: "x", Digest: digest.FromString(""), Size: int64(n)}
				all = append(all, s.index(append([]ocispec.Descriptor{s.image("amd64")},
					slices.Repeat([]ocispec.Descriptor{attestation}, 17_000)...)...))
			}
			return s.index(all...)
		}, everyLayer, soci.ErrLimit, "its image indexes list more than 50000"},
		{"too large manifests, together", func(s *store) ocispec.Descriptor {
			var all []ocispec.Descriptor
			for n := range 20 {
				all = append(all, s.addJSON(ocispec.MediaTypeImageManifest,
					map[string]any{"schemaVersion": 2, "config": map[string]any{}, "n": n,
						"pad": strings.Repeat("x", 3900)}))
			}
			return s.index(all...)
		}, soci.Options{Limits: soci.Limits{MaxManifestSize: 4096}}, soci.ErrLimit, "together more than 64.0 KiB"},
		{"too many layers", func(s *store) ocispec.Descriptor {
			l := s.add(gz, good(t, 0))
			return s.image("amd64", l, l, l)
		}, soci.Options{Limits: soci.Limits{MaxLayers: 2}}, soci.ErrLimit, "has 3 layers, and at most 2 are supported"},
		{"too many manifests", func(s *store) ocispec.Descriptor {
			return s.index(s.image("amd64"), s.image("arm64"))
		}, soci.Options{Limits: soci.Limits{MaxManifests: 2}}, soci.ErrLimit,
			"more manifests than are supported: more than 2"},
		{"image indexes in image indexes", func(s *store) ocispec.Descriptor {
			x := s.index(s.image("amd64"))
			for range 4 {
				x = s.index(x)
			}
			return x
		}, everyLayer, soci.ErrLimit, "nested"},
		{"too many tar entries", func(s *store) ocispec.Descriptor {
			return s.image("amd64", s.add(gz, good(t, 0)))
		}, soci.Options{MinLayerSize: 1, Limits: soci.Limits{MaxEntries: 3}}, soci.ErrLimit, "more than 3 tar entries"},
		{"too large when it is unpacked", func(s *store) ocispec.Descriptor {
			return s.image("amd64", s.add(gz, good(t, 0)))
		}, soci.Options{MinLayerSize: 1, Limits: soci.Limits{MaxUncompressedSize: 100_000}}, soci.ErrLimit,
			"more than 97.7 KiB, the most that is supported"},
		{"expands too far", func(s *store) ocispec.Descriptor {
			return s.image("amd64", s.add(gz, testlayers.ZerosInTar(1<<20)))
		}, soci.Options{MinLayerSize: 1, Limits: soci.Limits{MaxRatio: 900}}, soci.ErrLimit,
			"more than 900 times its size"},
		{"too much memory", func(s *store) ocispec.Descriptor {
			return s.image("amd64", s.add(gz, good(t, 0)))
		}, soci.Options{MinLayerSize: 1, SpanSize: 1, Limits: soci.Limits{MaxMemory: 70_000}}, soci.ErrLimit,
			"more than 68.4 KiB of memory; about "},
		{"unknown platform", func(s *store) ocispec.Descriptor {
			return s.image("amd64", s.add(gz, good(t, 0)))
		}, soci.Options{Platforms: []string{"linux/arm64"}}, soci.ErrInvalidOption, "it has linux/amd64"},
		{"malformed platform", func(s *store) ocispec.Descriptor {
			return s.image("amd64", s.add(gz, good(t, 0)))
		}, soci.Options{Platforms: []string{"linux/amd64/v1/x"}}, soci.ErrInvalidOption, "linux/amd64/v1/x"},
		{"negative span size", func(s *store) ocispec.Descriptor { return s.image("amd64") },
			soci.Options{SpanSize: -1}, soci.ErrInvalidOption, "SpanSize is -1"},
		{"negative minimum size", func(s *store) ocispec.Descriptor { return s.image("amd64") },
			soci.Options{MinLayerSize: -1}, soci.ErrInvalidOption, "MinLayerSize is -1"},
		{"negative concurrency", func(s *store) ocispec.Descriptor { return s.image("amd64") },
			soci.Options{Concurrency: -1}, soci.ErrInvalidOption, "Concurrency is -1"},
		{"negative limit", func(s *store) ocispec.Descriptor { return s.image("amd64") },
			soci.Options{Limits: soci.Limits{MaxEntries: -1}}, soci.ErrInvalidOption, "MaxEntries is -1"},
	}
	classes := []error{soci.ErrTruncated, soci.ErrCorrupt, soci.ErrDigestMismatch, soci.ErrUnsupported, soci.ErrLimit,
		soci.ErrInvalidOption}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore()
			image := tt.image(s)
			_, err := soci.IndexImage(context.Background(), s, s, image, tt.o)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("%v", err)
			}
			for _, class := range classes {
				if class != tt.want && errors.Is(err, class) {
					t.Errorf("%v is %v too", err, class)
				}
			}
			if left := s.leftNamed(); len(left) != 0 {
				t.Errorf("pushed: %+v", left)
			}
			if s.open != 0 {
				t.Errorf("%d readers left open", s.open)
			}
		})
	}
}

// Every malformed layer fails the image as a whole, with its class.
func TestMalformedLayersFailTheImage(t *testing.T) {
	classes := map[testlayers.Verdict]error{testlayers.Truncated: soci.ErrTruncated,
		testlayers.Corrupt: soci.ErrCorrupt,
		testlayers.Limit:   soci.ErrLimit}
	for _, bad := range testlayers.MalformedLayers() {
		s := newStore()
		l := s.add(bad.MediaType, bad.Blob)
		if l.Size == 0 {
			continue // an empty blob is skipped: TestSkippedLayers
		}
		_, err := soci.IndexImage(context.Background(), s, s, s.image("amd64", s.add(gz, good(t, 0)), l), everyLayer)
		var le *soci.LayerError
		if !errors.Is(err, classes[bad.Verdict]) || !errors.As(err, &le) || le.Layer != l.Digest {
			t.Errorf("%s (%s): %v, not %s", bad.Name, bad.How, err, bad.Verdict)
		}
		if left := s.leftNamed(); len(left) != 0 {
			t.Errorf("%s: pushed %+v", bad.Name, left)
		}
	}
}

// A layer that fails stops the others, which may be waiting for their bytes.
func TestFailureCancelsOtherLayers(t *testing.T) {
	s := newStore()
	b := bytes.Clone(good(t, 0))
	b[len(b)-1] ^= 1
	corrupt := s.add(gz, b)
	slow := ocispec.Descriptor{MediaType: gz, Digest: digest.FromString("slow"), Size: 1 << 30}
	image := s.image("amd64", corrupt, slow)
	_, err := soci.IndexImage(context.Background(), waiting{s, slow.Digest}, s, image,
		soci.Options{MinLayerSize: 1, Concurrency: 2})
	if !errors.Is(err, soci.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

// waiting is a source one of whose blobs gives nothing until it is cancelled.
type waiting struct {
	*store
	blob digest.Digest
}

func (w waiting) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == w.blob {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return w.store.Fetch(ctx, d)
}

func TestCancelled(t *testing.T) {
	s := newStore()
	image := s.image("amd64", s.add(gz, good(t, 0)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := soci.IndexImage(ctx, s, s, image, everyLayer); !errors.Is(err, context.Canceled) ||
		len(s.pushed) != 0 {
		t.Errorf("%v", err)
	}
}

func TestParseIndex(t *testing.T) {
	manifest := func(config string, subject *ocispec.Descriptor) []byte {
		b, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
			Config: ocispec.Descriptor{MediaType: config}, Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"v1", manifest(soci.ArtifactTypeV1, &ocispec.Descriptor{}), nil},
		{"v2", manifest(soci.ArtifactTypeV2, nil), nil},
		{"v1 without a subject", manifest(soci.ArtifactTypeV1, nil), soci.ErrCorrupt},
		{"an image", manifest(ocispec.MediaTypeImageConfig, nil), soci.ErrUnsupported},
		{"no JSON", []byte("{"), soci.ErrCorrupt},
	} {
		if _, err := soci.ParseIndex(tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Zeros expand as far as deflate goes, and are sound.
func TestZerosWithinTheDefaultRatio(t *testing.T) {
	blob := testlayers.ZerosInTar(64 << 20)
	if ratio := 64 << 20 / len(blob); ratio < 1000 {
		t.Fatalf("it expands to only %d times its size", ratio)
	}
	if _, err := soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{}); err != nil {
		t.Error(err)
	}
}
