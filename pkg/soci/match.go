package soci

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// matchEnabled returns the SOCI index of each image manifest that the
// SOCI-enabled image lists, nil when it is not of this image. It is, when
// writing it again with these SOCI indexes has the same digest; one that
// another tool made may differ in what is no image.
func matchEnabled(ctx context.Context, tree *tree, desc ocispec.Descriptor, enabled *ocispec.Index,
	indexes []ocispec.Descriptor) (map[*target]ocispec.Descriptor, error) {
	e, matched, err := rewriteMatching(ctx, tree, indexes)
	if err != nil {
		return nil, err
	}
	if matched == 0 {
		return nil, nil
	}
	root, err := e.rewriteRoot()
	if err != nil {
		return nil, err
	}
	if root.desc.Digest == desc.Digest || matched == len(indexes) && e.sameImages(enabled) {
		return e.out.indexOf, nil
	}
	return nil, nil
}

// rewriteMatching rewrites the image manifests, each with the one of the SOCI indexes
// that is listed for what comes of it, if any; matched is how many have one. Of the
// enabler's output only indexOf and manifestOf are set. It is nil, and matched 0, when
// there are more SOCI indexes than a SOCI-enabled image of this image can list.
func rewriteMatching(ctx context.Context, tree *tree, indexes []ocispec.Descriptor) (e *enabler, matched int,
	_ error) {
	if len(indexes) > tree.mostIndexes() {
		return nil, 0, nil
	}
	e = newEnabler(tree)
	rewrite := func(t *target) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := e.rewriteManifest(t)
		e.out.manifests = nil // most are attempts
		clear(e.done)
		return err
	}
	for _, t := range tree.targets {
		if t.manifest == nil {
			continue
		}
		for _, index := range indexes {
			plain := ocispec.Descriptor{MediaType: index.MediaType, ArtifactType: index.ArtifactType,
				Digest: index.Digest,
				Size:   index.Size}
			e.out.indexOf[t] = plain
			if err := rewrite(t); err != nil {
				return nil, 0, err
			}
			if e.out.manifestOf[t].Digest.String() == index.Annotations[AnnotationImageManifestDigest] {
				matched++
				break
			}
			delete(e.out.indexOf, t)
		}
		if _, ok := e.out.indexOf[t]; !ok {
			if err := rewrite(t); err != nil {
				return nil, 0, err
			}
		}
	}
	return e, matched, nil
}

// mostIndexes is how many SOCI indexes a SOCI-enabled image of this image can list:
// one for each image manifest, of those that were not read as well.
func (t *tree) mostIndexes() int {
	n := 0
	for _, x := range t.targets {
		if x.isImage() || x.unread != nil || x.outcome == OutcomeMissing {
			n++
		}
	}
	return n
}

// sameImages reports whether an image index lists the same image manifests, in
// the same order, as the one that would be made.
func (e *enabler) sameImages(enabled *ocispec.Index) bool {
	var want, got []digest.Digest
	for _, n := range e.tree.places() {
		switch {
		case n.index != nil:
			return false // nested; only what is made alike can be compared
		case n.target.manifest != nil:
			want = append(want, e.out.manifestOf[n.target].Digest)
		}
	}
	for _, d := range enabled.Manifests {
		if kind := ClassifyListed(d); kind == KindImage || kind == KindImageIndex {
			got = append(got, d.Digest)
		}
	}
	return slices.Equal(want, got)
}
