package soci

import (
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Outcome is the result of indexing an image, one of its manifests or its
// SOCI-enabled image.
type Outcome string

// The outcomes of a manifest, and of an image.
const (
	// OutcomeIndexed: the SOCI indexes were built and pushed (or would have
	// been, in a dry run), or were already there with the same bytes.
	OutcomeIndexed Outcome = "indexed"
	// OutcomeNoLayer: the image is sound but has no layer to index.
	OutcomeNoLayer Outcome = "no-layer-to-index"
	// OutcomePassedOver: not an image manifest for a platform (an attestation,
	// another artifact); Reason says which.
	OutcomePassedOver Outcome = "passed-over"
	// OutcomeMissing: an image index lists the manifest, but it is not in the
	// repository, as in a copy of some platforms.
	OutcomeMissing Outcome = "missing"
	// OutcomeUnreadable: the manifest cannot be read, whatever the registry does,
	// and an image index lists it without a platform, so that it is no client's, or
	// for one that is not among Options.Platforms or Options.Choice; Reason says why.
	OutcomeUnreadable Outcome = "unreadable"
	// OutcomeFailed: the manifest could not be read, or one of its layers
	// failed; Reason says which. Nothing that refers to it was pushed. The
	// error is a ManifestErrors.
	OutcomeFailed Outcome = "failed"
)

// The outcomes of an image that is skipped: nothing was built or pushed.
const (
	// OutcomeOwnArtifact: it is a SOCI index, a SOCI-enabled image (by any
	// tool) or a part of one, or an image index annotated AnnotationUnindexed.
	OutcomeOwnArtifact Outcome = "own-artifact"
	// OutcomeOptedOut: the config of one of its platforms has the label
	// LabelSkip.
	OutcomeOptedOut Outcome = "opted-out"
	// OutcomePlatformNotChosen: none of its platforms is among Options.Choice.
	OutcomePlatformNotChosen Outcome = "platform-not-chosen"
)

// The outcomes of a SOCI-enabled image. OutcomeNoLayer and OutcomePassedOver
// are among them too: there was nothing to make. So is OutcomeFailed: it would
// have lacked a manifest.
const (
	// OutcomeTagged: its tag names it now (or would have, in a dry run).
	OutcomeTagged Outcome = "tagged"
	// OutcomeAlreadyTagged: its tag named it before.
	OutcomeAlreadyTagged Outcome = "already-tagged"
	// OutcomeUntagged: none was made, since the image has no tag, or one to
	// which the suffix cannot be added.
	OutcomeUntagged Outcome = "untagged"
	// OutcomeSuperseded: the tag of the image now names another image, or none,
	// so the suffixed tag was not moved to this one. Also that of a manifest
	// whose SOCI index v2, the only one asked for, was not pushed.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeTagImmutable: the error is ErrTagImmutable.
	OutcomeTagImmutable Outcome = "tag-immutable"
	// OutcomeTagTaken: the error is ErrTagTaken.
	OutcomeTagTaken Outcome = "tag-taken"
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
	SkipNotTar      SkipReason = "not-a-tar"
	SkipForeign     SkipReason = "not-distributable"
	SkipSparseFile  SkipReason = "sparse-file"
	SkipGlobalPAX   SkipReason = "global-pax-header"
	SkipEntryType   SkipReason = "tar-entry-type"
	SkipEntrySize   SkipReason = "entry-size"
	SkipGzipHeader  SkipReason = "gzip-header"
	// SkipZtocTooLarge: the zTOC would be larger than the layer, and than
	// SmallZtoc.
	SkipZtocTooLarge SkipReason = "ztoc-too-large"
)

// The reasons for skipping a layer because clients would refuse its zTOC, or
// accept it and show files that the layer does not have: see Ztoc.Misread.
const (
	SkipEmptySpan   SkipReason = "empty-span"
	SkipEmptyXattr  SkipReason = "empty-xattr"
	SkipModTime     SkipReason = "modification-time"
	SkipParent      SkipReason = "parent-not-a-directory"
	SkipLinkTarget  SkipReason = "hard-link-target"
	SkipRepeatedDir SkipReason = "repeated-directory"
	SkipOwner       SkipReason = "owner"
	SkipFileMode    SkipReason = "file-mode"
	SkipEntryName   SkipReason = "entry-name"
)

// LayerResult is the result for one occurrence of a layer in a manifest.
type LayerResult struct {
	Layer ocispec.Descriptor

	// Reason is empty for a layer that has a zTOC; Detail adds to it.
	Reason SkipReason
	Detail string

	// Reused: the layer was not read, since its zTOC was there before, or the
	// Reason was known.
	Reused bool

	// The rest is zero for a skipped layer.
	Ztoc             ocispec.Descriptor // as the SOCI index lists it
	Compression      Compression
	UncompressedSize int64 // bytes of the tar archive
	Spans            int
	Entries          int // of the table of contents
	Seconds          float64
}

// Indexed reports whether the layer has a zTOC.
func (l LayerResult) Indexed() bool { return l.Reason == "" && l.Ztoc.Digest != "" }

// ManifestResult is the result for one manifest of the image.
type ManifestResult struct {
	Manifest ocispec.Descriptor
	Platform string // "linux/arm64", normalized, or "unknown"; empty when passed over
	Outcome  Outcome
	Reason   string // what it is, or why it has no SOCI index; empty for OutcomeIndexed

	// Layers are those of which it is known whether they can be indexed. With V2
	// alone, the failure of another manifest ends the work on all others.
	Layers []LayerResult

	// Prefetch is nil when nothing was to be prefetched.
	Prefetch *PrefetchResult

	// Index is the SOCI index v1, IndexV2 the SOCI index v2, as far as the
	// version asked for has them and the outcome is OutcomeIndexed.
	Index, IndexV2 ocispec.Descriptor

	// AlreadyThere: these SOCI indexes were in the repository before.
	AlreadyThere bool

	// Enabled is the manifest in the SOCI-enabled image that corresponds to
	// this one; it has no digest when there is no SOCI-enabled image.
	Enabled ocispec.Descriptor
}

// whyNoLayer says what keeps the layers from being indexed, counted by reason.
func (m *ManifestResult) whyNoLayer() string {
	if len(m.Layers) == 0 {
		return "it has no layers"
	}
	counts := map[SkipReason]int{}
	for _, l := range m.Layers {
		counts[l.Reason]++
	}
	return "its layers: " + SkippedText(counts)
}

// EnabledResult is the result for the SOCI-enabled image.
type EnabledResult struct {
	// Outcome is empty when V2 was not asked for; Reason adds to it.
	Outcome Outcome
	Reason  string

	Tag string // with the suffix; empty when the image has no tag

	// Image is the image index that Tag names after OutcomeTagged or
	// OutcomeAlreadyTagged, and otherwise the one that it would have; it has no
	// digest when none was made.
	Image ocispec.Descriptor

	// Unindexed: no layer could be indexed, and Image lists the original
	// manifests.
	Unindexed bool
}

// Result of IndexImage.
type Result struct {
	Image     ocispec.Descriptor // what was asked for: image manifest or image index
	Version   IndexVersion
	Manifests []ManifestResult // in the order of the image index
	Enabled   EnabledResult

	// LeftAlone is OutcomeOwnArtifact, OutcomeOptedOut or
	// OutcomePlatformNotChosen, or empty, and Reason says why; then there are no
	// Manifests. Lacking are the platforms
	// without a SOCI index of a SOCI-enabled image that is left alone although
	// they have layers to index.
	LeftAlone Outcome
	Reason    string
	Lacking   []string

	// SearchError says why not every zTOC that could have been reused was
	// found; the layers were read instead.
	SearchError error

	// Warnings say, of a platform or a tag that each names first, what was asked
	// for and is not prefetched, and that prefetch artifacts were lost.
	Warnings []string

	BytesRead int64 // compressed bytes of layers that were transferred

	// BytesPushed is of what was not there before: zTOCs, SOCI indexes, manifests;
	// not of the config of SOCI indexes, 2 bytes.
	BytesPushed int64

	Seconds float64
}

// Outcome of the whole image: the one for which it was skipped; else
// OutcomeFailed when any manifest failed; else OutcomeSuperseded,
// OutcomeTagImmutable, OutcomeTagTaken or, when only V2 was asked for,
// OutcomeUntagged, as the SOCI-enabled image has it; else OutcomeIndexed when
// any manifest was indexed, OutcomeNoLayer when any was an image,
// OutcomeMissing when any is not in the repository, and OutcomePassedOver
// otherwise.
func (r *Result) Outcome() Outcome {
	switch e := r.Enabled.Outcome; {
	case r.LeftAlone != "":
		return r.LeftAlone
	case slices.ContainsFunc(r.Manifests, func(m ManifestResult) bool { return m.Outcome == OutcomeFailed }):
		return OutcomeFailed
	case e == OutcomeSuperseded, e == OutcomeTagImmutable, e == OutcomeTagTaken, e == OutcomeUntagged &&
		!r.Version.v1():
		return e
	}
	outcome := OutcomePassedOver
	for _, m := range r.Manifests {
		switch m.Outcome {
		case OutcomeIndexed:
			return OutcomeIndexed
		case OutcomeNoLayer:
			outcome = OutcomeNoLayer
		case OutcomeMissing:
			if outcome == OutcomePassedOver {
				outcome = OutcomeMissing
			}
		}
	}
	return outcome
}

// warn adds warnings about a platform or a tag.
func (r *Result) warn(of string, warnings []string) {
	for _, w := range warnings {
		r.Warnings = append(r.Warnings, of+": "+w)
	}
}

// withoutEnabled takes out what was meant for a SOCI-enabled image that is not
// pushed.
func (r *Result) withoutEnabled() {
	r.Enabled.Outcome = OutcomeSuperseded
	for i := range r.Manifests {
		m := &r.Manifests[i]
		m.IndexV2, m.Enabled = ocispec.Descriptor{}, ocispec.Descriptor{}
		if m.Outcome == OutcomeIndexed && m.Index.Digest == "" {
			m.Outcome = OutcomeSuperseded
		}
	}
}
