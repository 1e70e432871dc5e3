package soci

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/text/plural"
)

// prefetchOf is what a SOCI-enabled image has clients fetch early of a platform.
type prefetchOf struct {
	stays bool // the SOCI index is an earlier one, whatever it lists

	layers map[digest.Digest]bool // of the image manifest: whether there is a prefetch artifact
	some   bool                   // there is one of any layer
}

// add adds an image manifest of the platform; made is nil where nothing is
// prefetched.
func (p *prefetchOf) add(of *target, made *PrefetchResult) {
	p.stays = p.stays || of.kept.Digest != ""
	if of.manifest != nil {
		for _, l := range of.manifest.Layers {
			if _, known := p.layers[l.Digest]; !known {
				p.layers[l.Digest] = false
			}
		}
	}
	if made != nil {
		for _, a := range made.Artifacts {
			p.layers[a.Layer], p.some = true, true
		}
	}
}

// prefetchLost returns a warning for each SOCI index of a SOCI-enabled image that
// lists prefetch artifacts, while the one in its place has none for its platform,
// or none for one of their layers that the image still has; now is what it has,
// by the platforms as they are listed. What cannot be read is left out.
func prefetchLost(ctx context.Context, src Source, enabled ocispec.Descriptor, index *ocispec.Index,
	now map[string]*prefetchOf, limits Limits) (warnings []string, err error) {
	for i, d := range listedIndexes(index.Manifests) {
		if i == limits.MaxManifests {
			break
		}
		platform := platformOf(d.Platform).String()
		is := now[platform]
		if is != nil && is.stays {
			continue
		}
		b, err := fetchVerified(ctx, src, d, limits)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var m *ocispec.Manifest
		if err == nil {
			m, err = ParseIndex(b)
		}
		if err != nil {
			continue // its artifacts are of no use either
		}
		had := ContentOf(m).Prefetch
		lacks := is.lacks(had)
		if lacks == "" {
			continue
		}
		warnings = append(warnings,
			fmt.Sprintf("the tag named the SOCI-enabled image %s, by %q, whose SOCI index %s for %s "+
				"lists %s; the one in its place has none for %s, since none were asked for or no file "+
				"was found",
				enabled.Digest, cut(m.Annotations[AnnotationBuildToolIdentifier], 100), d.Digest, platform,
				plural.Count(len(had), "prefetch artifact"), lacks))
	}
	return warnings, nil
}

// lacks says for what there is no prefetch artifact where there was one; empty for
// nothing. An artifact of a layer that the image no longer has is of no use.
func (p *prefetchOf) lacks(had []ocispec.Descriptor) string {
	if len(had) == 0 {
		return ""
	}
	if p == nil || !p.some {
		return "that platform"
	}
	var lost []digest.Digest
	counted := map[digest.Digest]bool{}
	for _, d := range had {
		layer := digest.Digest(d.Annotations[AnnotationLayerDigest])
		has, there := p.layers[layer]
		if there && !has && !counted[layer] {
			counted[layer] = true
			lost = append(lost, layer)
		}
	}
	switch len(lost) {
	case 0:
		return ""
	case 1:
		return "layer " + lost[0].String()
	}
	return fmt.Sprintf("%d layers, the first of them %s", len(lost), lost[0])
}
