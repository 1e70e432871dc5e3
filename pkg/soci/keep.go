package soci

import (
	"context"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// keep makes the platforms that a SOCI-enabled image of this image has SOCI
// indexes for wanted, although they are not among Options.Choice: what is there
// stays. That one of them has lost its config or its manifest meanwhile costs the
// others nothing; the SOCI index of the former stays as it is, since nothing can be
// built for it.
func (t *tree) keep(ctx context.Context, src Source, limits Limits, enabled ocispec.Descriptor,
	index *ocispec.Index) error {
	indexes := listedIndexes(index.Manifests)
	matched, undo, err := matchHeld(t, enabled, index, indexes)
	if err == nil && matched == nil {
		matched, err = matchReadable(t, index, indexes)
	}
	if err != nil {
		return err
	}
	for _, x := range t.targets {
		kept, ok := matched[x]
		switch {
		case x.held == nil || x.manifest == nil:
			x.wanted = x.wanted || ok
		case ok:
			x.kept = kept
		}
	}
	there, err := t.heldIsThere(ctx, src, limits)
	if err != nil {
		return err
	}
	if !there {
		undo()
	}
	return nil
}

// heldIsThere reports whether the SOCI-enabled image's manifests and SOCI indexes
// of the image manifests without their configs can be read.
func (t *tree) heldIsThere(ctx context.Context, src Source, limits Limits) (bool, error) {
	e := newEnabler(t)
	for _, x := range t.targets {
		if x.held == nil || x.manifest == nil {
			continue
		}
		needed := []ocispec.Descriptor{}
		if x.kept.Digest != "" {
			e.out.indexOf[x] = x.kept
			needed = append(needed, x.kept)
		}
		if err := e.rewriteManifest(x); err != nil {
			return false, err
		}
		for _, desc := range append(needed, e.out.manifestOf[x]) {
			_, err := fetchVerified(ctx, src, desc, limits)
			if notThere(err) || unusable(err) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// matchHeld is matchEnabled that also takes image manifests without their configs,
// unless the SOCI-enabled image lists them as they are. They then count as read
// until undo is called.
func matchHeld(t *tree, desc ocispec.Descriptor, enabled *ocispec.Index,
	indexes []ocispec.Descriptor) (matched map[*target]ocispec.Descriptor, undo func(), _ error) {
	type was struct {
		outcome Outcome
		reason  string
	}
	before := make(map[*target]was)
	for _, x := range t.targets {
		listed := func(d ocispec.Descriptor) bool { return d.Digest == x.desc.Digest }
		if x.manifest == nil && x.held != nil && x.err == nil && !slices.ContainsFunc(enabled.Manifests, listed) {
			before[x] = was{x.outcome, x.reason}
			x.manifest, x.outcome, x.reason = x.held, "", ""
		}
	}
	undo = func() {
		for x, b := range before {
			x.manifest, x.outcome, x.reason, x.kept = nil, b.outcome, b.reason, ocispec.Descriptor{}
		}
		clear(before)
	}
	matched, err := matchEnabled(t, desc, enabled, indexes)
	if err == nil && matched == nil && len(before) > 0 {
		undo()
		matched, err = matchEnabled(t, desc, enabled, indexes)
	}
	return matched, undo, err
}

// matchReadable is matchEnabled for an image some of whose image manifests cannot be
// read: what stands at their places in the SOCI-enabled image is not compared, if it
// is of their platforms.
func matchReadable(t *tree, enabled *ocispec.Index, indexes []ocispec.Descriptor) (map[*target]ocispec.Descriptor,
	error) {
	e, _, err := rewriteMatching(t, indexes)
	if err != nil {
		return nil, err
	}
	var got []ocispec.Descriptor
	for _, d := range enabled.Manifests {
		if kind := ClassifyListed(d); kind == KindImage || kind == KindImageIndex {
			got = append(got, d)
		}
	}
	unread := make(map[string]bool) // their manifests in the SOCI-enabled image
	for _, n := range t.places() {
		switch {
		case n.index != nil:
			return nil, nil // nested; only what is made alike can be compared
		case ClassifyListed(n.desc) != KindImage:
			continue
		case len(got) == 0:
			return nil, nil
		case n.target.manifest != nil:
			if got[0].Digest != e.out.manifestOf[n.target].Digest {
				return nil, nil
			}
		case n.target.outcome != OutcomeMissing && n.target.unread == nil: // no image, by its content
			if got[0].Digest != n.desc.Digest {
				return nil, nil
			}
		case platformOf(got[0].Platform).String() != platformOf(n.desc.Platform).String():
			return nil, nil
		default:
			unread[got[0].Digest.String()] = true
		}
		got = got[1:]
	}
	if len(got) > 0 || len(unread) == 0 {
		return nil, nil
	}
	left := slices.DeleteFunc(slices.Clone(indexes), func(d ocispec.Descriptor) bool {
		return unread[d.Annotations[AnnotationImageManifestDigest]]
	})
	if len(e.out.indexOf) != len(left) {
		return nil, nil
	}
	return e.out.indexOf, nil
}
