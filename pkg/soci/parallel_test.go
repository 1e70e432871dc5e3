package soci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/testlayers"
)

// watch reports whether a budget is ever exceeded, until stop is called.
func watch(t *testing.T, m *memory, lent *int64) (stop func()) {
	end := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			m.mu.Lock()
			*lent = max(*lent, m.lent)
			if m.held() > m.max {
				t.Errorf("%d bytes taken, of which %d for later, and %d lent, of %d", m.used, m.later, m.lent, m.max)
			}
			m.mu.Unlock()
			select {
			case <-end:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	return func() { close(end); group.Wait() }
}

// built is what became of a layer.
type built struct {
	ztoc []byte
	err  error
	lent int64 // at most
}

// buildWith builds a zTOC with a number of workers, from segments so small that
// the layer has many.
func buildWith(t *testing.T, blob []byte, o ZtocOptions, workers int) built {
	t.Helper()
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p := processorsOf(4)
	if err := p.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.LayerWorkers, o.parallel = workers, parallelism{0, 16 << 10, p}
	m := newMemory(o.Limits.MaxMemory)
	alone := m.enter(0, nil)
	var out built
	stop := watch(t, m, &out.lent)
	z, err := buildZtoc(bytes.NewReader(blob), o, alone)
	stop()
	if m.lent != 0 || p.pieces != 0 {
		t.Errorf("%d bytes and %d processors are not given back", m.lent, p.pieces)
	}
	if p.most > p.max {
		t.Errorf("%d processors are taken of %d", p.most, p.max)
	}
	if err == nil {
		if out.ztoc, err = z.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	out.err = err
	return out
}

// same reports whether several workers come to what one does.
func same(t *testing.T, what string, blob []byte, o ZtocOptions) (one, several built) {
	t.Helper()
	one = buildWith(t, blob, o, 1)
	for _, workers := range []int{2, 4} {
		several = buildWith(t, blob, o, workers)
		if fmt.Sprint(several.err) != fmt.Sprint(one.err) {
			t.Errorf("%s, %d workers: %v, not %v", what, workers, several.err, one.err)
		}
		if !bytes.Equal(several.ztoc, one.ztoc) {
			t.Errorf("%s, %d workers: another zTOC", what, workers)
		}
	}
	return one, several
}

// files is an archive of some hundred files.
func files(t *testing.T, seed uint64, n int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := 0; buf.Len() < n; i++ {
		content := testlayers.Mixed(seed+uint64(i), r.IntN(40_000))
		h := tar.Header{Name: fmt.Sprint("file", i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Several workers exceed the same limit at the same place as one.
func TestParallelLimits(t *testing.T) {
	blob := testlayers.GoGzip(files(t, 1, 4<<20), 6, 0)
	sum := digest.FromBytes(blob)
	zeros := testlayers.GoGzip(append(files(t, 2, 1<<20), make([]byte, 20<<20)...), 6, 0)
	sound := 0
	spans := []int64{1, 100_000, 4 << 20}
	if testing.Short() {
		spans = spans[1:2]
	}
	for _, span := range spans {
		for _, l := range []Limits{
			{}, {MaxMemory: 2 << 20}, {MaxMemory: 4 << 20}, {MaxMemory: 6 << 20},
			{MaxMemory: 8 << 20}, {MaxMemory: 16 << 20},
			{MaxEntries: 50}, {MaxUncompressedSize: 2_000_000}, {MaxUncompressedSize: 1 << 20},
			{MaxRatio: 1}, {MaxRatio: 3}, {MaxRatio: 5}, {MaxRatio: 40},
		} {
			what := fmt.Sprintf("spans of %d, %+v", span, l)
			one, several := same(t, what, blob,
				ZtocOptions{SpanSize: span, Limits: l, Size: int64(len(blob)), Digest: sum})
			if one.err == nil {
				sound++
			}
			if l == (Limits{}) && several.lent == 0 {
				t.Errorf("%s: several workers borrowed nothing", what)
			}
			same(t, what+", zeros", zeros, ZtocOptions{SpanSize: span, Limits: l})
		}
	}
	if sound < 5*len(spans)/3 {
		t.Errorf("only %d are built", sound)
	}
}

// A layer with a checkpoint for every 5 KB needs the memory that was lent, and
// comes as far as with one worker.
func TestParallelMemory(t *testing.T) {
	blob := testlayers.GoGzip(files(t, 4, 4<<20), 6, 5_000)
	lent, refused := 0, 0
	if testing.Short() {
		blob = blob[:len(blob)/4]
	}
	for budget := int64(20 << 20); budget <= 100<<20; budget += 8 << 20 {
		o := ZtocOptions{SpanSize: 1, Limits: Limits{MaxMemory: budget}}
		one, several := same(t, fmt.Sprintf("%d bytes of memory", budget), blob, o)
		if errors.Is(one.err, ErrLimit) {
			refused++
		}
		if several.lent > 0 {
			lent++
		}
	}
	if (refused < 2 || refused > 9) && !testing.Short() || lent < 5 {
		t.Errorf("%d budgets are too small, and of %d something is lent", refused, lent)
	}
}

// Several workers return the same error for a malformed layer as one.
func TestParallelVerdicts(t *testing.T) {
	n := 0
	for i, bad := range append(testlayers.MalformedLayers(), testlayers.UnsupportedLayers()...) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		one := buildWith(t, bad.Blob, ZtocOptions{}, 1)
		several := buildWith(t, bad.Blob, ZtocOptions{}, 2+n%3)
		if n++; fmt.Sprint(several.err) != fmt.Sprint(one.err) || !bytes.Equal(several.ztoc, one.ztoc) {
			t.Errorf("%s (%s): %v, not %v", bad.Name, bad.How, several.err, one.err)
		}
	}
	// Faults of the archive and of the stream beside each other.
	plain := files(t, 3, 3<<20)
	r := rand.New(rand.NewPCG(5, 6))
	kinds := make(map[error]int)
	rounds := 60
	if testing.Short() {
		rounds = 6
	}
	for range rounds {
		content := bytes.Clone(plain)
		if r.IntN(2) == 0 {
			content[r.IntN(len(content))/512*512+r.IntN(150)] ^= 0x11
		}
		blob := testlayers.GoGzip(content, 1+r.IntN(8), 0)
		switch r.IntN(3) {
		case 0:
			blob[r.IntN(len(blob))] ^= 4
		case 1:
			blob = blob[:r.IntN(len(blob))]
		}
		one, _ := same(t, "changed", blob, ZtocOptions{SpanSize: 50_000})
		for _, class := range []error{ErrCorrupt, ErrTruncated} {
			if errors.Is(one.err, class) {
				kinds[class]++
			}
		}
	}
	if (kinds[ErrCorrupt] < 5 || kinds[ErrTruncated] < 5) && !testing.Short() {
		t.Errorf("too few faults: %v", kinds)
	}
}

// A layer has several workers from a size on, if that is known.
func TestLayerWorkers(t *testing.T) {
	p := processorsOf(3)
	for _, tt := range []struct {
		size    int64
		workers int
		want    int
	}{
		{0, 4, 1}, {1<<20 - 1, 4, 1}, {1 << 20, 4, 3}, {1 << 20, 2, 2}, {1 << 30, 1, 1},
	} {
		o := ZtocOptions{Size: tt.size, LayerWorkers: tt.workers, parallel: parallelism{from: 1 << 20, processors: p}}
		if got := o.layerWorkers(); got != tt.want {
			t.Errorf("a layer of %d bytes has %d workers of %d, not %d", tt.size, got, tt.workers, tt.want)
		}
	}
	for n := range 4 {
		if got := p.try(); got != (n < 3) {
			t.Errorf("with %d of three processors taken: %t", n, got)
		}
	}
	if p.give(); !p.try() {
		t.Error("none was given back")
	}
	if _, err := BuildZtoc(nil, ZtocOptions{LayerWorkers: -1}); !errors.Is(err, ErrInvalidOption) {
		t.Error(err)
	}
}

// Lent memory is returned before the budget is used up, by the youngest first; if
// it is not, the oldest goes on and the others begin again.
func TestMemoryLent(t *testing.T) {
	m := newMemory(1600)
	var b *tenant
	cancelled := false
	a := m.enter(0, func() { t.Error("the oldest is cancelled") })
	b = m.enter(1, func() {
		cancelled = true
		go func() {
			b.giveBack(300)
			b.leave()
		}()
	})
	pressed := make(map[string]int)
	lend := func(name string, t *tenant, n int64) bool { return t.borrow(n, func() { pressed[name]++ }) }
	if !lend("a", a, 500) || !lend("b", b, 600) {
		t.Fatal("nothing is lent")
	}
	if lend("b", b, 401) {
		t.Error("the reserve is lent")
	}
	if err := a.take(440); err != nil || len(pressed) > 0 {
		t.Error(err, pressed)
	}
	if err := a.take(20); err != nil || pressed["b"] != 1 || pressed["a"] != 0 {
		t.Error(err, pressed)
	}
	b.giveBack(300)
	if err := a.takeFor(600, 300); err != nil || pressed["a"] != 1 || cancelled {
		t.Error(err, pressed, cancelled)
	}
	if m.held() != 1560 {
		t.Errorf("%d bytes are held", m.held())
	}
	if err := a.take(240); err != nil || !cancelled { // waits for the younger one to leave
		t.Error(err, cancelled)
	}
	// Only its own is in its way now.
	if err := a.take(300); err != errPreempted {
		t.Error(err)
	}
	a.giveBack(500)
	a.leave()
	a = m.enter(0, func() {})
	if lend("a", a, 1) {
		t.Error("lent again")
	}
	if err := a.takeFor(1600, 800); err != nil {
		t.Error(err)
	}
	if err := a.settle(); err != nil || m.held() != 1600 {
		t.Error(err, m.held())
	}
	if err := a.take(1); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}
