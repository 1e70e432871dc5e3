package soci

import (
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
)

// ZtocOptions of BuildZtoc. The zero value is the default throughout.
type ZtocOptions struct {
	SpanSize            int64  // uncompressed bytes; the default is DefaultSpanSize
	BuildToolIdentifier string // the default is BuildToolIdentifier
	Limits              Limits

	// Size and Digest, when set, are what the blob must be; otherwise the
	// blob is taken as it comes.
	Size   int64
	Digest digest.Digest
}

func (o ZtocOptions) withDefaults() (ZtocOptions, error) {
	if o.SpanSize < 0 {
		return o, fmt.Errorf("%w: SpanSize is %d, not 0 (the default) or more", ErrInvalidOption, o.SpanSize)
	}
	if o.Size < 0 {
		return o, fmt.Errorf("%w: Size is %d", ErrInvalidOption, o.Size)
	}
	if o.Digest != "" {
		if err := o.Digest.Validate(); err != nil {
			return o, fmt.Errorf("%w: Digest %q: %w", ErrInvalidOption, o.Digest, err)
		}
	}
	var err error
	if o.Limits, err = o.Limits.withDefaults(); err != nil {
		return o, err
	}
	orDefault(&o.SpanSize, DefaultSpanSize)
	orDefault(&o.BuildToolIdentifier, BuildToolIdentifier)
	return o, nil
}

// BuildZtoc reads one layer blob to its end, in one pass, and builds its
// zTOC. What it holds is the finished zTOC and a few hundred kilobytes.
//
// The error is ErrTruncated, ErrCorrupt, ErrDigestMismatch, ErrUnsupported
// (an *UnsupportedError), ErrLimit or ErrInvalidOption, or the reader's own.
// When the blob is bad or unsupported and its digest is known, it is read to
// its end first: ErrDigestMismatch then tells a bad transfer from a bad layer.
// Only a compression that the first bytes rule out is not read on.
func BuildZtoc(layer io.Reader, o ZtocOptions) (*Ztoc, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	blob := newBlobReader(layer, o.Size, o.Digest)
	z, err := buildZtoc(blob, o)
	var (
		source  *blobError
		foreign *UnsupportedError
	)
	switch {
	case err == nil:
		if err := blob.verify(); err != nil {
			return nil, err
		}
		return z, nil
	case errors.As(err, &source):
		return nil, source.err
	case errors.Is(err, ErrLimit), errors.As(err, &foreign) && foreign.compressed():
		return nil, err
	}
	if o.Digest != "" {
		if verr := blob.drainAndVerify(); verr != nil {
			return nil, fmt.Errorf("%w (%v)", verr, err)
		}
	}
	return nil, err
}

func buildZtoc(blob *blobReader, o ZtocOptions) (*Ztoc, error) {
	head, err := blob.peek(tarBlock)
	if err != nil {
		return nil, err
	}
	compression, err := detectCompression(head)
	if err != nil {
		return nil, err
	}
	memory := &budget{max: o.Limits.MaxMemory}
	spans := newSpanner(o.SpanSize, memory)
	var archive chunker
	if compression == Gzip {
		archive = inflate.NewReader(blob, inflate.Events{Consumed: spans.consumed, Boundary: spans.boundary})
	} else {
		archive = newTarChunks(blob, spans)
	}

	toc := &tocScanner{archive: &archiveReader{chunks: archive}, maxEntries: o.Limits.MaxEntries, memory: memory}
	if err := toc.scan(); err != nil {
		return nil, unsupportedGzip(err)
	}
	uncompressedSize := toc.archive.pos
	if err := toc.archive.drain(); err != nil {
		return nil, unsupportedGzip(err)
	}
	if len(spans.checkpoints) > 0 {
		spans.endSpan()
	}
	return &Ztoc{
		Version:             ztocVersion,
		BuildToolIdentifier: o.BuildToolIdentifier,
		Compression:         compression,
		CompressedSize:      blob.n,
		UncompressedSize:    uncompressedSize,
		SpanSize:            o.SpanSize,
		Entries:             toc.entries,
		Checkpoints:         spans.checkpoints,
		SpanDigests:         spans.digests,
	}, nil
}

// unsupportedGzip gives what the decoder does not support its reason.
func unsupportedGzip(err error) error {
	var stream *inflate.Error
	if errors.As(err, &stream) && stream.Class == inflate.ErrUnsupported {
		return &UnsupportedError{Reason: SkipGzipHeader, Detail: stream.What}
	}
	return err
}

// chunker hands out an archive run by run; each is valid until the next call.
type chunker interface {
	Next() ([]byte, error)
}

// tarChunks is the chunker of an uncompressed layer, whose spans are all of
// the span size.
type tarChunks struct {
	r     io.Reader
	buf   []byte
	spans *spanner
	off   int64
}

func newTarChunks(r io.Reader, spans *spanner) *tarChunks {
	return &tarChunks{r: r, buf: make([]byte, 128<<10), spans: spans}
}

func (t *tarChunks) Next() ([]byte, error) {
	n, err := t.r.Read(t.buf)
	for p := t.buf[:n]; len(p) > 0; {
		into := t.off % t.spans.spanSize
		if into == 0 {
			if err := t.spans.add(Checkpoint{In: t.off, Out: t.off}); err != nil {
				return nil, err
			}
		}
		k := min(int64(len(p)), t.spans.spanSize-into)
		t.spans.consumed(p[:k])
		p = p[k:]
		t.off += k
	}
	if n > 0 {
		return t.buf[:n], nil // err comes again
	}
	return nil, err
}
