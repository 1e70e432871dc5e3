package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobReader reads a blob, over as many connections as it takes. It asks the
// registry for each of them, so each has a signed URL of its own; but the first
// one goes to where others of the same blob were redirected, if it has at.
type blobReader struct {
	r    *Repository
	ctx  context.Context
	stop context.CancelFunc
	op   operation
	desc ocispec.Descriptor
	at   *location // nil to ask the registry, also for others

	pos    int64 // offset in the blob of the next byte to return
	end    int64 // exclusive
	always bool  // with a Range request from the beginning
	whole  bool  // the first answer may be the whole blob, which is then wanted
	skips  bool  // every answer may be, of which what is not wanted is skipped
	isCut  bool  // end was not what the registry was asked for

	came *atomic.Int64 // bytes that came, for others as well that share it

	body   *blobBody // nil when the connection is lost
	broken error     // why body was lost
	failed int       // attempts since the last byte came
	err    error     // sticky
}

// openBlob makes the first connection, so that a blob that is not there is
// known at once.
func (r *Repository) openBlob(ctx context.Context, op operation, desc ocispec.Descriptor,
	want byteRange) (io.ReadCloser, error) {
	ctx, stop := context.WithCancel(ctx)
	b := r.newBlobReader(ctx, stop, op, desc, want)
	if err := b.connect(); err != nil {
		stop()
		return nil, r.fail(op, err)
	}
	return b, nil
}

// newBlobReader returns a reader that connects when it is first read.
func (r *Repository) newBlobReader(ctx context.Context, stop context.CancelFunc, op operation, desc ocispec.Descriptor,
	want byteRange) *blobReader {
	return &blobReader{
		r: r, ctx: ctx, stop: stop, op: op, desc: desc,
		pos: want.start, end: want.end, always: want.always, whole: want.orWhole, skips: want.skips,
		came: new(atomic.Int64),
	}
}

// Read returns io.EOF after the last byte wanted, and every other error again
// and again.
func (b *blobReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if err == io.EOF {
		b.err = io.EOF
	} else if err != nil {
		b.err = b.r.fail(b.op, err)
	}
	if b.err != nil {
		b.disconnect()
	}
	return n, b.err
}

func (b *blobReader) read(p []byte) (int, error) {
	for b.pos < b.end {
		if b.body == nil {
			if err := b.connect(); err != nil {
				return 0, err
			}
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.end-b.pos)])
		b.came.Add(int64(n))
		if n > 0 {
			b.pos += int64(n)
			b.failed = 0
		}
		if err != nil {
			b.lose(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.finish()
}

// finish tells the end of the blob from bytes that should not be there.
func (b *blobReader) finish() error {
	// A length that was announced has been compared; a lost connection does
	// not matter any more.
	part := b.isCut || b.skips && b.body != nil && b.body.whole
	if b.body != nil && b.body.length < 0 && !part {
		var extra [1]byte
		if n, _ := io.ReadFull(b.body, extra[:]); n > 0 {
			return fmt.Errorf("%w: bytes came beyond offset %d", ErrDigestMismatch, b.end)
		}
	}
	return io.EOF
}

// lose gives up the connection and keeps the reason.
func (b *blobReader) lose(err error) {
	if err == io.EOF {
		err = &unavailableError{io.ErrUnexpectedEOF} // the caller comes only before the end
	}
	b.broken = err
	b.failed++
	b.disconnect()
}

// cut has the reader stop at end, if that is sooner.
func (b *blobReader) cut(end int64) {
	if end < b.end {
		b.end, b.isCut = end, true
	}
}

func (b *blobReader) disconnect() {
	if b.body != nil {
		b.body.Close()
		b.body = nil
	}
}

// connect opens body at pos. It waits before every attempt but the first.
func (b *blobReader) connect() error {
	for {
		if b.broken != nil {
			if err := b.r.pause(b.ctx, b.op, b.failed, b.broken, "offset", b.pos, "size", b.desc.Size); err != nil {
				return b.explain(err)
			}
			b.broken = nil
		}
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if b.failed > 0 {
			b.at.set(nil) // a fresh one, for all
		}
		body, err := b.r.getBlob(b.ctx, b.desc, byteRange{b.pos, b.end, b.always, b.whole, b.skips}, b.at)
		if err == nil {
			b.body = body
			if b.whole && body.whole {
				b.end, b.always = b.desc.Size, false
			}
			b.whole = false
			// The registry ignored the range: what it sent before goes by.
			var n int64
			n, err = io.CopyN(io.Discard, body, b.pos-body.begin)
			b.came.Add(n)
			if err == nil {
				return nil
			}
		}
		b.lose(err)
	}
}

// explain adds how far the blob came.
func (b *blobReader) explain(err error) error {
	if b.pos == 0 || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("after %d of %d bytes: %w", b.pos, b.desc.Size, err)
}

// Transferred is the number of bytes that came, again after a lost connection
// too.
func (b *blobReader) Transferred() int64 { return b.came.Load() }

// Close ends the transfer. It may be called more than once.
func (b *blobReader) Close() error {
	b.stop()
	b.disconnect()
	if b.err == nil {
		b.err = b.r.fail(b.op, errors.New("read after Close"))
	}
	return nil
}
