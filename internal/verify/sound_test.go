package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// memory is a layer that is read by ranges.
type memory []byte

func (m memory) FetchRange(_ context.Context, _ ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(bytes.NewReader(m), off, n)), nil
}

// stored returns the zTOC of a layer as it is read back.
func stored(t *testing.T, blob []byte, spanSize int64) *soci.Ztoc {
	t.Helper()
	z, err := soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{SpanSize: spanSize, AllowMisread: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if z, err = soci.ParseZtoc(b); err != nil {
		t.Fatal(err)
	}
	return z
}

// compareMemory compares a layer with a zTOC.
func compareMemory(t *testing.T, blob []byte, z *soci.Ztoc) (*LayerReport, []Difference) {
	t.Helper()
	lazy, err := NewLazyLayer(memory(blob),
		ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}, z)
	if err != nil {
		t.Fatal(err)
	}
	var found []Difference
	report := &LayerReport{}
	whole := &blobReader{body: bytes.NewReader(blob), digester: digest.SHA256.Digester(), progress: func(int64) {}}
	err = compareArchive(context.Background(), whole, lazy, report, func(d Difference) { found = append(found, d) })
	if err != nil {
		t.Fatal(err)
	}
	return report, found
}

// Every sound layer, by every gzip writer and with every block structure, has
// no difference, but for those that clients misread. Checkpoints at every bit of a byte, spans without output and
// spans across members must be among them.
func TestSoundLayersHaveNoDifference(t *testing.T) {
	if testing.Short() {
		t.Skip("reads all generated layers")
	}
	var bits [8]int
	var empty int
	for _, l := range testlayers.Generated() {
		blob := l.Blob()
		for _, size := range l.SpanSizes {
			t.Run(fmt.Sprintf("%s/span=%d", l.Name, size), func(t *testing.T) {
				z := stored(t, blob, size)
				if len(z.Checkpoints) > 1000 {
					t.Skipf("%d spans", len(z.Checkpoints))
				}
				report, found := compareMemory(t, blob, z)
				if l.Misread != "" {
					if len(found) == 0 {
						t.Errorf("no difference, although clients misread it: %s", l.Misread)
					}
				} else {
					for _, d := range found {
						t.Error(d)
					}
				}
				if report.Spans != len(z.Checkpoints) || report.Entries != len(z.Entries) ||
					report.Bytes < z.UncompressedSize {
					t.Errorf("compared %d of %d spans, %d of %d entries, %d of %d bytes",
						report.Spans, len(z.Checkpoints), report.Entries, len(z.Entries), report.Bytes,
						z.UncompressedSize)
				}
				for i, c := range z.Checkpoints {
					bits[c.Bits]++
					if i > 0 && c.Out == z.Checkpoints[i-1].Out {
						empty++
					}
				}
			})
		}
	}
	for unused, n := range bits {
		if n == 0 {
			t.Errorf("no checkpoint had %d unused bits", unused)
		}
	}
	if empty == 0 {
		t.Error("no span was without output")
	}
}

// A zTOC that is right of its layer and leads clients astray is a difference.
func TestMisreadLayers(t *testing.T) {
	for _, l := range testlayers.MisreadLayers() {
		if _, found := compareMemory(t, l.Blob, stored(t, l.Blob, 64<<10)); len(found) == 0 {
			t.Errorf("%s (%s): no difference", l.Name, l.How)
		}
	}
}

// A zTOC without entries is that of an empty archive and of nothing else.
func TestZtocWithoutEntries(t *testing.T) {
	for _, tt := range []struct {
		name   string
		blob   []byte
		differ bool
	}{
		{"two blocks", make([]byte, 1024), false},
		{"a record", make([]byte, 10240), false},
		{"more than a record", make([]byte, 10241), true},
		{"EROFS", append(make([]byte, 1024), "\xe2\xe1\xf5\xe0 and what follows"...), true},
	} {
		z := &soci.Ztoc{
			Version: "0.9", Compression: soci.Uncompressed, CompressedSize: int64(len(tt.blob)), UncompressedSize: 1024,
			SpanSize:    1 << 20,
			Checkpoints: []soci.Checkpoint{{}}, SpanDigests: []digest.Digest{digest.FromBytes(tt.blob)},
		}
		if _, found := compareMemory(t, tt.blob, z); (len(found) > 0) != tt.differ {
			t.Errorf("%s: %v", tt.name, found)
		}
	}
}

// A file is read out of its spans alone, wherever it lies in them.
func TestReadFile(t *testing.T) {
	blob := textLayer(t)
	z := stored(t, blob, 32<<10)
	lazy, err := NewLazyLayer(memory(blob), ocispec.Descriptor{Size: int64(len(blob))}, z)
	if err != nil {
		t.Fatal(err)
	}
	plain := gunzip(t, blob)
	several := false
	for _, e := range z.Entries {
		var got bytes.Buffer
		fetched, err := lazy.ReadFile(context.Background(), e, &got)
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if want := plain[e.Offset : e.Offset+e.Size]; !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: %d bytes, want %d; or they differ", e.Name, got.Len(), len(want))
		}
		if fetched >= int64(len(blob)) {
			t.Errorf("%s: fetched %d of %d bytes", e.Name, fetched, len(blob))
		}
		several = several || e.Size > 100<<10
	}
	if !several {
		t.Error("no file lies in several spans")
	}

	t.Run("wrong digest", func(t *testing.T) {
		bad := *z
		bad.SpanDigests = make([]digest.Digest, len(z.SpanDigests))
		for i := range bad.SpanDigests {
			bad.SpanDigests[i] = digest.FromString("another")
		}
		lazy, err := NewLazyLayer(memory(blob), ocispec.Descriptor{Size: int64(len(blob))}, &bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lazy.ReadFile(context.Background(), lastFile(z), io.Discard); !errors.Is(err, ErrDifference) {
			t.Errorf("%v, want ErrDifference", err)
		}
	})
	t.Run("writer fails", func(t *testing.T) {
		full := errors.New("full")
		if _, err := lazy.ReadFile(context.Background(), lastFile(z), failingWriter{full}); !errors.Is(err, full) ||
			errors.Is(err, ErrDifference) {
			t.Errorf("%v, want the writer's error alone", err)
		}
	})
	t.Run("beyond the archive", func(t *testing.T) {
		e := lastFile(z)
		e.Size = 1 << 40
		if _, err := lazy.ReadFile(context.Background(), e, io.Discard); !errors.Is(err, ErrDifference) {
			t.Errorf("%v, want ErrDifference", err)
		}
		e.Size, e.Offset = 1, -5
		if _, err := lazy.ReadFile(context.Background(), e, io.Discard); !errors.Is(err, ErrDifference) {
			t.Errorf("%v, want ErrDifference", err)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func lastFile(z *soci.Ztoc) soci.Entry {
	var last soci.Entry
	for _, e := range z.Entries {
		if e.Type == "reg" && e.Size > 0 {
			last = e
		}
	}
	return last
}
