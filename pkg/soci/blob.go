package soci

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// blobError marks what went wrong below the formats: the source's own error,
// or bytes beyond those the descriptor names.
type blobError struct{ err error }

func (e *blobError) Error() string { return e.err.Error() }
func (e *blobError) Unwrap() error { return e.err }

// blobReader counts and hashes a blob on its way, and gives no more bytes
// than its descriptor allows.
type blobReader struct {
	r      io.Reader
	size   int64 // 0 when unknown
	digest digest.Digest
	hash   hash.Hash // nil when the digest is unknown
	n      int64
	err    error // sticky
	head   *bytes.Reader
}

func newBlobReader(r io.Reader, size int64, d digest.Digest) *blobReader {
	b := &blobReader{r: r, size: size, digest: d, head: bytes.NewReader(nil)}
	if d != "" {
		if d.Algorithm() == digest.SHA256 {
			b.hash = sha256.New()
		} else {
			b.hash = d.Algorithm().Hash()
		}
	}
	return b
}

// peek gives the first n bytes, or all of a smaller blob, which Read gives
// again.
func (b *blobReader) peek(n int) ([]byte, error) {
	head := make([]byte, n)
	n, err := io.ReadFull(readerFunc(b.read), head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF || errors.As(err, new(*blobError)) {
		return nil, err
	}
	b.head = bytes.NewReader(head[:n])
	return head[:n], nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (b *blobReader) Read(p []byte) (int, error) {
	if b.head.Len() > 0 {
		return b.head.Read(p)
	}
	return b.read(p)
}

func (b *blobReader) read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.size > 0 && b.n > b.size {
		b.err = &blobError{fmt.Errorf("%w: more than the %d bytes of %s arrived", ErrDigestMismatch, b.size, b.digest)}
		return 0, b.err
	}
	if b.hash != nil {
		b.hash.Write(p[:n])
	}
	if err != nil && err != io.EOF {
		err = &blobError{err}
	}
	b.err = err
	return n, err
}

// verify compares what was read to the end with the descriptor.
func (b *blobReader) verify() error {
	if b.size > 0 && b.n != b.size {
		return fmt.Errorf("%w: %d of the %d bytes of %s arrived", ErrDigestMismatch, b.n, b.size, b.digest)
	}
	if b.hash == nil {
		return nil
	}
	if got := digest.NewDigest(b.digest.Algorithm(), b.hash); got != b.digest {
		return fmt.Errorf("%w: the digest of what arrived is %s, not %s", ErrDigestMismatch, got, b.digest)
	}
	return nil
}

// drainAndVerify reads what is left, then verifies.
func (b *blobReader) drainAndVerify() error {
	buf := make([]byte, 64<<10)
	for {
		if _, err := b.read(buf); err == io.EOF {
			return b.verify()
		} else if err != nil {
			var be *blobError
			if errors.As(err, &be) {
				return be.err
			}
			return err
		}
	}
}
