package soci

import (
	"runtime"
	"runtime/debug"

	"soci-index-builder/internal/inflate"
)

// parallelism is from when on, and how, a layer is decoded by several workers.
type parallelism struct {
	from       int64       // compressed bytes of a layer from which on it has several
	segment    int         // compressed bytes that a worker takes at once
	processors *processors // that the layers of an image share
}

func newParallelism() parallelism { return parallelism{parallelFrom, parallelSegment, newProcessors()} }

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
func (o ZtocOptions) layerWorkers() int {
	if o.Size < o.parallel.from {
		return 1
	}
	return min(o.LayerWorkers, o.parallel.processors.max)
}

// newParallel returns a decoder of several workers for a layer, or nil where
// one goroutine is to decode it. end must be called.
func newParallel(blob *blobReader, o ZtocOptions, memory *tenant, spans *spanner) (p *inflate.Parallel, end func()) {
	workers := o.layerWorkers()
	if workers < 2 {
		return nil, nil
	}
	// It is there before any goroutine that could call it.
	press := func() { p.Press() }
	po := inflate.ParallelOptions{
		Workers:  workers,
		Segment:  o.parallel.segment,
		Memory:   func(n int64) bool { return memory.borrow(n, press) },
		GiveBack: memory.giveBack,
		Begin:    o.parallel.processors.try,
		End:      o.parallel.processors.give,
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
