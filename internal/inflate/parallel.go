package inflate

import (
	"io"
	"math"
	"sync"
	"sync/atomic"

	"soci-index-builder/internal/inflate/largepages"
)

// ParallelOptions of a Parallel.
type ParallelOptions struct {
	Workers int // goroutines that decode; 1 or more

	// Segment is how many compressed bytes a worker takes at once. The default
	// is DefaultSegment.
	Segment int

	// Memory is asked before more bytes are held; where it says no, the stream
	// is decoded with what there is. GiveBack returns them. Both are called
	// with no order between goroutines, and must not call the Parallel. The
	// default is to be free to take.
	Memory   func(bytes int64) bool
	GiveBack func(bytes int64)

	// A stream has one processor. While that is used, Begin asks whether a
	// goroutine may decode on another one, until it calls End: behind a chunk, for
	// which it waits for nothing. Neither may wait. The default is yes.
	Begin func() bool
	End   func()

	// MaxRatio is the bytes of output for each byte of input from which on the
	// caller compares exactly with Taken. The default is never.
	MaxRatio int64
}

// DefaultSegment is the size of a segment: 1 MiB. With less, more of the output
// is decoded while its window is not known.
const DefaultSegment = 1 << 20

// minSegment leaves room for a header.
const minSegment = 2 * lookahead

// Parallel decodes one gzip stream like a Reader, on several cores: what is
// handed out, called and told as an error is the same.
//
// One goroutine cuts the stream into segments. Workers look for the start of a
// block in theirs, and decode from there with the 32 KiB before it unknown,
// while those before are still at work: a chunk. The caller's goroutine puts
// the chunks together, in their order. It takes a chunk only when all before
// it ends exactly where the chunk begins, so that no guess counts as knowledge,
// and only when its sums are right; else it decodes on itself with a Reader,
// from the last boundary. So all errors are a Reader's own.
//
// It must be closed, and is not safe for concurrent use.
type Parallel struct {
	o       ParallelOptions
	src     io.Reader
	events  Events
	started bool
	err     error // sticky
	group   sync.WaitGroup
	stopped atomic.Bool // with mu, for those who do not hold it
	pressed atomic.Bool // memory is wanted by others

	mu        sync.Mutex
	cond      sync.Cond
	segments  []*segment // the first has the ordinal firstSeg
	firstSeg  int
	spare     []*segment
	live      int // segments in use
	maxLive   int
	begun     bool // the first header has been read
	read      bool // the last segment is there
	readErr   error
	chunks    map[int]*chunk // by the ordinal of their segment
	next      int            // ordinal of the next one to be decoded
	certain   *certain       // what is to be decoded first
	chain     certain        // as far as is known from the chunks
	toResolve []*chunk
	at        int       // ordinal of the segment that the caller has come to
	alone     bool      // the caller decodes itself
	off       bool      // for good
	failures  int       // chunks in a row that were of no use
	pause     int       // segments for which nothing was guessed last
	buffers   []*buffer // free ones
	taken     int64     // of Memory
	inUse     int       // buffers of chunks
	most      int       // that a chunk had
	working   int

	// Which goroutines decode.
	busy       bool // the stream's own processor is used, by a worker or by the caller
	wanted     bool // by the caller, which waits for it
	callerMore bool // the caller decodes on another one, until the own is free
	decoding   int  // goroutines
	atOnce     int  // at most
	falseOnes  int  // starts
	worked     int64

	// Of the caller.
	seq         *Reader
	seqOff      int64    // what seq reads next
	usedIn      int64    // compressed bytes consumed
	lastByte    byte     // of them
	current     *segment // with the bytes that Consumed was called for last
	currentFrom int64
	currentTo   int64
	place       int64 // up to which chunks are accepted
	history     *history
	accepted    int64 // uncompressed
	crc         uint32
	memberStart int64 // uncompressed
	pos         int64 // uncompressed: handed out so far
	giveTo      int64 // may be handed out
	parts       []part
	given       *buffer // of what was handed out last
	retreated   bool    // since memory is wanted by others
	pending     []pendingPlace
	value       resolver
	maxTaken    int64
	useful      int64 // of worked
	stats       Stats
}

// Stats tells what became of a stream.
type Stats struct {
	Chunks  int   // that were accepted
	Guessed int   // of them, those that began before their place was known
	Values  int64 // bytes of output that were decoded while their window was not known
	Alone   int64 // compressed bytes that the caller decoded itself
	AtOnce  int   // goroutines that decoded at once, at most

	FalseStarts int   // headers that were found, and were none
	Vain        int64 // compressed bytes that were searched or decoded for chunks, and are in none that was accepted
}

// certain is a place that the stream is known to come to.
type certain struct {
	place   int64
	history *history
}

// part is output that is accepted and not handed out.
type part struct {
	b      []byte
	buffer *buffer // to be freed behind it, if any
}

type pendingPlace struct {
	b      *boundaryIn // with the offset in all of the output
	window []byte
	c      *chunk
}

// NewParallel decodes src, which it reads to its end, with a goroutine of its
// own, unless it is closed before.
func NewParallel(src io.Reader, events Events, o ParallelOptions) *Parallel {
	o = o.withDefaults()
	if o.Memory == nil {
		o.Memory, o.GiveBack = func(int64) bool { return true }, func(int64) {}
	}
	if o.Begin == nil {
		o.Begin, o.End = func() bool { return true }, func() {}
	}
	if o.MaxRatio == 0 {
		o.MaxRatio = math.MaxInt64
	}
	p := &Parallel{
		o: o, src: src, events: events, chunks: make(map[int]*chunk), alone: true, busy: true,
		// seq may be ahead by its buffer.
		maxLive: o.live(),
		seq:     new(Reader),
	}
	p.cond.L = &p.mu
	p.decodes(1)
	p.seq.Reset(seqSource{p}, Events{Consumed: p.seqConsumed, Boundary: p.seqBoundary})
	return p
}

func (p *Parallel) segmentCost() int64 { return int64(p.o.Segment + lookahead + inPad) }

func (o ParallelOptions) withDefaults() ParallelOptions {
	if o.Segment == 0 {
		o.Segment = DefaultSegment
	}
	o.Segment = max(o.Segment, minSegment)
	o.Workers = max(o.Workers, 1)
	return o
}

// MemoryBase is what a Parallel holds to its end beside what a Reader does: for
// segments, workers, and the places in chunks.
func (o ParallelOptions) MemoryBase() int64 {
	o = o.withDefaults()
	return int64(o.live())*int64(o.Segment+lookahead+inPad) + int64(o.Workers)*workerSize +
		int64(o.ahead()+2)*chunkSize
}

// MemoryPressed is what it may still hold beside MemoryBase when Next has been
// called after Press: output up to the next boundary. A block that is larger than
// a worker's segment and was decoded before its window was known may keep twice
// as much, which is less than half full then.
func (o ParallelOptions) MemoryPressed() int64 {
	o = o.withDefaults()
	return int64(maxExpansion*o.Segment/outChunk+3) * outSize
}

// ahead is how many chunks there are at most beside the caller's: one for each
// worker, and half as many that wait for a slower one. The fewer, the more of a
// chunk is in the processor's cache still when it is resolved.
func (o ParallelOptions) ahead() int { return o.Workers + max(o.Workers/2, 1) }

// live is how many segments there are at most: one for each chunk, the one
// behind, one that is read, and one whose last byte may be needed. The
// caller's Reader may be ahead by its buffer.
func (o ParallelOptions) live() int { return max(o.ahead()+3, 2*inBufSize/o.Segment+4) }

// workerSize is about what a worker holds beside its chunk: its codes, those of
// its finder, and a table of bytes.
const workerSize = 128 << 10

// chunkSize is about what a chunk takes beside its buffers: its places and
// sums, and a window.
const chunkSize = maxPlaces*192 + WindowSize

// Press has the buffers given back, at the latest by the next call of Next and
// before Boundary is called twice more, but for MemoryPressed; what is left of
// the stream is decoded without them. It may be called from any goroutine, and
// waits for nothing.
func (p *Parallel) Press() { p.pressed.Store(true) }

// Stats of what was decoded so far.
func (p *Parallel) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.AtOnce, s.FalseStarts, s.Vain = p.atOnce, p.falseOnes, p.worked-p.useful
	return s
}

// Taken is how many compressed bytes a Reader would have read by now, or more
// where that many output bytes cannot be beyond ParallelOptions.MaxRatio.
func (p *Parallel) Taken() int64 { return p.maxTaken }

func (p *Parallel) start() {
	p.started = true
	p.group.Go(p.readAll)
	for range p.o.Workers {
		p.group.Go(p.work)
	}
}

// Close ends the goroutines, behind the Read of the source that may be under
// way, and gives back all memory.
func (p *Parallel) Close() {
	p.mu.Lock()
	p.stopped.Store(true)
	p.cond.Broadcast()
	p.mu.Unlock()
	p.group.Wait()
	if p.callerMore {
		p.callerMore = false
		p.o.End()
	}
	if p.taken > 0 {
		p.o.GiveBack(p.taken)
		p.taken = 0
	}
	p.chunks, p.buffers, p.parts, p.pending = nil, nil, nil, nil
}

// readAll cuts the source into segments.
func (p *Parallel) readAll() {
	var carry []byte
	for off := int64(0); ; off += int64(p.o.Segment) {
		s := p.newSegment(off)
		if s == nil {
			return
		}
		n := copy(s.buf, carry)
		var err error
		for empty := 0; n < p.o.Segment+lookahead && err == nil; {
			if p.stopped.Load() {
				return
			}
			var k int
			k, err = p.src.Read(s.buf[n : p.o.Segment+lookahead])
			n += k
			if k > 0 {
				empty = 0
			} else if empty++; empty == 100 && err == nil {
				err = io.ErrNoProgress
			}
		}
		s.end = n
		s.size = min(n, p.o.Segment)
		s.eof = err == io.EOF
		clear(s.buf[n : n+inPad])
		last := err != nil && n <= p.o.Segment
		carry = append(carry[:0], s.buf[s.size:n]...)
		p.mu.Lock()
		p.segments = append(p.segments, s)
		if last {
			p.read = true
			if err != io.EOF {
				p.readErr = err
			}
		}
		p.cond.Broadcast()
		p.mu.Unlock()
		if last {
			return
		}
		if err != nil {
			p.src = errReader{err}
		}
	}
}

// errReader repeats an error.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func (p *Parallel) newSegment(off int64) *segment {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.live >= p.maxLive && !p.stopped.Load() {
		p.cond.Wait()
	}
	if p.stopped.Load() {
		return nil
	}
	p.live++
	var s *segment
	if n := len(p.spare); n > 0 {
		s = p.spare[n-1]
		p.spare = p.spare[:n-1]
	} else {
		s = &segment{buf: make([]byte, p.segmentCost())}
		largepages.Prefer(s.buf)
	}
	s.off = off
	s.refs.Store(1)
	return s
}

func (p *Parallel) release(s *segment) {
	if s.refs.Add(-1) > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live--
	p.spare = append(p.spare, s)
	p.cond.Broadcast()
}

// Hold returns the bytes that Consumed was called for last, and keeps them until
// release is called. It is for Consumed.
func (p *Parallel) Hold() (b []byte, release func()) {
	s := p.current
	s.refs.Add(1)
	return s.buf[p.currentFrom:p.currentTo], func() { p.release(s) }
}

// segment returns that of an ordinal, or nil. mu is held.
func (p *Parallel) segment(ordinal int) *segment {
	if i := ordinal - p.firstSeg; i >= 0 && i < len(p.segments) {
		return p.segments[i]
	}
	return nil
}

func (p *Parallel) ordinal(place int64) int { return int(place / 8 / int64(p.o.Segment)) }

// newBuffer returns nil when no more may be held.
func (p *Parallel) newBuffer() *buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pressed.Load() || p.stopped.Load() {
		return nil
	}
	if n := len(p.buffers); n > 0 {
		b := p.buffers[n-1]
		p.buffers = p.buffers[:n-1]
		p.inUse++
		b.n = 0
		return b
	}
	if p.inUse >= p.maxBuffers() || !p.o.Memory(outSize) {
		return nil
	}
	p.taken += outSize
	p.inUse++
	b := new(buffer)
	largepages.Prefer(b.b[:])
	return b
}

// maxBuffers are for all chunks together: so many that those under way may
// have eight times their segment's size each, and two buffers that they fill.
func (p *Parallel) maxBuffers() int {
	return p.o.ahead() * (2 + 8*p.o.Segment/outChunk)
}

func (p *Parallel) freeBuffer(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeLocked(b)
}

func (p *Parallel) freeLocked(b *buffer) {
	p.inUse--
	if p.pressed.Load() {
		p.taken -= outSize
		p.o.GiveBack(outSize)
		return
	}
	p.buffers = append(p.buffers, b)
}
