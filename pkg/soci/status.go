package soci

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Reader is what Examine reads of the repository that holds the image.
type Reader interface {
	ZtocReader

	// Resolve is as in Tagger.
	Resolve(ctx context.Context, tag string) (ocispec.Descriptor, error)

	// Referrers lists the manifests of one artifact type whose subject is
	// desc. When some may be missing from the list, errors.As finds in its
	// error a ReferrersUnknown() bool that is true.
	Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error)
}

// Status is what IndexImage would know about an image before reading a layer.
type Status struct {
	Image ocispec.Descriptor

	// LeftAlone, Reason and Lacking are as in Result.
	LeftAlone Outcome
	Reason    string
	Lacking   []string

	Manifests []ManifestStatus // in the order of the image index
	Enabled   []EnabledStatus  // for each tag that was asked for
}

// ManifestStatus is one manifest of the image.
type ManifestStatus struct {
	Manifest ocispec.Descriptor
	Platform string // "linux/arm64", normalized, or "unknown"; empty when passed over
	Reason   string // for what is passed over: what it is
	Missing  bool   // it is passed over since it is not in the repository

	// Failure is why the manifest cannot be read; then there is nothing more.
	Failure error

	Layers  []LayerStatus
	Indexes []FoundIndex // the SOCI indexes v1 that refer to it

	// Unknown says why there may be more Indexes; empty when there are not.
	Unknown string
}

// Indexable reports whether a layer of the manifest may get a zTOC.
func (m *ManifestStatus) Indexable() bool {
	return slices.ContainsFunc(m.Layers, func(l LayerStatus) bool { return l.Reason == "" })
}

// LayerStatus is a layer as its descriptor describes it. Only reading it shows
// whether its content can be indexed.
type LayerStatus struct {
	Layer  ocispec.Descriptor
	Reason SkipReason // empty for a layer that would be read
	Detail string
}

// FoundIndex is a SOCI index in the repository.
type FoundIndex struct {
	Index     ocispec.Descriptor
	BuildTool string      // build-tool identifier
	Faults    []ZtocFault // what is wrong with its zTOCs, as far as they were looked at
}

// Sound reports whether nothing is known to be wrong with it.
func (f FoundIndex) Sound() bool { return len(f.Faults) == 0 }

// Trouble says what is wrong with it, for people; empty for a sound one.
func (f FoundIndex) Trouble() string {
	if f.Sound() {
		return ""
	}
	text := fmt.Sprintf("SOCI index %s: %s", f.Index.Digest, f.Faults[0])
	if n := len(f.Faults) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// EnabledState says what the tag of the SOCI-enabled image names.
type EnabledState string

// The states of that tag.
const (
	// EnabledAbsent: there is no such tag.
	EnabledAbsent EnabledState = "absent"
	// EnabledMatches: the SOCI-enabled image of this image.
	EnabledMatches EnabledState = "matches"
	// EnabledUnindexed: the image index that stands in for this image, which
	// has no layer to index.
	EnabledUnindexed EnabledState = "unindexed"
	// EnabledStale: the SOCI-enabled image of another image, or of this one as
	// it was, or the image index in the place of such a one. Reason says which.
	EnabledStale EnabledState = "stale"
	// EnabledDiffers: a SOCI-enabled image of just the images that this one
	// leads to, by their configs and layers, but not as IndexImage would write
	// it for this image.
	EnabledDiffers EnabledState = "differs"
	// EnabledBroken: the SOCI-enabled image of this image, but one of its SOCI
	// indexes is not in the repository, cannot be read, or lists a zTOC with a
	// fault.
	EnabledBroken EnabledState = "broken"
	// EnabledForeign: no SOCI-enabled image at all.
	EnabledForeign EnabledState = "not-soci-enabled"
)

// EnabledStatus is the SOCI-enabled image of one tag.
type EnabledStatus struct {
	Tag   string // of the image
	State EnabledState

	// Reason is given for all but EnabledAbsent, EnabledMatches and
	// EnabledUnindexed; it also says why there can be no suffixed tag.
	Reason string

	EnabledTag string             // with the suffix; empty when there can be none
	Image      ocispec.Descriptor // what it names; no digest for EnabledAbsent

	// Indexes are its SOCI indexes that can be read, by the digest of the
	// image manifest, in the image, to which each belongs.
	Indexes map[digest.Digest]FoundIndex

	verdict verdict // of EnabledUnindexed
}

// Unindexable reports whether an unindexed image (EnabledUnindexed) stands for
// an image all of whose layers that may get a zTOC were found not to be
// indexable: with another minimum layer size, or for other platforms, it may
// have been made without reading them. One of an earlier release, which does not
// say with which it was made, is believed.
func (e *EnabledStatus) Unindexable(manifests []ManifestStatus) bool {
	for _, m := range manifests {
		for _, l := range m.Layers {
			if l.Reason == "" && !e.verdict.holds(m.Manifest.Digest, l.Layer.Size) {
				return false
			}
		}
	}
	return e.State == EnabledUnindexed
}

// Examine returns the state of the SOCI indexes of an image with these tags, of
// both versions and by any tool. It reads manifests and configs, checks the
// zTOCs, and pushes nothing. A check of nil means NewChecker(r, false); sharing
// one among all images of a repository checks shared zTOCs only once. Of the
// Options it uses MinLayerSize, TagSuffix, Platforms, Choice and Limits; with the
// IndexVersion V1 it does not look at suffixed tags. Its errors are those of
// IndexImage.
func Examine(ctx context.Context, r Reader, image ocispec.Descriptor, tags []string, o Options,
	check *Checker) (*Status, error) {
	noEnabled := o.IndexVersion == V1
	o.IndexVersion, o.Tag, o.tagged = Both, "", len(tags) > 0
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkTagSuffix(o.TagSuffix); err != nil {
		return nil, err
	}
	if check == nil {
		check = NewChecker(r, false)
	}
	x := &examiner{r: r, o: o, check: check, noEnabled: noEnabled}
	status := &Status{Image: image}
	err = x.work(ctx, status, tags)
	if other, ok := alone(err); ok {
		return &Status{Image: image, LeftAlone: other.outcome, Reason: other.reason, Lacking: other.lacking}, nil
	}
	if err != nil {
		return nil, named(image.Digest, err)
	}
	return status, nil
}

type examiner struct {
	r         Reader
	o         Options
	check     *Checker
	noEnabled bool // what the suffixed tags name is not asked for
}

func (x *examiner) work(ctx context.Context, status *Status, tags []string) error {
	tree, err := walk(ctx, x.r, status.Image, x.o)
	if err == nil {
		err = tree.noneChosen(x.o.Choice)
	}
	if err != nil {
		return err
	}
	for _, t := range tree.targets {
		m := ManifestStatus{Manifest: t.desc, Platform: t.platform.String(), Failure: t.err}
		switch {
		case !t.isImage():
			status.Manifests = append(status.Manifests,
				ManifestStatus{Manifest: t.desc, Reason: t.reason, Missing: t.outcome == OutcomeMissing})
			continue
		case t.err != nil && !t.wanted && x.noEnabled && readForAll(t.desc): // an index run of V1 does not read it
			continue
		case t.err != nil:
			status.Manifests = append(status.Manifests, m)
			continue
		case !t.wanted:
			continue
		}
		for _, layer := range t.manifest.Layers {
			l := LayerStatus{Layer: layer}
			l.Reason, l.Detail = expectedSkip(layer, x.o)
			m.Layers = append(m.Layers, l)
		}
		if m.Indexes, err = x.referrers(ctx, t); referrersUnknown(err) {
			m.Unknown = err.Error()
		} else if err != nil {
			return err
		}
		status.Manifests = append(status.Manifests, m)
	}
	if x.noEnabled {
		return nil
	}
	for _, tag := range tags {
		e, err := x.enabled(ctx, tree, tag)
		if err != nil {
			return fmt.Errorf("the SOCI-enabled image of tag %q: %w", tag, err)
		}
		status.Enabled = append(status.Enabled, e)
	}
	return nil
}

// IsZstd reports whether a layer is compressed with zstd, by its media type.
func IsZstd(mediaType string) bool {
	return strings.HasSuffix(mediaType, "+zstd") || strings.HasSuffix(mediaType, ".zstd")
}

// expectedSkip returns why a layer will have no zTOC, as far as its descriptor
// shows: a build checks the first bytes, not the compression in the media type.
func expectedSkip(layer ocispec.Descriptor, o Options) (SkipReason, string) {
	reason, detail := skipByDescriptor(layer, o)
	if reason == "" && IsZstd(layer.MediaType) {
		return SkipZstd, fmt.Sprintf("media type %q", cut(layer.MediaType, 100))
	}
	return reason, detail
}

// referrers returns the SOCI indexes v1 of an image manifest. One that has been
// deleted since is left out. The result can be non-empty with an error for
// which referrersUnknown is true.
func (x *examiner) referrers(ctx context.Context, image *target) ([]FoundIndex, error) {
	list, unknown := x.r.Referrers(ctx, image.desc, ArtifactTypeV1)
	if unknown != nil && !referrersUnknown(unknown) {
		return nil, unknown
	}
	var found []FoundIndex
	for _, desc := range list {
		f, _, err := x.found(ctx, desc, image)
		if err != nil {
			return nil, err
		}
		if f != nil {
			found = append(found, *f)
		}
	}
	return found, unknown
}

// found reads a SOCI index of an image manifest; it returns nil and the reason
// for one that is unusable.
func (x *examiner) found(ctx context.Context, desc ocispec.Descriptor, image *target) (*FoundIndex, string, error) {
	m, reason, err := x.index(ctx, desc)
	if err != nil || m == nil {
		return nil, reason, err
	}
	faults, err := x.check.Check(ctx, m, image.manifest)
	if err != nil {
		return nil, "", fmt.Errorf("SOCI index %s: %w", desc.Digest, err)
	}
	return &FoundIndex{desc, m.Annotations[AnnotationBuildToolIdentifier], faults}, "", nil
}

// index reads a SOCI index; it returns nil and the reason for one that is
// unusable. The error is the repository's.
func (x *examiner) index(ctx context.Context, desc ocispec.Descriptor) (*ocispec.Manifest, string, error) {
	b, err := fetchVerified(ctx, x.r, desc, x.o.Limits)
	if notThere(err) {
		return nil, fmt.Sprintf("SOCI index %s is not in the repository", desc.Digest), nil
	}
	if err == nil {
		var m *ocispec.Manifest
		if m, err = ParseIndex(b); err == nil {
			return m, "", nil
		}
	}
	if unusable(err) || damaged(err) {
		return nil, fmt.Sprintf("SOCI index %s cannot be read: %v", desc.Digest, err), nil
	}
	return nil, "", err
}

// enabled judges what the suffixed tag names.
func (x *examiner) enabled(ctx context.Context, tree *tree, tag string) (EnabledStatus, error) {
	e := EnabledStatus{Tag: tag, State: EnabledAbsent}
	var err error
	if e.EnabledTag, err = enabledTag(tag, x.o.TagSuffix); err != nil {
		e.Reason = err.Error()
		return e, nil
	}
	e.Image, err = x.r.Resolve(ctx, e.EnabledTag)
	if notThere(err) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	index, foreign, err := fetchEnabled(ctx, x.r, e.Image, x.o.Limits)
	switch {
	case notThere(err):
		e.Image = ocispec.Descriptor{}
		return e, nil // deleted a moment ago
	case err != nil:
		return e, err
	case foreign != "":
		e.State, e.Reason = EnabledForeign, foreign
		return e, nil
	}
	if kind, _ := kindOfIndex(index); kind == KindUnindexed {
		return x.unindexed(ctx, tree, index, e)
	}
	indexes := listedIndexes(index.Manifests)
	matched, held, err := matchHeld(tree, index, func() (map[*target]ocispec.Descriptor, error) {
		return matchEnabled(ctx, tree, e.Image, index, indexes)
	})
	if err != nil {
		return e, err
	}
	defer held.undoAll() // the image of another tag may list it otherwise
	e.State = EnabledMatches
	if matched == nil {
		if matched, e.State, e.Reason, err = x.likeEnabled(ctx, tree, index); err != nil || e.State == EnabledStale {
			return e, err
		}
	}
	e.Indexes = make(map[digest.Digest]FoundIndex)
	for _, t := range tree.targets {
		desc, ok := matched[t]
		if !ok {
			continue
		}
		f, reason, err := x.found(ctx, desc, t)
		if err != nil {
			return e, err
		}
		if f != nil {
			e.Indexes[t.desc.Digest] = *f
			reason = f.Trouble()
		}
		if reason != "" && e.State != EnabledBroken {
			e.State, e.Reason = EnabledBroken, reason
		}
	}
	return e, nil
}

// unindexed judges an image index that stands for an image with no layer to index: it
// is stale unless it is the one that would be made today.
func (x *examiner) unindexed(ctx context.Context, tree *tree, index *ocispec.Index, e EnabledStatus) (
	EnabledStatus, error) {
	said := index.Annotations[AnnotationVerdict]
	same, err := newUnindexedImage(tree, index.Annotations[AnnotationUnindexable], said)
	if err != nil {
		return e, err
	}
	if same.root.desc.Digest != e.Image.Digest {
		_, _, e.Reason, err = x.likeEnabled(ctx, tree, index)
		e.State = EnabledStale
		return e, err
	}
	e.State, e.verdict = EnabledUnindexed, verdict{minLayerSize: math.MaxInt64} // by other rules, it is about no layer
	if v, ok := parseVerdict(said); ok {
		e.verdict = v
	} else if said == "" { // of an earlier release
		e.verdict = verdict{}
	}
	return e, nil
}

func notThere(err error) bool {
	notFound, ok := errors.AsType[interface {
		error
		NotFound() bool
	}](err)
	return ok && notFound.NotFound()
}

// referrersUnknown reports whether an error means that a list of referrers may
// lack some.
func referrersUnknown(err error) bool {
	unknown, ok := errors.AsType[interface {
		error
		ReferrersUnknown() bool
	}](err)
	return ok && unknown.ReferrersUnknown()
}

// unusable reports whether an error is the content's fault rather than the
// repository's.
func unusable(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) || errors.Is(err, ErrLimit)
}
