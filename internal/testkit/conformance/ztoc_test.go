//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	upstream "github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

const buildTool = "conformance/1"

func TestGeneratedLayers(t *testing.T) {
	for _, l := range testlayers.Generated() {
		t.Run(l.Name, func(t *testing.T) { testLayer(t, l) })
	}
}

func TestStoredLayers(t *testing.T) {
	stored, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range stored {
		t.Run(l.Name, func(t *testing.T) { testLayer(t, l) })
	}
}

// testLayer compares everything there is about one layer.
func testLayer(t *testing.T, l testlayers.Layer) {
	blob := l.Blob()
	path := tempBlob(t, blob)
	spans := append(slices.Clone(l.SpanSizes), soci.DefaultSpanSize)
	slices.Sort(spans)
	for _, span := range slices.Compact(spans) {
		t.Run(fmt.Sprintf("span=%d", span), func(t *testing.T) {
			want, err := buildUpstream(path, l.Compression, span, buildTool)
			if err != nil {
				t.Fatalf("upstream does not take this layer: %v", err)
			}
			got, err := buildOurs(blob, span, buildTool)
			if err != nil {
				t.Fatalf("upstream takes this layer, we do not: %v", err)
			}
			if !bytes.Equal(got, want) {
				t.Fatal(difference(want, got))
			}
			checkParse(t, want, l)
			checkExtract(t, got, blob, l.Compression)
		})
	}
}

// checkParse reads and writes upstream's zTOC again.
func checkParse(t *testing.T, b []byte, l testlayers.Layer) {
	t.Helper()
	if _, err := upstream.Unmarshal(bytes.NewReader(b)); err != nil {
		t.Errorf("upstream reads the zTOC with error %v", err)
	}
	z, err := soci.ParseZtoc(b)
	if err != nil {
		t.Fatalf("we cannot read upstream's zTOC: %v", err)
	}
	again, err := z.Marshal()
	if err != nil {
		t.Errorf("we cannot write what we read of upstream's zTOC: %v", err)
	} else if !l.LostTimes && !bytes.Equal(again, b) {
		t.Errorf("read and written again: %s", difference(b, again))
	}
}

// checkExtract has upstream extract every regular file through the zTOC and
// compares it with a plain read of the archive.
func checkExtract(t *testing.T, ztoc, blob []byte, c testlayers.Compression) {
	t.Helper()
	z, err := upstream.Unmarshal(bytes.NewReader(ztoc))
	if err != nil {
		t.Fatal(err)
	}
	zinfo, err := z.Zinfo()
	if err != nil {
		t.Fatal(err)
	}
	defer zinfo.Close()
	var r io.Reader = bytes.NewReader(blob)
	if c == testlayers.Gzip {
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	}
	tr := tar.NewReader(r)
	whole := 0 // files for which upstream's ExtractFile is asked, too
	seen := make(map[string]bool)
	for i := 0; ; i++ {
		h, err := tr.Next()
		if err == io.EOF {
			if i != len(z.FileMetadata) {
				t.Fatalf("the archive has %d entries, the zTOC %d", i, len(z.FileMetadata))
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		m := z.FileMetadata[i]
		if m.Name != h.Name || !maps.Equal(m.PAXHeaders, h.PAXRecords) {
			t.Fatalf("entry %d is %q in the archive, %q in the zTOC", i, h.Name, m.Name)
		}
		first := !seen[h.Name]
		seen[h.Name] = true
		if h.Typeflag != tar.TypeReg || h.Size == 0 {
			continue
		}
		want, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		// Each extraction inflates its span from the start. Of very many files
		// some will do, never the same distance apart in a span.
		if i > 5000 && i%97 != 0 {
			continue
		}
		got, err := extract(zinfo, blob, m, z.CompressedArchiveSize)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("entry %d, %q: upstream extracts other content (%v)", i, h.Name, err)
		}
		if whole++; whole <= 10 && first {
			got, err := z.ExtractFile(io.NewSectionReader(bytes.NewReader(blob), 0, int64(len(blob))), h.Name)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q: ExtractFile gives other content (%v)", h.Name, err)
			}
		}
	}
}

// extract is what upstream's ExtractFile does, with a zinfo that is read once.
func extract(z compression.Zinfo, blob []byte, m upstream.FileMetadata, size compression.Offset) ([]byte, error) {
	first := z.UncompressedOffsetToSpanID(m.UncompressedOffset)
	last := min(z.UncompressedOffsetToSpanID(m.UncompressedOffset+m.UncompressedSize), z.MaxSpanID())
	start, end := z.StartCompressedOffset(first), z.EndCompressedOffset(last, size)
	return z.ExtractDataFromBuffer(blob[start:end], m.UncompressedSize, m.UncompressedOffset, first)
}

// TestInstalledWriters takes every compressor that is installed.
func TestInstalledWriters(t *testing.T) {
	archive := testlayers.Named("plain/base")
	commands := [][]string{
		{"gzip", "-1"}, {"gzip", "-6"}, {"gzip", "-9"}, {"gzip", "--rsyncable"}, {"gzip", "-n"},
		{"pigz", "-1"}, {"pigz", "-6"}, {"pigz", "-9"}, {"pigz", "-0"}, {"pigz", "-11"},
		{"pigz", "-p", "4", "-b", "128"},
		{"pigz", "-i", "-b", "32"}, {"pigz", "-H"}, {"pigz", "-U"}, {"pigz", "-R"},
		{"bgzip"}, {"igzip", "-0"}, {"igzip", "-1"}, {"igzip", "-2"}, {"igzip", "-3"}, {"libdeflate-gzip", "-1"},
		{"libdeflate-gzip", "-12"},
		{"zopfli", "/dev/stdin"},
	}
	for _, args := range commands {
		for _, size := range []string{"whole", "long"} {
			t.Run(fmt.Sprint(args, size), func(t *testing.T) {
				exe, err := exec.LookPath(args[0])
				if err != nil {
					t.Skip("not installed")
				}
				in := archive
				if size == "long" {
					in = append(bytes.Repeat(archive[:len(archive)-1024], 8), make([]byte, 1024)...)
				}
				file := filepath.Join(scratch(t), "layer.tar")
				if err := os.WriteFile(file, in, 0o600); err != nil {
					t.Fatal(err)
				}
				stdin, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				defer stdin.Close()
				cmd := exec.Command(exe, append([]string{"-c"}, args[1:]...)...)
				cmd.Stdin = stdin
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				blob, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, stderr.String())
				}
				testLayer(t, testlayers.Layer{
					Name: args[0], Compression: testlayers.Gzip, Blob: func() []byte { return blob },
					SpanSizes: []int64{1, 16 << 10, 64 << 10, 100_000, 1 << 20},
				})
			})
		}
	}
}

// TestBadLayers compares the verdicts: what upstream refuses we refuse.
func TestBadLayers(t *testing.T) {
	for _, b := range append(testlayers.UnsupportedLayers(), testlayers.MalformedLayers()...) {
		t.Run(b.Name, func(t *testing.T) {
			if c := b.Compression(); c != "" {
				_, err := buildUpstream(tempBlob(t, b.Blob), c, 64<<10, buildTool)
				if (err == nil) != b.UpstreamAccepts {
					t.Errorf("%s: upstream answers %v", b.How, err)
				}
			}
			if _, err := soci.BuildZtoc(bytes.NewReader(b.Blob), soci.ZtocOptions{SpanSize: 64 << 10}); err == nil {
				t.Errorf("%s: we accept it", b.How)
			}
		})
	}
}
