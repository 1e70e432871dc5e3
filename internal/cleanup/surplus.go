package cleanup

import (
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// findSurplus judges the SOCI indexes v1 of which one image manifest has several
// by the same build tool: a client may choose any of them. One is the last
// build's, see current; the others are surplus.
func (s *selection) findSurplus() {
	type group struct {
		subject digest.Digest
		tool    string
	}
	groups := map[group][]*node{}
	for _, n := range s.order {
		if n.is(soci.KindSOCIIndexV1) && n.image.Subject != nil && !n.Archived {
			g := group{n.image.Subject.Digest, n.BuildTool}
			groups[g] = append(groups[g], n)
		}
	}
	s.surplus = map[*node]Reason{}
	for _, all := range groups {
		if len(all) < 2 {
			continue
		}
		current := s.current(all)
		for _, n := range all {
			switch {
			case current == nil:
				s.surplus[n] = KeptUncertain
			case n == current:
				s.surplus[n] = KeptCurrent
			default:
				s.surplus[n] = ""
			}
		}
	}
}

// current returns the SOCI index v1 that the last build made or confirmed: the
// one with the zTOCs of a SOCI-enabled image that has a tag, since a build that
// finds its SOCI index v1 in the repository does not push it again, or else the
// one pushed last. It returns nil if neither tells.
func (s *selection) current(all []*node) *node {
	var same []*node
	for _, n := range all {
		if slices.ContainsFunc(s.order, func(v2 *node) bool {
			return v2.is(soci.KindSOCIIndexV2) && sameZtocs(n.image.Layers, v2.image.Layers) &&
				slices.ContainsFunc(v2.listedBy, func(root *node) bool { return len(root.Tags) > 0 })
		}) {
			same = append(same, n)
		}
	}
	if len(same) == 1 {
		return same[0]
	}
	newest := slices.MaxFunc(all, func(a, b *node) int { return a.PushedAt.Compare(b.PushedAt) })
	for _, n := range all {
		if n.PushedAt.IsZero() || n != newest && n.PushedAt.Equal(newest.PushedAt) {
			return nil
		}
	}
	return newest
}

func sameZtocs(a, b []ocispec.Descriptor) bool {
	return slices.EqualFunc(a, b, func(a, b ocispec.Descriptor) bool {
		return a.Digest == b.Digest &&
			a.Annotations[soci.AnnotationLayerDigest] == b.Annotations[soci.AnnotationLayerDigest]
	})
}
