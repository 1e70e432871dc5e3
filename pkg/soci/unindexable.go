package soci

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationUnindexable, on a SOCI index or on the image index that stands for
// an unindexed image, names the layers of the image that were read and cannot be
// indexed, so that they are not read again with the next push. That of an image
// without such layers does not have it. The value is "1,<span size>,<digest>=<reason>,...", in the order of
// the image's layers; the number is that of the rules, unindexableRules.
const AnnotationUnindexable = "soci-index-builder.unindexable-layers"

// unindexableRules changes when a layer that could not be indexed can be, or
// the other way round: what earlier rules found is then not believed any more.
const unindexableRules = "1"

// maxUnindexable bounds the annotation's value, in bytes: 1,024 layers with
// the longest digest and reason fit.
const maxUnindexable = 256 << 10 // 256 KiB

// unindexableReasons are those that only the whole content of a layer shows.
// Others are found by the descriptor or by the first bytes.
var unindexableReasons = map[SkipReason]bool{
	SkipNotTar: true, SkipSparseFile: true, SkipGlobalPAX: true, SkipEntryType: true, SkipEntrySize: true,
	SkipGzipHeader: true, SkipZtocTooLarge: true, SkipEmptySpan: true, SkipEmptyXattr: true, SkipModTime: true,
	SkipParent: true, SkipLinkTarget: true, SkipRepeatedDir: true, SkipOwner: true, SkipFileMode: true,
	SkipEntryName: true,
}

// OfContent reports whether a layer that was read can be skipped for the reason:
// its descriptor does not show it.
func (r SkipReason) OfContent() bool {
	return unindexableReasons[r] || r == SkipZstd || r == SkipCompression
}

// unindexable is the value of AnnotationUnindexable for layers, or empty.
func (w *layerWork) unindexable(layers []ocispec.Descriptor) string {
	var b strings.Builder
	for _, layer := range distinct(layers) {
		if reason := w.result(layer).Reason; unindexableReasons[reason] {
			fmt.Fprintf(&b, ",%s=%s", layer.Digest, reason)
		}
	}
	if b.Len() == 0 || b.Len() > maxUnindexable-100 {
		return ""
	}
	return fmt.Sprintf("%s,%d%s", unindexableRules, w.o.SpanSize, b.String())
}

// parseUnindexable reads the annotation of a SOCI index, as far as it was made
// by these rules and for this span size.
func parseUnindexable(value string, spanSize int64) map[digest.Digest]SkipReason {
	list, ok := strings.CutPrefix(value, fmt.Sprintf("%s,%d,", unindexableRules, spanSize))
	if !ok || len(value) > maxUnindexable {
		return nil
	}
	out := make(map[digest.Digest]SkipReason)
	for item := range strings.SplitSeq(list, ",") {
		layer, reason, _ := strings.Cut(item, "=")
		if unindexableReasons[SkipReason(reason)] {
			out[digest.Digest(layer)] = SkipReason(reason)
		}
	}
	return out
}
