package soci

import (
	"crypto/sha256"
	"hash"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
)

// processors are those that layers may be decoded on. Each layer that is
// worked on has one, and more as long as others are idle.
type processors struct {
	max  int64
	busy atomic.Int64
}

func newProcessors() *processors {
	return &processors{max: int64(max(runtime.GOMAXPROCS(0), leastProcessors))}
}

// try takes an idle one, if there is one.
func (p *processors) try() bool {
	for {
		busy := p.busy.Load()
		if busy >= p.max {
			return false
		}
		if p.busy.CompareAndSwap(busy, busy+1) {
			return true
		}
	}
}

func (p *processors) give() { p.busy.Add(-1) }

// layerWorkers is how many goroutines may decode a layer of a size: one where
// it is too small, or its size is not known.
func (o ZtocOptions) layerWorkers(p *processors) int {
	if o.Size < o.parallel {
		return 1
	}
	return int(min(int64(o.LayerWorkers), p.max))
}

// newParallel returns a decoder of several workers for a layer, or nil where
// one goroutine is to decode it. end must be called.
func newParallel(blob *blobReader, o ZtocOptions, memory *tenant, spans *spanner) (p *inflate.Parallel, end func()) {
	workers := o.layerWorkers(o.processors)
	if workers < 2 {
		return nil, nil
	}
	// It is there before any goroutine that could call it.
	press := func() { p.Press() }
	po := inflate.ParallelOptions{
		Workers:  workers,
		Segment:  o.segment,
		Memory:   func(n int64) bool { return memory.borrow(n, press) },
		GiveBack: memory.giveBack,
		Begin:    o.processors.try,
		End:      o.processors.give,
		MaxRatio: o.Limits.MaxRatio,
	}
	for !memory.mayBorrow(po.MemoryBase() + po.MemoryPressed()) {
		if po.Workers--; po.Workers < 2 {
			return nil, nil
		}
	}
	base := po.MemoryBase()
	if !memory.borrow(base, func() {}) {
		return nil, nil
	}
	p = inflate.NewParallel(blob, inflate.Events{Consumed: spans.consumed, Boundary: spans.boundary}, po)
	blob.spans.close() // hashed from the segments
	spans.held = newHeldSpans(p.Hold)
	return p, func() {
		p.Close()
		spans.held.close()
		blob.spans.digests = spans.held.digests
		memory.giveBack(base)
	}
}

// heldSpans hashes spans beside the decoder, from bytes that the decoder holds
// for it.
type heldSpans struct {
	hold    func() (release func())
	orders  chan heldOrder
	closing sync.Once
	done    sync.WaitGroup
	digests []digest.Digest // after close
}

// heldOrder is bytes that follow, or what is to be done behind them.
type heldOrder struct {
	p       []byte
	release func()
	spanOrder
}

func newHeldSpans(hold func() func()) *heldSpans {
	s := &heldSpans{hold: hold, orders: make(chan heldOrder, 64)}
	s.done.Go(s.run)
	return s
}

func (s *heldSpans) run() {
	var (
		h     hash.Hash = sha256.New()
		begun bool
		last  byte
	)
	for o := range s.orders {
		if len(o.p) > 0 {
			if begun { // what precedes the first checkpoint belongs to no span
				h.Write(o.p)
			}
			last = o.p[len(o.p)-1]
			o.release()
			continue
		}
		if (o.begin || o.end) && begun {
			s.digests = append(s.digests, digest.NewDigest(digest.SHA256, h))
			h.Reset()
		}
		if o.begin {
			begun = true
			if o.byte {
				h.Write([]byte{last})
			}
		}
	}
}

// close waits until all is hashed.
func (s *heldSpans) close() {
	s.closing.Do(func() { close(s.orders) })
	s.done.Wait()
}
