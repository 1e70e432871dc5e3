package soci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

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

	// MediaType of the layer. If it is one of zstd, a layer that begins as such a
	// stream is not read on. The default is any other.
	MediaType string

	// AllowMisread has the zTOC built, as upstream does, also where Ztoc.Misread
	// finds that clients would read the layer wrongly. The default is an
	// *UnsupportedError.
	AllowMisread bool

	// LayerWorkers is how many goroutines may decompress a gzip layer at once,
	// no more than there are processors. It needs Size, 16 MiB or more. The
	// result is the same. The default is the number of processors; 1 is one.
	LayerWorkers int

	maxZtoc  int64 // bytes of windows from which on the zTOC is too large; 0 is no limit
	parallel parallelism
}

func (o ZtocOptions) withDefaults() (ZtocOptions, error) {
	if o.SpanSize < 0 {
		return o, invalidOption("SpanSize is %d, not 0 (the default) or more", o.SpanSize)
	}
	if o.Size < 0 {
		return o, invalidOption("Size is %d", o.Size)
	}
	if o.LayerWorkers < 0 {
		return o, invalidOption("LayerWorkers is %d, not 0 (the default) or more", o.LayerWorkers)
	}
	if o.Digest != "" {
		if err := o.Digest.Validate(); err != nil {
			return o, invalidOption("Digest %q: %w", o.Digest, err)
		}
	}
	var err error
	if o.Limits, err = o.Limits.withDefaults(); err != nil {
		return o, err
	}
	orDefault(&o.SpanSize, DefaultSpanSize)
	orDefault(&o.BuildToolIdentifier, BuildToolIdentifier)
	o.parallel = newParallelism()
	orDefault(&o.LayerWorkers, o.parallel.processors.max)
	return o, nil
}

// BuildZtoc reads one layer blob to its end, in one pass, and builds its
// zTOC. What it holds is the finished zTOC and a few hundred kilobytes; with
// several LayerWorkers, about 15 MB more for each, as far as Limits.MaxMemory
// has room.
//
// The error is ErrTruncated, ErrCorrupt, ErrDigestMismatch, ErrUnsupported (an
// *UnsupportedError), ErrLimit or ErrInvalidOption, or the reader's own. When
// the blob is bad or unsupported and its digest is known, it is read to its end
// first: ErrDigestMismatch then distinguishes a bad transfer from a bad layer.
// What is not read on is a layer that is of zstd as its MediaType says, and one for
// which there is not enough memory, a *MemoryError.
func BuildZtoc(layer io.Reader, o ZtocOptions) (*Ztoc, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := o.parallel.processors.enter(context.Background()); err != nil { // there is no other layer
		return nil, err
	}
	defer o.parallel.processors.leave()
	alone := newMemory(o.Limits.MaxMemory).enter(0, nil)
	return buildZtoc(layer, o, alone)
}

// buildZtoc is BuildZtoc for options with defaults, within a budget.
func buildZtoc(layer io.Reader, o ZtocOptions, memory *tenant) (*Ztoc, error) {
	if err := memory.take(buildCost); err != nil {
		return nil, explainMemory(err, o)
	}
	blob := newBlobReader(layer, o.Size, o.Digest)
	defer blob.close()
	z, err := decodeLayer(blob, o, memory)
	var (
		source  *blobError
		foreign *UnsupportedError
		lack    *MemoryError
	)
	switch {
	case err == nil:
		err = blob.finish()
		if err == nil {
			z.CompressedSize = blob.n
			z.SpanDigests = blob.hasher.digests
			return z, nil
		}
	case errors.As(err, &lack):
		return nil, explainMemory(err, o)
	case errors.Is(err, errPreempted),
		errors.As(err, &foreign) && foreign.Reason == SkipZstd && IsZstd(o.MediaType):
		return nil, err
	case o.Digest != "" && !errors.As(err, &source):
		if verr := blob.finish(); verr != nil {
			err = fmt.Errorf("%w (%v)", verr, err)
		}
	}
	if errors.As(err, &source) {
		return nil, source.err
	}
	return nil, err
}

// unpackedRatio is how many times a layer's size its archive is taken to have,
// to estimate the memory for it: more than most have.
const unpackedRatio = 3

// explainMemory adds to a *MemoryError how much would be enough: for the buffers
// and for the windows of the layer's checkpoints, each held twice, and at
// least twice what was too little. It depends on nothing that was read, so that
// the same layer returns the same error.
func explainMemory(err error, o ZtocOptions) error {
	e, ok := errors.AsType[*MemoryError](err)
	if !ok {
		return err
	}
	const quantum = 64 << 20
	spans := min(o.Size/o.SpanSize, 1<<30) * unpackedRatio
	need := buildCost + spans*2*inflate.WindowSize
	return &MemoryError{Max: e.Max, Enough: (max(need, 2*e.Max) + quantum - 1) / quantum * quantum}
}

// buildCost is what the buffers of one layer take: a decoder's, and the
// chunks of a blob.
const buildCost = inflate.ReaderSize + chunkCount*chunkSize

// decoders are kept, since their buffers take longer to make than a small
// layer takes to decode.
var decoders = sync.Pool{New: func() any { return new(inflate.Reader) }}

// decodeLayer takes from a layer all that a zTOC needs but its size and the
// spans' digests, which are known when the blob is finished.
func decodeLayer(blob *blobReader, o ZtocOptions, memory *tenant) (*Ztoc, error) {
	head, err := blob.peek(tarBlock)
	if err != nil {
		return nil, err
	}
	compression, err := detectCompression(head)
	if err != nil {
		return nil, err
	}
	spans := &spanner{spanSize: o.SpanSize, maxZtoc: o.maxZtoc, memory: memory, hasher: blob.hasher}
	reader := &archiveReader{blob: blob, limits: o.Limits}
	end := func() {}
	if compression == Gzip {
		if parallel, endParallel := newParallel(blob, o, memory, spans); parallel != nil {
			end = sync.OnceFunc(endParallel)
			defer end()
			reader.chunks, reader.parallel = &collecting{Parallel: parallel}, parallel
		} else {
			decoder := decoders.Get().(*inflate.Reader)
			defer decoders.Put(decoder)
			decoder.Reset(blob, inflate.Events{Consumed: blob.hasher.consumed, Boundary: spans.boundary})
			defer decoder.Reset(nil, inflate.Events{})
			reader.chunks = decoder
		}
	} else {
		reader.chunks = newTarChunks(blob, spans)
	}

	toc := &tocScanner{archive: reader, maxEntries: o.Limits.MaxEntries, memory: memory}
	if err := toc.scan(); err != nil {
		return nil, unsupportedGzip(err)
	}
	uncompressedSize := toc.archive.pos
	if err := toc.archive.drain(); err != nil {
		return nil, unsupportedGzip(err)
	}
	blob.hasher.end()
	end()
	if err := memory.settle(); err != nil {
		return nil, err
	}
	z := &Ztoc{
		Version:             ztocVersion,
		BuildToolIdentifier: o.BuildToolIdentifier,
		Compression:         compression,
		UncompressedSize:    uncompressedSize,
		SpanSize:            o.SpanSize,
		Entries:             toc.all(),
		Checkpoints:         spans.checkpoints,
	}
	if o.AllowMisread {
		return z, nil
	}
	return z, z.misread(memory.take)
}

// unsupportedGzip returns the reason for what the decoder does not support.
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
			if err := t.spans.add(Checkpoint{In: t.off, Out: t.off}, nil); err != nil {
				return nil, err
			}
		}
		k := min(int64(len(p)), t.spans.spanSize-into)
		t.spans.hasher.consumed(int(k))
		p = p[k:]
		t.off += k
	}
	if n > 0 {
		return t.buf[:n], nil // err comes again
	}
	return nil, err
}
