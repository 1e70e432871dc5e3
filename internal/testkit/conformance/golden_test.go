//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

var update = flag.Bool("update", false, "renew the golden record of upstream's output")

// TestGolden holds the golden record to what upstream makes of the stored
// layers today.
func TestGolden(t *testing.T) {
	got, err := json.MarshalIndent(goldenRecord(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path, err := testlayers.GoldenPath()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what upstream makes of the stored layers; run with -update and look at the difference",
			path)
	}
}

func goldenRecord(t *testing.T) *testlayers.GoldenRecord {
	t.Helper()
	stored, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	record := new(testlayers.GoldenRecord)
	for _, l := range stored {
		record.Layers = append(record.Layers, goldenLayer(t, l))
	}
	images, err := testlayers.Images()
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		r := newRepository(t)
		for _, c := range image.Contents {
			r.add(t, c.MediaType, c.Bytes)
		}
		index, _, err := r.upstreamIndex(t, image.Desc, ocispec.Platform{OS: "linux", Architecture: "amd64"},
			soci.BuildToolIdentifier)
		if err != nil {
			t.Fatalf("image %s: %v", image.Name, err)
		}
		record.Images = append(record.Images, testlayers.GoldenImage{
			Name: image.Name, Manifest: image.Desc.Digest,
			Index: index, Digest: digest.FromBytes(index), Size: int64(len(index)),
		})
	}
	return record
}

func goldenLayer(t *testing.T, l testlayers.Layer) testlayers.GoldenLayer {
	t.Helper()
	path := tempBlob(t, l.Blob())
	record := testlayers.GoldenLayer{Name: l.Name, Blob: digest.FromBytes(l.Blob()), Compression: string(l.Compression)}
	spans := append(slices.Clone(l.SpanSizes), soci.DefaultSpanSize)
	slices.Sort(spans)
	for _, span := range slices.Compact(spans) {
		for _, tool := range []string{soci.BuildToolIdentifier, "another tool v0.1"} {
			z, b, err := upstreamZtoc(path, l.Compression, span, tool)
			if err != nil {
				t.Fatalf("%s: %v", l.Name, err)
			}
			// These are the same for every span size and tool.
			record.CompressedSize = int64(z.CompressedArchiveSize)
			record.UncompressedSize = int64(z.UncompressedArchiveSize)
			record.Entries = len(z.FileMetadata)
			record.Ztocs = append(record.Ztocs, testlayers.GoldenZtoc{
				SpanSize: span, BuildTool: tool, Spans: int(z.MaxSpanID) + 1,
				Size: int64(len(b)), Digest: digest.FromBytes(b),
			})
		}
	}
	return record
}
