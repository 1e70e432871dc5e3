package soci

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fingerprint is what an image is made of, however its manifest is written.
func fingerprint(m *ocispec.Manifest) string {
	var b strings.Builder
	b.WriteString(m.Config.Digest.String())
	for _, l := range m.Layers {
		b.WriteString(" " + l.Digest.String())
	}
	return b.String()
}

// likeEnabled compares a SOCI-enabled image that is not as it would be written
// for this image with what the image is made of. It returns EnabledDiffers, and
// the SOCI index that each image manifest names, when it lists the same images
// and no other; otherwise EnabledStale with the reason.
func (x *examiner) likeEnabled(ctx context.Context, tree *tree, enabled *ocispec.Index) (map[*target]ocispec.Descriptor,
	EnabledState, string, error) {
	listed := make(map[string]*ocispec.Manifest)
	if err := x.listedImages(ctx, enabled, listed, 0); err != nil {
		return nil, "", "", err
	}
	entries := make(map[string]ocispec.Descriptor)
	for _, d := range listedIndexes(enabled.Manifests) {
		entries[d.Digest.String()] = d
	}
	indexOf := make(map[*target]ocispec.Descriptor)
	have := make(map[string]bool) // what the image is made of
	shared, known := 0, true
	for _, t := range tree.targets {
		if t.manifest == nil {
			known = known && !t.isImage()
			continue
		}
		f := fingerprint(t.manifest)
		m := listed[f]
		if m != nil && !have[f] {
			shared++
		}
		have[f] = true
		if m == nil {
			continue
		}
		named := m.Annotations[AnnotationIndexDigest]
		if d, ok := entries[named]; ok {
			indexOf[t] = d
		} else if named != "" {
			// Clients go by what the manifest names, but this one is listed
			// without it: nothing is known of its size.
			return nil, EnabledBroken,
				fmt.Sprintf("is of this image, but does not list the SOCI index %s that it names", cut(named, 100)), nil
		}
	}
	switch {
	case shared == 0:
		return nil, EnabledStale, "was made of another image", nil
	case known && shared == len(have) && len(listed) == len(have):
		return indexOf, EnabledDiffers, "is of this image, but not as an index run writes it", nil
	}
	return nil, EnabledStale,
		fmt.Sprintf("was made of this image as it was: it lists %d of its %d image manifests, and %d others",
			shared, len(have), len(listed)-shared), nil
}

// listedImages collects the image manifests that an image index leads to, by
// their fingerprints. One that is not there, or cannot be read, is none.
func (x *examiner) listedImages(ctx context.Context, index *ocispec.Index, found map[string]*ocispec.Manifest,
	depth int) error {
	seen := make(map[digest.Digest]bool)
	for _, d := range index.Manifests {
		if seen[d.Digest] || len(found) == x.o.Limits.MaxManifests {
			continue
		}
		seen[d.Digest] = true
		switch kind := ClassifyListed(d); {
		case kind == KindImageIndex && depth < maxIndexDepth:
			nested, err := fetchImageIndex(ctx, x.r, d, x.o.Limits)
			if err == nil {
				err = x.listedImages(ctx, nested, found, depth+1)
			}
			if err != nil && !unusable(err) && !notThere(err) {
				return err
			}
		case kind == KindImage:
			m, err := fetchManifest(ctx, x.r, d, x.o.Limits)
			switch {
			case err == nil && isImage(d.MediaType, m):
				found[fingerprint(m)] = m
			case err != nil && !unusable(err) && !notThere(err):
				return err
			}
		}
	}
	return nil
}
