package soci_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// guarded reports reads after it was done with.
type guarded struct {
	r    io.Reader
	done atomic.Bool
	late atomic.Bool
}

func (g *guarded) Read(p []byte) (int, error) {
	if g.done.Load() {
		g.late.Store(true)
	}
	return g.r.Read(p)
}

// However a build ends, its goroutines end with it, and the reader is the
// caller's again.
func TestBuildEnds(t *testing.T) {
	sound := testlayers.GoGzip(archive(t, "file", testlayers.Mixed(1, 4<<20)), 6, 0)
	corrupt := bytes.Clone(sound)
	corrupt[len(sound)/3] ^= 0x55
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, make([]byte, 3<<20)...)
	broken := errors.New("the line broke")
	for _, tt := range []struct {
		name string
		r    io.Reader
		o    soci.ZtocOptions
		want error
	}{
		{"well", bytes.NewReader(sound), soci.ZtocOptions{}, nil},
		{"corrupt", bytes.NewReader(corrupt), soci.ZtocOptions{}, soci.ErrCorrupt},
		{"corrupt, with a digest", bytes.NewReader(corrupt), soci.ZtocOptions{Digest: digest.FromBytes(corrupt)},
			soci.ErrCorrupt},
		{"corrupt in transfer", bytes.NewReader(corrupt), soci.ZtocOptions{Digest: digest.FromBytes(sound)},
			soci.ErrDigestMismatch},
		{"too long", bytes.NewReader(sound), soci.ZtocOptions{Size: int64(len(sound)) - 1}, soci.ErrDigestMismatch},
		{"too short", bytes.NewReader(sound), soci.ZtocOptions{Size: int64(len(sound)) + 1}, soci.ErrDigestMismatch},
		{"empty", bytes.NewReader(nil), soci.ZtocOptions{}, soci.ErrTruncated},
		{"zstd", bytes.NewReader(zstd), soci.ZtocOptions{Digest: digest.FromBytes(zstd)}, soci.ErrUnsupported},
		{"beyond a limit", bytes.NewReader(sound),
			soci.ZtocOptions{SpanSize: 1, Limits: soci.Limits{MaxMemory: 2 << 20}},
			soci.ErrLimit},
		{"broken at once", iotest.ErrReader(broken), soci.ZtocOptions{}, broken},
		{"broken later", io.MultiReader(bytes.NewReader(sound[:1<<20]), iotest.ErrReader(broken)),
			soci.ZtocOptions{Digest: digest.FromBytes(sound)}, broken},
		{"broken while the rest of a corrupt layer is read",
			io.MultiReader(bytes.NewReader(corrupt[:len(corrupt)-1]), iotest.ErrReader(broken)),
			soci.ZtocOptions{Digest: digest.FromBytes(corrupt)}, broken},
		{"reader's own unexpected end",
			io.MultiReader(bytes.NewReader(sound[:1<<20]), iotest.ErrReader(io.ErrUnexpectedEOF)),
			soci.ZtocOptions{}, io.ErrUnexpectedEOF},
		{"reader without progress", stuckReader{}, soci.ZtocOptions{}, io.ErrNoProgress},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			g := &guarded{r: tt.r}
			_, err := soci.BuildZtoc(g, tt.o)
			g.done.Store(true)
			if !errors.Is(err, tt.want) {
				t.Fatal(err)
			}
			if tt.want == broken && (errors.Is(err, soci.ErrCorrupt) || errors.Is(err, soci.ErrTruncated)) {
				t.Errorf("%v has a class of the content's", err)
			}
			for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
				time.Sleep(time.Millisecond) // a goroutine counts until it is gone
			}
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("%d goroutines left", n-before)
			}
			if g.late.Load() {
				t.Error("the reader was used after the build")
			}
		})
	}
}

type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

// Spans and digests do not depend on how the bytes come.
func TestPieces(t *testing.T) {
	blob := testlayers.GoGzip(archive(t, "file", testlayers.Mixed(2, 1<<20)), 6, 0)
	var want []byte
	for name, r := range map[string]io.Reader{
		"whole":      bytes.NewReader(blob),
		"one byte":   iotest.OneByteReader(bytes.NewReader(blob)),
		"halves":     iotest.HalfReader(bytes.NewReader(blob)),
		"data error": iotest.DataErrReader(bytes.NewReader(blob)),
	} {
		z, err := soci.BuildZtoc(r,
			soci.ZtocOptions{SpanSize: 10_000, Digest: digest.FromBytes(blob), Size: int64(len(blob))})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := z.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: another zTOC", name)
		}
	}
}
