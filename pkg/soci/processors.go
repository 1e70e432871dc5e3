package soci

import (
	"context"
	"runtime"
	"sync"
)

// processors are those that the layers of an image are decoded on. Each layer
// that is worked on has one. What is idle beside them goes to layers that
// several workers decode, for a piece at a time. A layer that begins comes
// first: it waits until a piece is finished, and no other piece begins until
// then. So all workers together are no more than the processors, unless as many
// layers are worked on, by one worker each.
type processors struct {
	max int

	mu      sync.Mutex
	changed sync.Cond // a piece was finished, or a layer no longer waits
	layers  int       // that are worked on
	pieces  int       // beside them
	waiting int       // layers that are to be worked on

	// What there was in all, for tests.
	most   int // workers at once while there were pieces
	begun  int // pieces
	waited int // layers
}

func newProcessors() *processors {
	return processorsOf(max(runtime.GOMAXPROCS(0), leastProcessors))
}

func processorsOf(n int) *processors {
	p := &processors{max: n}
	p.changed.L = &p.mu
	return p
}

// enter waits until there is a processor for a layer, which leave gives back, or
// until ctx ends. There is always one when no layer has more than one. The wait
// is short: a worker waits for nothing during a piece.
func (p *processors) enter(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pieces > 0 && p.layers+p.pieces >= p.max {
		p.waited++
	}
	p.waiting++
	defer func() { p.waiting-- }()
	for p.pieces > 0 && p.layers+p.pieces >= p.max {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.changed.Wait()
	}
	p.layers++
	p.note()
	return nil
}

func (p *processors) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.layers--
	p.changed.Broadcast()
}

// try takes an idle one for a piece, if there is one; give returns it. It never
// waits.
func (p *processors) try() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting > 0 || p.layers+p.pieces >= p.max {
		return false
	}
	p.pieces++
	p.begun++
	p.note()
	return true
}

func (p *processors) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pieces--
	p.changed.Broadcast()
}

func (p *processors) note() {
	if p.pieces > 0 {
		p.most = max(p.most, p.layers+p.pieces)
	}
}
