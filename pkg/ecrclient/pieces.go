package ecrclient

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pieceReader reads a blob as one stream as long as that is fast enough, then
// by several Range requests ahead of its caller. Each piece is a blobReader of
// its own, which is resumed alone; the caller gets them in order, the first of
// them while it still comes in.
type pieceReader struct {
	r    *Repository
	ctx  context.Context
	stop context.CancelFunc
	op   operation
	desc ocispec.Descriptor
	at   *location     // of all requests but those of a stream after the pieces
	came *atomic.Int64 // bytes that came, by all requests

	call   sync.Mutex  // Read or the end of Close; over all down to err
	stream *blobReader // what comes before the pieces, or in place of them; may be nil
	behind float64     // bytes that the stream would have brought, had it been fast enough
	pos    int64       // offset in the blob of the next byte to return
	err    error       // sticky

	pieces     context.Context // ends with ctx or before; nil before readAhead
	stopPieces context.CancelFunc
	room       chan struct{} // holds one for each piece in queue
	work       sync.WaitGroup

	mu    sync.Mutex // over all that follows, and what pieces hold
	news  sync.Cond  // a piece has grown or ended, or queue has changed
	queue []*piece   // in order
	ended error      // why nothing follows queue
	shut  bool       // no piece is wanted any more
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
	stream := r.newBlobReader(ctx, stop, op, desc, byteRange{end: r.pieces.PieceSize, always: true, orWhole: true})
	stream.at = new(location)
	if err := stream.connect(); err != nil {
		stop()
		return nil, r.fail(op, err)
	}
	if stream.end == desc.Size {
		return stream, nil
	}
	b := &pieceReader{r: r, ctx: ctx, stop: stop, op: op, desc: desc, at: stream.at, stream: stream, came: stream.came}
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
		if err := b.ctx.Err(); err != nil { // also when bytes are there
			return 0, b.r.fail(b.op, err)
		}
		n, err := 0, error(nil)
		if b.stream != nil {
			n, err = b.readStream(p)
		} else {
			n, err = b.readPiece(p)
		}
		switch {
		case n > 0:
			return n, nil // err comes again
		case errors.Is(err, ErrNoRange):
			b.shutPieces()
			b.r.log.InfoContext(b.ctx, "the registry no longer serves ranges, going on with one stream",
				"op", b.op.name, "repository", b.r.remote.Reference.Repository, referenceAttr(b.op.reference), "offset", b.pos,
				"size", b.desc.Size)
			b.stream = b.r.newBlobReader(b.ctx, b.stop, b.op, b.desc, byteRange{start: b.pos, end: b.desc.Size})
			b.stream.came = b.came
			b.behind = math.Inf(-1)
		case err != io.EOF:
			return 0, err
		case b.pos == b.desc.Size:
			return 0, io.EOF
		case b.pieces == nil:
			b.stream = b.r.newBlobReader(b.ctx, b.stop, b.op, b.desc, byteRange{start: b.pos, end: b.desc.Size, always: true})
			b.stream.at, b.stream.came = b.at, b.came
		default:
			b.stream = nil
		}
	}
}

// readStream reads the stream, and begins to read ahead when it is too slow.
// A caller who reads only the beginning of a blob, to see what it is, has not
// asked for the rest: reading ahead begins before a read, not after it.
func (b *pieceReader) readStream(p []byte) (int, error) {
	if b.behind > 2*float64(b.r.pieces.PieceSize) && b.pieces == nil {
		b.pieces, b.stopPieces = context.WithCancel(b.ctx)
		b.room = make(chan struct{}, b.r.pieces.Window)
		from := min(b.stream.end, b.pos+b.r.pieces.PieceSize)
		b.stream.cut(from)
		b.work.Go(func() { b.readAhead(from) })
	}
	start := b.r.now()
	n, err := b.stream.Read(p)
	waited := b.r.now().Sub(start)
	b.behind = max(0, b.behind+waited.Seconds()*float64(b.r.pieces.FastStream)-float64(n))
	return n, err
}

// readPiece returns bytes of the first piece in the queue.
func (b *pieceReader) readPiece(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case len(b.queue) == 0 && b.pos == b.desc.Size:
			return 0, io.EOF
		case len(b.queue) == 0 && b.ended != nil:
			return 0, b.ended
		case len(b.queue) > 0:
			head := b.queue[0]
			if head.taken < head.filled {
				n := copy(p, (*head.buf)[head.taken:head.filled])
				head.taken += n
				return n, nil
			}
			if head.err == io.EOF {
				b.giveBack(head)
				b.queue = b.queue[1:]
				<-b.room
				continue
			}
			if head.err != nil {
				return 0, head.err
			}
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
			b.ended = b.r.fail(b.op, err)
			b.news.Broadcast()
			b.mu.Unlock()
			return
		}
		p := new(piece)
		b.mu.Lock()
		b.queue = append(b.queue, p)
		b.mu.Unlock()
		src := b.r.newBlobReader(b.pieces, func() {}, b.op, b.desc,
			byteRange{start: start, end: min(start+b.r.pieces.PieceSize, b.desc.Size), always: true})
		src.at, src.came = b.at, b.came
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
		if b.shut {
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
	if b.stopPieces == nil {
		return
	}
	b.stopPieces()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	for _, p := range b.queue {
		b.giveBack(p)
	}
	b.queue = nil
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
	if b.stream != nil {
		b.stream.disconnect()
	}
	b.work.Wait()
	return nil
}
