// Package inventory lists the content of a registry's repositories, in Amazon
// ECR or another: images and artifacts, the kind of each by its content, and
// whether an image has the SOCI indexes that it should have.
//
// Begin with [ECR] or [Registry], which list; [soci.Classify] classifies a
// manifest; [Survey] examines many images at once and returns the state of
// each.
package inventory

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/ecrclient"
)

// Source lists what a registry has. It is safe for concurrent use.
type Source interface {
	// Repositories returns the names of the repositories, sorted, without the
	// registry's host. An error ends it.
	Repositories(ctx context.Context) iter.Seq2[string, error]

	// Images returns everything that the registry lists of a repository: images,
	// image indexes and artifacts; the tagged ones by their first tag, then
	// those without a tag by digest.
	Images(ctx context.Context, repository string) ([]Image, error)

	// Open returns access to the content of a repository. It makes no request.
	Open(repository string) (*ecrclient.Repository, error)
}

// Image is what a registry says of one manifest when it lists it. A field that
// it does not say is zero.
type Image struct {
	Repository string // without the host
	Digest     digest.Digest
	Tags       []string // sorted
	MediaType  string   // of the manifest

	// Of ECR alone.
	ArtifactType string        // media type of the config; empty for an image index
	Subject      digest.Digest // of a referrer
	PushedAt     time.Time
	PulledAt     time.Time // at most a day older than the last pull; zero: never
	Size         int64     // bytes of all that the manifest names; of an image index, those of its largest image
	Archived     bool      // not to be pulled before it was restored
	Restoring    bool      // of Archived: that is under way
}

// sortImages brings them into the order of Source.Images. The tags of each are
// sorted already.
func sortImages(all []Image) {
	slices.SortFunc(all, func(a, b Image) int {
		switch {
		case len(a.Tags) > 0 && len(b.Tags) > 0:
			return strings.Compare(a.Tags[0], b.Tags[0])
		case len(a.Tags) != len(b.Tags):
			return len(b.Tags) - len(a.Tags)
		}
		return strings.Compare(a.Digest.String(), b.Digest.String())
	})
}
