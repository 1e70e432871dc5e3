package soci

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source gives the content of the repository that holds the image.
type Source interface {
	// Fetch opens the content that desc names, from its first byte. The
	// caller closes it. Content is verified by this package, not by Fetch.
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}

// Destination takes the finished artifacts, in the same repository.
type Destination interface {
	// Exists reports whether the blob or manifest is already there.
	Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error)

	// Push stores the blob or manifest that desc names. content is always a
	// *bytes.Reader, so a failed attempt can be rewound and sent again.
	Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
}

// Options of IndexImage. The zero value is the default throughout.
type Options struct {
	// SpanSize in uncompressed bytes. The default is DefaultSpanSize.
	SpanSize int64

	// MinLayerSize in compressed bytes: a layer of exactly this size is
	// indexed, a smaller one is not. The default is DefaultMinLayerSize; 1
	// indexes every layer.
	MinLayerSize int64

	// BuildToolIdentifier names the output format in zTOCs and SOCI indexes.
	// The default is BuildToolIdentifier.
	BuildToolIdentifier string

	// Platforms limits the work to the image manifests of these platforms, as
	// "os/arch[/variant]". The default is every platform of the image. A
	// platform that the image does not have is an error.
	Platforms []string

	// Concurrency is the number of layers worked on at once. The default is
	// the number of processors available.
	Concurrency int

	// Limits bound what an image may cost. The defaults stand at Limits.
	Limits Limits

	// DryRun builds everything and pushes nothing; the Destination may be nil.
	DryRun bool

	// Progress, if set, is called from several goroutines at once with the
	// compressed bytes of a layer that have been read so far; at the end of
	// the layer n is layer.Size.
	Progress func(layer ocispec.Descriptor, n int64)
}

// Outcome says how the work on one manifest ended.
type Outcome string

// The outcomes of a manifest.
const (
	// OutcomeIndexed: the SOCI index was built and pushed (or would have
	// been, in a dry run), or was already there with the same bytes.
	OutcomeIndexed Outcome = "indexed"
	// OutcomeNoLayer: the image is sound but has no layer to index.
	OutcomeNoLayer Outcome = "no-layer-to-index"
	// OutcomePassedOver: not an image manifest for a platform (an
	// attestation, a SOCI index, another artifact); Reason tells which.
	OutcomePassedOver Outcome = "passed-over"
)

// SkipReason is why a layer has no zTOC.
type SkipReason string

// The reasons for which a layer is skipped.
const (
	SkipTooSmall    SkipReason = "below-min-layer-size"
	SkipZstd        SkipReason = "zstd"
	SkipCompression SkipReason = "unsupported-compression"
	SkipEncrypted   SkipReason = "encrypted"
	SkipNotALayer   SkipReason = "not-a-layer"
	SkipForeign     SkipReason = "not-distributable"
	SkipSparseFile  SkipReason = "sparse-file"
	SkipGlobalPAX   SkipReason = "global-pax-header"
	SkipEntryType   SkipReason = "tar-entry-type"
)

// LayerResult is what became of one occurrence of a layer in a manifest.
type LayerResult struct {
	Layer ocispec.Descriptor

	// Reason is empty for a layer that has a zTOC; Detail adds to it.
	Reason SkipReason
	Detail string

	// The rest is zero for a skipped layer.
	Ztoc             ocispec.Descriptor
	Compression      Compression
	UncompressedSize int64 // bytes of the tar archive
	Spans            int
	Files            int // entries of the table of contents
	Seconds          float64
}

// Indexed reports whether the layer has a zTOC.
func (l LayerResult) Indexed() bool { return l.Reason == "" }

// ManifestResult is what became of one manifest of the image.
type ManifestResult struct {
	Manifest ocispec.Descriptor
	Platform string // "linux/arm64/v8"; empty when passed over
	Outcome  Outcome
	Reason   string // for OutcomePassedOver: what it is
	Layers   []LayerResult

	// Index is the SOCI index manifest, for OutcomeIndexed.
	Index ocispec.Descriptor
}

// Result of IndexImage.
type Result struct {
	Image     ocispec.Descriptor // what was asked for: image manifest or image index
	Manifests []ManifestResult   // in the order of the image index

	BytesRead   int64 // compressed bytes of layers
	BytesPushed int64 // zTOCs and SOCI indexes that were not there before
	Seconds     float64
}

// Outcome of the whole image: OutcomeIndexed when any manifest was indexed,
// else OutcomeNoLayer when any was an image, else OutcomePassedOver.
func (r *Result) Outcome() Outcome {
	outcome := OutcomePassedOver
	for _, m := range r.Manifests {
		switch m.Outcome {
		case OutcomeIndexed:
			return OutcomeIndexed
		case OutcomeNoLayer:
			outcome = OutcomeNoLayer
		}
	}
	return outcome
}

// IndexImage builds the SOCI index v1 of every image manifest that image
// leads to and pushes it as a referrer of that manifest.
func IndexImage(ctx context.Context, src Source, dst Destination, image ocispec.Descriptor, o Options) (*Result, error) {
	return nil, errors.New("internal error: not built yet")
}
