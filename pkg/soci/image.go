package soci

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/text/bytesize"
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

// Replacer is a Destination that can store content again under a digest that it
// already has, for instance because the stored content is damaged. It is used
// with Options.Force and for content found to be damaged; without it, Push is
// used.
type Replacer interface {
	// Replace is like Push, but sends content that is there already.
	Replace(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
}

// Lister is a Destination in which a manifest with a subject may be stored and
// yet not be listed among the referrers of its subject, where clients look for
// it: the two are not written at once. Without it, whatever exists is listed.
type Lister interface {
	// Listed reports whether a manifest that is there, with this content, is
	// listed, or need not be since it has no subject. Push lists it.
	Listed(ctx context.Context, desc ocispec.Descriptor, manifest []byte) (bool, error)
}

// Tagger is a Destination with tags, which V2 needs.
type Tagger interface {
	Destination

	// Resolve returns the descriptor of the manifest that a tag names. If there
	// is no such tag, errors.As finds in the error a NotFound() bool that is
	// true.
	Resolve(ctx context.Context, tag string) (ocispec.Descriptor, error)

	// PushTag stores the manifest that desc names under a tag, in place of any
	// other. content is a *bytes.Reader. If the registry may have refused to
	// move the tag, errors.As finds in the error a TagImmutable() bool that is
	// true; the manifest that the tag then names shows whether it has.
	PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error
}

// IndexImage builds the SOCI indexes of the image manifests that image leads
// to. For V1 each is pushed as a referrer of its manifest. For V2 a
// SOCI-enabled image is pushed under the tag of the image with a suffix; that
// needs a Destination that is a Tagger, and the image and its tag stay as they
// are. Source and Destination are used from several goroutines at once.
//
// The config of SOCI indexes is pushed first: two bytes that reveal a missing
// permission before layers are read. A zTOC is pushed as soon as it is built,
// which frees its memory; a blob that no manifest names is invisible, and the
// registry's to collect. Content is pushed before anything that refers to it:
// no client sees a SOCI index without all of its zTOCs, and the suffixed tag
// comes last.
//
// The unit is the image manifest. If one cannot be read, or one of its layers
// fails, no SOCI index is pushed for it. The others of an image index still get
// their SOCI indexes v1, but the SOCI-enabled image, which would lack it, is not
// made. The error is then a ManifestErrors. Manifests that an image index lists
// but the repository does not have, as in a copy of some platforms, are
// skipped.
//
// The suffixed tag follows the tag of the image. If that tag now names another
// image, the suffixed tag is not moved. If that becomes known only after it was
// moved, the image that the tag names is indexed as well, which corrects the
// suffixed tag whatever others did to it in the meantime.
//
// An image without a layer to index is not an error but an Outcome, and so is
// one that is skipped. The error is one of this package's classes (a
// *LayerError when a layer is at fault) or wraps that of the Source or the
// Destination. The Result is nil with an error other than ManifestErrors,
// ErrTagImmutable and ErrTagTaken.
func IndexImage(ctx context.Context, src Source, dst Destination, image ocispec.Descriptor, o Options) (*Result,
	error) {
	w, err := Plan(ctx, src, dst, image, o)
	if err != nil {
		return nil, err
	}
	return w.Index(ctx)
}

// indexer indexes one image, and any that take over its tag in the meantime.
type indexer struct {
	src    Source
	dst    Destination
	tagger Tagger // nil when there is no tag to be moved, and in a dry run that has no Destination with tags
	o      Options

	configThere bool // the config of SOCI indexes is in the repository
}

func newIndexer(src Source, dst Destination, o Options) (*indexer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	x := &indexer{src: src, dst: dst, o: o}
	if o.IndexVersion.v2() && o.Tag != "" {
		var ok bool
		if x.tagger, ok = dst.(Tagger); !ok && !o.DryRun {
			return nil, invalidOption("IndexVersion is %s, but the Destination has no tags", o.IndexVersion)
		}
	}
	return x, nil
}

// build builds what is missing. A zTOC of an earlier build, or of a BuildLayer,
// that is not there when that is done, or not in its size, is built as well,
// once.
func (x *indexer) build(ctx context.Context, work *layerWork) error {
	if err := work.run(ctx); err != nil || work.publisher == nil {
		return err
	}
	gone, err := work.recheck(ctx)
	if err != nil || !gone {
		return err
	}
	return work.run(ctx)
}

// indexes records the outcome of each manifest, and makes the SOCI indexes v1
// of those whose layers all succeeded. It returns what is to be pushed, the
// zTOCs and prefetch artifacts of each image manifest as a SOCI index lists
// them, and the manifests that failed.
func (x *indexer) indexes(ctx context.Context, tree *tree, work *layerWork, result *Result) (*output,
	map[digest.Digest][]ocispec.Descriptor, ManifestErrors, error) {
	var failed ManifestErrors
	out := &output{}
	hopeless := x.hopeless(tree, work)
	ztocsOf := make(map[digest.Digest][]ocispec.Descriptor)
	for _, t := range tree.targets {
		mr := ManifestResult{Manifest: t.desc, Platform: t.platform.String(), Outcome: OutcomeNoLayer}
		if !t.isImage() {
			result.Manifests = append(result.Manifests,
				ManifestResult{Manifest: t.desc, Outcome: t.outcome, Reason: t.reason})
			continue
		}
		err := t.failure(work)
		if err == nil && !t.wanted {
			continue
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
			if lr.Indexed() {
				ztocs = append(ztocs, lr.Ztoc)
			} else if lr.Reason == "" {
				continue // it was given up
			}
			mr.Layers = append(mr.Layers, lr)
		}
		if hopeless {
			if len(ztocs) > 0 || len(mr.Layers) < len(t.manifest.Layers) {
				mr.Outcome = OutcomePassedOver
				mr.Reason = "there is no SOCI-enabled image, since another manifest failed"
			} else {
				mr.Reason = mr.whyNoLayer()
			}
			result.Manifests = append(result.Manifests, mr)
			continue
		}
		var (
			prefetch []content
			warnings []string
		)
		if mr.Prefetch, prefetch, warnings, err = work.prefetch(ctx, t); err != nil {
			return nil, nil, nil, err
		}
		result.warn(mr.Platform, warnings)
		out.prefetch = append(out.prefetch, prefetch...)
		ztocs = withPrefetch(ztocs, prefetch)
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
	var layers []ocispec.Descriptor
	for _, t := range tree.images() {
		layers = append(layers, t.manifest.Layers...)
	}
	out.unindexable = work.unindexable(layers)
	return out, ztocsOf, failed, nil
}

// failure returns why an image manifest has failed, if it has.
func (t *target) failure(work *layerWork) error {
	if t.err != nil || !t.wanted {
		return t.err
	}
	return work.failure(t.manifest)
}

// hopeless reports whether nothing can come of any layer: a SOCI-enabled image,
// all that was asked for, needs every image manifest, and one has failed.
func (x *indexer) hopeless(tree *tree, work *layerWork) bool {
	return !x.o.IndexVersion.v1() && slices.ContainsFunc(tree.targets,
		func(t *target) bool { return t.isImage() && t.failure(work) != nil })
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
			Reason: failed[0].Platform + " failed"}
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
		result.Enabled.Unindexed, out.tree = true, tree
		if enabled, err = newUnindexedImage(tree, out.unindexable,
			newVerdict(tree, x.o.MinLayerSize).String()); err != nil {
			return err
		}
	}
	if n := enabled.root.desc.Size; n > x.o.Limits.MaxManifestSize {
		return fmt.Errorf("%w: the SOCI-enabled image's index has %s, and at most %s are supported", ErrLimit,
			bytesize.Format(n), bytesize.Format(x.o.Limits.MaxManifestSize))
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
