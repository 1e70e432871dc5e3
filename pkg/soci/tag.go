package soci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tagNames is what the two tags name, "" for a tag that is not there.
type tagNames struct {
	image, enabled ocispec.Descriptor
}

// tagger moves the tag of the SOCI-enabled image.
type tagger struct {
	*publisher
	src        Source
	limits     Limits
	dst        Tagger
	tag        string // of the image
	enabledTag string
	image      ocispec.Descriptor     // what was asked to be indexed
	root       content                // what the enabled tag shall name
	prefetch   map[string]*prefetchOf // of the root's SOCI indexes, by the platforms as listed
	tree       *tree                  // of the image; nil unless root is an unindexed one

	warnings []string // of what the tag named before
}

// names resolves both tags.
func (t *tagger) names(ctx context.Context) (n tagNames, err error) {
	if n.image, err = t.resolve(ctx, t.tag); err == nil {
		n.enabled, err = t.resolve(ctx, t.enabledTag)
	}
	return n, err
}

// resolve returns what a tag names, an empty descriptor if it is not there.
func (t *tagger) resolve(ctx context.Context, tag string) (ocispec.Descriptor, error) {
	desc, err := t.dst.Resolve(ctx, tag)
	if notThere(err) {
		return ocispec.Descriptor{}, nil
	}
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("looking for tag %q: %w", tag, err)
	}
	return desc, nil
}

// superseded reports whether the image has lost its tag.
func (t *tagger) superseded(n tagNames) bool { return n.image.Digest != t.image.Digest }

// misplaced reports that the image has lost its tag to another one and its
// SOCI-enabled image still has the suffixed one: it was put there too late, by
// this run or by an earlier one that did not come to its end, or the run that
// belongs to the other image is still under way.
func (t *tagger) misplaced(n tagNames) bool {
	return t.superseded(n) && n.image.Digest != "" && n.enabled.Digest == t.root.desc.Digest
}

func (t *tagger) whySuperseded(n tagNames) string {
	if n.image.Digest == "" {
		return fmt.Sprintf("there is no tag %q any more", t.tag)
	}
	return fmt.Sprintf("the tag %q now names %s", t.tag, n.image.Digest)
}

// move puts the enabled tag onto the root, unless the image has lost its own
// tag, and returns what the tags name afterwards; before is what they named
// when the run began to push.
func (t *tagger) move(ctx context.Context, before tagNames) (tagNames, Outcome, error) {
	n, outcome, err := t.decide(ctx, before)
	if outcome != "" || err != nil {
		return n, outcome, err
	}
	err = t.dst.PushTag(ctx, t.root.desc, bytes.NewReader(t.root.b), t.enabledTag)
	if err != nil {
		return t.refused(ctx, err)
	}
	t.sent.Add(t.root.desc.Size)
	if n, err = t.names(ctx); err != nil {
		return n, "", err
	}
	if t.superseded(n) {
		return n, OutcomeSuperseded, nil
	}
	return n, OutcomeTagged, nil
}

// decide returns the outcome of move if the enabled tag need not or must not be
// moved; else there is none.
func (t *tagger) decide(ctx context.Context, before tagNames) (tagNames, Outcome, error) {
	if before.enabled.Digest == t.root.desc.Digest && !t.force {
		if n, outcome, err := t.stay(ctx, before); outcome != "" || err != nil {
			return n, outcome, err
		}
	}
	n, err := t.names(ctx)
	switch {
	case err != nil:
		return n, "", err
	case t.superseded(n):
		return n, OutcomeSuperseded, nil
	case n.enabled.Digest == t.root.desc.Digest && n.enabled.Digest != before.enabled.Digest && !t.force:
		return n, OutcomeAlreadyTagged, nil // by a second run, at the same time
	}
	outcome, err := t.taken(ctx, n.enabled)
	return n, outcome, err
}

// stay is move for an enabled tag that was on the root already. A run that has
// taken it away since looks itself whether it should have. There is no outcome
// if the manifest under the tag has gone: some registries keep a tag whose
// manifest was deleted by its digest.
func (t *tagger) stay(ctx context.Context, n tagNames) (tagNames, Outcome, error) {
	var err error
	if n.image, err = t.resolve(ctx, t.tag); err != nil {
		return n, "", err
	}
	if t.superseded(n) {
		return n, OutcomeSuperseded, nil
	}
	there, err := t.dst.Exists(ctx, t.root.desc)
	if err != nil {
		return n, "", fmt.Errorf("looking for SOCI-enabled image %s: %w", t.root.desc.Digest, err)
	}
	if there {
		return n, OutcomeAlreadyTagged, nil
	}
	return n, "", nil
}

// taken reports whether the enabled tag names a user's own image, which would
// lose its tag, and on ECR fall to the lifecycle rules for untagged images; or an
// unindexed image that serves as well as the root, and keeps the tag.
func (t *tagger) taken(ctx context.Context, enabled ocispec.Descriptor) (Outcome, error) {
	if enabled.Digest == "" || enabled.Digest == t.root.desc.Digest {
		return "", nil
	}
	index, why, err := fetchEnabled(ctx, t.src, enabled, t.limits)
	switch {
	case notThere(err):
		return "", nil // deleted a moment ago
	case damaged(err): // whose it is cannot be told
		return "", fmt.Errorf("the tag %q names a manifest that is damaged in the registry; if it stays so, delete "+
			"that tag, and index the image again: %w", t.enabledTag, err)
	case err != nil:
		return "", fmt.Errorf("looking at what the tag %q names: %w", t.enabledTag, err)
	case why == "" && t.serves(enabled, index):
		t.root.desc = enabled
		return OutcomeAlreadyTagged, nil
	case why == "":
		t.warnings, err = prefetchLost(ctx, t.src, enabled, index, t.prefetch, t.limits)
		return "", err
	}
	return OutcomeTagTaken, fmt.Errorf(
		"%w: %q names %s (%s), which is left as it is; give that image another tag, or choose another suffix",
		ErrTagTaken, t.enabledTag, enabled.Digest, why)
}

// serves reports whether an image index stands for this image, found to have no
// layer to index, as the root does: it says the same of the layers, and it was
// made with a minimum size that is no larger, or by an earlier release, which did
// not say with which. A tag that may be immutable is not moved for less.
func (t *tagger) serves(desc ocispec.Descriptor, index *ocispec.Index) bool {
	if t.tree == nil || t.force {
		return false
	}
	var root ocispec.Index
	if json.Unmarshal(t.root.b, &root) != nil {
		return false
	}
	said, wanted := index.Annotations[AnnotationVerdict], root.Annotations[AnnotationVerdict]
	same, err := newUnindexedImage(t.tree, root.Annotations[AnnotationUnindexable], said)
	if err != nil || same.root.desc.Digest != desc.Digest {
		return false
	}
	if said == "" {
		return true
	}
	v, ok := parseVerdict(said)
	w, _ := parseVerdict(wanted)
	return ok && v.covers(w)
}

// fetchEnabled reads the SOCI-enabled image that a suffixed tag names, or the
// image index in the place of one. It returns nil, and why, for anything else.
func fetchEnabled(ctx context.Context, src Source, desc ocispec.Descriptor, limits Limits) (*ocispec.Index, string,
	error) {
	if !images.IsIndexType(desc.MediaType) {
		return nil, fmt.Sprintf("media type %q", cut(desc.MediaType, 100)), nil
	}
	index, err := fetchImageIndex(ctx, src, desc, limits)
	if unusable(err) {
		return nil, err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	if kind, _ := kindOfIndex(index); kind != KindUnindexed && kind != KindEnabledImage {
		return nil, "an image index without a SOCI index", nil
	}
	return index, "", nil
}

// refused distinguishes an immutable tag from other failures to push.
func (t *tagger) refused(ctx context.Context, err error) (tagNames, Outcome, error) {
	failure := fmt.Errorf("pushing SOCI-enabled image %s as %q: %w", t.root.desc.Digest, t.enabledTag, err)
	immutable, ok := errors.AsType[interface {
		error
		TagImmutable() bool
	}](err)
	if !ok || !immutable.TagImmutable() {
		return tagNames{}, "", failure
	}
	answer := err
	n, err := t.names(ctx)
	switch {
	case err != nil:
		return n, "", err
	case n.enabled.Digest == "":
		return n, "", failure // for whatever reason, but not that one
	case n.enabled.Digest == t.root.desc.Digest:
		return n, OutcomeAlreadyTagged, nil // a second run, at the same time
	}
	return n, OutcomeTagImmutable,
		fmt.Errorf("%w: %q names %s and cannot be moved to %s (%v); delete that tag, or exclude it from the "+
			"repository's immutability",
			ErrTagImmutable, t.enabledTag, n.enabled.Digest, t.root.desc.Digest, answer)
}

// maxRounds is how many images are indexed in a row because each took the
// tag of the one before.
const maxRounds = 4

// putRight indexes the image that has the tag, so that the suffixed tag names
// its SOCI-enabled image. What keeps that image from being indexed at all
// keeps the suffixed tag as it is, as if this run had come to its end before
// that image was pushed.
func (x *indexer) putRight(ctx context.Context, image ocispec.Descriptor, result *Result, round int) error {
	if round == maxRounds {
		return fmt.Errorf("%w: %q named another image %d times in a row", ErrTagMoving, x.o.Tag, round+1)
	}
	next := *x
	next.o.IndexVersion = V2
	r, err := next.index(ctx, image, round+1)
	for _, final := range []error{ErrTruncated, ErrCorrupt, ErrUnsupported, ErrLimit, ErrInvalidOption, ErrTagImmutable,
		ErrTagTaken} {
		if errors.Is(err, final) {
			result.Enabled.Reason += fmt.Sprintf(", which cannot be indexed: %v", err)
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("putting the tag %q right: %w", result.Enabled.Tag, err)
	}
	result.Warnings = append(result.Warnings, r.Warnings...)
	result.BytesRead += r.BytesRead
	result.BytesPushed += r.BytesPushed
	result.Enabled.Reason += fmt.Sprintf(", which was indexed too, to put %q right: %s", result.Enabled.Tag,
		r.outcomeOfTag().Text())
	return nil
}

func (r *Result) outcomeOfTag() Outcome {
	if r.LeftAlone != "" {
		return r.LeftAlone
	}
	return r.Enabled.Outcome
}
