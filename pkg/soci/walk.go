package soci

import (
	"context"
	"encoding/json"
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
	platform ocispec.Platform
	reason   string
}

// maxIndexDepth is how deep image indexes may be nested.
const maxIndexDepth = 4

// walker collects the targets of an image in the order of its image index.
type walker struct {
	src     Source
	limits  Limits
	wanted  []platforms.Matcher // empty: all
	seen    map[digest.Digest]bool
	targets []target
	found   []string // the platforms met, for the error message
}

// walk finds what image leads to.
func walk(ctx context.Context, src Source, image ocispec.Descriptor, o Options) ([]target, error) {
	w := &walker{src: src, limits: o.Limits, seen: make(map[digest.Digest]bool)}
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
	if err := w.visit(ctx, image, 0); err != nil {
		return nil, err
	}
	for i, m := range w.wanted {
		if !slices.ContainsFunc(w.targets, func(t target) bool { return t.manifest != nil && m.Match(t.platform) }) {
			slices.Sort(w.found)
			return nil, fmt.Errorf("%w: the image has no platform %q; it has %s", ErrInvalidOption, o.Platforms[i], strings.Join(slices.Compact(w.found), ", "))
		}
	}
	return w.targets, nil
}

func (w *walker) visit(ctx context.Context, desc ocispec.Descriptor, depth int) error {
	if w.seen[desc.Digest] {
		return nil // listed twice: the same work, the same SOCI index
	}
	w.seen[desc.Digest] = true
	if len(w.seen) > w.limits.MaxManifests {
		return fmt.Errorf("%w: the image has more than Limits.MaxManifests, %d, manifests", ErrLimit, w.limits.MaxManifests)
	}
	switch {
	case images.IsIndexType(desc.MediaType):
		if depth == maxIndexDepth {
			return fmt.Errorf("%w: image indexes are nested more than %d deep", ErrLimit, maxIndexDepth)
		}
		index, err := fetchImageIndex(ctx, w.src, desc, w.limits)
		if err != nil {
			return err
		}
		for _, child := range index.Manifests {
			if reason := notAnImage(child); reason != "" {
				w.targets = append(w.targets, target{desc: child, reason: reason})
				continue
			}
			if child.Platform != nil && images.IsManifestType(child.MediaType) && !w.wants(*child.Platform) {
				continue
			}
			if err := w.visit(ctx, child, depth+1); err != nil {
				return err
			}
		}
		return nil
	case images.IsManifestType(desc.MediaType):
		return w.visitManifest(ctx, desc)
	default:
		w.targets = append(w.targets, target{desc: desc, reason: fmt.Sprintf("media type %q", cut(desc.MediaType, 100))})
		return nil
	}
}

func (w *walker) visitManifest(ctx context.Context, desc ocispec.Descriptor) error {
	m, err := fetchManifest(ctx, w.src, desc, w.limits)
	if err != nil {
		return err
	}
	if !images.IsConfigType(m.Config.MediaType) {
		what := m.ArtifactType
		if what == "" {
			what = m.Config.MediaType
		}
		w.targets = append(w.targets, target{desc: desc, reason: fmt.Sprintf("artifact of type %q", cut(what, 100))})
		return nil
	}
	platform := desc.Platform
	if platform == nil {
		if platform, err = w.configPlatform(ctx, m.Config); err != nil {
			return err
		}
	}
	if w.wants(*platform) {
		w.targets = append(w.targets, target{desc: desc, manifest: m, platform: platforms.Normalize(*platform)})
	}
	return nil
}

// configPlatform is the platform of an image manifest that no image index
// gives one.
func (w *walker) configPlatform(ctx context.Context, config ocispec.Descriptor) (*ocispec.Platform, error) {
	b, err := fetchVerified(ctx, w.src, config, w.limits)
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	var p ocispec.Platform
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%w image config %s: %w", ErrCorrupt, config.Digest, err)
	}
	return &p, nil
}

func (w *walker) wants(p ocispec.Platform) bool {
	p = platforms.Normalize(p)
	w.found = append(w.found, platforms.Format(p))
	return len(w.wanted) == 0 || slices.ContainsFunc(w.wanted, func(m platforms.Matcher) bool { return m.Match(p) })
}

// notAnImage tells by its descriptor what an image index lists beside images.
func notAnImage(desc ocispec.Descriptor) string {
	const reference = "vnd.docker.reference.type"
	switch {
	case desc.ArtifactType != "" && !images.IsConfigType(desc.ArtifactType): // some tools give the config's media type
		return fmt.Sprintf("artifact of type %q", cut(desc.ArtifactType, 100))
	case desc.Annotations[reference] != "":
		return cut(desc.Annotations[reference], 100)
	case desc.Platform != nil && desc.Platform.OS == "unknown" && desc.Platform.Architecture == "unknown":
		return "platform unknown/unknown"
	}
	return ""
}
