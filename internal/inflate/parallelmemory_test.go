package inflate_test

import (
	"bytes"
	"sync/atomic"
	"testing"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/testkit/testlayers"
)

// Memory may be refused, and wanted back at any time.
func TestParallelMemory(t *testing.T) {
	blob := testlayers.GoGzip(testlayers.Mixed(6, 4<<20), 6, 0)
	want := sequentially(bytes.NewReader(blob))
	step := int64(300_000)
	if testing.Short() {
		step = 900_000
	}
	for limit := int64(0); limit < 12<<20; limit += step {
		left := limit
		var p *inflate.Parallel
		calls := 0
		l := &log{consumed: want.consumed}
		p = inflate.NewParallel(bytes.NewReader(blob), l.watch(), inflate.ParallelOptions{
			Workers: 3, Segment: 16 << 10,
			Memory: func(n int64) bool { // under its lock
				calls++
				if calls > 10 && limit%600_000 == 0 {
					p.Press()
				}
				if left < n {
					return false
				}
				left -= n
				return true
			},
			GiveBack: func(n int64) { left += n },
		})
		l.read(p)
		p.Close()
		if err := differ(l, want); err != nil {
			t.Errorf("%d bytes of memory: %v", limit, err)
		}
		if left != limit {
			t.Errorf("%d of %d bytes of memory given back", left, limit)
		}
	}
}

// Wherever it is when the memory is wanted back, it gives back what lies behind
// the next boundary and goes on from there.
func TestParallelPress(t *testing.T) {
	names, all := streams(2 << 20)
	retreats, step := 0, 4
	if testing.Short() {
		step = 16
	}
	for i, name := range names {
		blob := all[name]
		want := sequentially(bytes.NewReader(blob))
		for n := 1; n < 50; n += step {
			var taken atomic.Int64
			o := inflate.ParallelOptions{
				Workers: 2 + n%2, Segment: segmentSizes[(i+n/4)%3],
				Memory:   func(n int64) bool { taken.Add(n); return true },
				GiveBack: func(n int64) { taken.Add(-n) },
			}
			if n%8 == 1 {
				o.Segment = 256 << 10
			}
			got := pressed(bytes.NewReader(blob), o, n)
			if err := differ(got, want); err != nil {
				t.Errorf("%s, pressed behind boundary %d, %+v: %v", name, n, o, err)
			}
			if taken.Load() != 0 {
				t.Errorf("%s: %d bytes not given back", name, taken.Load())
			}
			if got.stats.Chunks > 0 {
				retreats++
			}
		}
	}
	if retreats < 20 {
		t.Errorf("only %d were decoding chunks when they were pressed", retreats)
	}
}

// When Next returns after Press, at most MemoryPressed is held.
func TestParallelPressed(t *testing.T) {
	_, all := streams(8 << 20)
	n := 0
	for _, name := range []string{"one member", "zeros", "members"} {
		for after := 3; after < 12; after++ {
			var taken atomic.Int64
			o := inflate.ParallelOptions{
				Workers: 3, Segment: 64 << 10,
				Memory:   func(n int64) bool { taken.Add(n); return true },
				GiveBack: func(n int64) { taken.Add(-n) },
			}
			p := inflate.NewParallel(bytes.NewReader(all[name]), inflate.Events{}, o)
			for range after {
				if _, err := p.Next(); err != nil {
					t.Fatal(err)
				}
			}
			before := taken.Load()
			p.Press()
			if _, err := p.Next(); err != nil {
				t.Fatal(err)
			}
			if held := taken.Load(); held > o.MemoryPressed() {
				t.Errorf("%s, after %d runs: %d bytes held of %d, more than %d", name, after, held, before,
					o.MemoryPressed())
			}
			if before > o.MemoryPressed() {
				n++
			}
			p.Close()
		}
	}
	if n == 0 {
		t.Error("nothing was to be given back")
	}
}
