package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/names"
)

// CatalogOptions of a Catalog. A field left zero has its default.
type CatalogOptions struct {
	// Tag of the image, and TagSuffix of SOCI-enabled images. The default is
	// none: these are not looked for.
	Tag, TagSuffix string

	// MaxPages is how many pages of 1000 images, or of 1000 tags, are listed.
	// The default is 10.
	MaxPages int

	// ListTimeout bounds that listing. Whatever was listed by then is used. The
	// default is 5 s.
	ListTimeout time.Duration

	// Timeout bounds the whole search. The default is 20 s.
	Timeout time.Duration
}

// Catalog finds the SOCI indexes that earlier builds left in a repository. It
// is a soci.Catalog and safe for concurrent use.
type Catalog struct {
	r *Repository
	o CatalogOptions
}

// Catalog returns the catalog of the repository. It makes no request.
func (r *Repository) Catalog(o CatalogOptions) *Catalog {
	if o.MaxPages <= 0 {
		o.MaxPages = 10
	}
	if o.ListTimeout <= 0 {
		o.ListTimeout = 5 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	return &Catalog{r: r, o: o}
}

// SOCIIndexes calls found with each SOCI index once, until it returns false:
// with the referrers of images, then with what the SOCI-enabled image of the
// tag lists, or with the image index in the place of one, then with others of
// the repository. On ECR these are the most recently pushed ones, by
// DescribeImages (which needs ecr:DescribeImages); on any other registry those
// of the last 20 tags with the suffix, the last one first. Finding none is not
// an error.
//
// If one source fails the others are still asked. The error joins all failures,
// each an *Error; it is also context.DeadlineExceeded if the search took longer
// than its Timeout.
func (c *Catalog) SOCIIndexes(ctx context.Context, images []ocispec.Descriptor,
	found func(index ocispec.Descriptor) bool) error {
	within, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	s := &search{Catalog: c, found: found, seen: make(map[digest.Digest]bool)}
	s.run(within, images)
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case within.Err() != nil && !s.stopped:
		s.errs = append(s.errs, c.r.fail(operation{name: opSearch},
			fmt.Errorf("not finished within %v: %w", c.o.Timeout, within.Err())))
	}
	return errors.Join(s.errs...)
}

const (
	opSearch     = "search SOCI indexes"
	opListImages = "list images"
	opListTags   = "list tags"
	opReferrers  = "list referrers"

	opPushManifest = "push manifest"
	opPushBlob     = "push blob"
	opDeleteTag    = "delete tag"

	listPageSize = 1000 // images or tags; the most that DescribeImages returns
	maxTags      = 20   // of SOCI-enabled images that are looked into
)

// search is one call of SOCIIndexes.
type search struct {
	*Catalog
	found   func(ocispec.Descriptor) bool
	seen    map[digest.Digest]bool
	stopped bool // found wants no more
	errs    []error
}

func (s *search) run(ctx context.Context, images []ocispec.Descriptor) {
	for _, image := range images {
		if s.done(ctx) {
			return
		}
		if !s.referrers(ctx, image) {
			break
		}
	}
	if s.o.Tag != "" && s.o.TagSuffix != "" && !s.done(ctx) {
		s.enabledImage(ctx, s.o.Tag+s.o.TagSuffix)
	}
	if s.done(ctx) {
		return
	}
	if ecr, ok := s.r.client.auth.(*ecrAuth); ok {
		s.recentImages(ctx, ecr.tokens)
	} else if s.o.TagSuffix != "" {
		s.recentTags(ctx)
	}
}

func (s *search) done(ctx context.Context) bool { return s.stopped || ctx.Err() != nil }

// offer passes an index to found, unless it has it already.
func (s *search) offer(index ocispec.Descriptor) {
	if s.stopped || s.seen[index.Digest] {
		return
	}
	s.seen[index.Digest] = true
	s.stopped = !s.found(index)
}

// goesOn records an error, and reports whether to go on asking the same source.
// A missing manifest has no SOCI index, and is not an error.
func (s *search) goesOn(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		return true
	}
	s.errs = append(s.errs, err)
	return false
}

// referrers offers those of an image.
func (s *search) referrers(ctx context.Context, image ocispec.Descriptor) (goOn bool) {
	indexes, err := s.r.Referrers(ctx, image, names.SociIndexV1)
	for _, index := range indexes {
		if s.done(ctx) {
			break
		}
		s.offer(index)
	}
	return s.goesOn(ctx, err)
}

// enabledImage offers the SOCI indexes of the image index that a tag names.
func (s *search) enabledImage(ctx context.Context, tag string) (goOn bool) {
	desc, err := s.r.Resolve(ctx, tag)
	if err != nil {
		return s.goesOn(ctx, err)
	}
	if desc.MediaType != ocispec.MediaTypeImageIndex {
		return true // somebody else's
	}
	b, err := s.r.FetchManifest(ctx, desc)
	if err != nil {
		return s.goesOn(ctx, err)
	}
	var image ocispec.Index
	if err := documents.Index(b, &image); err != nil {
		return s.goesOn(ctx, s.r.fail(operation{opSearch, tag}, fmt.Errorf("image index: %w", err)))
	}
	if image.Annotations[names.Unindexed] == "true" {
		s.offer(desc)
	}
	for _, index := range image.Manifests {
		if s.done(ctx) {
			break
		}
		if index.ArtifactType == names.SociIndexV2 && checkDescriptor(index) == nil {
			s.offer(index)
		}
	}
	return true
}

// errEnough ends a list.
var errEnough = errors.New("listed enough")

// recentTags offers the SOCI indexes of other SOCI-enabled images. A registry
// does not say which are the newest.
func (s *search) recentTags(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, s.o.ListTimeout)
	defer cancel()
	var (
		tags   []string // the last ones with the suffix
		listed int
	)
	op := operation{name: opListTags}
	err := s.r.retry(within, op, func(ctx context.Context) error {
		tags, listed = nil, 0
		return s.r.tagPages(ctx, func(page []string) error {
			for _, tag := range page {
				if strings.HasSuffix(tag, s.o.TagSuffix) && tag != s.o.Tag+s.o.TagSuffix {
					tags = append(tags, tag)
				}
			}
			tags = slices.Clone(tags[max(len(tags)-maxTags, 0):])
			if listed += len(page); listed >= s.o.MaxPages*listPageSize {
				return errEnough
			}
			return nil
		})
	})
	if s.bounded(ctx, within, err, listed, errors.Is(err, errEnough)) {
		s.goesOn(ctx, err)
	}
	for _, tag := range slices.Backward(tags) {
		if s.done(ctx) || !s.enabledImage(ctx, tag) {
			return
		}
	}
}

// bounded logs that a list ended at its bound of number or of time, and reports
// whether err is still to be reported.
func (s *search) bounded(ctx, within context.Context, err error, listed int, enough bool) bool {
	late := err != nil && within.Err() != nil
	if ctx.Err() != nil || !late && !enough {
		return err != nil
	}
	s.r.log.InfoContext(ctx, "not all images looked at for earlier zTOCs",
		"repository", s.r.remote.Reference.Repository, "listed", listed, "maxPages", s.o.MaxPages, "timeout",
		s.o.ListTimeout.String(), "late", late)
	return false
}
