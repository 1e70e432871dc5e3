package imagefile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// SOCIIndexes is as in soci.Catalog: it makes a Store the catalog of its own SOCI
// indexes. Those of the images come first, then what the other manifests in
// index.json lead to.
func (s *Store) SOCIIndexes(ctx context.Context, of []ocispec.Descriptor,
	found func(index ocispec.Descriptor) bool) error {
	seen := map[digest.Digest]bool{}
	tell := func(list ...ocispec.Descriptor) bool {
		for _, desc := range list {
			if !seen[desc.Digest] {
				seen[desc.Digest] = true
				if !found(desc) {
					return false
				}
			}
		}
		return true
	}
	for _, image := range of {
		referrers, err := s.Referrers(ctx, image, soci.ArtifactTypeV1)
		if err != nil {
			return err
		}
		if !tell(referrers...) {
			return nil
		}
	}
	s.mu.RLock()
	listed := slices.Clone(s.index)
	s.mu.RUnlock()
	var errs []error
	for _, desc := range listed {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := s.sociIndexesIn(ctx, plainDescriptor(desc))
		if err != nil {
			errs = append(errs, err)
		}
		if !tell(list...) {
			break
		}
	}
	return errors.Join(errs...)
}

// sociIndexesIn returns the SOCI indexes that a manifest is, or lists.
func (s *Store) sociIndexesIn(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType) || soci.IsSchema1(desc.MediaType) {
		return nil, nil
	}
	raw, err := s.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := soci.Classify(desc.MediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("%s: manifest %s: %w", s.path, desc.Digest, err)
	}
	switch info.Kind {
	case soci.KindSOCIIndexV1, soci.KindSOCIIndexV2, soci.KindUnindexed:
		return []ocispec.Descriptor{desc}, nil
	case soci.KindEnabledImage:
		return info.SOCIIndexes(), nil
	}
	return nil, nil
}
