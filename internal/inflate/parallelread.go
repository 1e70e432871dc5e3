package inflate

import (
	"errors"
	"io"
	"math"
)

// errChunks ends the caller's own decoding: a chunk goes on.
var errChunks = errors.New("internal error: a chunk goes on from here")

// Next is Reader.Next, but that a run may come in several pieces.
func (p *Parallel) Next() ([]byte, error) {
	if !p.started {
		p.start()
	}
	if p.given != nil {
		p.freeBuffer(p.given)
		p.given = nil
	}
	for p.err == nil {
		if p.pressed.Load() && !p.retreated {
			p.retreat()
		}
		if p.pos < p.giveTo {
			if b := p.give(); len(b) > 0 {
				return b, nil
			}
			continue
		}
		if p.alone {
			run, err := p.seq.Next()
			switch {
			case err == errChunks:
				p.leaveSeq()
			case err != nil:
				p.err = err
			default:
				p.pos += int64(len(run))
				p.giveTo = p.pos
				p.maxTaken = p.seq.inBase + int64(p.seq.inEnd)
				return run, nil
			}
			continue
		}
		// As a Reader does, first the places up to the end of the run.
		run := p.pos + outChunk
		for len(p.pending) > 0 && p.pending[0].b.Out <= run && p.err == nil {
			at := p.pending[0]
			p.pending = p.pending[1:]
			p.err = p.boundary(at.b.Boundary, at.window)
			if p.pressed.Load() {
				break
			}
		}
		switch {
		case p.err != nil:
		case p.pressed.Load() && !p.retreated: // as soon as may be
		case len(p.pending) > 0 && p.pending[0].b.Out <= run:
		case p.accepted > run:
			p.giveTo = run
		default:
			p.advance()
		}
	}
	return nil, p.err
}

// give hands out from the first part.
func (p *Parallel) give() []byte {
	first := &p.parts[0]
	n := min(int64(len(first.b)), p.giveTo-p.pos)
	b := first.b[:n]
	first.b = first.b[n:]
	p.pos += n
	if len(first.b) == 0 {
		if n == 0 && first.buffer != nil {
			p.freeBuffer(first.buffer)
		} else {
			p.given = first.buffer
		}
		p.parts = p.parts[1:]
	}
	return b
}

// boundary passes on a place and the bytes before it.
func (p *Parallel) boundary(b Boundary, window []byte) error {
	p.consume(b.In)
	if p.events.Boundary == nil {
		return nil
	}
	return p.events.Boundary(b, window)
}

// consume passes the compressed bytes on, and is done with their segments but
// for one: a block may begin in the last byte before the rest.
func (p *Parallel) consume(to int64) {
	for p.usedIn < to {
		p.mu.Lock()
		for len(p.segments) == 0 {
			// A chunk's last bytes were those behind its second segment.
			p.cond.Wait()
		}
		s := p.segments[0]
		if p.usedIn == s.off+int64(s.size) {
			p.segments = p.segments[1:]
			p.firstSeg++
			p.mu.Unlock()
			p.release(s)
			continue
		}
		p.mu.Unlock()
		from := p.usedIn - s.off
		end := min(to-s.off, int64(s.size))
		p.usedIn = s.off + end
		p.lastByte = s.buf[end-1]
		p.current, p.currentFrom, p.currentTo = s, from, end
		if p.events.Consumed != nil {
			p.events.Consumed(int(end - from))
		}
	}
}

func (p *Parallel) seqConsumed(n int) {
	p.stats.Alone += int64(n)
	p.consume(p.usedIn + int64(n))
}

// seqBoundary follows seq, and looks for a chunk that goes on.
func (p *Parallel) seqBoundary(b Boundary, window []byte) error {
	if p.events.Boundary != nil {
		if err := p.events.Boundary(b, window); err != nil {
			return err
		}
	}
	place := 8*b.In - int64(b.Bits)
	n := p.ordinal(place)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = n
	if !p.begun {
		p.begun = true
		p.cond.Broadcast()
	}
	for ordinal := range p.chunks {
		if ordinal < n {
			p.drop(ordinal)
		}
	}
	if p.off || p.pressed.Load() {
		p.dropAll()
		return nil
	}
	switch c := p.chunks[n]; {
	case c == nil:
		// Where nobody has tried it, a worker goes on.
		if n < p.next || p.read && !p.complete(n) {
			return nil
		}
	case c.start == place:
		if c.window.Load() == nil {
			c.window.Store(p.historyOf(b.Out, window))
		}
		if c.done {
			p.link(c, &p.value)
		}
	default:
		if c.start >= 0 && c.start < place {
			p.drop(n)
		}
		return nil
	}
	p.history = p.historyOf(b.Out, window)
	p.place = place
	return errChunks
}

func (p *Parallel) historyOf(out int64, window []byte) *history {
	h := &history{member: out - p.seq.memberLen}
	copy(h.window[:], window)
	return h
}

// leaveSeq goes over to chunks at a boundary of seq.
func (p *Parallel) leaveSeq() {
	r := p.seq
	r.checksum()
	p.crc, p.memberStart, p.accepted = r.crc, r.memberLen, r.outOffset()
	p.parts = append(p.parts[:0], part{b: r.out[WindowSize:r.outPos]})
	p.pending = p.pending[:0]
	p.giveTo = p.pos
	p.maxTaken = math.MaxInt64
	p.mu.Lock()
	p.alone = false
	p.endAlone()
	p.cond.Broadcast()
	p.mu.Unlock()
}

// enterSeq has seq go on at p.place. All before a run that is not complete has
// been handed out. mu is not held.
func (p *Parallel) enterSeq() {
	r := p.seq
	at := WindowSize
	for i, q := range p.parts {
		if i == 0 && len(q.b) > 0 && &q.b[0] == &r.out[WindowSize] {
			at += len(q.b)
			continue
		}
		at += copy(r.out[at:], q.b)
		if q.buffer != nil {
			p.freeBuffer(q.buffer)
		}
	}
	p.parts = p.parts[:0]
	copy(r.out[at-WindowSize:at], p.history.window[:])
	in, out, events, lens := r.in, r.out, r.events, r.lens
	*r = Reader{
		src: seqSource{p}, events: events, in: in, out: out, lens: lens,
		inBase: (p.place + 7) / 8,
		bitCnt: uint(-p.place & 7),

		outPos: at, outGiven: WindowSize, outBase: p.accepted - int64(at),
		crc: p.crc, crcPos: at, memberLen: p.memberStart,
		member: int(max(p.memberStart-(p.accepted-int64(at)), -1)),
		state:  inBlockHeader,
	}
	r.bitBuf = uint64(p.lastByte) >> (8 - r.bitCnt)
	p.seqOff = r.inBase
	p.mu.Lock()
	p.alone = true
	p.at = p.ordinal(p.place)
	p.cond.Broadcast()
	p.beginAlone()
	p.mu.Unlock()
}

// retreat gives back what was decoded beyond the next boundary: what is accepted
// ends there.
func (p *Parallel) retreat() {
	p.retreated = true
	if !p.alone && len(p.pending) > 0 {
		next := &p.pending[0]
		p.crc, p.memberStart = next.c.sumsBefore(next.b)
		p.place, p.accepted = 8*next.b.In-int64(next.b.Bits), next.b.Out
		p.history = &history{member: p.accepted - p.memberStart}
		copy(p.history.window[:], next.window)
		next.window = p.history.window[:]
		p.pending = p.pending[:1]
		left := p.accepted - p.pos
		kept := p.parts[:0]
		for _, q := range p.parts {
			if n := min(left, int64(len(q.b))); n > 0 {
				q.b = q.b[:n]
				left -= n
				kept = append(kept, q)
			} else if q.buffer != nil {
				p.freeBuffer(q.buffer)
			}
		}
		p.parts = kept
	}
	mine := 0
	for _, q := range p.parts {
		if q.buffer != nil {
			mine++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropAll()
	p.cond.Broadcast()
	for p.inUse > mine {
		p.cond.Wait()
	}
}

// seqSource is what seq reads: the segments.
type seqSource struct{ p *Parallel }

func (s seqSource) Read(b []byte) (int, error) {
	p := s.p
	n := int(p.seqOff / int64(p.o.Segment))
	p.mu.Lock()
	for p.segment(n) == nil && !p.read {
		p.cond.Wait()
	}
	at := p.segment(n)
	p.mu.Unlock()
	if at != nil {
		if k := copy(b, at.buf[p.seqOff-at.off:at.size]); k > 0 {
			p.seqOff += int64(k)
			return k, nil
		}
	}
	if p.readErr != nil {
		return 0, p.readErr
	}
	return 0, io.EOF
}

// advance takes the chunk that goes on from p.place, or has seq go on.
func (p *Parallel) advance() {
	n := p.ordinal(p.place)
	p.mu.Lock()
	p.at = n
	p.cond.Broadcast()
	for {
		c := p.chunks[n]
		switch {
		case p.off || p.pressed.Load():
			p.dropAll()
			c = nil
		case c == nil && n >= p.next && (!p.read || p.complete(n)):
			if p.certain == nil {
				p.certain = &certain{p.place, p.history}
				p.cond.Broadcast()
			}
			p.cond.Wait()
			continue
		case c == nil:
			p.certain = nil
		case c.start >= 0 && c.start != p.place, c.done && c.start < 0:
			if c.start < 0 || c.start < p.place {
				p.drop(n)
			}
			c = nil
		case c.start < 0, !c.done:
			p.cond.Wait()
			continue
		case !c.linked:
			if c.window.Load() == nil {
				c.window.Store(p.history)
			}
			p.link(c, &p.value)
			continue
		case !c.ready:
			p.cond.Wait()
			continue
		}
		if c != nil {
			delete(p.chunks, n)
		}
		p.mu.Unlock()
		if c == nil || !p.accept(c) {
			p.enterSeq()
		}
		return
	}
}

// dropAll forgets all chunks. mu is held.
func (p *Parallel) dropAll() {
	p.certain = nil
	for n := range p.chunks {
		p.drop(n)
	}
	if p.pressed.Load() {
		for range p.buffers {
			p.taken -= outSize
			p.o.GiveBack(outSize)
		}
		p.buffers = nil
	}
}

// accept takes over a chunk that begins at p.place and is all bytes, unless
// something in it is wrong.
func (p *Parallel) accept(c *chunk) bool {
	c.crcBefore, c.outBefore, c.memberBefore = p.crc, p.accepted, p.memberStart
	crc, start, sound := c.sumsTo(len(c.sums), sum{})
	wrong := !sound || int64(c.reach) > p.accepted-p.memberStart
	beyond := (p.accepted+c.out)/p.o.MaxRatio > c.start/8
	p.mu.Lock()
	if wrong {
		// A Reader says what.
		p.off = true
	}
	if wrong || beyond {
		p.dropAll()
		p.freeChunk(c)
		p.mu.Unlock()
		return false
	}
	if useful := c.end >= 8*(c.first.off+int64(c.first.size)); useful && c.guess {
		p.failures, p.pause = 0, 0
	} else if !useful {
		p.failed(c)
	}
	p.mu.Unlock()
	for i := range c.places {
		at := &c.places[i]
		at.Out += p.accepted
		b := c.bufs[at.buf]
		p.pending = append(p.pending, pendingPlace{at, b.b[at.pos : at.pos+WindowSize], c})
	}
	for _, b := range c.bufs {
		p.parts = append(p.parts, part{b.b[WindowSize : WindowSize+b.n], b})
	}
	p.crc, p.memberStart = crc, start
	p.accepted += c.out
	p.useful += (c.end - c.start) / 8
	p.place, p.history = c.end, c.after
	p.stats.Chunks++
	if c.guess {
		p.stats.Guessed++
	}
	p.stats.Values += c.n16
	return true
}
