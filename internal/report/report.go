// Package report describes the outcome of indexing an image, in the JSON form
// shared by the command line's output and the generator's answer.
//
// Start with [New]; log lines, metrics and announcements use the numbers of
// [CountLayers].
package report

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// Image says what became of an image. Its JSON names are documented in the help
// text of the command index.
type Image struct {
	// Reference is the image as a command line names it; Repository and Tag are
	// as an event names them.
	Reference  string `json:"reference,omitempty"`
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`

	Error       string            `json:"error,omitempty"`
	Digest      digest.Digest     `json:"digest,omitempty"`
	Outcome     soci.Outcome      `json:"outcome,omitempty"`
	Reason      string            `json:"reason,omitempty"` // why it was left alone, or failed
	Version     soci.IndexVersion `json:"version,omitempty"`
	SociTag     string            `json:"sociTag,omitempty"`    // the suffixed tag, unless only V1 was asked for
	SociDigest  digest.Digest     `json:"sociDigest,omitempty"` // of the SOCI-enabled image, if one was made
	DryRun      bool              `json:"dryRun,omitempty"`
	BytesRead   int64             `json:"bytesRead"`   // compressed bytes of layers
	BytesPushed int64             `json:"bytesPushed"` // what was not there before
	Seconds     float64           `json:"seconds"`
	SearchError string            `json:"searchError,omitempty"` // why not all earlier zTOCs were found
	OlderError  string            `json:"olderError,omitempty"`  // why not all older SOCI indexes v1 were found
	Warnings    []string          `json:"warnings,omitempty"`    // what is not prefetched, or no longer
	Enabled     *Enabled          `json:"enabled,omitempty"`     // unless only V1 was asked for
	Manifests   []Manifest        `json:"manifests,omitempty"`

	// LayersOmitted counts the layers that Bound took from the lists.
	LayersOmitted int `json:"layersOmitted,omitempty"`
}

// Enabled is the verdict on the SOCI-enabled image of SOCI index v2, whose tag
// and digest are in Image.
type Enabled struct {
	Outcome   soci.Outcome `json:"outcome"`
	Reason    string       `json:"reason,omitempty"`
	Unindexed bool         `json:"unindexed,omitempty"` // it lists the original manifests
}

// Manifest says what became of one manifest of the image.
type Manifest struct {
	Digest       digest.Digest `json:"digest"`
	Platform     string        `json:"platform,omitempty"` // "linux/arm64/v8"
	Outcome      soci.Outcome  `json:"outcome"`
	Reason       string        `json:"reason,omitempty"`          // why it has no SOCI index
	Index        *Content      `json:"index,omitempty"`           // the SOCI index v1
	IndexV2      *Content      `json:"indexV2,omitempty"`         // the SOCI index v2
	Enabled      *Content      `json:"enabledManifest,omitempty"` // its manifest in the SOCI-enabled image
	AlreadyThere bool          `json:"alreadyThere,omitempty"`
	Prefetch     *Prefetch     `json:"prefetch,omitempty"`     // if any was asked for
	Older        []Older       `json:"olderIndexes,omitempty"` // of the command line alone
	Layers       []Layer       `json:"layers,omitempty"`
}

// Older is a SOCI index v1 of this project that a new one has replaced.
type Older struct {
	Digest  digest.Digest `json:"digest"`
	Outcome string        `json:"outcome"`          // OlderDeleted, OlderWouldDelete or OlderKept
	Reason  string        `json:"reason,omitempty"` // why it was kept
}

// Outcomes of an Older.
const (
	OlderDeleted     = "deleted"
	OlderWouldDelete = "would-delete"
	OlderKept        = "kept"
)

// Prefetch counts what clients may fetch before a container starts.
type Prefetch struct {
	Files  int `json:"fileCount"`
	Layers int `json:"layerCount"`
	Spans  int `json:"spanCount"`
}

// Layer says what became of one layer. Sizes are in bytes.
type Layer struct {
	Digest    digest.Digest   `json:"digest"`
	MediaType string          `json:"mediaType"`
	Size      int64           `json:"size"`              // compressed
	Skipped   soci.SkipReason `json:"skipped,omitempty"` // why it has no zTOC
	Detail    string          `json:"detail,omitempty"`

	// The rest is zero for a skipped layer, except Reused.
	Compression      soci.Compression `json:"compression,omitempty"`
	UncompressedSize int64            `json:"uncompressedSize,omitempty"`
	Spans            int              `json:"spanCount,omitempty"`
	Entries          int              `json:"entryCount,omitempty"` // of the table of contents
	Seconds          float64          `json:"seconds,omitempty"`
	Ztoc             *Content         `json:"ztoc,omitempty"`
	Reused           bool             `json:"reused,omitempty"` // the layer was not read
	Prefetch         *Content         `json:"prefetchArtifact,omitempty"`
}

// Content is a blob or a manifest of the registry.
type Content struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// New returns the report of a result. The names of the image are for the caller
// to set.
func New(r *soci.Result) *Image {
	image := &Image{
		Digest: r.Image.Digest, Outcome: r.Outcome(), Reason: r.Reason, Version: r.Version, Warnings: r.Warnings,
		BytesRead: r.BytesRead, BytesPushed: r.BytesPushed, Seconds: r.Seconds,
	}
	if r.SearchError != nil {
		image.SearchError = r.SearchError.Error()
	}
	if e := r.Enabled; e.Outcome != "" {
		image.SociTag, image.SociDigest = e.Tag, e.Image.Digest
		image.Enabled = &Enabled{Outcome: e.Outcome, Reason: e.Reason, Unindexed: e.Unindexed}
	}
	for _, m := range r.Manifests {
		one := Manifest{
			Digest: m.Manifest.Digest, Platform: m.Platform, Outcome: m.Outcome, Reason: m.Reason,
			Index: content(m.Index), IndexV2: content(m.IndexV2), Enabled: content(m.Enabled),
			AlreadyThere: m.AlreadyThere,
		}
		artifacts := make(map[digest.Digest]ocispec.Descriptor)
		if p := m.Prefetch; p != nil {
			one.Prefetch = &Prefetch{Files: p.Files, Layers: len(p.Artifacts), Spans: p.Spans()}
			for _, a := range p.Artifacts {
				artifacts[a.Layer] = a.Blob
			}
		}
		for _, l := range m.Layers {
			one.Layers = append(one.Layers, Layer{
				Digest: l.Layer.Digest, MediaType: l.Layer.MediaType, Size: l.Layer.Size,
				Skipped: l.Reason, Detail: l.Detail,
				Compression: l.Compression, UncompressedSize: l.UncompressedSize,
				Spans: l.Spans, Entries: l.Entries, Seconds: l.Seconds, Ztoc: content(l.Ztoc), Reused: l.Reused,
				Prefetch: content(artifacts[l.Layer.Digest]),
			})
		}
		image.Manifests = append(image.Manifests, one)
	}
	return image
}

// Fix says what the image's maker can do about layers that cannot be indexed;
// empty if there is nothing to say.
func (i *Image) Fix() string {
	for _, m := range i.Manifests {
		for _, l := range m.Layers {
			if fix := l.Skipped.Fix(); fix != "" {
				return fix
			}
		}
	}
	return ""
}

// content returns nil for a descriptor of nothing.
func content(desc ocispec.Descriptor) *Content {
	if desc.Digest == "" {
		return nil
	}
	return &Content{Digest: desc.Digest, Size: desc.Size}
}

// maxWarnings is how many warnings Bound leaves.
const maxWarnings = 20

// MaxListed is how many manifests and layers together Bound leaves listed.
const MaxListed = 500

// Bound keeps the report of the largest image under what Lambda hands on from
// an asynchronous invocation, 256 KiB in the narrowest case: of the layers it
// leaves the first, as many as MaxListed has room for beside the manifests, without
// their prefetch artifacts, and it cuts texts that hold names from inside an
// image.
func (i *Image) Bound() {
	i.Reason, i.SearchError = Cut(i.Reason, 2000), Cut(i.SearchError, 2000)
	if n := len(i.Warnings) - maxWarnings; n > 0 {
		i.Warnings = append(i.Warnings[:maxWarnings:maxWarnings], fmt.Sprintf("and %d more", n))
	}
	for j, w := range i.Warnings {
		i.Warnings[j] = Cut(w, 200)
	}
	room := max(MaxListed-len(i.Manifests), 0)
	for j := range i.Manifests {
		m := &i.Manifests[j]
		m.Reason = Cut(m.Reason, 200)
		listed := min(len(m.Layers), room)
		room -= listed
		i.LayersOmitted += len(m.Layers) - listed
		m.Layers = m.Layers[:listed]
		for k := range m.Layers {
			l := &m.Layers[k]
			l.Prefetch = nil // of which the manifest has the numbers
			l.MediaType, l.Detail = Cut(l.MediaType, 100), Cut(l.Detail, 200)
		}
	}
}

// Cut shortens a text to at most the given number of characters, and marks that
// it did.
func Cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}
