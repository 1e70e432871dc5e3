package inflate_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/testkit/testlayers"
)

// However many workers there are, one goroutine decodes, and one more for each
// processor that Begin has allowed.
func TestParallelProcessors(t *testing.T) {
	size := 2 << 20
	if testing.Short() {
		size = 512 << 10
	}
	names, all := streams(size)
	for extra := range 3 {
		most := 0
		for i, name := range names {
			var begun, atOnce atomic.Int64
			o := inflate.ParallelOptions{
				Workers: 3 + i%2, Segment: segmentSizes[i%2],
				Begin: func() bool { // under its lock
					if begun.Load() == int64(extra) {
						return false
					}
					begun.Add(1)
					atOnce.Store(max(atOnce.Load(), begun.Load()))
					return true
				},
				End: func() { begun.Add(-1) },
			}
			got := inParallel(bytes.NewReader(all[name]), o)
			if err := differ(got, sequentially(bytes.NewReader(all[name]))); err != nil {
				t.Errorf("%s, %d processors more: %v", name, extra, err)
			}
			if got.stats.AtOnce > 1+int(atOnce.Load()) {
				t.Errorf("%s: %d goroutines decoded at once, with %d processors more", name, got.stats.AtOnce,
					atOnce.Load())
			}
			if begun.Load() != 0 {
				t.Errorf("%s: %d processors are not given back", name, begun.Load())
			}
			most = max(most, got.stats.AtOnce)
		}
		if most > 1+extra || most < min(1+extra, 2) {
			t.Errorf("with %d processors more, %d goroutines decoded at once at most", extra, most)
		}
	}
}

// Chunks are begun where no block is, and nothing comes of it: in what looks
// like a header, and in blocks of gzip files within stored blocks.
func TestFalseStarts(t *testing.T) {
	mixed := testlayers.Mixed(11, 2<<20)
	var nested []byte
	for rest := mixed; len(rest) > 0; rest = rest[min(300_000, len(rest)):] {
		nested = append(nested, testlayers.GoGzip(rest[:min(300_000, len(rest))], 6, 0)...)
		nested = append(nested, random(40_000)...)
	}
	for name, blob := range map[string][]byte{
		"gzip files in stored blocks":  testlayers.GoGzip(nested, 0, 0),
		"bytes that are like a header": testlayers.GoGzip(headers(t, mixed), 0, 0),
		"the same, and blocks between": append(testlayers.GoGzip(headers(t, mixed), 0, 0),
			testlayers.GoGzip(mixed, 6, 0)...),
		"the same, with a wrong ending": testlayers.GoGzip(headers(t, mixed), 0, 0)[:400_000],
	} {
		want := sequentially(bytes.NewReader(blob))
		found := 0
		// A fast caller may have come to the places before a worker does.
		for round := 0; round < 20 && (round == 0 || found == 0); round++ {
			for i, size := range append(segmentSizes, 128<<10) {
				got := inParallel(bytes.NewReader(blob), inflate.ParallelOptions{Workers: 1 + i, Segment: size})
				if err := differ(got, want); err != nil {
					t.Errorf("%s, %d workers, segments of %d: %v", name, 1+i, size, err)
				}
				found += got.stats.FalseStarts
			}
		}
		if found == 0 {
			t.Errorf("%s: no false starts", name)
		}
		t.Logf("%s: %d false starts", name, found)
	}
}

// headers are starts of dynamic blocks with what does not belong behind them.
func headers(t *testing.T, content []byte) []byte {
	t.Helper()
	blob := testlayers.GoGzip(content, 6, 0)
	noise := random(1 << 20)
	var b []byte
	for i, place := range inflate.FindHeaders(blob) {
		at := place / 8
		b = append(b, blob[at:min(at+600, len(blob))]...)
		b = append(b, noise[i*977%len(noise):][:2_000]...)
	}
	for len(b) < 1<<20 {
		b = append(b, b...)
	}
	return b
}

// Streams in which no chunk can be begun before its place is known cost little
// more than what a Reader does: it is soon given up, and tried seldom.
func TestParallelVain(t *testing.T) {
	data := testlayers.Mixed(21, 6<<20)
	var bgzip []byte // members of one block each
	for rest := data; len(rest) > 0; rest = rest[min(65_280, len(rest)):] {
		bgzip = append(bgzip, blocks(rest[:min(65_280, len(rest))], 65_280, true)...)
	}
	for name, blob := range map[string][]byte{
		"one block":     blocks(data, len(data), true),
		"fixed blocks":  blocks(data, 40_000, false),
		"bgzip":         bgzip,
		"stored blocks": testlayers.GoGzip(data, 0, 0),
	} {
		want := sequentially(bytes.NewReader(blob))
		if want.err != io.EOF {
			t.Fatal(name, want.err)
		}
		all := int64(0)
		for _, workers := range []int{2, 4} {
			got := inParallel(bytes.NewReader(blob), inflate.ParallelOptions{Workers: workers, Segment: 16 << 10})
			if err := differ(got, want); err != nil {
				t.Errorf("%s, %d workers: %v", name, workers, err)
			}
			t.Logf("%s, %d bytes, %d workers: %+v", name, len(blob), workers, got.stats)
			if got.stats.Vain > int64(len(blob))/10 {
				t.Errorf("%s: %d workers searched or decoded %d bytes of %d in vain", name, workers, got.stats.Vain,
					len(blob))
			}
			all += got.stats.Vain
		}
		if all == 0 {
			t.Errorf("%s: nothing was tried", name)
		}
	}
}

// blocks is a stream of blocks of n bytes each: of fixed codes, or of codes of
// their own.
func blocks(data []byte, n int, dynamic bool) []byte {
	lit, dist := make([]uint8, 286), make([]uint8, 30)
	for i := range lit {
		lit[i] = 8 + uint8(i/226)
	}
	for i := range dist {
		dist[i] = 5 - uint8((31-i)/30)
	}
	d := new(testlayers.Deflate)
	for len(data) > 0 {
		part := data[:min(n, len(data))]
		data = data[len(part):]
		if dynamic {
			d.Dynamic(len(data) == 0, lit, dist)
		} else {
			d.Fixed(len(data) == 0)
		}
		for i, c := range part {
			if i%40 == 39 && len(d.Out) > 10_000 {
				d.Match(5+i%100, 1+i%10_000)
			}
			d.Lit(c)
		}
		d.End()
	}
	return testlayers.Member(testlayers.GzipHeader{}, d)
}
