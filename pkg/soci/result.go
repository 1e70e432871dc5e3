package soci

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
	SkipEntrySize   SkipReason = "entry-size"
	SkipGzipHeader  SkipReason = "gzip-header"
)

// LayerResult is what became of one occurrence of a layer in a manifest.
type LayerResult struct {
	Layer ocispec.Descriptor

	// Reason is empty for a layer that has a zTOC; Detail adds to it.
	Reason SkipReason
	Detail string

	// The rest is zero for a skipped layer.
	Ztoc             ocispec.Descriptor // as the SOCI index lists it
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
	Platform string // "linux/arm64", normalized; empty when passed over
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
