package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobReader reads a blob, over as many connections as needed. Each begins at
// the registry, so that it gets its own signed URL; but with at set, the first
// one is to where others of the same blob were redirected.
type blobReader struct {
	r    *Repository
	ctx  context.Context
	stop context.CancelFunc
	op   operation
	desc ocispec.Descriptor
	at   *location // nil to ask the registry, also for others

	pos int64 // offset in the blob of the next byte to return
	end int64 // exclusive
	use rangeUse

	came *atomic.Int64 // bytes that came, for others as well that share it
	conn connection
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

// A blob of which every connection brings a few bytes would never end: this many
// may be lost, and one more for each lossPer bytes that came.
const (
	maxLost = 1000
	lossPer = 1 << 20 // 1 MiB
)

// newBlobReader returns a reader that connects when it is first read.
func (r *Repository) newBlobReader(ctx context.Context, stop context.CancelFunc, op operation, desc ocispec.Descriptor,
	want byteRange) *blobReader {
	return &blobReader{
		r: r, ctx: ctx, stop: stop, op: op, desc: desc,
		pos: want.start, end: want.end, use: want.use,
		came: new(atomic.Int64),
	}
}

// Read returns io.EOF after the last byte wanted, and every other error again
// and again.
func (b *blobReader) Read(p []byte) (int, error) {
	if b.conn.state == connEnded {
		return 0, b.conn.why
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		err = b.r.fail(b.op, err)
	}
	b.conn.end(err)
	return n, err
}

func (b *blobReader) read(p []byte) (int, error) {
	for b.pos < b.end {
		if b.conn.state != connOpen {
			if err := b.connect(); err != nil {
				return 0, err
			}
		}
		n, err := b.conn.read(p[:min(int64(len(p)), b.end-b.pos)])
		b.came.Add(int64(n))
		b.pos += int64(n)
		if err != nil {
			b.conn.lose(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.finish()
}

// finish checks that no bytes follow the end of the blob.
func (b *blobReader) finish() error {
	if b.conn.state != connOpen { // one that is lost here does not matter any more
		return io.EOF
	}
	body := b.conn.body
	compared := body.length >= 0
	goesOn := body.end > b.end
	if !compared && !goesOn {
		var extra [1]byte
		if n, _ := io.ReadFull(body, extra[:]); n > 0 {
			return fmt.Errorf("%w: bytes came beyond offset %d", ErrDigestMismatch, b.end)
		}
	}
	return io.EOF
}

// cut has the reader stop at end, if that is sooner.
func (b *blobReader) cut(end int64) {
	b.end = min(b.end, end)
}

// connect connects at pos. It waits before every attempt but the first.
func (b *blobReader) connect() error {
	for {
		if b.conn.state == connLost {
			if err := b.waitAfterLoss(); err != nil {
				return b.explain(err)
			}
			b.at.set(nil) // a fresh one, for all
		}
		if err := ended(b.ctx); err != nil {
			return err
		}
		err := b.dial()
		if err == nil {
			return nil
		}
		b.conn.lose(err)
	}
}

// waitAfterLoss waits until it is time for another attempt. The error says that
// there will be none.
func (b *blobReader) waitAfterLoss() error {
	if c := &b.conn; c.losses > maxLost+b.pos/lossPer {
		return fmt.Errorf("gave up after %d lost connections: %w", c.losses, c.why)
	}
	return b.r.pause(b.ctx, b.op, b.conn.attempts, b.conn.why, "offset", b.pos, "size", b.desc.Size)
}

// dial makes one attempt.
func (b *blobReader) dial() error {
	body, err := b.r.getBlob(b.ctx, b.desc, byteRange{b.pos, b.end, b.use}, b.at)
	if err != nil {
		return err
	}
	b.conn.open(body)
	if b.use == rangeOrWhole {
		b.decide(body.whole)
	}
	// The registry ignored the range: skip what it sent before.
	n, err := io.CopyN(io.Discard, body, b.pos-body.begin)
	b.came.Add(n)
	return err
}

// decide makes the first answer the rule for those that follow.
func (b *blobReader) decide(whole bool) {
	b.use = rangeOnly
	if whole {
		b.end, b.use = b.desc.Size, rangeToResume
	}
}

// explain adds how far the blob came.
func (b *blobReader) explain(err error) error {
	if b.pos == 0 || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("after %d of %d bytes: %w", b.pos, b.desc.Size, err)
}

// Transferred returns the number of bytes received, including those received
// again after a lost connection.
func (b *blobReader) Transferred() int64 { return b.came.Load() }

// Close ends the transfer. It may be called more than once.
func (b *blobReader) Close() error {
	b.stop()
	if b.conn.state != connEnded {
		b.conn.end(b.r.fail(b.op, errors.New("read after Close")))
	}
	return nil
}
