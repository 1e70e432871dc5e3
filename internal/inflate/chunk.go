package inflate

import (
	"errors"
	"io"
	"sync/atomic"
)

const (
	// lookahead bytes of the next segment stand behind each: room for a header
	// and a turn of the loop, wherever in the segment they begin.
	lookahead = 2 * headerAhead

	// A chunk ends early with so many places in it, or with so many times its
	// segment's size of output.
	maxPlaces    = 4 << 10
	maxExpansion = 16

	// It is given up when its first block has more output than that, more than most
	// encoders put into a block of zeros: of a stream that is one block it would come
	// to nothing, however much was decoded.
	maxFirst = 5 << 20
)

// segment is a piece of the compressed stream.
type segment struct {
	buf  []byte // its bytes, lookahead more, and inPad
	off  int64  // of buf[0] in the stream
	size int    // its own bytes
	end  int    // of all in buf
	eof  bool   // the stream ends there
	refs atomic.Int32
}

// buffer holds output behind a window of it, as Reader.out does: n bytes from
// WindowSize on or, before it is resolved, n values from window16 on.
type buffer struct {
	b [outSize]byte
	n int
}

// history is what the decoding of a chunk must know of what precedes it.
type history struct {
	window [WindowSize]byte
	member int64 // how many bytes before the end of the window the member began
}

// boundaryIn is a boundary within a chunk, whose Out counts from its start.
type boundaryIn struct {
	Boundary
	buf, pos int // the end of its window: in bytes from the start of the buffer's output

	// The checksums of everything before it: whole sums of the chunk, and a part
	// of the next one or, in a buffer of values, of crc16.
	sums int
	part sum
}

// sum is the CRC-32 of the part of a member that lies in a chunk, but for the
// values of 16 bits before it.
type sum struct {
	crc  uint32
	n    int64
	ends bool // here the member ends
	want [2]uint32
}

// chunk is what a worker makes of the stream from a place in its segment on to
// the first one at or behind its end that the finder would find.
type chunk struct {
	first, second *segment // second is nil at the end of the stream
	guess         bool
	dropped       atomic.Bool             // nobody wants it any more
	window        atomic.Pointer[history] // once it is known

	// Under Parallel.mu; start is -1 as long as there is none.
	start, end int64
	done       bool // decoded
	failed     bool // of no use
	linked     bool // and the window is known
	resolving  bool
	ready      bool // all is bytes
	after      *history

	// Of the worker until done.
	bufs     []*buffer
	symbolic int  // the first ones of them, which hold values of 16 bits
	resolved int  // those that did
	patch    bool // the window of the first of bytes is not known
	places   []boundaryIn
	sums     []sum
	out      int64 // bytes of output
	member   int64 // where in the output the last member began; -1 when before
	reach    int   // how many bytes of the window are needed, where it is not all of the member's
	crc16    uint32
	n16      int64

	// Of the caller, once it is accepted: what precedes it.
	crcBefore               uint32
	outBefore, memberBefore int64
}

// Why a chunk ends.
var (
	errChunkEnd  = errors.New("internal error: end of a chunk")
	errMoreInput = errors.New("internal error: a chunk needs more input than two segments")
	errNoBuffer  = errors.New("internal error: no buffer for a chunk")
	errDropped   = errors.New("internal error: the chunk is dropped")
)

// chunkDecoder makes chunks. It belongs to one worker.
type chunkDecoder struct {
	newBuffer  func() *buffer // nil when there is none
	freeBuffer func(*buffer)
	stopped    *atomic.Bool

	r     Reader
	find  finder
	value resolver

	c       *chunk
	nominal int64 // place where the chunk is to end at the earliest
	maxOut  int64
	values  bool  // output is of 16 bits
	base    int64 // output before the present buffer
	part    int64 // where in the output r.crc began
	limit   int   // of values
	marker  int   // where in the present buffer the last marker is, if it is there
	scanned int   // as far as markers have been looked for
	good    mark

	falseStarts int   // that were found
	worked      int64 // compressed bytes searched or decoded
}

// mark is the state at the last boundary, to which a chunk is cut.
type mark struct {
	end    int64
	bufs   int
	n      int // in the last of them
	values bool
	places int
	sums   int
	last   sum
	out    int64
	member int64
}

// feed is Reader.fill for a chunk: the second segment follows the first.
func (d *chunkDecoder) feed(n int) error {
	r, c := &d.r, d.c
	for {
		s := c.first
		if r.inBase != s.off {
			s = c.second
		}
		switch {
		case r.inEnd-r.inPos >= n:
			return nil
		case s.eof:
			r.inEOF = true
			return nil
		case s == c.second || c.second == nil || r.used() < s.size:
			return errMoreInput
		}
		r.in, r.inEnd, r.inBase = c.second.buf, c.second.end, c.second.off
		r.inPos -= s.size
	}
}

// decode makes c from a place in its first segment. What it has when it ends
// for one reason or another goes up to the last boundary.
func (d *chunkDecoder) decode(c *chunk, start int64) error {
	r := &d.r
	*r = Reader{feed: d.feed, events: Events{Boundary: d.boundary}, lens: r.lens}
	s := c.first
	bit := int(start - 8*s.off)
	r.in, r.inEnd, r.inBase = s.buf, s.end, s.off
	r.inPos = bit >> 3
	if used := uint(bit & 7); used > 0 {
		r.bitBuf, r.bitCnt = uint64(r.in[r.inPos])>>used, 8-used
		r.inPos++
	}
	r.state = inBlockHeader
	d.c = c
	d.nominal = 8 * (s.off + int64(s.size))
	d.base, d.part = 0, 0
	c.places, c.sums, c.symbolic, c.resolved = c.places[:0], c.sums[:0], 0, 0
	c.patch, c.out, c.member = false, 0, -1
	c.bufs, c.end, c.crc16, c.n16, c.reach = c.bufs[:0], start, 0, 0, 0
	d.good = mark{end: start, member: -1}
	window := c.window.Load()
	d.values = window == nil
	b := d.newBuffer()
	if b == nil {
		return errNoBuffer
	}
	c.bufs = append(c.bufs, b)
	r.out = b.b[:]
	if d.values {
		copy(r.out, markers)
		r.outPos = window16
		d.marker, d.scanned = window16-2, window16
		d.setLimit()
	} else {
		copy(r.out, window.window[:])
		r.outPos, r.crcPos = WindowSize, WindowSize
		r.member = int(max(WindowSize-window.member, -1))
	}
	d.good.bufs, d.good.values = 1, d.values
	err := d.run()
	d.worked += r.inBase + int64(r.used()) - start/8
	d.cut()
	return err
}

func (d *chunkDecoder) run() error {
	r := &d.r
	for {
		var (
			full bool
			err  error
		)
		switch r.state {
		case inHeader:
			if d.values {
				// Nothing reaches before a member's start.
				if err = d.toBytes(nil); err != nil {
					return err
				}
				d.c.patch = true
			}
			d.part = d.out()
			d.c.member = d.out()
			err = r.memberHeader()
		case inBlockHeader:
			err = r.blockHeader()
		case inStored:
			if d.values {
				full, err = r.stored16(d.limit)
			} else {
				full, err = r.stored()
			}
		case inHuffman:
			if d.values {
				full, err = r.huffman16(d.limit)
			} else {
				full, err = r.huffman()
			}
		case inBlockEnd:
			err = r.blockEnd()
		case inTrailer:
			err = d.trailer()
		case atEnd:
			err = io.EOF
		}
		if err == nil && full {
			err = d.room()
		}
		if err != nil {
			return err
		}
	}
}

// n is how much output the present buffer holds.
func (d *chunkDecoder) n() int {
	if d.values {
		return (d.r.outPos - window16) / 2
	}
	return d.r.outPos - WindowSize
}

func (d *chunkDecoder) out() int64 { return d.base + int64(d.n()) }

func (d *chunkDecoder) setLimit() {
	// At the latest where the last marker leaves the window, and often enough
	// to notice that the window has become known.
	d.limit = min(limit16, d.marker+2+window16, d.r.outPos+window16)
}

// room follows when the output has come to the limit.
func (d *chunkDecoder) room() error {
	r := &d.r
	if d.c.dropped.Load() || d.stopped.Load() {
		return errDropped
	}
	if !d.values {
		if r.outPos < r.outLimit() {
			return nil
		}
		r.checksum()
		b, err := d.nextBuffer()
		if err != nil {
			return err
		}
		by := r.outPos - WindowSize
		copy(b.b[:WindowSize], r.out[by:r.outPos])
		r.out = b.b[:]
		r.outPos, r.crcPos = WindowSize, WindowSize
		r.member = max(r.member-by, -1)
		return nil
	}
	if m := lastMarker(r.out, d.scanned, r.outPos); m >= 0 {
		d.marker = m
	}
	d.scanned = r.outPos
	if w := d.c.window.Load(); w != nil || r.outPos-2-d.marker >= window16 {
		return d.toBytes(w)
	}
	if r.outPos > limit16 {
		b, err := d.nextBuffer()
		if err != nil {
			return err
		}
		by := r.outPos - window16
		copy(b.b[:window16], r.out[by:r.outPos])
		r.out = b.b[:]
		r.outPos = window16
		d.marker -= by
		d.scanned = window16
	}
	d.setLimit()
	return nil
}

// nextBuffer closes the present buffer.
func (d *chunkDecoder) nextBuffer() (*buffer, error) {
	if out := d.out(); out > d.maxOut || out > maxFirst && len(d.c.places) == 0 {
		return nil, errChunkEnd
	}
	b := d.newBuffer()
	if b == nil {
		return nil, errNoBuffer
	}
	n := d.n()
	d.c.bufs[len(d.c.bufs)-1].n = n
	d.base += int64(n)
	d.c.bufs = append(d.c.bufs, b)
	return b, nil
}

// toBytes goes over to output of bytes: with the window of the chunk, or
// without where no marker is in reach.
func (d *chunkDecoder) toBytes(w *history) error {
	r := &d.r
	before, end := r.out, r.outPos
	b, err := d.nextBuffer()
	if err != nil {
		return err
	}
	d.c.symbolic = len(d.c.bufs) - 1
	r.member = -1
	if w != nil {
		d.value.reset(&w.window)
		r.member = int(max(WindowSize-d.base-w.member, -1))
	} else {
		d.value.reset(new([WindowSize]byte))
	}
	d.value.resolve(b.b[:WindowSize], before[end-window16:end])
	r.out = b.b[:]
	r.outPos, r.crcPos = WindowSize, WindowSize
	r.crc = 0
	d.part = d.base
	d.values = false
	return nil
}

// trailer is memberTrailer for a member whose beginning is not known.
func (d *chunkDecoder) trailer() error {
	r := &d.r
	r.alignToByte()
	if !d.values {
		r.checksum()
	}
	var b [8]byte
	for i := range b {
		var err error
		if b[i], err = r.readByte(); err != nil {
			return err
		}
	}
	d.c.sums = append(d.c.sums,
		sum{crc: r.crc, n: d.partBytes(), ends: true, want: [2]uint32{le32(b[:4]), le32(b[4:])}})
	if err := r.need(1); err != nil {
		return err
	}
	r.state = inHeader
	if r.inPos == r.inEnd {
		r.state = atEnd
	}
	return nil
}

// partBytes is how many bytes r.crc is of.
func (d *chunkDecoder) partBytes() int64 {
	if d.values {
		return 0
	}
	return d.out() - d.part
}

// boundary is where the chunk may be cut, or end.
func (d *chunkDecoder) boundary(b Boundary, _ []byte) error {
	r, c := &d.r, d.c
	if c.dropped.Load() || d.stopped.Load() {
		return errDropped
	}
	if !d.values {
		r.checksum()
	}
	b.Out = d.out()
	place := 8*b.In - int64(b.Bits)
	part := sum{crc: r.crc, n: d.partBytes()}
	c.places = append(c.places, boundaryIn{b, len(c.bufs) - 1, d.n(), len(c.sums), part})
	d.good = mark{
		end: place, bufs: len(c.bufs), n: d.n(), values: d.values, places: len(c.places), sums: len(c.sums),
		last: part, out: b.Out, member: c.member,
	}
	if len(c.places) == maxPlaces || b.Out > d.maxOut {
		return errChunkEnd
	}
	if place >= d.nominal {
		if err := r.need(headerAhead); err != nil {
			return err
		}
		if d.find.isHeader(r.in[:r.inEnd], int(place-8*r.inBase)) {
			return errChunkEnd
		}
	}
	if d.values && c.window.Load() != nil {
		d.limit = r.outPos - 2 // the next output goes to bytes
	}
	return nil
}

// cut drops what came behind the last boundary.
func (d *chunkDecoder) cut() {
	c, g := d.c, &d.good
	for _, b := range c.bufs[g.bufs:] {
		d.freeBuffer(b)
	}
	c.bufs = c.bufs[:g.bufs]
	c.bufs[g.bufs-1].n = g.n
	if g.values {
		c.symbolic = g.bufs
		c.patch = false
	}
	c.places = c.places[:g.places]
	c.sums = append(c.sums[:g.sums], g.last)
	c.out, c.member, c.end = g.out, g.member, g.end
}

func (d *chunkDecoder) free(c *chunk) {
	for _, b := range c.bufs {
		d.freeBuffer(b)
	}
	c.bufs = c.bufs[:0]
}
