package soci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source returns the content of the repository that holds the image.
type Source interface {
	// Fetch opens the content that desc names, from its first byte. The
	// caller closes it. Content is verified by this package, not by Fetch.
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}

// Destination takes the finished artifacts, in the same repository.
type Destination interface {
	// Exists reports whether the blob or manifest is already there.
	Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error)

	// Push stores the blob or manifest that desc names. content is always a
	// *bytes.Reader, so a failed attempt can be rewound and sent again.
	Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
}

// Replacer is a Destination that can store content in place of what it has
// under the same digest, though that be damaged. It is asked with Options.Force
// and for what was found to be damaged; any other Destination gets a Push.
type Replacer interface {
	// Replace is as Push, and never passes over what is there.
	Replace(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
}

// Tagger is a Destination with tags, which V2 needs.
type Tagger interface {
	Destination

	// Resolve returns the descriptor of the manifest that a tag names. When
	// there is no such tag, errors.As finds in its error a
	// NotFound() bool that is true.
	Resolve(ctx context.Context, tag string) (ocispec.Descriptor, error)

	// PushTag stores the manifest that desc names under a tag, in place of
	// any other. content is a *bytes.Reader. When the registry may have
	// refused to move the tag, errors.As finds in its error a TagImmutable()
	// bool that is true; whether it has, what the tag names then decides.
	PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error
}

// IndexImage builds the SOCI indexes of the image manifests that image leads
// to. For V1 each is pushed as a referrer of its manifest. For V2 a
// SOCI-enabled image is pushed under the tag of the image with a suffix; that
// needs a Destination that is a Tagger, and the image and its tag stay as they
// are. Source and Destination are used from several goroutines at once.
//
// Everything is built before anything is pushed, but for the config of SOCI
// indexes, two bytes by which a missing right is found before layers are read.
// Each content is pushed before what names it: nobody sees a SOCI index whose zTOCs are not all there,
// and the suffixed tag comes last.
//
// The unit is the image manifest. Of one that cannot be read, or of which a
// layer fails, nothing is pushed. The others of an image index get their SOCI
// indexes v1 all the same, but the SOCI-enabled image, which would lack it, is
// not made. The error is then a ManifestErrors. What an image index lists and
// the repository does not have, as in a copy of some platforms, is passed over.
//
// The suffixed tag follows the tag of the image. When that names another image
// by now, the suffixed tag is not moved. When that turns out only after it was
// moved, the image that the tag names is indexed as well, which puts the
// suffixed tag right whatever others did to it meanwhile.
//
// An image without a layer to index is no error but an Outcome, and so is one
// that is left alone. The error is one of this package's classes (a
// *LayerError when a layer is at fault) or wraps that of the Source or the
// Destination. The Result is nil with an error other than ManifestErrors,
// ErrTagImmutable and ErrTagTaken.
func IndexImage(ctx context.Context, src Source, dst Destination, image ocispec.Descriptor, o Options) (*Result,
	error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	x := &indexer{src: src, dst: dst, o: o}
	if o.IndexVersion.v2() && o.Tag != "" && !o.DryRun {
		var ok bool
		if x.tagger, ok = dst.(Tagger); !ok {
			return nil, fmt.Errorf("%w: IndexVersion is %s, but the Destination has no tags", ErrInvalidOption, o.IndexVersion)
		}
	}
	return x.index(ctx, image, 0)
}

// indexer indexes one image, and those that take its tag meanwhile.
type indexer struct {
	src    Source
	dst    Destination
	tagger Tagger // nil when there is no tag to be moved
	o      Options

	configThere bool // the config of SOCI indexes is in the repository
}

func (x *indexer) index(ctx context.Context, image ocispec.Descriptor, round int) (*Result, error) {
	start := time.Now()
	result := &Result{Image: image, Version: x.o.IndexVersion}
	err := x.work(ctx, result, round)
	result.Seconds = time.Since(start).Seconds()
	if other, ok := alone(err); ok {
		result.LeftAlone, result.Reason, result.Lacking = other.outcome, other.reason, other.lacking
		return result, nil
	}
	if err != nil {
		_, inPart := err.(ManifestErrors) // of this image, not of one that took its tag
		err = fmt.Errorf("image %s: %w", image.Digest, err)
		if !inPart && !errors.Is(err, ErrTagImmutable) && !errors.Is(err, ErrTagTaken) {
			result = nil
		}
	}
	return result, err
}

func (x *indexer) work(ctx context.Context, result *Result, round int) error {
	tree, err := walk(ctx, x.src, result.Image, x.o)
	if err != nil {
		return err
	}
	if x.o.IndexVersion == V2 && x.o.Tag == "" {
		result.Enabled = EnabledResult{Outcome: OutcomeUntagged, Reason: x.o.noTag}
		return nil
	}
	work := newLayerWork(x.src, tree.images(), x.o)
	result.SearchError = work.reuse(ctx, x.o.Catalog)
	if err := x.probe(ctx, work, result); err != nil {
		return err
	}
	if err := work.run(ctx); err != nil {
		return err
	}
	result.BytesRead = work.bytesRead.Load()

	out, ztocsOf, failed, err := x.indexes(tree, work, result)
	if err != nil {
		return err
	}
	out.damaged = work.damaged
	if x.o.IndexVersion.v2() {
		if err := x.enable(tree, ztocsOf, failed, result, out); err != nil {
			return err
		}
	}
	if !x.o.DryRun {
		if err := x.publish(ctx, result, out, round); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// indexes tells of each manifest what became of it, and makes the SOCI indexes
// v1 of those of which every layer succeeded. It returns what is to be pushed,
// the zTOCs of each image manifest as a SOCI index lists them, and the
// manifests that failed.
func (x *indexer) indexes(tree *tree, work *layerWork, result *Result) (*output, map[digest.Digest][]ocispec.Descriptor,
	ManifestErrors, error) {
	var failed ManifestErrors
	out := &output{}
	ztocsOf := make(map[digest.Digest][]ocispec.Descriptor)
	chosen := make(map[digest.Digest]bool) // layers of which the zTOC is to be pushed
	for _, t := range tree.targets {
		mr := ManifestResult{Manifest: t.desc, Platform: t.platform.String(), Outcome: OutcomeNoLayer}
		err := t.err
		switch {
		case !t.isImage():
			result.Manifests = append(result.Manifests, ManifestResult{Manifest: t.desc, Outcome: t.outcome, Reason: t.reason})
			continue
		case err == nil && !t.wanted:
			continue
		case err == nil:
			err = work.failure(t.manifest)
		}
		if err != nil {
			mr.Outcome, mr.Reason = OutcomeFailed, err.Error()
			failed = append(failed, &ManifestError{Manifest: t.desc.Digest, Platform: mr.Platform, Err: err})
			result.Manifests = append(result.Manifests, mr)
			continue
		}
		var ztocs []ocispec.Descriptor
		for _, layer := range t.manifest.Layers {
			lr := work.result(layer)
			mr.Layers = append(mr.Layers, lr)
			if lr.Indexed() {
				ztocs = append(ztocs, lr.Ztoc)
				chosen[layer.Digest] = true
			}
		}
		ztocsOf[t.desc.Digest] = ztocs
		t.unindexable = work.unindexable(t.manifest.Layers)
		if len(ztocs) == 0 {
			mr.Reason = mr.whyNoLayer()
		} else if x.o.IndexVersion.v1() {
			subject := ocispec.Descriptor{MediaType: t.desc.MediaType, Digest: t.desc.Digest, Size: t.desc.Size}
			b, err := marshalIndex(ArtifactTypeV1, &subject, ztocs, x.o.BuildToolIdentifier, t.unindexable)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("manifest %s: %w", t.desc.Digest, err)
			}
			mr.Outcome = OutcomeIndexed
			mr.Index = sociIndexDescriptor(b, ArtifactTypeV1)
			out.indexes = append(out.indexes, content{mr.Index, b})
		}
		result.Manifests = append(result.Manifests, mr)
	}
	out.ztocs = work.ztocs(chosen)
	var layers []ocispec.Descriptor
	for _, t := range tree.images() {
		layers = append(layers, t.manifest.Layers...)
	}
	out.unindexable = work.unindexable(layers)
	return out, ztocsOf, failed, nil
}

// enable makes the SOCI-enabled image, or the unindexed one, if there is to be
// one.
func (x *indexer) enable(tree *tree, ztocsOf map[digest.Digest][]ocispec.Descriptor, failed ManifestErrors,
	result *Result, out *output) error {
	if x.o.Tag == "" {
		result.Enabled = EnabledResult{Outcome: OutcomeUntagged, Reason: x.o.noTag}
		return nil
	}
	if len(failed) > 0 {
		result.Enabled = EnabledResult{Outcome: OutcomeFailed, Tag: x.o.Tag + x.o.TagSuffix,
			Reason: fmt.Sprintf("manifest %s (%s) failed", failed[0].Manifest, failed[0].Platform)}
		for i := range result.Manifests {
			// With V2 alone the others are not indexed either.
			if m := &result.Manifests[i]; m.Outcome == OutcomeNoLayer && len(ztocsOf[m.Manifest.Digest]) > 0 {
				m.Outcome, m.Reason = OutcomePassedOver, "there is no SOCI-enabled image, since another manifest failed"
			}
		}
		return nil
	}
	result.Enabled = EnabledResult{Outcome: OutcomeTagged, Tag: x.o.Tag + x.o.TagSuffix}
	if !slices.ContainsFunc(tree.targets, (*target).isImage) {
		result.Enabled.Outcome = OutcomePassedOver
		return nil
	}
	enabled, err := newEnabledImage(tree, ztocsOf, x.o.BuildToolIdentifier)
	if err != nil {
		return err
	}
	if enabled == nil {
		if !x.o.TagUnindexed {
			result.Enabled.Outcome = OutcomeNoLayer
			return nil
		}
		result.Enabled.Unindexed = true
		if enabled, err = newUnindexedImage(tree, out.unindexable); err != nil {
			return err
		}
	}
	if n := enabled.root.desc.Size; n > x.o.Limits.MaxManifestSize {
		return fmt.Errorf("%w: the SOCI-enabled image's index has %d bytes, more than Limits.MaxManifestSize, %d", ErrLimit,
			n, x.o.Limits.MaxManifestSize)
	}
	out.enabled = enabled
	result.Enabled.Image = enabled.root.desc
	for t, manifest := range enabled.manifestOf {
		i := slices.IndexFunc(result.Manifests, func(m ManifestResult) bool {
			return m.Platform != "" && m.Manifest.Digest == t.desc.Digest
		})
		if i < 0 {
			continue // a platform that was not asked for
		}
		m := &result.Manifests[i]
		m.Enabled = manifest
		if index, ok := enabled.indexOf[t]; ok {
			m.Outcome, m.IndexV2 = OutcomeIndexed, index
		}
	}
	return nil
}
