package inflate

import "slices"

// work decodes and resolves chunks until the Parallel is closed.
func (p *Parallel) work() {
	d := &chunkDecoder{newBuffer: p.newBuffer, freeBuffer: p.freeBuffer, stopped: &p.stopped}
	d.maxOut = int64(maxExpansion * p.o.Segment)
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.stopped.Load() {
		if len(p.toResolve) == 0 && !p.hasTask() {
			p.cond.Wait()
			continue
		}
		own, ok := p.begin()
		if !ok {
			p.cond.Wait()
			continue
		}
		p.decodes(1)
		if len(p.toResolve) > 0 {
			p.resolveOne(d)
		} else {
			p.decodeOne(d)
		}
		p.decodes(-1)
		p.end(own)
		p.cond.Broadcast()
	}
}

// begin takes a processor for a chunk: the stream's own, or another one. mu is
// held.
func (p *Parallel) begin() (own, ok bool) {
	if !p.busy && !p.wanted {
		p.busy = true
		return true, true
	}
	return false, p.o.Begin()
}

// end gives back what begin took. mu is held.
func (p *Parallel) end(own bool) {
	switch {
	case !own:
		p.o.End()
	case p.callerMore:
		// The caller goes on with the stream's own.
		p.callerMore = false
		p.o.End()
	default:
		p.busy = false
	}
}

// beginAlone is begin for the caller, which may need it for long: it waits for a
// chunk to end where there is no other processor. mu is held.
func (p *Parallel) beginAlone() {
	for p.busy && !p.callerMore {
		if p.callerMore = p.o.Begin(); !p.callerMore {
			p.wanted = true
			p.cond.Wait()
		}
	}
	p.busy, p.wanted = true, false
	p.decodes(1)
}

// endAlone follows beginAlone. mu is held.
func (p *Parallel) endAlone() {
	p.decodes(-1)
	if p.callerMore {
		p.callerMore = false
		p.o.End()
		return
	}
	p.busy = false
}

// decodes counts the goroutines that decode. mu is held.
func (p *Parallel) decodes(n int) {
	p.decoding += n
	p.atOnce = max(p.atOnce, p.decoding)
}

// resolveOne resolves a chunk. mu is held.
func (p *Parallel) resolveOne(d *chunkDecoder) {
	c := p.toResolve[0]
	p.toResolve = p.toResolve[1:]
	p.mu.Unlock()
	d.resolve(c)
	p.mu.Lock()
	c.resolving, c.ready = false, true
	if c.dropped.Load() {
		p.freeChunk(c)
	}
}

// decodeOne decodes a chunk, for which hasTask reported true. mu is held.
func (p *Parallel) decodeOne(d *chunkDecoder) {
	c, from := p.task()
	p.working++
	p.mu.Unlock()
	d.falseStarts, d.worked = 0, 0
	if from != nil {
		d.decode(c, from.place)
	} else {
		d.search(c, func(place int64) (int64, bool) { return p.begins(c, place) })
	}
	p.release(c.first)
	if c.second != nil {
		p.release(c.second)
	}
	p.mu.Lock()
	p.working--
	p.falseOnes += d.falseStarts
	p.worked += d.worked
	c.done = true
	switch {
	case c.dropped.Load():
		p.freeChunk(c)
	case c.start < 0:
		p.failed(c)
		p.freeChunk(c)
	default:
		p.most = max(p.most, len(c.bufs))
		if c.window.Load() != nil {
			p.link(c, &d.value)
		}
	}
}

// hasTask reports whether a chunk can be begun. mu is held.
func (p *Parallel) hasTask() bool {
	if p.off || !p.begun {
		return false
	}
	if p.certain != nil { // the caller waits for it
		return p.complete(p.ordinal(p.certain.place))
	}
	if p.failures >= maxFailures-1 && p.guessing() {
		return false // one at a time
	}
	return !p.pressed.Load() && len(p.chunks) < p.o.ahead() && p.complete(p.nextGuess()) &&
		(p.working == 0 || p.inUse+max(p.most, 2) <= p.maxBuffers())
}

// guessing reports whether there is a chunk that may be of no use.
func (p *Parallel) guessing() bool {
	for _, c := range p.chunks {
		if c.guess && !c.linked && !c.failed {
			return true
		}
	}
	return false
}

// After maxFailures in a row nothing is guessed for leastPause segments, and
// for twice as many after each that fails again, up to mostPause.
const (
	maxFailures = 3
	leastPause  = 8
	mostPause   = 64
)

// failed counts a chunk that was begun for nothing, once. mu is held.
func (p *Parallel) failed(c *chunk) {
	if !c.guess || c.failed {
		return
	}
	c.failed = true
	if p.failures++; p.failures >= maxFailures {
		p.failures = maxFailures - 1
		p.pause = min(max(2*p.pause, leastPause), mostPause)
		p.next = max(p.next, p.at+1+p.pause)
	}
}

// nextGuess is the ordinal of the segment that is to be decoded next: behind
// the one that the caller is at when it decodes itself.
func (p *Parallel) nextGuess() int {
	at := p.at
	if p.alone {
		at++
	}
	return max(p.next, at)
}

// complete reports whether all that a worker may need of a segment is there.
func (p *Parallel) complete(ordinal int) bool {
	s := p.segment(ordinal)
	return s != nil && (s.eof || p.segment(ordinal+1) != nil)
}

// task begins a chunk; from is where, if that is known.
func (p *Parallel) task() (c *chunk, from *certain) {
	n := p.nextGuess()
	if from = p.certain; from != nil {
		p.certain = nil
		n = p.ordinal(from.place)
	} else if p.chain.history != nil && p.ordinal(p.chain.place) == n {
		from = &p.chain
	}
	c = &chunk{first: p.segment(n), start: -1, guess: from == nil}
	c.first.refs.Add(1)
	if !c.first.eof {
		c.second = p.segment(n + 1)
		c.second.refs.Add(1)
	}
	if from != nil {
		from = &certain{from.place, from.history}
		c.start = from.place
		c.window.Store(from.history)
	}
	p.chunks[n] = c
	p.next = n + 1
	return c, from
}

// begins is told the place from which a chunk is decoded, or -1. Where it is
// known better by now, it returns the right one.
func (p *Parallel) begins(c *chunk, place int64) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	c.start = place
	known := p.chain
	from, to := 8*c.first.off, 8*(c.first.off+int64(c.first.size))
	if place >= 0 && known.history != nil && known.place >= from && known.place < to {
		c.start = known.place
		c.window.Store(known.history)
		c.guess = false
		return known.place, true
	}
	return place, false
}

// link passes the window on from a chunk that is decoded and whose own is
// known. mu is held.
func (p *Parallel) link(c *chunk, v *resolver) {
	for c != nil && !c.linked && !c.dropped.Load() {
		c.linked = true
		c.after = c.link(v)
		p.chain = certain{c.end, c.after}
		if c.symbolic > 0 {
			c.resolving = true
			p.toResolve = append(p.toResolve, c)
			p.cond.Broadcast()
		} else {
			c.ready = true
		}
		n := p.chunks[p.ordinal(c.end)]
		if n == nil || n == c || n.start != c.end {
			return
		}
		n.window.Store(c.after)
		if !n.done {
			return
		}
		c = n
	}
}

// drop forgets a chunk. mu is held.
func (p *Parallel) drop(ordinal int) {
	c := p.chunks[ordinal]
	if c == nil {
		return
	}
	delete(p.chunks, ordinal)
	if c.dropped.Swap(true) {
		return
	}
	p.failed(c)
	if i := slices.Index(p.toResolve, c); i >= 0 {
		p.toResolve = slices.Delete(p.toResolve, i, i+1)
		c.resolving = false
	}
	if c.done && !c.resolving {
		p.freeChunk(c)
	}
}

// freeChunk gives back what a chunk holds, once. mu is held.
func (p *Parallel) freeChunk(c *chunk) {
	for _, b := range c.bufs {
		p.freeLocked(b)
	}
	c.bufs = nil
}
