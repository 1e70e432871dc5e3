package ecrclient

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pieceReader reads a blob as one stream as long as that is fast enough, then
// with several Range requests ahead of its caller. Each piece has its own
// blobReader and is resumed separately; the caller gets the pieces in order,
// the first of them while it is still arriving.
type pieceReader struct {
	r    *Repository
	ctx  context.Context
	stop context.CancelFunc
	op   operation
	desc ocispec.Descriptor
	at   *location     // of all requests but those of a stream after the pieces
	came *atomic.Int64 // bytes that came, by all requests

	call   sync.Mutex  // Read or the end of Close; over all down to err
	from   source      // of the next byte
	stream *blobReader // what comes before the pieces, or in place of them
	behind float64     // bytes that the stream would have brought, had it been fast enough
	pos    int64       // offset in the blob of the next byte to return
	err    error       // sticky

	pieces     context.Context // ends with ctx or before
	stopPieces context.CancelFunc
	room       chan struct{} // holds one for each piece in queue
	work       sync.WaitGroup

	mu    sync.Mutex // over all that follows, and what pieces hold
	news  sync.Cond  // a piece has grown or ended, or ahead has changed
	ahead ahead
}

// source is where a pieceReader takes its bytes from. It only changes to one
// further down.
type source int

const (
	// fromStream: one stream, request after request, and nothing is read ahead.
	fromStream source = iota
	// fromCutStream: the rest of that stream, up to where the pieces begin,
	// which are being read.
	fromCutStream
	// fromPieces: the pieces, up to the end of the blob.
	fromPieces
	// fromLastStream: one stream to the end of the blob, since the registry no
	// longer serves ranges.
	fromLastStream
)

// aheadState is how far the reading ahead is. It only changes to one further
// down.
type aheadState int

const (
	// aheadGoesOn: the queue holds the pieces of the window, or none yet, and
	// others follow up to the end of the blob.
	aheadGoesOn aheadState = iota
	// aheadStopped: nothing follows the queue.
	aheadStopped
	// aheadUnwanted: the pieces are not wanted any more.
	aheadUnwanted
)

// ahead is what a pieceReader reads ahead of its caller.
type ahead struct {
	state aheadState
	queue []*piece // in order
	why   error    // it has stopped
}

// head returns the piece to take bytes from, nil if there is none.
func (a *ahead) head() *piece {
	if len(a.queue) == 0 {
		return nil
	}
	return a.queue[0]
}

func (a *ahead) stop(why error) {
	if a.state == aheadGoesOn {
		a.state, a.why = aheadStopped, why
	}
}

// piece is a part of a blob.
type piece struct {
	buf    *[]byte // nil before the piece has leave to be read and after it was taken
	filled int
	taken  int
	err    error // io.EOF when all of it is there
}

// openPieces makes the first connection, so that a blob that is not there is
// known at once. A registry that answers with the whole blob has it read as
// one stream.
func (r *Repository) openPieces(ctx context.Context, op operation, desc ocispec.Descriptor) (io.ReadCloser, error) {
	ctx, stop := context.WithCancel(ctx)
	stream := r.newBlobReader(ctx, stop, op, desc, byteRange{end: r.pieces.PieceSize, use: rangeOrWhole})
	stream.at = new(location)
	if err := stream.connect(); err != nil {
		stop()
		return nil, r.fail(op, err)
	}
	if stream.end == desc.Size {
		return stream, nil
	}
	b := &pieceReader{
		r: r, ctx: ctx, stop: stop, op: op, desc: desc, at: stream.at, stream: stream, came: stream.came,
		room: make(chan struct{}, r.pieces.Window),
	}
	b.pieces, b.stopPieces = context.WithCancel(ctx)
	b.news.L = &b.mu
	return b, nil
}

// Read returns io.EOF after the last byte wanted, and every other error again
// and again.
func (b *pieceReader) Read(p []byte) (int, error) {
	b.call.Lock()
	defer b.call.Unlock()
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.read(p)
	b.pos += int64(n)
	if err != nil {
		b.err = err
		b.shutPieces()
	}
	return n, err
}

func (b *pieceReader) read(p []byte) (int, error) {
	for {
		if err := ended(b.ctx); err != nil { // also when bytes are there
			return 0, b.r.fail(b.op, err)
		}
		n, err := b.readSource(p)
		switch {
		case n > 0:
			return n, nil // err comes again
		case errors.Is(err, ErrNoRange):
			b.toLastStream()
		case err != io.EOF:
			return 0, err
		case b.pos == b.desc.Size:
			return 0, io.EOF
		case b.from == fromStream:
			b.stream = b.newReader(b.ctx, byteRange{start: b.pos, end: b.desc.Size, use: rangeOnly})
		case b.from == fromCutStream:
			b.from = fromPieces
		}
	}
}

func (b *pieceReader) readSource(p []byte) (int, error) {
	switch b.from {
	case fromStream:
		// A caller that reads only the beginning of a blob, to see what it is,
		// does not want the rest: reading ahead begins before a read, not after
		// it.
		if b.behind > 2*float64(b.r.pieces.PieceSize) {
			b.toCutStream()
			return b.stream.Read(p)
		}
		return b.timeStream(p)
	case fromPieces:
		return b.readPiece(p)
	}
	return b.stream.Read(p)
}

// timeStream reads the stream, and keeps account of whether it is fast enough.
func (b *pieceReader) timeStream(p []byte) (int, error) {
	start := b.r.now()
	n, err := b.stream.Read(p)
	waited := b.r.now().Sub(start)
	b.behind = max(0, b.behind+waited.Seconds()*float64(b.r.pieces.FastStream)-float64(n))
	return n, err
}

// toCutStream begins to read ahead.
func (b *pieceReader) toCutStream() {
	start := min(b.stream.end, b.pos+b.r.pieces.PieceSize)
	b.stream.cut(start)
	b.work.Go(func() { b.readAhead(start) })
	b.from = fromCutStream
}

// toLastStream continues without ranges.
func (b *pieceReader) toLastStream() {
	b.shutPieces()
	b.r.log.InfoContext(b.ctx, "the registry no longer serves ranges, going on with one stream",
		"op", b.op.name, "repository", b.r.remote.Reference.Repository, referenceAttr(b.op.reference), "offset", b.pos,
		"size", b.desc.Size)
	b.stream = b.newReader(b.ctx, byteRange{start: b.pos, end: b.desc.Size})
	b.stream.at = nil
	b.from = fromLastStream
}

// newReader returns a reader of a part of the blob, whose bytes are counted with
// the others.
func (b *pieceReader) newReader(ctx context.Context, want byteRange) *blobReader {
	src := b.r.newBlobReader(ctx, func() {}, b.op, b.desc, want)
	src.at, src.came = b.at, b.came
	return src
}

// readPiece returns bytes of the first piece in the queue.
func (b *pieceReader) readPiece(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch head := b.ahead.head(); {
		case head == nil && b.pos == b.desc.Size:
			return 0, io.EOF
		case head == nil && b.ahead.state == aheadStopped:
			return 0, b.ahead.why
		case head == nil: // not started yet
		case head.taken < head.filled:
			n := copy(p, (*head.buf)[head.taken:head.filled])
			head.taken += n
			return n, nil
		case head.err == io.EOF:
			b.giveBack(head)
			b.ahead.queue = b.ahead.queue[1:]
			<-b.room
			continue
		case head.err != nil:
			return 0, head.err
		}
		b.news.Wait() // readAhead, or the goroutine of the first piece, ends with ctx
	}
}

// readAhead starts pieces from an offset on as the window has room.
func (b *pieceReader) readAhead(from int64) {
	next := func() error {
		select {
		case b.room <- struct{}{}:
		case <-b.pieces.Done():
			return b.pieces.Err()
		}
		return b.r.pieces.acquire(b.pieces)
	}
	for start := from; start < b.desc.Size; start += b.r.pieces.PieceSize {
		if err := next(); err != nil {
			b.mu.Lock()
			b.ahead.stop(b.r.fail(b.op, err))
			b.news.Broadcast()
			b.mu.Unlock()
			return
		}
		p := new(piece)
		b.mu.Lock()
		b.ahead.queue = append(b.ahead.queue, p)
		b.mu.Unlock()
		end := min(start+b.r.pieces.PieceSize, b.desc.Size)
		src := b.newReader(b.pieces, byteRange{start: start, end: end, use: rangeOnly})
		b.work.Go(func() {
			defer b.r.pieces.release()
			b.fill(p, src)
		})
	}
}

// fill reads a piece to its end or to an error.
func (b *pieceReader) fill(p *piece, src *blobReader) {
	buf := b.r.pieces.buffers.Get().(*[]byte)
	b.mu.Lock()
	p.buf = buf
	b.mu.Unlock()
	free := (*buf)[:src.end-src.pos]
	for {
		into := free
		if len(into) == 0 {
			into = make([]byte, 1) // for the read that finds the end
		}
		n, err := src.Read(into)
		free = free[min(n, len(free)):]
		b.mu.Lock()
		p.filled += n
		p.err = err
		if b.ahead.state == aheadUnwanted {
			b.giveBack(p)
		}
		b.news.Broadcast()
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// giveBack takes the buffer from a piece, unless it is still being read; mu is
// held.
func (b *pieceReader) giveBack(p *piece) {
	if p.buf != nil && p.err != nil {
		b.r.pieces.buffers.Put(p.buf)
		p.buf = nil
	}
}

// shutPieces stops all pieces. Those that are being read give back their
// buffers themselves.
func (b *pieceReader) shutPieces() {
	b.stopPieces()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.ahead.queue {
		b.giveBack(p)
	}
	b.ahead = ahead{state: aheadUnwanted}
}

// Transferred is the number of bytes that came, those read ahead of the caller
// too.
func (b *pieceReader) Transferred() int64 { return b.came.Load() }

// Close ends the transfer, all requests of which have ended when it returns.
// It may be called more than once.
func (b *pieceReader) Close() error {
	b.stop()
	b.call.Lock()
	defer b.call.Unlock()
	if b.err == nil {
		b.err = b.r.fail(b.op, errors.New("read after Close"))
	}
	b.shutPieces()
	b.stream.Close()
	b.work.Wait()
	return nil
}
