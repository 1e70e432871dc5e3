package soci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// target is a manifest that the image leads to: an image manifest of a
// platform, or something that is passed over for a reason.
type target struct {
	desc     ocispec.Descriptor
	manifest *ocispec.Manifest // nil when passed over
	platform ocispec.Platform  // as it is listed, else as the config has it
	wanted   bool
	reason   string

	unindexable string // AnnotationUnindexable of its SOCI indexes
}

func (t *target) platformName() string { return platforms.Format(platforms.Normalize(t.platform)) }

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
}

// images gives the targets that are image manifests of platforms asked for.
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
}

func (l *leftAlone) Error() string { return fmt.Sprintf("%s: %s", l.outcome, l.reason) }

func ownArtifact(format string, args ...any) error {
	return &leftAlone{OutcomeOwnArtifact, fmt.Sprintf(format, args...)}
}

// maxIndexDepth is how deep image indexes may be nested.
const maxIndexDepth = 4

// walker collects the targets of an image in the order of its image index.
type walker struct {
	src    Source
	limits Limits
	all    bool                // also image manifests of other platforms
	wanted []platforms.Matcher // empty: every platform
	seen   map[digest.Digest]*node
	tree   tree
	found  []string // the platforms met, for the error message
}

// walk finds what image leads to. A *leftAlone says that it is none of our
// business.
func walk(ctx context.Context, src Source, image ocispec.Descriptor, o Options) (*tree, error) {
	w := &walker{src: src, limits: o.Limits, all: o.IndexVersion.v2(), seen: make(map[digest.Digest]*node)}
	for _, p := range o.Platforms {
		parsed, err := platforms.Parse(p)
		if err != nil {
			return nil, fmt.Errorf("%w: platform %q: %w", ErrInvalidOption, p, err)
		}
		w.wanted = append(w.wanted, platforms.OnlyStrict(parsed))
	}
	if !images.IsManifestType(image.MediaType) && !images.IsIndexType(image.MediaType) {
		return nil, fmt.Errorf("%w: media type %q of %s is neither that of an image manifest nor of an image index (Docker schema 2 or OCI)",
			ErrUnsupported, cut(image.MediaType, 100), image.Digest)
	}
	if err := checkOrigin(image); err != nil {
		return nil, err
	}
	root, err := w.visit(ctx, image, 0)
	if err != nil {
		return nil, err
	}
	w.tree.root = root
	for i, m := range w.wanted {
		if !slices.ContainsFunc(w.tree.targets, func(t *target) bool { return t.manifest != nil && m.Match(t.platform) }) {
			slices.Sort(w.found)
			return nil, fmt.Errorf("%w: the image has no platform %q; it has %s", ErrInvalidOption, o.Platforms[i], strings.Join(slices.Compact(w.found), ", "))
		}
	}
	return &w.tree, nil
}

func (w *walker) visit(ctx context.Context, desc ocispec.Descriptor, depth int) (*node, error) {
	if n := w.seen[desc.Digest]; n != nil { // listed twice: the same work, the same SOCI index
		again := *n
		again.desc = desc
		return &again, nil
	}
	if len(w.seen) == w.limits.MaxManifests {
		return nil, fmt.Errorf("%w: the image has more than Limits.MaxManifests, %d, manifests", ErrLimit, w.limits.MaxManifests)
	}
	n := &node{desc: desc}
	w.seen[desc.Digest] = n
	switch {
	case images.IsIndexType(desc.MediaType):
		return n, w.visitIndex(ctx, n, depth)
	case images.IsManifestType(desc.MediaType):
		t, err := w.visitManifest(ctx, desc)
		if err != nil {
			return nil, err
		}
		w.place(n, t)
	default:
		w.place(n, &target{reason: fmt.Sprintf("media type %q", cut(desc.MediaType, 100))})
	}
	return n, nil
}

// place puts a target where it was found.
func (w *walker) place(n *node, t *target) {
	t.desc = n.desc
	n.target = t
	w.tree.targets = append(w.tree.targets, t)
}

func (w *walker) visitIndex(ctx context.Context, n *node, depth int) error {
	if depth == maxIndexDepth {
		return fmt.Errorf("%w: image indexes are nested more than %d deep", ErrLimit, maxIndexDepth)
	}
	index, err := fetchImageIndex(ctx, w.src, n.desc, w.limits)
	if err != nil {
		return err
	}
	if _, ok := index.Annotations[AnnotationUnindexed]; ok {
		return ownArtifact("image index %s is annotated %s", n.desc.Digest, AnnotationUnindexed)
	}
	for _, child := range index.Manifests {
		if err := checkOrigin(child); err != nil {
			return err
		}
	}
	n.index = index
	for _, child := range index.Manifests {
		if reason := notAnImage(child); reason != "" {
			c := &node{desc: child}
			w.place(c, &target{reason: reason})
			n.children = append(n.children, c)
			continue
		}
		if !w.all && child.Platform != nil && images.IsManifestType(child.MediaType) && !w.wants(*child.Platform) {
			continue
		}
		c, err := w.visit(ctx, child, depth+1)
		if err != nil {
			return err
		}
		n.children = append(n.children, c)
	}
	return nil
}

func (w *walker) visitManifest(ctx context.Context, desc ocispec.Descriptor) (*target, error) {
	m, err := fetchManifest(ctx, w.src, desc, w.limits)
	if err != nil {
		return nil, err
	}
	switch {
	case isSociIndexType(m.Config.MediaType), isSociIndexType(m.ArtifactType):
		return nil, ownArtifact("manifest %s is a SOCI index", desc.Digest)
	case m.Annotations[AnnotationIndexDigest] != "":
		return nil, ownArtifact("image manifest %s is annotated %s", desc.Digest, AnnotationIndexDigest)
	case !images.IsConfigType(m.Config.MediaType):
		what := m.ArtifactType
		if what == "" {
			what = m.Config.MediaType
		}
		return &target{reason: fmt.Sprintf("artifact of type %q", cut(what, 100))}, nil
	case len(m.Layers) > 0 && !slices.ContainsFunc(m.Layers, func(l ocispec.Descriptor) bool { return images.IsLayerType(l.MediaType) }):
		// Signatures and SBOMs, whose config says that they are images.
		return &target{reason: fmt.Sprintf("artifact with content of type %q", cut(m.Layers[0].MediaType, 100))}, nil
	}
	config, err := fetchConfig(ctx, w.src, m.Config, w.limits)
	if err != nil {
		return nil, err
	}
	if config.Config.Labels[LabelSkip] == "true" {
		return nil, &leftAlone{OutcomeOptedOut, fmt.Sprintf("image manifest %s has the label %s=true", desc.Digest, LabelSkip)}
	}
	t := &target{manifest: m, platform: platforms.Normalize(config.Platform)}
	if desc.Platform != nil {
		t.platform = *desc.Platform
	}
	t.wanted = w.wants(t.platform)
	return t, nil
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
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%w image config %s: %w", ErrCorrupt, desc.Digest, err)
	}
	return &c, nil
}

func (w *walker) wants(p ocispec.Platform) bool {
	p = platforms.Normalize(p)
	w.found = append(w.found, platforms.Format(p))
	return len(w.wanted) == 0 || slices.ContainsFunc(w.wanted, func(m platforms.Matcher) bool { return m.Match(p) })
}

func isSociIndexType(t string) bool { return t == ArtifactTypeV1 || t == ArtifactTypeV2 }

// checkOrigin refuses by its descriptor what is a SOCI index or belongs to a
// SOCI-enabled image.
func checkOrigin(desc ocispec.Descriptor) error {
	if isSociIndexType(desc.ArtifactType) {
		return ownArtifact("manifest %s is a SOCI index", desc.Digest)
	}
	for _, a := range []string{AnnotationIndexDigest, AnnotationImageManifestDigest} {
		if desc.Annotations[a] != "" {
			return ownArtifact("manifest %s is annotated %s where it is listed", desc.Digest, a)
		}
	}
	return nil
}

const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
)

// notAnImage tells by its descriptor what an image index lists beside images.
func notAnImage(desc ocispec.Descriptor) string {
	switch {
	case desc.ArtifactType != "" && !images.IsConfigType(desc.ArtifactType): // some tools give the config's media type
		return fmt.Sprintf("artifact of type %q", cut(desc.ArtifactType, 100))
	case desc.Annotations[annotationReferenceType] != "":
		return cut(desc.Annotations[annotationReferenceType], 100)
	case desc.Platform != nil && desc.Platform.OS == "unknown" && desc.Platform.Architecture == "unknown":
		return "platform unknown/unknown"
	}
	return ""
}

// alone tells apart what was left alone from what failed.
func alone(err error) (*leftAlone, bool) { return errors.AsType[*leftAlone](err) }
