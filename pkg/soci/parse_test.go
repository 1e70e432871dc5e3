package soci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is read from a zTOC is counted before it is allocated, and hardly any
// more than that.
func TestParseMemory(t *testing.T) {
	entries := func(n int, name string, records int) *Ztoc {
		z := &Ztoc{Compression: Uncompressed, SpanSize: 512, CompressedSize: 512, UncompressedSize: 512,
			Checkpoints: make([]Checkpoint, 1), SpanDigests: []digest.Digest{digest.FromString("")}}
		for i := range n {
			e := Entry{Name: fmt.Sprintf("%s%d", name, i), Type: "reg", ModTime: time.Unix(1, 0)}
			for r := range records {
				if e.PAX == nil {
					e.PAX = make(map[string]string)
				}
				e.PAX[fmt.Sprint(r)] = ""
			}
			z.Entries = append(z.Entries, e)
		}
		return z
	}
	spans := entries(0, "", 0)
	spans.CompressedSize, spans.Checkpoints = 50_000*512, make([]Checkpoint, 50_000)
	spans.SpanDigests = slices.Repeat(spans.SpanDigests, 50_000)
	for name, z := range map[string]*Ztoc{
		"entries":      entries(30_000, "", 0),
		"long names":   entries(3000, strings.Repeat("n", 1025), 0),
		"one record":   entries(10_000, "", 1),
		"nine records": entries(3000, "", 9),
		"many records": entries(5, "", 5000),
		"spans":        spans,
	} {
		b, err := z.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		counted := int64(0)
		before := heap()
		parsed, err := parseZtoc(b, func(n int64) error {
			counted += n
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		held := heap() - before
		runtime.KeepAlive(parsed)
		// The allocator rounds large slices up to pages.
		if held > counted+64<<10 || counted > 3*held {
			t.Errorf("%s: %d bytes are held, %d counted", name, held, counted)
		}
		if most := parsedRatio * int64(len(b)); counted+int64(len(b)) > most {
			t.Errorf("%s: %d bytes with the zTOC itself, more than %d", name, counted+int64(len(b)), most)
		}
		if _, err := parseZtoc(b, func(int64) error { return errPreempted }); err != errPreempted {
			t.Errorf("%s: without memory: %v", name, err)
		}
	}
}

// heap is what is in use, without garbage.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the first leaves what is in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// zerosSource is a Source whose content consists of zeros.
type zerosSource struct{ size int64 }

func (z zerosSource) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zeroReader{}, z.size)), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What was pushed again is compared with its descriptor, and not held.
func TestReadBackHoldsNothing(t *testing.T) {
	const size = 8 << 20
	digester := digest.SHA512.Digester()
	if _, err := io.CopyN(digester.Hash(), zeroReader{}, size); err != nil {
		t.Fatal(err)
	}
	desc := ocispec.Descriptor{Digest: digester.Digest(), Size: size}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for stored, want := range map[int64]error{size: nil, size - 1: ErrDigestMismatch, size + 1: ErrDigestMismatch} {
		p := &publisher{src: zerosSource{stored}}
		if err := p.readBack(t.Context(), "blob", desc); !errors.Is(err, want) {
			t.Errorf("%d bytes are there: %v", stored, err)
		}
	}
	other := desc
	other.Digest = digest.SHA512.FromString("")
	if err := (&publisher{src: zerosSource{size}}).readBack(t.Context(), "blob", other); !errors.Is(err,
		ErrDigestMismatch) {
		t.Errorf("other content is there: %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}
