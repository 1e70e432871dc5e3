package cleanup

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/pkg/soci"
)

// findBroken looks at the zTOCs of all SOCI indexes, and at whether SOCI-enabled
// images have theirs.
func (s *selection) findBroken(ctx context.Context, check *soci.Checker) error {
	subjects := map[digest.Digest]bool{}
	for _, n := range s.order {
		if n.is(soci.KindSOCIIndexV1) && n.image.Subject != nil {
			subjects[n.image.Subject.Digest] = true
		}
	}
	if err := s.read(ctx, func(n *node) bool { return subjects[n.Digest] }); err != nil {
		return err
	}
	s.trouble = map[*node]string{}
	found := make([]string, len(s.order))
	so := Progress{Manifests: len(s.reader.known)}
	for _, n := range s.order {
		if n.is(soci.KindSOCIIndexV1, soci.KindSOCIIndexV2) {
			so.ToCheck++
		}
	}
	var checked atomic.Int64
	s.reader.progress(so)
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(readConcurrency)
	for i, n := range s.order {
		if !n.is(soci.KindSOCIIndexV1, soci.KindSOCIIndexV2) {
			continue
		}
		group.Go(func() error {
			faults, err := check.Check(within, &n.image, s.imageOf(n))
			if err != nil {
				return fmt.Errorf("SOCI index %s of %s: %w", n.Digest, s.reader.repo.Name(), err)
			}
			if len(faults) > 0 {
				found[i] = soci.FoundIndex{Index: ocispec.Descriptor{Digest: n.Digest}, Faults: faults}.Trouble()
			}
			now := so
			now.Checked = int(checked.Add(1))
			s.reader.progress(now)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, n := range s.order {
		if found[i] != "" {
			s.trouble[n] = found[i]
		}
	}
	for _, n := range s.order {
		switch {
		case n.is(soci.KindEnabledImage):
			s.trouble[n] = s.troubleOf(n)
		case n.is(soci.KindEnabledManifest):
			if index := s.nodes[n.indexDigest()]; index != nil {
				s.trouble[n] = s.trouble[index]
			}
		}
	}
	return nil
}

// troubleOf is what is wrong with the SOCI indexes of a SOCI-enabled image.
func (s *selection) troubleOf(root *node) string {
	for _, d := range root.SOCIIndexes() {
		index := s.nodes[d.Digest]
		if index == nil {
			return fmt.Sprintf("SOCI index %s is not in the repository", d.Digest)
		}
		if why := s.trouble[index]; why != "" {
			return why
		}
	}
	return ""
}

// imageOf is what is known of the layers that a SOCI index is for: those of its
// subject, or of the image manifests that name it; nil when there are none.
func (s *selection) imageOf(index *node) *ocispec.Manifest {
	if index.is(soci.KindSOCIIndexV1) {
		if index.image.Subject == nil {
			return nil
		}
		if subject := s.nodes[index.image.Subject.Digest]; subject.isImage() {
			return &subject.image
		}
		return nil
	}
	var all *ocispec.Manifest
	for _, n := range s.namedBy[index.Digest] {
		if all == nil {
			all = &ocispec.Manifest{}
		}
		all.Layers = append(all.Layers, n.image.Layers...)
	}
	return all
}
