package soci

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"

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

// freeFrom is the compressed size from which a layer's decoding takes so long
// that a garbage collection more does not count.
const freeFrom = 128 << 20

// collectEvery is after how many uncompressed bytes garbage is collected: each
// piece leaves the window at its end behind, 40 KiB, which would add up to as much
// as the checkpoints take before the collector comes by itself.
const collectEvery = 512 << 20

// collecting is a Parallel whose garbage does not add up.
type collecting struct {
	*inflate.Parallel
	since int64 // uncompressed bytes since the last collection
}

func (c *collecting) Next() ([]byte, error) {
	if c.since >= collectEvery {
		c.since = 0
		runtime.GC()
	}
	b, err := c.Parallel.Next()
	c.since += int64(len(b))
	return b, err
}

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
	p = inflate.NewParallel(blob, inflate.Events{Consumed: blob.hasher.consumed, Boundary: spans.boundary}, po)
	blob.hasher.borrow(p.Hold)
	return p, func() {
		blob.hasher.close()
		p.Close()
		if o.Size >= freeFrom {
			// The pieces lie between the checkpoints, so that the zTOC's bytes
			// fit in none of the gaps: the heap would grow by both.
			debug.FreeOSMemory()
		}
		memory.giveBack(base)
	}
}
