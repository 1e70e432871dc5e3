package soci_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/memrepo"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// TestGoldenZtocs compares our zTOCs of the stored layers with the record of
// upstream's.
func TestGoldenZtocs(t *testing.T) {
	golden, err := testlayers.Golden()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	layers := make(map[string]testlayers.Layer)
	for _, l := range stored {
		layers[l.Name] = l
	}
	if len(golden.Layers) != len(stored) {
		t.Errorf("the golden record has %d layers, %d are stored", len(golden.Layers), len(stored))
	}
	for _, want := range golden.Layers {
		t.Run(want.Name, func(t *testing.T) {
			l, ok := layers[want.Name]
			if !ok {
				t.Fatal("the layer is not stored")
			}
			if d := digest.FromBytes(l.Blob()); d != want.Blob {
				t.Fatalf("the stored layer is %s, the golden record is of %s", d, want.Blob)
			}
			if len(want.Ztocs) == 0 {
				t.Fatal("the golden record has no zTOC")
			}
			for _, w := range want.Ztocs {
				t.Run(fmt.Sprintf("span=%d tool=%s", w.SpanSize, w.BuildTool), func(t *testing.T) {
					goldenZtoc(t, l, want, w)
				})
			}
		})
	}
}

func goldenZtoc(t *testing.T, l testlayers.Layer, layer testlayers.GoldenLayer, want testlayers.GoldenZtoc) {
	z, err := soci.BuildZtoc(bytes.NewReader(l.Blob()), soci.ZtocOptions{
		SpanSize: want.SpanSize, BuildToolIdentifier: want.BuildTool,
		Size: layer.CompressedSize, Digest: layer.Blob, AllowMisread: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		if got != want {
			t.Errorf("%s: %v, upstream's %v", what, got, want)
		}
	}
	check("compression", string(z.Compression), layer.Compression)
	check("compressed size", z.CompressedSize, layer.CompressedSize)
	check("uncompressed size", z.UncompressedSize, layer.UncompressedSize)
	check("entries", len(z.Entries), layer.Entries)
	check("spans", len(z.Spans()), want.Spans)
	b, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	check("size of the zTOC", int64(len(b)), want.Size)
	check("digest of the zTOC", digest.FromBytes(b), want.Digest)
}

// TestGoldenReaders feeds the decoder its input in odd pieces.
func TestGoldenReaders(t *testing.T) {
	stored, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	readers := []struct {
		name string
		of   func(io.Reader) io.Reader
	}{
		{"one byte", iotest.OneByteReader},
		{"half", iotest.HalfReader},
		{"data with EOF", iotest.DataErrReader},
		{"a byte with EOF", func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) }},
	}
	for _, l := range stored {
		want := marshalled(t, bytes.NewReader(l.Blob()))
		for _, r := range readers {
			if got := marshalled(t, r.of(bytes.NewReader(l.Blob()))); !bytes.Equal(got, want) {
				t.Errorf("%s, read in the manner of %q: another zTOC", l.Name, r.name)
			}
		}
	}
}

func marshalled(t *testing.T, r io.Reader) []byte {
	t.Helper()
	z, err := soci.BuildZtoc(r, soci.ZtocOptions{SpanSize: 20_000, AllowMisread: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenIndexes compares our SOCI indexes with the record of upstream's.
func TestGoldenIndexes(t *testing.T) {
	golden, err := testlayers.Golden()
	if err != nil {
		t.Fatal(err)
	}
	images, err := testlayers.Images()
	if err != nil {
		t.Fatal(err)
	}
	if len(golden.Images) != len(images) {
		t.Fatalf("the golden record has %d images, not %d", len(golden.Images), len(images))
	}
	for i, image := range images {
		want := golden.Images[i]
		t.Run(want.Name, func(t *testing.T) {
			if image.Name != want.Name || image.Desc.Digest != want.Manifest {
				t.Fatalf("image %d is %s %s, the golden record is of %s %s", i, image.Name, image.Desc.Digest,
					want.Name, want.Manifest)
			}
			repo := memrepo.New()
			for d, c := range image.Contents {
				repo.Blobs[d] = c.Bytes
			}
			result, err := soci.IndexImage(t.Context(), repo, repo, image.Desc, soci.Options{
				SpanSize: testlayers.ImageSpanSize, MinLayerSize: testlayers.ImageMinLayerSize,
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Manifests) != 1 || result.Outcome() != soci.OutcomeIndexed {
				t.Fatalf("%d manifests, outcome %s", len(result.Manifests), result.Outcome())
			}
			index := result.Manifests[0].Index
			if index.Digest != want.Digest || index.Size != want.Size {
				t.Errorf("the index is %s of %d bytes, upstream's %s of %d bytes", index.Digest, index.Size,
					want.Digest, want.Size)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, want.Index); err != nil {
				t.Fatal(err)
			}
			if got := repo.Blobs[index.Digest]; !bytes.Equal(got, compact.Bytes()) {
				t.Errorf("the index is\n%s\nupstream's\n%s", got, compact.Bytes())
			}
		})
	}
}

// verdicts are the errors of the verdicts, each of which excludes the others.
var verdicts = map[testlayers.Verdict]error{
	testlayers.Truncated:   soci.ErrTruncated,
	testlayers.Corrupt:     soci.ErrCorrupt,
	testlayers.Unsupported: soci.ErrUnsupported,
	testlayers.Limit:       soci.ErrLimit,
}

// TestVerdicts has each unsound or unsupported layer answered with its own
// error, at every span size and in odd pieces.
func TestVerdicts(t *testing.T) {
	bad := append(testlayers.MalformedLayers(), testlayers.UnsupportedLayers()...)
	for _, b := range bad {
		t.Run(b.Name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(b.Blob), iotest.OneByteReader(bytes.NewReader(b.Blob))} {
				z, err := soci.BuildZtoc(r, soci.ZtocOptions{SpanSize: 512})
				if err == nil || z != nil {
					t.Fatalf("%s: accepted, or a zTOC beside the error %v", b.How, err)
				}
				for verdict, class := range verdicts {
					if errors.Is(err, class) != (verdict == b.Verdict) {
						t.Errorf("%s: want %s, got %v", b.How, b.Verdict, err)
					}
				}
				var unsupported *soci.UnsupportedError
				if b.Verdict == testlayers.Unsupported &&
					(!errors.As(err, &unsupported) || unsupported.Reason != soci.SkipReason(b.Reason)) {
					t.Errorf("%s: want the reason %s, got %v", b.How, b.Reason, err)
				}
			}
		})
	}
}
