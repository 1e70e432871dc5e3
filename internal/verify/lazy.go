package verify

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sort"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// Ranger fetches a part of a blob.
type Ranger interface {
	// FetchRange opens n bytes of the blob that desc names, from offset off.
	FetchRange(ctx context.Context, desc ocispec.Descriptor, off, n int64) (io.ReadCloser, error)
}

var (
	// ErrDifference: what was read through the zTOC, or what it says, is not
	// what the layer holds.
	ErrDifference = errors.New("difference")

	errSpanDigest = fmt.Errorf("%w: the span's bytes do not have the digest that the zTOC names", ErrDifference)
)

// LazyLayer reads a layer in the way of a client that has not downloaded it:
// span by span, each fetched by its range and decoded from its checkpoint. It
// holds no content. Its methods may be called concurrently.
type LazyLayer struct {
	src   Ranger
	layer ocispec.Descriptor
	ztoc  *soci.Ztoc
	spans []soci.Span
}

// NewLazyLayer reads layer by way of z. An ErrDifference says that z cannot
// be the zTOC of a layer of this size.
func NewLazyLayer(src Ranger, layer ocispec.Descriptor, z *soci.Ztoc) (*LazyLayer, error) {
	if z.CompressedSize != layer.Size {
		return nil, fmt.Errorf("%w: the zTOC is for a layer of %d bytes, the layer has %d", ErrDifference,
			z.CompressedSize, layer.Size)
	}
	spans := z.Spans()
	if n := len(z.Checkpoints); n != len(spans) || n != len(z.SpanDigests) {
		return nil, fmt.Errorf("%w: the zTOC has %d checkpoints, %d span digests and %d spans", ErrDifference,
			n, len(z.SpanDigests), len(spans))
	}
	if len(spans) == 0 {
		return nil, fmt.Errorf("%w: the zTOC has no span", ErrDifference)
	}
	var out int64
	for i, s := range spans {
		if s.Start < 0 || s.End < s.Start || s.End > layer.Size {
			return nil, fmt.Errorf("%w: span %d is said to be at %d to %d of %d compressed bytes", ErrDifference, i,
				s.Start, s.End, layer.Size)
		}
		if s.OutStart < out || (i == 0 && s.OutStart != 0) {
			return nil, fmt.Errorf("%w: span %d is said to begin at %d of the archive, behind %d", ErrDifference, i,
				s.OutStart, out)
		}
		out = s.OutStart
	}
	if end := spans[len(spans)-1].End; end != layer.Size {
		return nil, fmt.Errorf("%w: the last span ends at %d of %d compressed bytes", ErrDifference, end, layer.Size)
	}
	return &LazyLayer{src: src, layer: layer, ztoc: z, spans: spans}, nil
}

// lastSpan reports whether span i is the last one, which goes on to the end of
// the blob and may hold more than its part of the archive.
func (l *LazyLayer) lastSpan(i int) bool { return i == len(l.spans)-1 }

// spanReader returns the uncompressed content of one span.
type spanReader struct {
	body    io.ReadCloser
	hash    hash.Hash
	raw     *bufio.Reader // the compressed bytes, hashed as they come
	want    digest.Digest
	size    int64 // compressed bytes expected
	fetched int64 // compressed bytes read
	io.Reader
}

// openSpan fetches span i and starts a decoder at its checkpoint. The caller
// closes the reader. An error of this and of the reader that is no
// transferError is one of decoding.
func (l *LazyLayer) openSpan(ctx context.Context, i int) (*spanReader, error) {
	s := l.spans[i]
	r := &spanReader{hash: sha256.New(), want: s.Digest, size: s.End - s.Start}
	if r.size == 0 {
		r.body = io.NopCloser(eofReader{})
	} else {
		body, err := l.src.FetchRange(ctx, l.layer, s.Start, r.size)
		if err != nil {
			return nil, &transferError{err}
		}
		r.body = body
	}
	r.raw = bufio.NewReaderSize(hashing{r}, 64<<10)
	if l.ztoc.Compression == soci.Uncompressed {
		r.Reader = r.raw
		return r, nil
	}
	checkpoint := l.ztoc.Checkpoints[i]
	f, err := newInflater(r.raw, checkpoint.Bits, checkpoint.Window)
	if err != nil {
		r.Close()
		return nil, err
	}
	r.Reader = f
	return r, nil
}

// eofReader is an empty reader.
type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// hashing reads the compressed bytes of a span.
type hashing struct{ r *spanReader }

func (h hashing) Read(p []byte) (int, error) {
	n, err := h.r.body.Read(p)
	h.r.hash.Write(p[:n])
	h.r.fetched += int64(n)
	switch {
	case err == io.EOF && h.r.fetched < h.r.size:
		return n, &transferError{fmt.Errorf("%d of %d bytes: %w", h.r.fetched, h.r.size, io.ErrUnexpectedEOF)}
	case err != nil && err != io.EOF:
		return n, &transferError{err}
	}
	return n, err
}

// transferError is a failure to get bytes, as opposed to one to decode them.
type transferError struct{ err error }

func (e *transferError) Error() string { return e.err.Error() }
func (e *transferError) Unwrap() error { return e.err }

// finish reads what is left of the span's compressed bytes and compares their
// digest: errSpanDigest, or the error of the transfer.
func (r *spanReader) finish() error {
	if _, err := io.Copy(io.Discard, r.raw); err != nil {
		return err
	}
	if r.want != digest.NewDigest(digest.SHA256, r.hash) {
		return errSpanDigest
	}
	return nil
}

func (r *spanReader) Close() error { return r.body.Close() }

// ReadFile writes the content of one regular file to w and returns the number
// of compressed bytes that were fetched for it. Only the spans that the file
// lies in are fetched, each wholly, and their digests checked; the content
// that was written is good only if the error is nil. A failure to decode and a
// wrong digest are ErrDifference.
func (l *LazyLayer) ReadFile(ctx context.Context, e soci.Entry, w io.Writer) (fetched int64, err error) {
	pos, end := e.Offset, e.Offset+e.Size
	if pos < 0 || end < pos {
		return 0, fmt.Errorf("%w: %q is said to be %d bytes at %d", ErrDifference, e.Name, e.Size, e.Offset)
	}
	// The last span that begins at or before the file; of several that begin
	// at the same place only the last one has output.
	first := sort.Search(len(l.spans), func(i int) bool { return l.spans[i].OutStart > pos }) - 1
	for i := first; i < len(l.spans) && pos < end; i++ {
		until := end
		if !l.lastSpan(i) {
			until = min(end, l.spans[i+1].OutStart)
		}
		n, err := l.readSpan(ctx, i, pos-l.spans[i].OutStart, until-pos, w)
		fetched += n
		if err != nil {
			return fetched, fmt.Errorf("reading %q: %w", e.Name, err)
		}
		pos = until
	}
	return fetched, nil
}

// readSpan writes n bytes of span i, from the skip-th on, to w.
func (l *LazyLayer) readSpan(ctx context.Context, i int, skip, n int64, w io.Writer) (fetched int64, err error) {
	r, err := l.openSpan(ctx, i)
	if err != nil {
		return 0, spanError(i, l.spans[i].OutStart, err)
	}
	defer r.Close()
	got, err := io.CopyN(io.Discard, r, skip)
	if err == nil {
		to := &sink{w: w}
		got, err = io.CopyN(to, r, n)
		if to.err != nil {
			return r.fetched, to.err
		}
		got += skip
	}
	if err != nil {
		return r.fetched, spanError(i, l.spans[i].OutStart+got, err)
	}
	if err := r.finish(); err != nil {
		return r.fetched, spanError(i, l.spans[i].OutStart, err)
	}
	return r.fetched, nil
}

// sink keeps the writer's error apart from those of reading.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// spanError puts an error of span i, from decoding its output at offset at of
// the archive, into the terms of this package's callers.
func spanError(i int, at int64, err error) error {
	var transfer *transferError
	switch {
	case errors.As(err, &transfer):
		return fmt.Errorf("fetching span %d: %w", i, transfer.err)
	case errors.Is(err, errSpanDigest):
		return fmt.Errorf("span %d: %w", i, err)
	}
	return fmt.Errorf("%w: span %d cannot be decoded beyond offset %d of the archive: %w", ErrDifference, i, at,
		noEOF(err))
}
