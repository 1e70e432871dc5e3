package soci

import (
	"context"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// keep makes the platforms that a SOCI-enabled image of this image has SOCI
// indexes for wanted, although they are not among Options.Choice: what is there
// stays. That one of them has lost its config or its manifest meanwhile costs the
// others nothing. Nothing can be built for the former, so its SOCI index stays as it
// is, unless it is broken; the latter is listed as the image lists it, without one,
// since nothing tells any more whether what is in its place was made of it.
func (t *tree) keep(ctx context.Context, src Source, limits Limits, enabled ocispec.Descriptor,
	index *ocispec.Index) error {
	indexes := listedIndexes(index.Manifests)
	matched, held, err := matchHeld(t, index, func() (map[*target]ocispec.Descriptor, error) {
		matched, err := matchEnabled(ctx, t, enabled, index, indexes)
		if err == nil && matched == nil {
			matched, err = matchReadable(ctx, t, index, indexes)
		}
		return matched, err
	})
	if err != nil {
		return err
	}
	var check *Checker
	if r, ok := src.(ZtocReader); ok {
		check = NewChecker(r, false)
	}
	for _, x := range t.targets {
		kept, ok := matched[x]
		if _, isHeld := held[x]; !isHeld {
			x.wanted = x.wanted || ok
			continue
		}
		x.kept = kept
		there, err := t.heldIsThere(ctx, src, limits, x, check)
		if err != nil {
			return err
		}
		if !there {
			held.undo(x)
		}
	}
	return nil
}

// heldIsThere reports whether what the SOCI-enabled image has for an image manifest
// without its config is there as a whole: the rewritten manifest, the SOCI index, and
// its zTOCs, as far as check, which may be nil, can tell.
func (t *tree) heldIsThere(ctx context.Context, src Source, limits Limits, x *target, check *Checker) (bool, error) {
	e := newEnabler(t)
	if x.kept.Digest != "" {
		e.out.indexOf[x] = x.kept
		b, err := fetchVerified(ctx, src, x.kept, limits)
		var m *ocispec.Manifest
		if err == nil {
			m, err = ParseIndex(b)
		}
		if err != nil {
			return false, notOfContent(err)
		}
		if check != nil {
			faults, err := check.Check(ctx, m, x.held)
			if err != nil || len(faults) > 0 {
				return false, err
			}
		}
	}
	if err := e.rewriteManifest(x); err != nil {
		return false, err
	}
	_, err := fetchVerified(ctx, src, e.out.manifestOf[x], limits)
	return err == nil, notOfContent(err)
}

// notOfContent returns nil for an error that says that content is missing, damaged
// or unusable, and any other as it is.
func notOfContent(err error) error {
	if notThere(err) || unusable(err) || damaged(err) {
		return nil
	}
	return err
}

// heldTargets are image manifests that count as read without their configs, with
// what they were before.
type heldTargets map[*target]passedOver

// passedOver is why a target is passed over.
type passedOver struct {
	outcome Outcome
	reason  string
}

// readHeld takes the image manifests without their configs for read, except those
// that the SOCI-enabled image lists as they are.
func readHeld(t *tree, enabled *ocispec.Index) heldTargets {
	held := make(heldTargets)
	for _, x := range t.targets {
		listed := func(d ocispec.Descriptor) bool { return d.Digest == x.desc.Digest }
		if x.manifest == nil && x.held != nil && x.err == nil && !slices.ContainsFunc(enabled.Manifests, listed) {
			held[x] = passedOver{x.outcome, x.reason}
			x.manifest, x.outcome, x.reason = x.held, "", ""
		}
	}
	return held
}

// undo makes one of them unread again.
func (h heldTargets) undo(x *target) {
	x.manifest, x.outcome, x.reason, x.kept = nil, h[x].outcome, h[x].reason, ocispec.Descriptor{}
	delete(h, x)
}

// undoAll is undo for all of them.
func (h heldTargets) undoAll() {
	for x := range h {
		h.undo(x)
	}
}

// matchHeld returns what match, such as matchEnabled, finds with image manifests
// without their configs taken for read, or else without them. Those of held count as
// read until they are undone.
func matchHeld(t *tree, enabled *ocispec.Index, match func() (map[*target]ocispec.Descriptor, error)) (
	matched map[*target]ocispec.Descriptor, held heldTargets, _ error) {
	held = readHeld(t, enabled)
	matched, err := match()
	if err == nil && matched == nil && len(held) > 0 {
		held.undoAll()
		matched, err = match()
	}
	return matched, held, err
}

// matchReadable is matchEnabled for an image some of whose image manifests cannot be
// read: what stands at their places in the SOCI-enabled image is not compared, if it
// is of their platforms.
func matchReadable(ctx context.Context, t *tree, enabled *ocispec.Index, indexes []ocispec.Descriptor) (
	map[*target]ocispec.Descriptor, error) {
	e, _, err := rewriteMatching(ctx, t, indexes)
	if err != nil || e == nil {
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
