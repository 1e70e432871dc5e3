package inflate

import "hash/crc32"

const (
	// maxSearch bytes of a segment are searched for a start: most blocks are
	// shorter, and it takes as long as to decode two or three times as many.
	maxSearch = 160 << 10

	// A stored block has less than maxStored bytes: as far before the place
	// where the blocks of a gzip file within one end, the search goes on.
	maxStored = 66 << 10
)

// search makes c from the first place in its segment from which that goes well.
// begin is told each that is tried, with -1 when it was none, and may name
// another that is certain.
func (d *chunkDecoder) search(c *chunk, begin func(place int64) (certain int64, ok bool)) {
	s := c.first
	from, to := 0, 8*min(s.size, maxSearch)
	for spent := 0; spent < 2*s.size; {
		place := d.find.next(s.buf[:s.end], from, to)
		if place < 0 {
			d.worked += int64(max(to-from, 0) / 8)
			break
		}
		d.worked += int64((place - from) / 8)
		start := 8*s.off + int64(place)
		certain, ok := begin(start)
		if ok {
			start = certain
		}
		err := d.decode(c, start)
		broke := d.r.inBase + int64(d.r.used()) // in the stream
		if ok || err == errChunkEnd || err == errNoBuffer || err == errDropped || d.r.inEOF ||
			c.end > start && (err == errMoreInput || 8*broke >= d.nominal) {
			return
		}
		if err == errMoreInput {
			break
		}
		// These are no blocks of the stream.
		d.falseStarts++
		d.free(c)
		begin(-1)
		at := int(broke - s.off)
		spent += at - place>>3 + 64
		from = max(place+1, 8*(at-maxStored))
	}
	d.free(c)
	begin(-1)
}

// resolve makes bytes of the values of 16 bits.
func (d *chunkDecoder) resolve(c *chunk) {
	w := c.window.Load()
	d.value.reset(&w.window)
	before := w.window[:]
	c.crc16, c.n16, c.reach = 0, 0, 0
	places := c.places
	for i, b := range c.bufs[:c.symbolic] {
		if w.member < WindowSize {
			c.reach = max(c.reach, reach(b.b[window16:window16+2*b.n]))
		}
		// The values lie behind what they become.
		d.value.resolve(b.b[WindowSize:], b.b[window16:window16+2*b.n])
		copy(b.b[:WindowSize], before)
		out, pos := b.b[WindowSize:WindowSize+b.n], 0
		for ; len(places) > 0 && places[0].buf == i; places = places[1:] {
			at := &places[0]
			c.crc16 = crc32.Update(c.crc16, crc32.IEEETable, out[pos:at.pos])
			at.part, pos = sum{crc: c.crc16, n: at.Out}, at.pos
		}
		c.crc16 = crc32.Update(c.crc16, crc32.IEEETable, out[pos:])
		c.n16 += int64(b.n)
		before = b.b[b.n : b.n+WindowSize]
	}
	c.symbolic, c.resolved = 0, c.symbolic
}

// sumsTo returns the CRC of the member, and where it began, up to the end of
// the n-th sum of an accepted chunk and a part behind it. sound is whether the
// members that end before it are what their trailers say.
func (c *chunk) sumsTo(n int, part sum) (crc uint32, start int64, sound bool) {
	crc, start, sound = combine(c.crcBefore, c.crc16, c.n16), c.memberBefore, true
	out := c.outBefore + c.n16
	for _, s := range c.sums[:n] {
		crc = combine(crc, s.crc, s.n)
		out += s.n
		if s.ends {
			sound = sound && crc == s.want[0] && uint32(out-start) == s.want[1]
			crc, start = 0, out
		}
	}
	return combine(crc, part.crc, part.n), start, sound
}

// sumsBefore is sumsTo for one of the chunk's places.
func (c *chunk) sumsBefore(at *boundaryIn) (crc uint32, start int64) {
	if at.buf < c.resolved {
		return combine(c.crcBefore, at.part.crc, at.part.n), c.memberBefore
	}
	crc, start, _ = c.sumsTo(at.sums, at.part)
	return crc, start
}

// link is called once the chunk is decoded and its window known, before it is
// resolved. It returns the history at its end.
func (c *chunk) link(v *resolver) *history {
	w := c.window.Load()
	after := &history{member: w.member + c.out}
	if c.member >= 0 {
		after.member = c.out - c.member
	}
	if len(c.bufs) == 0 {
		after.window = w.window
		return after
	}
	if c.symbolic > 0 {
		v.reset(&w.window)
		last := c.bufs[c.symbolic-1]
		tail := last.b[2*last.n : 2*last.n+window16]
		if c.symbolic == len(c.bufs) {
			v.resolve(after.window[:], tail)
			return after
		}
		if c.patch {
			v.resolve(c.bufs[c.symbolic].b[:WindowSize], tail)
		}
	}
	last := c.bufs[len(c.bufs)-1]
	copy(after.window[:], last.b[last.n:])
	return after
}
