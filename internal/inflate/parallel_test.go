package inflate_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/testkit/testlayers"
)

// runSize is what a Reader hands out at once.
const runSize = 256 << 10

// log is all that a caller of a Reader or a Parallel sees, in its order: what
// came of it, and when.
type log struct {
	out      []byte
	used     int64  // compressed bytes, as told
	consumed []byte // these bytes
	events   []string
	err      error
	stats    inflate.Stats
}

type decoder interface{ Next() ([]byte, error) }

func (l *log) read(d decoder) {
	for l.err == nil {
		var p []byte
		p, l.err = d.Next()
		before := len(l.out) / runSize
		l.out = append(l.out, p...)
		if len(l.out)/runSize > before || l.err != nil {
			l.events = append(l.events, fmt.Sprintf("%d bytes of output", len(l.out)))
		}
	}
}

func (l *log) watch() inflate.Events {
	return inflate.Events{
		Consumed: func(n int) { l.used += int64(n) },
		Boundary: func(b inflate.Boundary, window []byte) error {
			if l.used != b.In {
				return errors.New("a boundary out of step with the consumed bytes")
			}
			l.events = append(l.events, fmt.Sprintf("boundary %+v, window %08x", b, crc32.ChecksumIEEE(window)))
			return nil
		},
	}
}

func sequentially(r io.Reader) *log {
	l := new(log)
	var input bytes.Buffer
	l.read(inflate.NewReader(io.TeeReader(r, &input), l.watch()))
	l.consumed = input.Bytes()[:l.used]
	return l
}

func inParallel(r io.Reader, o inflate.ParallelOptions) *log { return pressed(r, o, 0) }

// pressed is inParallel for a caller that wants the memory back behind a number
// of boundaries, or never when that is 0.
func pressed(r io.Reader, o inflate.ParallelOptions, boundaries int) *log {
	l := new(log)
	events := l.watch()
	consumed, boundary := events.Consumed, events.Boundary
	var p *inflate.Parallel
	events.Consumed = func(n int) {
		consumed(n)
		b, release := p.Hold()
		l.consumed = append(l.consumed, b...)
		release()
	}
	events.Boundary = func(b inflate.Boundary, window []byte) error {
		if boundaries--; boundaries == 0 {
			p.Press()
		}
		return boundary(b, window)
	}
	p = inflate.NewParallel(r, events, o)
	defer p.Close()
	l.read(p)
	l.stats = p.Stats()
	return l
}

// differ tells the first difference between what two callers saw.
func differ(got, want *log) error {
	if fmt.Sprint(got.err) != fmt.Sprint(want.err) {
		return fmt.Errorf("the error is %v, not %v", got.err, want.err)
	}
	for i := range min(len(got.events), len(want.events)) {
		if got.events[i] != want.events[i] {
			return fmt.Errorf("event %d is %s, not %s", i, got.events[i], want.events[i])
		}
	}
	switch {
	case len(got.events) != len(want.events):
		return fmt.Errorf("%d events, not %d", len(got.events), len(want.events))
	case !bytes.Equal(got.out, want.out):
		return fmt.Errorf("%d bytes of output differ from %d", len(got.out), len(want.out))
	case got.used != want.used || !bytes.Equal(got.consumed, want.consumed):
		return fmt.Errorf("%d consumed bytes differ from %d", got.used, want.used)
	}
	return nil
}

// segments are sizes at which small streams have many chunks.
var segmentSizes = []int{4 << 10, 16 << 10, 64 << 10}

func TestParallel(t *testing.T) {
	var chunks, guessed int
	for n, l := range gzipLayers(t) {
		blob := l.Blob()
		want := sequentially(bytes.NewReader(blob))
		for i, size := range append(segmentSizes, 4<<10) {
			workers := 1 + (n+i)%4
			got := inParallel(bytes.NewReader(blob), inflate.ParallelOptions{Workers: workers, Segment: size})
			if err := differ(got, want); err != nil {
				t.Errorf("%s, %d workers, segments of %d: %v", l.Name, workers, size, err)
			}
			chunks += got.stats.Chunks
			guessed += got.stats.Guessed
		}
	}
	t.Logf("%d chunks, %d of them guessed", chunks, guessed)
	if chunks < 1000 || guessed < 100 {
		t.Errorf("%d chunks, %d of them guessed", chunks, guessed)
	}
}

func TestParallelMalformed(t *testing.T) {
	n := 0
	for i, bad := range testlayers.MalformedLayers() {
		if bad.Compression() != testlayers.Gzip {
			continue
		}
		n++
		want := sequentially(bytes.NewReader(bad.Blob))
		o := inflate.ParallelOptions{Workers: 1 + i%4, Segment: segmentSizes[i%len(segmentSizes)]}
		if err := differ(inParallel(bytes.NewReader(bad.Blob), o), want); err != nil {
			t.Errorf("%s (%s): %v", bad.Name, bad.How, err)
		}
	}
	if n < 100 {
		t.Errorf("only %d malformed streams", n)
	}
}

// streams of all kinds, of a content of n bytes, and their names in order.
func streams(n int) (names []string, streams map[string][]byte) {
	mixed := testlayers.Mixed(11, n)
	streams = map[string][]byte{
		"one member":    testlayers.GoGzip(mixed, 6, 0),
		"fast":          testlayers.GoGzip(mixed, 1, 0),
		"members":       members(mixed, 150_000),
		"small members": members(mixed, 20_000),
		"nested":        testlayers.GoGzip(append(members(mixed, 150_000), mixed...), 6, 0),
		"stored":        testlayers.GoGzip(mixed, 0, 0),
		"zeros":         testlayers.GoGzip(make([]byte, 12*n), 6, 0),
		"random":        testlayers.GoGzip(random(n/2), 6, 0),
		"flushed":       testlayers.GoGzip(mixed, 6, 10_000),
		"letters":       testlayers.GoGzip(letters(2*n), 6, 0),
	}
	for name := range streams {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, streams
}

// members are gzip members of size bytes each.
func members(data []byte, size int) []byte {
	var b []byte
	for len(data) > 0 {
		n := min(size, len(data))
		b = append(b, testlayers.GoGzip(data[:n], 6, 0)...)
		data = data[n:]
	}
	return b
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// letters are coded without matches that reach far, so that windows become
// known early.
func letters(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(r.Uint32()%17)
	}
	return b
}

func TestParallelKinds(t *testing.T) {
	size, sizes, counts := 3<<20, append(segmentSizes, 512<<10), []int{1, 3}
	if testing.Short() {
		size, sizes, counts = 1<<20, sizes[1:2], counts[1:]
	}
	_, all := streams(size)
	for name, blob := range all {
		want := sequentially(bytes.NewReader(blob))
		if want.err != io.EOF {
			t.Fatal(name, want.err)
		}
		for _, size := range sizes {
			for _, workers := range counts {
				got := inParallel(bytes.NewReader(blob), inflate.ParallelOptions{Workers: workers, Segment: size})
				if err := differ(got, want); err != nil {
					t.Errorf("%s, %d workers, segments of %d: %v", name, workers, size, err)
				}
				t.Logf("%s, %d bytes, %d workers, segments of %d: %+v", name, len(blob), workers, size, got.stats)
			}
		}
	}
}

// Both decoders return the same for streams with changed, missing or repeated
// bytes.
func TestParallelMutations(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 1
	}
	r := rand.New(rand.NewPCG(7, 8))
	errs := make(map[string]int)
	_, all := streams(2 << 20)
	for name, blob := range all {
		for range rounds {
			bad := mutate(r, blob)
			want := sequentially(bytes.NewReader(bad))
			var e *inflate.Error
			if errors.As(want.err, &e) {
				errs[e.What]++
			}
			o := inflate.ParallelOptions{Workers: 1 + r.IntN(4), Segment: segmentSizes[r.IntN(len(segmentSizes))]}
			if err := differ(inParallel(bytes.NewReader(bad), o), want); err != nil {
				t.Errorf("%s, mutated, %+v: %v", name, o, err)
			}
		}
	}
	t.Log(errs)
	if len(errs) < 4 && !testing.Short() {
		t.Errorf("too few kinds of errors: %v", errs)
	}
}

func mutate(r *rand.Rand, blob []byte) []byte {
	bad := bytes.Clone(blob)
	at := r.IntN(len(bad))
	switch r.IntN(5) {
	case 0:
		bad = bad[:at]
	case 1:
		bad[at] ^= 1 << r.IntN(8)
	case 2:
		from := r.IntN(len(bad))
		copy(bad[at:], bad[from:min(len(bad), from+r.IntN(70_000))])
	case 3:
		bad = append(bad[:at:at], bad[min(len(bad), at+r.IntN(70_000)):]...)
	case 4:
		if i := bytes.LastIndex(bad[:at], []byte{0x1f, 0x8b, 8}); i > 8 {
			bad[i-1-r.IntN(8)] ^= 0x10 // in a member's trailer
		} else {
			bad[len(bad)-1-r.IntN(8)] ^= 0x10
		}
	}
	return bad
}

func TestParallelSourceError(t *testing.T) {
	blob := testlayers.GoGzip(testlayers.Mixed(6, 2<<20), 6, 0)
	broken := errors.New("the line broke")
	for _, n := range []int{0, 5, 3000, 4 << 10, 4<<10 + 100, 6 << 10, 100_000, len(blob) / 2, len(blob)} {
		cut := func() io.Reader { return io.MultiReader(bytes.NewReader(blob[:n]), iotest.ErrReader(broken)) }
		want := sequentially(cut())
		if want.err != broken {
			t.Fatal(want.err)
		}
		for _, size := range segmentSizes {
			if err := differ(inParallel(cut(), inflate.ParallelOptions{Workers: 3, Segment: size}), want); err != nil {
				t.Errorf("after %d bytes, segments of %d: %v", n, size, err)
			}
		}
	}
	if got := inParallel(stuck{}, inflate.ParallelOptions{}); got.err != io.ErrNoProgress {
		t.Error(got.err)
	}
}

// However far it came, Close ends its goroutines.
func TestParallelClose(t *testing.T) {
	blob := testlayers.GoGzip(testlayers.Mixed(6, 8<<20), 6, 0) // more than 20 runs
	before := runtime.NumGoroutine()
	for n := range 20 {
		p := inflate.NewParallel(bytes.NewReader(blob), inflate.Events{},
			inflate.ParallelOptions{Workers: 3, Segment: 16 << 10})
		for range n {
			if _, err := p.Next(); err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
	}
	for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines left", n-before)
	}
}

func TestParallelBoundaryError(t *testing.T) {
	enough := errors.New("enough")
	blob := testlayers.GoGzip(testlayers.Mixed(7, 3<<20), 6, 0)
	for stop := 1; stop < 40; stop += 3 {
		calls := 0
		events := inflate.Events{Boundary: func(inflate.Boundary, []byte) error {
			if calls++; calls == stop {
				return enough
			}
			return nil
		}}
		var runs [2]int
		for i, d := range []decoder{
			inflate.NewReader(bytes.NewReader(blob), events),
			inflate.NewParallel(bytes.NewReader(blob), events, inflate.ParallelOptions{Workers: 2, Segment: 16 << 10}),
		} {
			calls = 0
			var err error
			for err == nil {
				var b []byte
				b, err = d.Next()
				runs[i] += len(b)
			}
			if p, ok := d.(*inflate.Parallel); ok {
				p.Close()
			}
			if err != enough || calls != stop {
				t.Errorf("%v after %d calls, not %d", err, calls, stop)
			}
		}
		if runs[0] != runs[1] {
			t.Errorf("%d bytes, not %d, before boundary %d", runs[1], runs[0], stop)
		}
	}
}

func TestCombine(t *testing.T) {
	b := testlayers.Mixed(3, 100_000)
	for _, n := range []int{0, 1, 2, 7, 255, 4096, 65_537, 99_999, 100_000} {
		if got, want := inflate.Combine(b[:n], b[n:]), crc32.ChecksumIEEE(b); got != want {
			t.Errorf("%d bytes and the rest: %08x, not %08x", n, got, want)
		}
	}
}

// The finder finds every start of a dynamic block that is not the last.
func TestFinder(t *testing.T) {
	blob := testlayers.GoGzip(testlayers.Mixed(9, 2<<20), 6, 0)
	found := make(map[int]bool)
	for _, place := range inflate.FindHeaders(blob) {
		found[place] = true
	}
	missed, dynamic := 0, 0
	for _, b := range decode(bytes.NewReader(blob)).boundaries {
		place := 8*int(b.In) - int(b.Bits)
		header := 0
		for i := range 3 {
			header |= int(blob[(place+i)/8]>>((place+i)%8)&1) << i
		}
		if header == 4 {
			dynamic++
			if !found[place] {
				missed++
			}
		}
	}
	if dynamic < 10 || missed > 0 {
		t.Errorf("%d of %d blocks missed", missed, dynamic)
	}
	t.Logf("%d places for %d blocks in %d bytes", len(found), dynamic, len(blob))
}

// FuzzParallel holds a Parallel against a Reader: on any bytes behind a gzip
// header, and on streams of all kinds in which something was changed.
func FuzzParallel(f *testing.F) {
	names, all := streams(400_000)
	for i := range names {
		for seed := range uint64(3) {
			f.Add(false, []byte{byte(seed)}, uint8(i), seed, uint8(seed), uint8(i))
			f.Add(false, []byte{byte(seed)}, uint8(i), seed, uint8(41*seed+7), uint8(i+1))
		}
	}
	for i, bad := range testlayers.MalformedLayers() {
		if bad.Compression() == testlayers.Gzip && i%9 == 0 {
			f.Add(true, bad.Blob, uint8(0), uint64(0), uint8(i), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, raw bool, stream []byte, kind uint8, seed uint64, size, workers uint8) {
		if !raw {
			change := stream
			stream = bytes.Clone(all[names[int(kind)%len(names)]])
			r := rand.New(rand.NewPCG(seed, 0))
			for range seed % 3 {
				if len(stream) > 0 {
					stream = mutate(r, stream)
				}
			}
			if len(stream) > 0 {
				at := r.IntN(len(stream))
				for i := range min(len(change), len(stream)-at) {
					stream[at+i] ^= change[i]
				}
			}
		}
		o := inflate.ParallelOptions{Workers: 1 + int(workers%4), Segment: 4 << 10 << (size % 5)}
		want := sequentially(bytes.NewReader(stream))
		press := int(size / 5)
		if err := differ(pressed(bytes.NewReader(stream), o, press), want); err != nil {
			t.Errorf("%d workers, segments of %d, pressed behind boundary %d: %v", o.Workers, o.Segment, press, err)
		}
	})
}
