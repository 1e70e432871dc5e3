// Package backfill indexes images that are older than the builder: it lists
// those that lack SOCI indexes, and indexes them, by sending events to a
// deployed stack or in this process.
//
// Start with [NewPlan]; then [Handover.Run] or [Local.Run].
package backfill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup/surplus"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/soci"
)

// Item is an image under one of its tags that lacks SOCI indexes, or only its
// suffixed tag.
type Item struct {
	Repository string
	Tag        string // empty for an image without one
	Digest     digest.Digest
	PushedAt   time.Time // zero if the registry does not tell
	State      inventory.State
	Reason     string // for the state
	Descriptor ocispec.Descriptor
	Artifact   string // media type of the config, if the registry tells

	// TagOnly: there is no layer to index, and the suffixed tag is all that it
	// lacks.
	TagOnly bool

	// Manifests is the number of image manifests with a layer to index.
	Manifests int

	// Layers and Bytes (compressed) are what is read for it, unless there are
	// zTOCs of some layers already. A layer counts where it comes first in the
	// list, once per repository.
	Layers int
	Bytes  int64

	layers  []layer // until they are counted
	largest int64   // bytes of the largest layer that is counted
}

// layer is what is to be known of one: there may be a million of them.
type layer struct {
	digest digest.Digest
	size   int64
}

// Name is REPOSITORY:TAG, or REPOSITORY@DIGEST for an image without a tag.
func (i *Item) Name() string { return names.Named(i.Repository, i.Tag, i.Digest.String()) }

// Plan is what there is to do.
type Plan struct {
	// Items are in the order in which they are worked on: what was pushed last
	// comes first, since it is the most likely to be started. Further tags of
	// an image come after all images, when there are zTOCs of its layers.
	Items []Item

	// Omitted is the number of items left out for the limit.
	Omitted int

	// States counts what was looked at.
	States map[inventory.State]int

	// Errors are of repositories of which not all could be looked at.
	Errors []error
}

// NewPlan reads a survey. A limit of 0 is none. Its error is one that ended
// the survey.
func NewPlan(ctx context.Context, survey iter.Seq2[inventory.Record, error], version soci.IndexVersion,
	limit int) (*Plan, error) {
	p := &Plan{States: map[inventory.State]int{}}
	for r, err := range survey {
		if err != nil {
			// A cancelled request is not a fault of the repository.
			if r.Repository == "" || ctx.Err() != nil {
				return nil, err
			}
			p.Errors = append(p.Errors, err)
			continue
		}
		p.States[r.State]++
		if r.ToIndex() {
			p.Items = append(p.Items, newItem(&r))
		}
	}
	p.order(version)
	if limit > 0 && len(p.Items) > limit {
		p.Omitted = len(p.Items) - limit
		p.Items = slices.Clip(p.Items[:limit])
	}
	p.count()
	return p, nil
}

func newItem(r *inventory.Record) Item {
	i := Item{
		Repository: r.Repository, Tag: r.Tag, Digest: r.Digest, PushedAt: r.PushedAt,
		State: r.State, Reason: r.Reason, Descriptor: r.Descriptor, Artifact: r.ArtifactType,
		TagOnly: r.LacksTag,
	}
	for _, m := range r.Manifests {
		if m.Reason != "" || !m.Indexable() {
			continue
		}
		i.Manifests++
		for _, l := range m.Layers {
			if l.Reason == "" {
				i.layers = append(i.layers, layer{l.Layer.Digest, l.Layer.Size})
			}
		}
	}
	return i
}

// place names an image in a registry.
type place struct {
	repository string
	digest     digest.Digest
}

func (p *Plan) order(version soci.IndexVersion) {
	slices.SortFunc(p.Items, func(a, b Item) int {
		return cmp.Or(b.PushedAt.Compare(a.PushedAt), strings.Compare(a.Repository, b.Repository),
			strings.Compare(a.Tag, b.Tag), strings.Compare(a.Digest.String(), b.Digest.String()))
	})
	seen := map[place]bool{}
	var first, further []Item
	for _, i := range p.Items {
		at := place{i.Repository, i.Digest}
		switch {
		case !seen[at]:
			first = append(first, i)
		case version != soci.V1: // whose SOCI indexes belong to the image, whatever its tag
			further = append(further, i)
		}
		seen[at] = true
	}
	p.Items = append(first, further...)
}

// count fills in what each item adds to read.
func (p *Plan) count() {
	seen := map[place]bool{}
	for n := range p.Items {
		i := &p.Items[n]
		for _, l := range i.layers {
			if at := (place{i.Repository, l.digest}); !seen[at] {
				seen[at] = true
				i.Layers++
				i.Bytes += l.size
				i.largest = max(i.largest, l.size)
			}
		}
		i.layers = nil
	}
}

// Total returns the sum of layers and compressed bytes to read.
func (p *Plan) Total() (layers int, bytes int64) {
	for _, i := range p.Items {
		layers += i.Layers
		bytes += i.Bytes
	}
	return layers, bytes
}

// Result is what became of an item.
type Result struct {
	*Item
	EventID string          // of the event that was handed over
	Index   *soci.Result    // of what was built here
	Older   []surplus.Older // SOCI indexes v1 that it replaced
	Unknown error           // why there may be more of them
	Seconds float64         // that building took
	Err     error           // nil: handed over, or built
}

// ErrFailed: some of the items failed. The results say which and why.
var ErrFailed = errors.New("images failed")

func failed(n, of int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d", ErrFailed, n, of)
}
