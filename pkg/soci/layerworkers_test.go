package soci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

const testSegment = 16 << 10

// imageOfLayers is an image of n layers, the first of which are several times as
// large as the last.
func imageOfLayers(t *testing.T, s *store, n, size int) ocispec.Descriptor {
	t.Helper()
	var layers []ocispec.Descriptor
	for i := range n {
		content := testlayers.Mixed(uint64(i), size/(1+i/2))
		layers = append(layers, s.add(gz, testlayers.GoGzip(archive(t, fmt.Sprint("file", i), content), 6, 0)))
	}
	return s.image("amd64", layers...)
}

// checkReturned expects that no processor is in use any more.
func checkReturned(t *testing.T, what string, w soci.Workers) soci.Processors {
	t.Helper()
	p := w.Count()
	if p.Layers != 0 || p.Pieces != 0 || p.Waiting != 0 {
		t.Errorf("%s: not all is given back: %+v", what, p)
	}
	return p
}

// Of all the layers of an image there are never more workers than processors,
// and the result is that of one worker for each.
func TestLayersShareProcessors(t *testing.T) {
	s := newStore()
	size, steps := 3<<20, 1
	if testing.Short() {
		size, steps = 1<<20, 2
	}
	image := imageOfLayers(t, s, 12, size)
	options := soci.Options{MinLayerSize: 1, SpanSize: 512 << 10, DryRun: true, LayerWorkers: 1}
	want, err := soci.IndexImage(t.Context(), s, nil, image, options)
	if err != nil {
		t.Fatal(err)
	}
	begun, waited := 0, 0
	for concurrency := 1; concurrency <= 5; concurrency += steps {
		for processors := 2; processors <= 4; processors += steps {
			o, workers := soci.WithWorkers(options, processors, testSegment, 0)
			o.Concurrency = concurrency
			what := fmt.Sprintf("%d layers at once on %d processors", concurrency, processors)
			// The second layer comes while pieces are decoded on all processors.
			give := sync.OnceFunc(workers.Take(1))
			src := gated{s, func(ctx context.Context, _ ocispec.Descriptor, read int64) {
				if read == 0 && concurrency > 1 {
					until(ctx, func() bool { return workers.Count().Waited > 0 })
				}
				give()
			}}
			got, err := soci.IndexImage(t.Context(), src, nil, image, o)
			if err != nil {
				t.Fatal(what, err)
			}
			if a, b := ztocs(t, got), ztocs(t, want); a != b {
				t.Errorf("%s: the zTOCs are\n%s, not\n%s", what, a, b)
			}
			p := checkReturned(t, what, workers)
			if p.Most > processors {
				t.Errorf("%s: %d workers at once", what, p.Most)
			}
			begun, waited = begun+p.Begun, waited+p.Waited
		}
	}
	if begun == 0 || waited < 12/(steps*steps) {
		t.Errorf("%d pieces had a processor of their own, and %d layers waited for one", begun, waited)
	}
}

// ztocs are those of a result, in its order.
func ztocs(t *testing.T, r *soci.Result) string {
	t.Helper()
	var all []ocispec.Descriptor
	for _, m := range r.Manifests {
		for _, l := range m.Layers {
			if !l.Indexed() {
				t.Fatalf("no zTOC of %s: %s", l.Layer.Digest, l.Detail)
			}
			all = append(all, l.Ztoc)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// gated lets the reader of each layer go on when before returns.
type gated struct {
	*store
	before func(ctx context.Context, layer ocispec.Descriptor, read int64)
}

func (g gated) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	rc, err := g.store.Fetch(ctx, d)
	if err != nil || d.MediaType != gz {
		return rc, err
	}
	return &gatedReader{ReadCloser: rc, before: func(n int64) { g.before(ctx, d, n) }}, nil
}

type gatedReader struct {
	io.ReadCloser
	before func(read int64)
	n      int64
}

func (g *gatedReader) Read(p []byte) (int, error) {
	g.before(g.n)
	n, err := g.ReadCloser.Read(p[:min(len(p), 4<<10)])
	g.n += int64(n)
	return n, err
}

func until(ctx context.Context, done func() bool) {
	for !done() && ctx.Err() == nil {
		time.Sleep(100 * time.Microsecond)
	}
}

// With as many layers as processors each has one worker, and the last one gets
// the processor of the other when that is done.
func TestLastLayerGetsAllProcessors(t *testing.T) {
	s := newStore()
	size := 12 << 20
	if testing.Short() {
		size = 4 << 20
	}
	image := imageOfLayers(t, s, 2, size)
	o, workers := soci.WithWorkers(soci.Options{MinLayerSize: 1, SpanSize: 512 << 10, DryRun: true, Concurrency: 2},
		2, testSegment, 0)
	var (
		mu    sync.Mutex
		first ocispec.Descriptor // that comes to its middle first
		both  soci.Processors    // when it was finished
	)
	o.Built = func(l ocispec.Descriptor, _ *soci.Ztoc) error {
		mu.Lock()
		defer mu.Unlock()
		if l.Digest == first.Digest {
			both = workers.Count()
		}
		return nil
	}
	src := gated{s, func(ctx context.Context, l ocispec.Descriptor, read int64) {
		switch {
		case read == 0:
			until(ctx, func() bool { return workers.Count().Layers == 2 })
		case read > l.Size/4:
			mu.Lock()
			if first.Digest == "" {
				first = l
			}
			mine := first.Digest == l.Digest
			mu.Unlock()
			if !mine {
				until(ctx, func() bool { return workers.Count().Layers == 1 })
			}
		}
	}}
	if _, err := soci.IndexImage(t.Context(), src, nil, image, o); err != nil {
		t.Fatal(err)
	}
	p := checkReturned(t, "at the end", workers)
	if both.Layers != 2 || both.Begun != 0 {
		t.Errorf("with two layers on two processors: %+v", both)
	}
	if p.Begun == 0 || p.Most != 2 {
		t.Errorf("with one layer left on two processors: %+v", p)
	}
}

// Wherever a layer is, and whether or not others wait for its workers, all ends
// with the context, and leaves nothing behind.
func TestCancelledInPieces(t *testing.T) {
	s := newStore()
	image := imageOfLayers(t, s, 5, 3<<20)
	before := runtime.NumGoroutine()
	options := soci.Options{MinLayerSize: 1, SpanSize: 512 << 10, DryRun: true}
	begun, waited := 0, 0
	rounds := 40
	if testing.Short() {
		rounds = 12
	}
	for i := range rounds {
		o, workers := soci.WithWorkers(options, 2+i%3, testSegment, 0)
		o.Concurrency = 1 + i%4
		at := int64(1 + i*i*1000)
		what := fmt.Sprintf("after %d bytes, %d layers at once on %d processors", at, o.Concurrency, o.LayerWorkers)
		ctx, cancel := context.WithCancel(t.Context())
		var read atomic.Int64
		// In a third of the rounds a layer waits for a processor meanwhile.
		queue := i%3 == 2 && o.Concurrency > 1
		give := func() {}
		if queue {
			give = workers.Take(1)
		}
		src := gated{s, func(context.Context, ocispec.Descriptor, int64) {
			if read.Add(4<<10) > at {
				if queue {
					until(ctx, func() bool { return workers.Count().Waiting > 0 })
				}
				cancel()
			}
		}}
		work, err := soci.Plan(ctx, src, nil, image, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = work.Index(ctx)
		cancel()
		give()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
		if n := work.Held(); n != 0 {
			t.Errorf("%s: %d bytes of the budget are not given back", what, n)
		}
		s.mu.Lock()
		if s.open != 0 {
			t.Errorf("%s: %d readers are open", what, s.open)
		}
		s.mu.Unlock()
		p := checkReturned(t, what, workers)
		begun, waited = begun+p.Begun, waited+p.Waited
	}
	if begun == 0 || waited < rounds/4 {
		t.Errorf("only %d pieces had a processor of their own, and %d layers waited for one", begun, waited)
	}
	for i := 0; runtime.NumGoroutine() > before && i < 1000; i++ {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines left", n-before)
	}
}

// watched counts the workers that decode what is read when it has come to the
// half. It waits until as many have begun as are expected.
type watched struct {
	r       io.Reader
	n, half int64
	want    int
	got     int
	done    bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.n += int64(n); w.n >= w.half && !w.done {
		w.done = true
		b := make([]byte, 1<<20)
		for range 1000 {
			w.got = bytes.Count(b[:runtime.Stack(b, true)], []byte("inflate.(*Parallel).work("))
			if w.got >= w.want {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return n, err
}
