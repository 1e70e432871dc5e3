package estimate

import (
	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// Source is where the zTOCs of an image manifest come from.
type Source string

// The sources.
const (
	SourceV1    Source = "v1" // of the SOCI index v1
	SourceV2    Source = "v2"
	SourceBuilt Source = "built" // the image has none
)

// Image is the estimate for one image manifest.
type Image struct {
	Platform  string        `json:"platform"`
	Manifest  digest.Digest `json:"manifest"`
	Source    Source        `json:"source"`
	Index     Content       `json:"index,omitzero"`      // the SOCI index; one that was built has no digest
	Tag       string        `json:"sociTag,omitempty"`   // the suffixed tag that led to it
	LeftAlone string        `json:"leftAlone,omitempty"` // why "index" would build none
	Files     Files         `json:"files"`
	Layers    []Layer       `json:"layers"` // the lowest first
	Full      Start         `json:"fullPull"`
	Lazy      Start         `json:"lazyStart"`
	Prefetch  Start         `json:"lazyStartWithPrefetch"`

	// PrefetchFiles are those of what was asked for that has a file, for
	// "index --prefetch-files-json", and Label names them to the image's own label;
	// it is empty if a label cannot. PrefetchLimits says why not, and which bounds
	// of prefetching are exceeded.
	PrefetchFiles  []string `json:"prefetchFiles"`
	Label          string   `json:"label,omitempty"`
	PrefetchLimits []string `json:"prefetchLimits,omitempty"`
}

// Files counts what was asked for.
type Files struct {
	Asked       int `json:"asked"` // different paths and patterns
	Found       int `json:"found"` // of these, with a file in a layer that has a zTOC
	Directories int `json:"directories"`
	NotFound    int `json:"notFound"`

	// Different is how many different files were found: a pattern has several, and
	// links may lead to the same.
	Different int `json:"different"`

	Missing []Missing `json:"missingFiles,omitempty"` // the first of those not found
	Kernel  int       `json:"kernel"`                 // how many of those not found are below /proc, /sys or /dev
}

// Missing is a path or pattern without a file.
type Missing struct {
	Path   string          `json:"path"`
	Reason soci.FileReason `json:"reason"` // absent, removed, unreachable
	Detail string          `json:"detail"`
}

// maxMissing is how many are listed.
const maxMissing = 100

// Layer is what is fetched of a layer. One without a zTOC is fetched whole, before
// the container starts.
type Layer struct {
	Layer digest.Digest `json:"layer"`
	Size  int64         `json:"size"` // compressed bytes
	Ztoc  *Content      `json:"ztoc,omitempty"`
	Files int           `json:"fileCount"` // found in it

	// Skipped is why it has no zTOC, if zTOCs were built.
	Skipped soci.SkipReason `json:"skipped,omitempty"`

	SpanCount     int    `json:"spanCount"` // that the layer has
	ReadSpans     int    `json:"readSpans"` // that are fetched to read the files
	ReadBytes     int64  `json:"readBytes"` // of these, compressed
	PrefetchSpans int    `json:"prefetchSpans"`
	Spans         []Span `json:"spans,omitempty"` // those that are read or prefetched

	repeated bool // the same layer is in the image before
}

// Content is a blob or a manifest of the registry.
type Content struct {
	Digest digest.Digest `json:"digest,omitempty"`
	Size   int64         `json:"size"` // bytes
}

// Span of a layer.
type Span struct {
	Span     int32 `json:"span"`       // its number, from 0 on
	Offset   int64 `json:"offset"`     // compressed, in the layer
	Size     int64 `json:"size"`       // compressed bytes
	Read     bool  `json:"read"`       // fetched to read the files, or their tar headers
	Prefetch bool  `json:"prefetched"` // named by a prefetch artifact for the files
}
