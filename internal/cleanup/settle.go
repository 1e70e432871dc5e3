package cleanup

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// settle adds to the manifests to delete those that were made for them, and
// removes from them those that a kept manifest leads to, until nothing changes.
func (s *selection) settle() {
	for changed := true; changed; {
		changed = false
		for _, n := range s.order {
			if n.is(soci.KindEnabledImage, soci.KindUnindexed) && s.going[n] && s.partOf[n] == nil {
				changed = s.addParts(n) || changed
			}
		}
		for _, n := range s.order {
			if !s.going[n] {
				continue
			}
			if reason, detail := s.needed(n); reason != "" {
				delete(s.going, n)
				s.keepNode(n, reason, detail)
				changed = true
			}
		}
	}
}

// addParts has everything go that was made for a SOCI-enabled image, or for an
// unindexed one, and for nothing else. What it lists beside that, such as attestations, are the
// original's.
func (s *selection) addParts(root *node) (changed bool) {
	named := map[digest.Digest]bool{}
	for _, d := range root.SOCIIndexes() { // also those that are gone
		named[d.Digest] = true
	}
	s.walk(root, func(n *node) {
		if n == root || s.going[n] || s.stays[n] || len(n.Tags) > 0 || n.Archived || !s.madeFor(root, n, named) {
			return
		}
		s.going[n], s.partOf[n] = true, root
		s.parts[root] = append(s.parts[root], n)
		changed = true
	})
	return changed
}

// madeFor reports whether a manifest below a SOCI-enabled image, or an unindexed
// one, was made for it, as its content proves.
func (s *selection) madeFor(root, n *node, named map[digest.Digest]bool) bool {
	switch {
	case n.is(soci.KindSOCIIndexV2):
		return named[n.Digest]
	case n.is(soci.KindEnabledManifest):
		return named[n.indexDigest()] && s.proven(n) || root.is(soci.KindUnindexed) && s.isCopy(root, n)
	case n.is(soci.KindImageIndex):
		// A nested image index is rewritten for what it lists.
		return slices.ContainsFunc(s.below(n), func(c *node) bool {
			return c.is(soci.KindEnabledManifest) && named[c.indexDigest()] ||
				(c.is(soci.KindImage) || root.is(soci.KindUnindexed)) && s.isCopy(root, c)
		})
	case n.is(soci.KindImage):
		// Rewritten without a SOCI index; only the original distinguishes it
		// from an image that was built like that.
		return s.isCopy(root, n)
	}
	return false
}

func (s *selection) below(n *node) []*node {
	var all []*node
	s.walk(n, func(c *node) { all = append(all, c) })
	return all
}

// isCopy reports whether n is an image manifest of the original as it is rewritten
// for a SOCI-enabled image, or, if it named a SOCI index, for an unindexed one.
// One that rewriting does not change is the original itself, and no copy.
func (s *selection) isCopy(root, n *node) bool {
	for _, tag := range root.Tags {
		original := s.original(tag)
		if original == nil {
			continue
		}
		for _, c := range s.below(original) {
			rewritten := c.is(soci.KindEnabledManifest) || c.is(soci.KindImage) && root.is(soci.KindEnabledImage)
			if rewritten && c != n && !s.going[c] && c.rewritten(root.is(soci.KindUnindexed)) == n.Digest {
				return true
			}
		}
	}
	return false
}

// needed returns why a manifest that was to be deleted must be kept with others.
func (s *selection) needed(n *node) (Reason, string) {
	for _, parent := range n.listedBy {
		if !s.going[parent] {
			return KeptListed, parent.Digest.String()
		}
	}
	if n.is(soci.KindSOCIIndexV2) {
		for _, other := range s.namedBy[n.Digest] {
			if !s.going[other] {
				return KeptNamed, other.Digest.String()
			}
		}
	}
	if hidden := s.mayList(n); hidden != nil {
		return KeptHidden, hidden.Digest.String()
	}
	return "", ""
}

// mayList returns an image index that cannot be read, as an archived one cannot,
// and that may list n. It lists only what was there before it.
func (s *selection) mayList(n *node) *node {
	if n.is(soci.KindSOCIIndexV1, soci.KindEnabledImage, soci.KindUnindexed) {
		return nil // led to by a tag or a subject, not by a list
	}
	for _, hidden := range s.hidden {
		if hidden.PushedAt.IsZero() || !n.PushedAt.After(hidden.PushedAt) {
			return hidden
		}
	}
	return nil
}

// keepNode decides that n stays.
func (s *selection) keepNode(n *node, reason Reason, detail string) {
	s.stays[n] = true
	if item := s.item(n); item.Kind.SOCI() {
		s.kept = append(s.kept, Kept{item, reason, detail})
	}
}
