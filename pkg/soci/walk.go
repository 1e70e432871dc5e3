package soci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/text/bytesize"
)

// target is a manifest that the image leads to: an image manifest of a
// platform, something that is passed over for a reason, or a manifest that
// failed.
type target struct {
	desc     ocispec.Descriptor
	manifest *ocispec.Manifest // nil when passed over or failed
	platform platform
	wanted   bool
	kind     Kind
	outcome  Outcome // of what is passed over
	reason   string  // why
	err      error   // why it failed
	unread   error   // why it is OutcomeUnreadable for want of being asked for

	// held is the manifest of one that is unread for its config alone; kept is the
	// SOCI index v2 that an earlier SOCI-enabled image has for it, see tree.keep.
	held *ocispec.Manifest
	kept ocispec.Descriptor

	unindexable string // AnnotationUnindexable of its SOCI indexes

	prefetch []prefetchPattern // what is to be prefetched
	badLabel error             // why LabelPrefetch is not heeded
}

// node is a place in the image. Several places may have the same target.
type node struct {
	desc     ocispec.Descriptor // as its parent lists it
	index    *ocispec.Index     // of an image index, else nil
	children []*node            // of an image index
	target   *target            // of anything else
}

// tree is what the image leads to.
type tree struct {
	root    *node
	targets []*target // each once, in the order of the image index

	notChosen []string // the platforms of the image that are not among Options.Choice
}

// images returns the targets that are image manifests of platforms asked for.
func (t *tree) images() []target {
	var out []target
	for _, x := range t.targets {
		if x.manifest != nil && x.wanted {
			out = append(out, *x)
		}
	}
	return out
}

// leftAlone ends a walk: nothing is to be done with the image.
type leftAlone struct {
	outcome Outcome
	reason  string
	lacking []string // the platforms that a SOCI-enabled image has no SOCI index for
}

func (l *leftAlone) Error() string { return fmt.Sprintf("%s: %s", l.outcome, l.reason) }

func ownArtifact(format string, args ...any) error {
	return &leftAlone{outcome: OutcomeOwnArtifact, reason: fmt.Sprintf(format, args...)}
}

// maxIndexDepth is how deep image indexes may be nested.
const maxIndexDepth = 4

// The manifests of an image are held until it is done.
const (
	maxManifestSizes = 16     // times Limits.MaxManifestSize, of all together
	maxListed        = 50_000 // entries of image indexes, with all that is no image
)

// walker collects the targets of an image in the order of its image index.
type walker struct {
	src    Source
	o      Options
	all    bool                // also image manifests of other platforms
	wanted []platforms.Matcher // empty: every platform
	seen   map[digest.Digest]*node
	size   int64 // bytes of the manifests so far
	listed int   // by all image indexes so far
	tree   tree
	found  []string // the platforms met, for the error message

	choice    []func(platform) bool // of Options.Choice; empty: every platform
	notChosen []string              // the platforms met that are not among them
}

// walk finds what image leads to. A *leftAlone says that it is not our
// business. What an image index lists fails by itself; the error is one of the
// image as a whole.
func walk(ctx context.Context, src Source, image ocispec.Descriptor, o Options) (*tree, error) {
	w := &walker{src: src, o: o, all: o.IndexVersion.v2(), seen: make(map[digest.Digest]*node)}
	for _, p := range o.Platforms {
		parsed, err := platforms.Parse(p)
		if err != nil {
			return nil, invalidOption("platform %q: %w", p, err)
		}
		w.wanted = append(w.wanted, platforms.OnlyStrict(parsed))
	}
	for _, p := range o.Choice {
		chosen, err := parseChoice(p)
		if err != nil {
			return nil, err
		}
		w.choice = append(w.choice, chosen)
	}
	if IsSchema1(image.MediaType) {
		return nil, fmt.Errorf(
			"%w: %s is a manifest of Docker schema 1, which cannot have a SOCI index; push the image "+
				"again with a current builder",
			ErrUnsupported, image.Digest)
	}
	if !images.IsManifestType(image.MediaType) && !images.IsIndexType(image.MediaType) {
		return nil, fmt.Errorf(
			"%w: media type %q of %s is neither that of an image manifest nor of an image index (Docker "+
				"schema 2 or OCI)",
			ErrUnsupported, cut(image.MediaType, 100), image.Digest)
	}
	if isSociIndexType(image.ArtifactType) {
		return nil, ownArtifact("manifest %s is a SOCI index", image.Digest)
	}
	root, err := w.visit(ctx, image, 0)
	if err != nil {
		return nil, err
	}
	w.tree.root = root
	for i, m := range w.wanted {
		if !slices.ContainsFunc(w.tree.targets, func(t *target) bool { return t.isImage() && t.platform.matches(m) }) {
			slices.Sort(w.found)
			return nil, invalidOption("the image has no platform %q; it has %s", o.Platforms[i],
				strings.Join(slices.Compact(w.found), ", "))
		}
	}
	slices.Sort(w.notChosen)
	w.tree.notChosen = slices.Compact(w.notChosen)
	return &w.tree, nil
}

// isImage reports whether the target is an image manifest, or was listed as
// one and could not be read.
func (t *target) isImage() bool { return t.manifest != nil || t.err != nil }

// visit returns the node of a manifest; the error is that of this manifest, or
// a *leftAlone or an errTooMany of the whole image.
func (w *walker) visit(ctx context.Context, desc ocispec.Descriptor, depth int) (*node, error) {
	if n := w.seen[desc.Digest]; n != nil { // listed twice: the same work, the same SOCI index
		w.listedAgain(n.target, platformOf(desc.Platform))
		again := *n
		again.desc = desc
		return &again, nil
	}
	if len(w.seen) == w.o.Limits.MaxManifests {
		return nil, fmt.Errorf("%w: more than %d", errTooMany, w.o.Limits.MaxManifests)
	}
	n := &node{desc: desc}
	w.seen[desc.Digest] = n
	if err := w.hold(desc); err != nil {
		return nil, err
	}
	var err error
	switch {
	case images.IsIndexType(desc.MediaType):
		err = w.visitIndex(ctx, n, depth)
	case images.IsManifestType(desc.MediaType):
		var t *target
		if t, err = w.visitManifest(ctx, desc); err == nil {
			w.place(n, t)
		}
	default:
		w.place(n, &target{kind: KindArtifact, reason: fmt.Sprintf("media type %q", cut(desc.MediaType, 100))})
	}
	return n, err
}

// listedAgain has an image manifest wanted that is listed first for a platform that
// is not asked for, and once more for one that is.
func (w *walker) listedAgain(t *target, as platform) {
	if t == nil || t.wanted || t.manifest == nil && t.err == nil && t.unread == nil || !as.known() || !w.chooses(as) {
		return
	}
	w.found = append(w.found, as.String())
	t.platform, t.wanted = as, true
	if t.unread != nil {
		t.outcome, t.reason, t.err = "", "", t.unread
	}
}

// hold counts a manifest that is about to be read and held. One that is too large
// by itself is not, which reading it shows.
func (w *walker) hold(desc ocispec.Descriptor) error {
	one := w.o.Limits.MaxManifestSize
	if desc.Size > one || !images.IsIndexType(desc.MediaType) && !images.IsManifestType(desc.MediaType) {
		return nil
	}
	if w.size += max(desc.Size, 0); w.size > maxManifestSizes*one {
		return fmt.Errorf("%w: together more than %s", errTooMany, bytesize.Format(maxManifestSizes*one))
	}
	return nil
}

// errTooMany bounds the work on one image.
var errTooMany = fmt.Errorf("%w: the image has more manifests than are supported", ErrLimit)

// place puts a target where it was found.
func (w *walker) place(n *node, t *target) {
	t.desc = n.desc
	if t.reason != "" && t.outcome == "" {
		t.outcome = OutcomePassedOver
	}
	n.target = t
	w.tree.targets = append(w.tree.targets, t)
}

func (w *walker) visitIndex(ctx context.Context, n *node, depth int) error {
	if depth == maxIndexDepth {
		return fmt.Errorf("%w: image indexes are nested more than %d deep", ErrLimit, maxIndexDepth)
	}
	index, err := fetchImageIndex(ctx, w.src, n.desc, w.o.Limits)
	if err != nil {
		return err
	}
	switch kind, artifactType := kindOfIndex(index); {
	case kind == KindEnabledImage:
		return w.enabledImage(ctx, n.desc, index)
	case kind == KindUnindexed:
		return ownArtifact("image index %s stands for an image without a layer to index", n.desc.Digest)
	case slices.ContainsFunc(index.Manifests, isReferrer):
		return ownArtifact("image index %s lists SOCI indexes", n.desc.Digest)
	case kind == KindArtifact:
		w.place(n, &target{kind: kind, reason: whatItIs(kind, artifactType, nil)})
		return nil
	}
	n.index = index
	if w.listed += len(index.Manifests); w.listed > maxListed {
		return fmt.Errorf("%w: its image indexes list more than %d", errTooMany, maxListed)
	}
	for _, child := range index.Manifests {
		if kind := ClassifyListed(child); kind != KindImage && kind != KindImageIndex {
			c := &node{desc: child}
			w.place(c, &target{kind: kind, reason: whatIsListed(kind, child)})
			n.children = append(n.children, c)
			continue
		}
		if !w.all && readForAll(child) && !w.wants(platformOf(child.Platform)) {
			continue
		}
		c, err := w.visit(ctx, child, depth+1)
		if err != nil {
			if c, err = w.childFailed(ctx, c, err); err != nil {
				return err
			}
		}
		n.children = append(n.children, c)
	}
	return nil
}

// readForAll reports whether an entry of an image index is read only when all are:
// its platform is known unread, and so is that it is not asked for.
func readForAll(listed ocispec.Descriptor) bool {
	return listed.Platform != nil && images.IsManifestType(listed.MediaType)
}

// childFailed keeps what is wrong with one entry of an image index to itself.
// An entry that is not in the repository, as in a copy of some platforms, is
// passed over, and so is one that can be no image for any client. So is one of a
// platform that is not asked for, if its own content is at fault: clients of the
// others never read it, and its own find in the SOCI-enabled image what they find
// in this one. A registry that is out of order is a failure all the same, or what
// is written would depend on the moment. The error is one of the whole image.
func (w *walker) childFailed(ctx context.Context, n *node, err error) (*node, error) {
	if _, ok := alone(err); ok || errors.Is(err, errTooMany) || ctx.Err() != nil {
		return nil, err
	}
	n.index, n.children = nil, nil
	t := &target{kind: ClassifyListed(n.desc), platform: platformOf(n.desc.Platform)}
	switch {
	case notThere(err) && !partMissing(err):
		t.outcome, t.reason = OutcomeMissing, "it is not in the repository"
	case unusable(err) && t.kind == KindImage && n.desc.Platform == nil:
		t.kind, t.outcome, t.reason = KindArtifact, OutcomeUnreadable, err.Error()
	case !w.wants(t.platform) && t.kind == KindImage && t.platform.known() && (unusable(err) || notThere(err)):
		t.unread = err
		t.outcome, t.reason = OutcomeUnreadable, fmt.Sprintf("%s, which is not asked for: %v", t.platform, err)
		if part, ok := errors.AsType[*partError](err); ok {
			t.held = part.of
		}
	default:
		t.err = err
		t.wanted = w.chooses(t.platform)
	}
	w.place(n, t)
	return n, nil
}

// partError is an error of something that a manifest names, while the manifest
// itself was read.
type partError struct {
	error
	of *ocispec.Manifest
}

func (e *partError) Unwrap() error { return e.error }

func partMissing(err error) bool {
	_, ok := errors.AsType[*partError](err)
	return ok
}

func (w *walker) visitManifest(ctx context.Context, desc ocispec.Descriptor) (*target, error) {
	m, err := fetchManifest(ctx, w.src, desc, w.o.Limits)
	if err != nil {
		return nil, err
	}
	kind, artifactType := kindOfManifest(desc.MediaType, m)
	switch kind {
	case KindSOCIIndexV1, KindSOCIIndexV2:
		return nil, ownArtifact("manifest %s is a SOCI index", desc.Digest)
	case KindEnabledManifest:
		// Ours are pushed only by digest. Under a tag it is an image that
		// inherited the annotation of the one that it was built from.
		if !w.o.tagged {
			return nil, ownArtifact("image manifest %s belongs to a SOCI-enabled image", desc.Digest)
		}
	case KindImage:
	default:
		return &target{kind: kind, reason: whatItIs(kind, artifactType, m.Layers)}, nil
	}
	if err := checkLayers(m, desc, w.o.Limits); err != nil {
		return nil, err
	}
	config, err := fetchConfig(ctx, w.src, m.Config, w.o.Limits)
	if said := platformOf(desc.Platform); unusable(err) && said.known() && !w.chooses(said) {
		config, err = new(imageConfig), nil // its manifest is all that the SOCI-enabled image needs
	}
	if err != nil {
		return nil, &partError{err, m}
	}
	if config.Config.Labels[LabelSkip] == "true" {
		return nil, &leftAlone{outcome: OutcomeOptedOut,
			reason: fmt.Sprintf("image manifest %s has the label %s=true", desc.Digest, LabelSkip)}
	}
	t := &target{kind: kind, manifest: m, platform: platformOf(desc.Platform)}
	if !t.platform.known() {
		if t.platform = platformOf(&config.Platform); t.platform.known() {
			t.platform.said = platforms.Normalize(t.platform.said)
		}
	}
	t.wanted = w.wants(t.platform)
	t.prefetch = w.o.prefetch
	if label := config.Config.Labels[LabelPrefetch]; label != "" && w.o.PrefetchLabel {
		var labelled []prefetchPattern
		if labelled, t.badLabel = parsePrefetchLabel(label); t.badLabel == nil {
			t.prefetch = append(slices.Clip(t.prefetch), labelled...)
		}
	}
	return t, nil
}

// enabledImage skips a SOCI-enabled image, by any tool, and finds the platforms
// that it has no SOCI index for although a layer could have one: those stay
// without until it is made again.
func (w *walker) enabledImage(ctx context.Context, desc ocispec.Descriptor, index *ocispec.Index) error {
	own := &leftAlone{outcome: OutcomeOwnArtifact,
		reason: fmt.Sprintf("image index %s lists SOCI indexes", desc.Digest)}
	indexed := map[string]bool{}
	for _, d := range listedIndexes(index.Manifests) {
		indexed[d.Annotations[AnnotationImageManifestDigest]] = true
	}
	for i, child := range index.Manifests {
		if i == w.o.Limits.MaxManifests {
			break
		}
		if indexed[child.Digest.String()] || ClassifyListed(child) != KindImage ||
			child.Annotations[AnnotationIndexDigest] != "" {
			continue
		}
		m, err := fetchManifest(ctx, w.src, child, w.o.Limits)
		if err != nil || !isImage(child.MediaType, m) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue // nothing that could be said of it
		}
		if m.Annotations[AnnotationIndexDigest] == "" && slices.ContainsFunc(m.Layers, w.indexable) {
			own.lacking = append(own.lacking, platformOf(child.Platform).String())
		}
	}
	if len(own.lacking) > 0 {
		own.reason += fmt.Sprintf(", but none for %s; index the original image again, or delete this one",
			strings.Join(own.lacking, ", "))
	}
	return own
}

// indexable reports whether a layer's descriptor promises a zTOC.
func (w *walker) indexable(layer ocispec.Descriptor) bool {
	reason, _ := expectedSkip(layer, w.o)
	return reason == ""
}

// imageConfig is what is read of an image's config.
type imageConfig struct {
	ocispec.Platform
	Config struct {
		Labels map[string]string
	} `json:"config"`
}

func fetchConfig(ctx context.Context, src Source, desc ocispec.Descriptor, limits Limits) (*imageConfig, error) {
	b, err := fetchVerified(ctx, src, desc, limits)
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	var c imageConfig
	if err := documents.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%w image config %s: %w", ErrCorrupt, desc.Digest, err)
	}
	return &c, nil
}

// wants is chooses for a platform that the image has.
func (w *walker) wants(p platform) bool {
	w.found = append(w.found, p.String())
	if !w.inChoice(p) {
		w.notChosen = append(w.notChosen, p.String())
	}
	return w.chooses(p)
}

// chooses reports whether SOCI indexes for a platform are asked for.
func (w *walker) chooses(p platform) bool {
	return w.inChoice(p) && (len(w.wanted) == 0 || slices.ContainsFunc(w.wanted, p.matches))
}

func (w *walker) inChoice(p platform) bool {
	return len(w.choice) == 0 ||
		slices.ContainsFunc(w.choice, func(chosen func(platform) bool) bool { return chosen(p) })
}

// noneChosen is a *leftAlone when the image has platforms, and none of them is
// among Options.Choice.
func (t *tree) noneChosen(choice []string) error {
	if len(t.notChosen) == 0 ||
		slices.ContainsFunc(t.targets, func(t *target) bool { return t.isImage() && t.wanted }) {
		return nil
	}
	return &leftAlone{outcome: OutcomePlatformNotChosen, reason: fmt.Sprintf("the image has %s, and chosen are %s",
		strings.Join(t.notChosen, ", "), strings.Join(choice, ", "))}
}

// alone separates what was skipped from what failed.
func alone(err error) (*leftAlone, bool) { return errors.AsType[*leftAlone](err) }
