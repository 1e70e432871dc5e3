package soci

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

const (
	// chunkSize bytes of a blob are read at once.
	chunkSize = 64 << 10

	// chunkCount is how many chunks of a blob are in memory: as many as the
	// decoder's own buffer holds and one more may wait for the hasher, one is
	// read, the rest are on their way.
	chunkCount = 8
)

// blobError marks what went wrong below the formats: the source's own error,
// or bytes beyond those that the descriptor names.
type blobError struct{ err error }

func (e *blobError) Error() string { return e.err.Error() }
func (e *blobError) Unwrap() error { return e.err }

// errStopped ends the reading of a blob that nobody wants any more.
var errStopped = &blobError{errors.New("internal error: read after stop")}

// chunk is a run of a blob that the decoder and the hasher share.
type chunk struct {
	buf  [chunkSize]byte
	n    int
	refs atomic.Int32
}

var chunkPool = sync.Pool{New: func() any { return new(chunk) }}

// blobReader reads a blob ahead of its decoder and hashes it beside it: one
// goroutine reads, one hashes the blob and its spans. It returns no more bytes
// than the descriptor allows.
type blobReader struct {
	r      io.Reader
	size   int64 // 0 when unknown
	digest digest.Digest
	hasher *hasher

	free      chan *chunk // nil stands for one that is still to be made
	toDecoder chan *chunk // like hasher.chunks of capacity chunkCount, so that no send waits
	stop      chan struct{}
	goroutine sync.WaitGroup

	// Of the reading goroutine until it closes toDecoder.
	n       int64
	readErr error // io.EOF at the end of the blob

	// Of the decoder.
	current *chunk
	rest    []byte // of current
	taken   int64  // by the decoder; it may hold some of it in its buffer yet
}

// newBlobReader begins to read r. close must be called.
func newBlobReader(r io.Reader, size int64, d digest.Digest) *blobReader {
	b := &blobReader{
		r: r, size: size, digest: d,
		free:      make(chan *chunk, chunkCount),
		toDecoder: make(chan *chunk, chunkCount),
		stop:      make(chan struct{}),
	}
	b.hasher = newHasher(d, b.release)
	for range chunkCount {
		b.free <- nil
	}
	b.goroutine.Go(func() {
		defer close(b.hasher.chunks)
		defer close(b.toDecoder)
		b.readErr = b.readAll()
	})
	return b
}

// readAll passes the chunks on until the blob ends. Its error is io.EOF or a
// *blobError.
func (b *blobReader) readAll() error {
	for {
		var c *chunk
		select {
		case c = <-b.free:
		case <-b.stop:
			return errStopped
		}
		if c == nil {
			c = chunkPool.Get().(*chunk)
		}
		n, err := readChunk(b.r, c.buf[:])
		b.n += int64(n)
		if b.size > 0 && b.n > b.size {
			err = fmt.Errorf("%w: more than the %d bytes of %s arrived", ErrDigestMismatch, b.size, b.digest)
			n = 0
		}
		c.n = n
		c.refs.Store(2)
		b.toDecoder <- c
		b.hasher.chunks <- c
		switch {
		case err == io.EOF:
			return err
		case err != nil:
			return &blobError{err}
		}
	}
}

// readChunk fills p as far as the reader goes. Unlike with io.ReadFull the
// error is always the reader's own.
func readChunk(r io.Reader, p []byte) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var k int
		k, err = r.Read(p[n:])
		if k < 0 || k > len(p)-n {
			return n, fmt.Errorf("internal error: Read returned %d of %d bytes", k, len(p)-n)
		}
		n += k
		if k > 0 {
			empty = 0
		} else if empty++; empty == 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func (b *blobReader) release(c *chunk) {
	if c != nil && c.refs.Add(-1) == 0 {
		b.free <- c
	}
}

// next makes the next chunk the decoder's current one.
func (b *blobReader) next() error {
	b.release(b.current)
	b.current, b.rest = nil, nil
	c, ok := <-b.toDecoder
	if !ok {
		return b.readErr
	}
	b.current, b.rest = c, c.buf[:c.n]
	return nil
}

// peek returns the first n bytes, at most chunkSize, or all of a smaller blob.
// It must come before Read, which returns them again.
func (b *blobReader) peek(n int) ([]byte, error) {
	for len(b.rest) == 0 {
		if err := b.next(); err == io.EOF {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	return b.rest[:min(n, len(b.rest))], nil
}

// Read is the decoder's.
func (b *blobReader) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	b.taken += int64(n)
	return n, nil
}

// finish reads what the decoder left, and compares all that was read with the
// descriptor. The spans are complete afterwards.
func (b *blobReader) finish() error {
	b.hasher.close()
	for {
		if err := b.next(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	b.goroutine.Wait()
	b.hasher.wait()
	if b.size > 0 && b.n != b.size {
		return fmt.Errorf("%w: %d of the %d bytes of %s arrived", ErrDigestMismatch, b.n, b.size, b.digest)
	}
	return b.hasher.check(b.digest)
}

// close ends the goroutines, after the Read that may be under way, and gives
// the memory back.
func (b *blobReader) close() {
	b.hasher.close()
	select {
	case <-b.stop:
		return
	default:
	}
	close(b.stop)
	for b.next() == nil {
	}
	b.goroutine.Wait()
	b.hasher.wait()
	for range chunkCount {
		if c := <-b.free; c != nil {
			chunkPool.Put(c)
		}
	}
}
