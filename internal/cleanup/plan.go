package cleanup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// Plan is what would go from one repository, and what would stay.
type Plan struct {
	Items []Item // in the order of the repository's list, parts behind their image
	Kept  []Kept // SOCI artifacts alone

	repo    Repository
	options Options
	reader  *reader
	check   *soci.Checker // for Options.Broken; nil until it is needed
}

// Look lists a repository and tells what would go. It deletes nothing.
func Look(ctx context.Context, repo Repository, o Options) (*Plan, error) {
	o = o.withDefaults()
	p := &Plan{repo: repo, options: o,
		reader: &reader{repo: repo, known: map[digest.Digest]*content{}, progress: o.Progress}}
	s, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	p.Items, p.Kept = s.items(), s.kept
	return p, nil
}

// Size is what goes with items from their repositories, in bytes. A zTOC that
// several SOCI indexes of a repository name counts once, and not at all if one
// that stays names it, or one of the items that stay after all.
func Size(items []Item, staying ...Item) int64 {
	type blob struct {
		repository string
		digest     digest.Digest
	}
	seen := map[blob]bool{}
	for _, i := range staying {
		for d := range i.blobs {
			seen[blob{i.place(), d}] = true
		}
	}
	var size int64
	for _, i := range items {
		size += i.manifest
		for d, n := range i.blobs {
			if b := (blob{i.place(), d}); !seen[b] && !i.shared[d] {
				seen[b] = true
				size += n
			}
		}
	}
	return size
}

// place is the repository with its host: several registries may have one of the
// same name.
func (i *Item) place() string {
	return cmp.Or(strings.TrimSuffix(i.Reference, "@"+i.Digest.String()), i.Repository)
}

// selection is a plan in the making, for the repository as it is now.
type selection struct {
	*graph
	options  Options
	fullName string // HOST/NAME
	going    map[*node]bool
	partOf   map[*node]*node // the SOCI-enabled image
	parts    map[*node][]*node
	stays    map[*node]bool            // for good
	namedBy  map[digest.Digest][]*node // image manifests, by the SOCI index that they name
	images   map[string][]*node        // image manifests that were read, by fingerprint
	trouble  map[*node]string          // what is wrong, with Options.Broken
	surplus  map[*node]Reason          // why it stays, of several of one image, with Options.Surplus
	kept     []Kept
}

// look lists the repository again.
func (p *Plan) look(ctx context.Context) (*selection, error) {
	g, err := p.reader.load(ctx)
	if err != nil {
		return nil, err
	}
	s := &selection{
		graph: g, options: p.options, going: map[*node]bool{}, stays: map[*node]bool{},
		partOf: map[*node]*node{}, parts: map[*node][]*node{}, namedBy: map[digest.Digest][]*node{},
	}
	if err := s.readOriginals(ctx); err != nil {
		return nil, err
	}
	if err := s.readProofs(ctx); err != nil {
		return nil, err
	}
	for _, n := range g.order {
		if n.is(soci.KindEnabledManifest) {
			s.namedBy[n.indexDigest()] = append(s.namedBy[n.indexDigest()], n)
		}
	}
	if len(g.order) == 0 {
		return s, nil
	}
	opened, err := p.repo.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.repo.Name(), err)
	}
	s.fullName = opened.Name()
	if p.options.Broken {
		if p.check == nil {
			p.check = soci.NewChecker(opened, true)
		}
		if err := s.findBroken(ctx, p.check); err != nil {
			return nil, err
		}
	}
	if p.options.Surplus {
		s.findSurplus()
	}
	for _, n := range g.order {
		if !s.root(n) {
			continue
		}
		if reason, detail := s.keep(n); reason != "" {
			s.keepNode(n, reason, detail)
			continue
		}
		s.going[n] = true
	}
	s.settle()
	return s, nil
}

// readProofs finds the image manifests that may prove others to be copies. All
// of the repository are read only when what was read so far does not prove
// each.
func (s *selection) readProofs(ctx context.Context) error {
	s.findImages()
	unproven := func(n *node) bool { return n.is(soci.KindEnabledManifest) && len(n.Tags) == 0 && !s.proven(n) }
	if !slices.ContainsFunc(s.order, unproven) {
		return nil
	}
	if err := s.read(ctx, func(*node) bool { return true }); err != nil {
		return err
	}
	s.findImages()
	return nil
}

func (s *selection) findImages() {
	s.images = map[string][]*node{}
	for _, n := range s.order {
		if n.isImage() {
			s.images[n.fingerprint()] = append(s.images[n.fingerprint()], n)
		}
	}
}

// proven reports whether an image manifest that names a SOCI index is a copy: the
// repository has an original of the same config and layers that stays. Images
// that were built from a SOCI-enabled one, or copied out of one, name its SOCI
// index too, and may be all that there is of them.
func (s *selection) proven(n *node) bool {
	return slices.ContainsFunc(s.images[n.fingerprint()], func(c *node) bool {
		return c != n && !s.going[c] &&
			(c.is(soci.KindImage) || len(c.Tags) > 0 || slices.ContainsFunc(c.listedBy, func(x *node) bool {
				return x.is(soci.KindImageIndex) && !s.going[x]
			}))
	})
}

// unproven returns an image manifest that n is, or that it lists beside the SOCI
// index that it names, and that nothing proves to be a copy; nil if there is
// none. One that also has a tag, or that an image lists, stays by itself.
func (s *selection) unproven(n *node) *node {
	named := map[digest.Digest]bool{}
	for _, d := range n.SOCIIndexes() {
		named[d.Digest] = true
	}
	below := s.below(n)
	i := slices.IndexFunc(below, func(c *node) bool {
		return c.is(soci.KindEnabledManifest) && (c == n || named[c.indexDigest()]) && len(c.Tags) == 0 &&
			!s.proven(c) &&
			!slices.ContainsFunc(c.listedBy, func(x *node) bool {
				return x.is(soci.KindImageIndex) && !slices.Contains(below, x)
			})
	})
	if i < 0 {
		return nil
	}
	return below[i]
}

// readOriginals reads what SOCI-enabled images consist of, and their
// originals.
func (s *selection) readOriginals(ctx context.Context) error {
	var roots []*node
	for _, n := range s.order {
		if !n.is(soci.KindEnabledImage, soci.KindUnindexed) {
			continue
		}
		roots = append(roots, n)
		for _, tag := range n.Tags {
			if original := s.original(tag); original != nil {
				roots = append(roots, original)
			} else if s.options.Orphaned {
				roots = append(roots, s.shorter(tag)...)
			}
		}
	}
	return s.readImages(ctx, roots)
}

// root reports whether n is a SOCI artifact that is to be judged by itself: one
// that belongs to no SOCI-enabled image, or such an image.
func (s *selection) root(n *node) bool {
	if n.Archived && (n.ArtifactType == soci.ArtifactTypeV1 || n.ArtifactType == soci.ArtifactTypeV2) {
		return true
	}
	switch {
	case n.is(soci.KindSOCIIndexV1, soci.KindEnabledImage, soci.KindUnindexed):
		return true
	case n.is(soci.KindSOCIIndexV2):
		return len(n.listedBy) == 0
	case n.is(soci.KindEnabledManifest):
		return len(n.listedBy) == 0 && len(n.Tags) == 0
	}
	return false
}

// keep says why a root stays, as far as the root itself shows.
func (s *selection) keep(n *node) (Reason, string) {
	if n.Archived || n.content == nil {
		return KeptArchived, ""
	}
	if n.Kind == soci.KindEnabledImage {
		if _, proven := s.sociIndexes(n); !proven {
			return KeptUnproven, "its SOCI indexes are not there, or are none"
		}
	}
	if n.Kind == soci.KindEnabledManifest && n.indexDigest() != "" &&
		!s.nodes[n.indexDigest()].is(soci.KindSOCIIndexV2) {
		return KeptUnproven, "the SOCI index that it names is not there, or is none"
	}
	// Some registries delete what an image index lists together with it.
	if c := s.unproven(n); c != nil {
		return KeptUnproven, fmt.Sprintf(
			"no other image in the repository has the config and layers of its image manifest %s", c.Digest)
	}
	if !s.options.AllTools {
		for _, tool := range s.tools(n) {
			if !strings.HasPrefix(tool, ownTools) {
				if tool == "" {
					tool = "unknown"
				}
				return KeptOtherTool, tool
			}
		}
	}
	if !s.options.AnyTag {
		for _, tag := range n.Tags {
			if s.originalTag(tag) == "" {
				return KeptTagged, tag
			}
		}
	}
	now := s.options.Now()
	age := now.Sub(n.PushedAt)
	if s.options.OlderThan > 0 && (n.PushedAt.IsZero() || age < s.options.OlderThan) {
		return KeptRecent, ""
	}
	if s.options.UnusedFor > 0 && now.Sub(n.PulledAt) < s.options.UnusedFor+pullTimeLag {
		return KeptPulled, ""
	}
	if n.is(soci.KindSOCIIndexV2, soci.KindEnabledManifest) && age < unfinished {
		return KeptUnfinished, ""
	}
	if s.options.Orphaned && !s.orphaned(n) {
		if tag := s.undated(n); tag != "" {
			return KeptUndated, tag
		}
		return KeptInUse, ""
	}
	if s.options.Broken && s.trouble[n] == "" {
		return KeptSound, ""
	}
	if s.options.Surplus {
		switch reason, several := s.surplus[n]; {
		case !n.is(soci.KindSOCIIndexV1):
			return KeptNotSurplus, ""
		case !several:
			return KeptCurrent, ""
		default:
			return reason, ""
		}
	}
	return "", ""
}

// orphaned reports whether a root has lost its original.
func (s *selection) orphaned(n *node) bool {
	switch n.Kind {
	case soci.KindSOCIIndexV1:
		return n.image.Subject != nil && s.nodes[n.image.Subject.Digest] == nil
	case soci.KindEnabledImage, soci.KindUnindexed:
		return !slices.ContainsFunc(n.Tags, func(tag string) bool { return s.serves(n, tag) })
	}
	return true // nothing leads to it
}

// serves reports whether a SOCI-enabled image is, under one of its tags, that of
// an original, or will be replaced there by a build under way.
func (s *selection) serves(n *node, tag string) bool {
	if s.originalTag(tag) == "" {
		return true // of an original that cannot be known
	}
	original := s.original(tag)
	if original == nil {
		// Another suffix can end like this one.
		return slices.ContainsFunc(s.shorter(tag), func(original *node) bool { return s.madeOf(n, original) })
	}
	// A registry other than ECR does not tell when it was pushed.
	return original.PushedAt.IsZero() || s.options.Now().Sub(original.PushedAt) < unfinished || s.madeOf(n, original)
}

// undated returns the tag of another image that a SOCI-enabled image is kept for
// only because the registry does not tell since when the tag names it: a build of
// that image may be under way. It returns "" if there is none.
func (s *selection) undated(n *node) string {
	if !n.is(soci.KindEnabledImage, soci.KindUnindexed) {
		return ""
	}
	for _, tag := range n.Tags {
		original := s.original(tag)
		if original == nil && s.serves(n, tag) || original != nil && s.madeOf(n, original) {
			return ""
		}
	}
	for _, tag := range n.Tags {
		if original := s.original(tag); original != nil && original.PushedAt.IsZero() {
			return s.originalTag(tag)
		}
	}
	return ""
}

// madeOf reports whether a SOCI-enabled image is, or may be, made of an original.
// Other tools leave out platforms.
func (s *selection) madeOf(n, original *node) bool {
	if slices.ContainsFunc(s.below(original), func(c *node) bool { return c.content == nil }) {
		return true // archived, or not to be read
	}
	of := s.fingerprints(original)
	return !slices.ContainsFunc(s.fingerprints(n), func(made string) bool { return !slices.Contains(of, made) })
}

// shorter returns what tags name that are the beginning of this one.
func (s *selection) shorter(tag string) []*node {
	var found []*node
	for end := len(tag) - 1; end > 0; end-- {
		if n := s.tags[tag[:end]]; n != nil {
			found = append(found, n)
		}
	}
	return found
}

// originalTag is the tag to which the suffix was added, "" if there is none.
func (s *selection) originalTag(tag string) string {
	original, ok := strings.CutSuffix(tag, s.options.TagSuffix)
	if !ok {
		return ""
	}
	return original
}

// original is the image for which a suffixed tag was made, nil if it is gone.
func (s *selection) original(tag string) *node {
	return s.tags[s.originalTag(tag)] // no image has the tag ""
}

// items returns what goes, the parts of a SOCI-enabled image behind it.
func (s *selection) items() (out []Item) {
	shared := map[digest.Digest]bool{} // blobs that SOCI indexes name that stay
	for _, n := range s.order {
		if !s.going[n] && n.is(soci.KindSOCIIndexV1, soci.KindSOCIIndexV2) {
			for _, blob := range n.image.Layers {
				shared[blob.Digest] = true
			}
		}
	}
	defer func() {
		for i := range out {
			out[i].shared = shared
		}
	}()
	for _, n := range s.order {
		if !s.going[n] || s.partOf[n] != nil {
			continue
		}
		out = append(out, s.item(n))
		for _, part := range s.parts[n] {
			if s.going[part] {
				out = append(out, s.item(part))
			}
		}
	}
	return out
}

func (s *selection) item(n *node) Item {
	i := Item{Repository: s.reader.repo.Name(), Reference: s.fullName + "@" + n.Digest.String(), Digest: n.Digest,
		Tags: n.Tags, PushedAt: n.PushedAt, image: n.Image}
	if root := s.partOf[n]; root != nil {
		i.PartOf = root.Digest
	} else {
		i.Trouble = s.trouble[n]
	}
	if n.content == nil { // archived
		i.Kind = soci.KindSOCIIndexV1
		if n.ArtifactType == soci.ArtifactTypeV2 {
			i.Kind = soci.KindSOCIIndexV2
		}
		return i
	}
	i.Kind, i.Tools, i.Size, i.manifest = n.Kind, s.tools(n), n.size, n.size
	if n.is(soci.KindSOCIIndexV1, soci.KindSOCIIndexV2) {
		i.blobs = map[digest.Digest]int64{}
		for _, blob := range n.image.Layers { // zTOCs and prefetch artifacts
			if _, ok := i.blobs[blob.Digest]; !ok {
				i.blobs[blob.Digest] = blob.Size
				i.Size += blob.Size
			}
		}
	}
	return i
}
