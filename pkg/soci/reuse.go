package soci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Catalog knows the SOCI indexes that earlier builds left in the repository.
// In most pushes all layers but a few were indexed before.
type Catalog interface {
	// SOCIIndexes calls found with SOCI indexes (v1 or v2) of the repository,
	// and with image indexes annotated AnnotationUnindexed, first those that are likeliest to share layers with images,
	// the image
	// manifests that are about to be indexed, until found returns false. An
	// error says that the search was not complete.
	SOCIIndexes(ctx context.Context, images []ocispec.Descriptor, found func(index ocispec.Descriptor) bool) error
}

// maxReuseIndexes is how many earlier SOCI indexes are looked into.
const maxReuseIndexes = 50

// maxReuseTime is how long they may be looked into: a registry that answers
// slowly must not cost more than reading the layers.
const maxReuseTime = time.Minute

// reuse takes the zTOCs of layers that were indexed before with the same span
// size and build-tool identifier, so that these layers are not read at all. A
// layer for which none is found is built; the error says what went wrong on the
// way, and costs no more than that.
func (w *layerWork) reuse(ctx context.Context, catalog Catalog) error {
	ctx, cancel := context.WithTimeout(ctx, maxReuseTime)
	defer cancel()
	needed := make(map[digest.Digest]ocispec.Descriptor)
	for _, l := range w.layers {
		// A layer that has failed stays so. For one that was built elsewhere the search
		// finds what is damaged: it was taken for there by its size, and is to be pushed.
		if w.built[l.Digest].err == nil {
			needed[l.Digest] = l
		}
	}
	if catalog == nil || len(needed) == 0 {
		return nil
	}
	var errs []error
	seen := make(map[digest.Digest]bool)
	err := catalog.SOCIIndexes(ctx, w.images, func(index ocispec.Descriptor) bool {
		if ctx.Err() != nil || len(seen) == maxReuseIndexes {
			return false
		}
		if !seen[index.Digest] {
			seen[index.Digest] = true
			if err := w.reuseFrom(ctx, index, needed); err != nil {
				errs = append(errs, fmt.Errorf("SOCI index %s: %w", index.Digest, err))
			}
		}
		return len(needed) > 0
	})
	for _, b := range w.built {
		if b.taken && w.damaged[b.result.Ztoc.Digest] {
			*b = builtLayer{}
		}
	}
	return errors.Join(append(errs, err)...)
}

// reuseFrom takes what a SOCI index has of the layers needed.
func (w *layerWork) reuseFrom(ctx context.Context, index ocispec.Descriptor,
	needed map[digest.Digest]ocispec.Descriptor) error {
	if images.IsIndexType(index.MediaType) {
		x, err := fetchImageIndex(ctx, w.src, index, w.o.Limits)
		if err != nil {
			return err
		}
		if kind, _ := kindOfIndex(x); kind == KindUnindexed {
			w.reuseReasons(x.Annotations, index, needed)
		}
		return nil
	}
	b, err := fetchVerified(ctx, w.src, index, w.o.Limits)
	if err != nil {
		w.noteDamage(index, err)
		return err
	}
	m, err := ParseIndex(b)
	if err != nil {
		return err
	}
	if m.Annotations[AnnotationBuildToolIdentifier] != w.o.BuildToolIdentifier {
		return nil // another tool's
	}
	w.reuseReasons(m.Annotations, index, needed)
	var errs []error
	for _, ztoc := range ContentOf(m).Ztocs {
		layer, ok := needed[digest.Digest(ztoc.Annotations[AnnotationLayerDigest])]
		if !ok || ztoc.Annotations[AnnotationSpanSize] != strconv.FormatInt(w.o.SpanSize, 10) {
			continue
		}
		taken, err := w.reuseZtoc(ctx, ztoc, layer)
		if err != nil {
			errs = append(errs, fmt.Errorf("zTOC %s: %w", ztoc.Digest, err))
		}
		if taken {
			delete(needed, layer.Digest)
		}
	}
	return errors.Join(errs...)
}

// reuseReasons takes what an earlier build found of layers that cannot be
// indexed.
func (w *layerWork) reuseReasons(annotations map[string]string, in ocispec.Descriptor,
	needed map[digest.Digest]ocispec.Descriptor) {
	for layer, reason := range parseUnindexable(annotations[AnnotationUnindexable], w.o.SpanSize) {
		if _, ok := needed[layer]; ok {
			w.built[layer].result = LayerResult{Reason: reason, Reused: true,
				Detail: fmt.Sprintf("found by an earlier build, as %s says", in.Digest)}
			delete(needed, layer)
		}
	}
}

// reuseZtoc takes a zTOC for a layer, when it is there and fits. One without
// entries is never taken, since it may be what an earlier release made of a
// layer that is no archive; an empty archive is read quickly.
func (w *layerWork) reuseZtoc(ctx context.Context, desc, layer ocispec.Descriptor) (taken bool, _ error) {
	start := time.Now()
	if err := checkDescriptor(desc); err != nil {
		return false, err
	}
	if desc.Size > maxZtocSizeOf(layer.Size) {
		return false, nil
	}
	memory := w.memory.enter(0, func() {})
	defer memory.leave()
	if err := memory.take(desc.Size); err != nil {
		return false, err
	}
	b, err := fetchExactly(ctx, w.src, desc)
	if err != nil {
		w.noteDamage(desc, err)
		return false, err
	}
	z, err := parseZtoc(b, memory.take)
	if err != nil {
		return false, err
	}
	if err := z.madeFor(layer.Size, &w.o); err != nil {
		return false, err
	}
	if len(z.Entries) == 0 {
		return false, nil
	}
	// Nor is one that clients misread, which earlier releases made, too. That
	// a time was beyond the format shows as none.
	if slices.ContainsFunc(z.Entries, func(e Entry) bool { return e.ModTime.IsZero() }) {
		return false, nil
	}
	if err := z.misread(memory.take); errors.Is(err, ErrUnsupported) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	result := indexedLayer(z, blobDescriptor(b), start)
	result.Reused = true
	*w.built[layer.Digest] = builtLayer{result: result}
	w.tables.add(layer.Digest, z)
	return true, nil
}

// recheck looks whether the zTOCs that this run has not pushed are there before
// anything names them: time has passed, their SOCI indexes may have been deleted
// meanwhile, and the registry may have collected them. The layers of those that
// have gone are to be built.
func (w *layerWork) recheck(ctx context.Context) (gone bool, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxBlobRequests)
	there := make([]bool, len(w.layers))
	for i, l := range w.layers {
		b := w.built[l.Digest]
		there[i] = b.result.Ztoc.Digest == "" || !b.result.Reused && !b.taken
		if there[i] {
			continue
		}
		group.Go(func() (err error) {
			if there[i], _, err = w.publisher.exists(ctx, b.result.Ztoc, true); err != nil {
				return fmt.Errorf("looking for blob %s: %w", b.result.Ztoc.Digest, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	for i, l := range w.layers {
		if !there[i] {
			*w.built[l.Digest], gone = builtLayer{}, true
		}
	}
	return gone, nil
}

// madeFor checks that a zTOC is what this build would make for a layer of a size.
func (z *Ztoc) madeFor(layerSize int64, o *Options) error {
	is := func(what string, got, want any) error {
		return fmt.Errorf("%w zTOC: its %s is %v, and should be %v", ErrCorrupt, what, got, want)
	}
	switch {
	case z.CompressedSize != layerSize:
		return is("layer's size", z.CompressedSize, layerSize)
	case z.SpanSize != o.SpanSize:
		return is("span size", z.SpanSize, o.SpanSize)
	case z.BuildToolIdentifier != o.BuildToolIdentifier:
		return is("build tool", fmt.Sprintf("%q", cut(z.BuildToolIdentifier, 100)),
			fmt.Sprintf("%q", o.BuildToolIdentifier))
	case z.Version != ztocVersion:
		return is("version", fmt.Sprintf("%q", cut(z.Version, 100)), fmt.Sprintf("%q", ztocVersion))
	}
	return nil
}

// noteDamage remembers content that the repository is said to have and does not
// give as its descriptor names it. What has the same digest must be pushed,
// whatever the repository says of its existence.
func (w *layerWork) noteDamage(desc ocispec.Descriptor, err error) {
	if !damaged(err) && !notThere(err) {
		return
	}
	if w.damaged == nil {
		w.damaged = make(map[digest.Digest]bool)
	}
	w.damaged[desc.Digest] = true
}

// damaged reports whether other bytes arrived than the descriptor names.
func damaged(err error) bool {
	mismatch, ok := errors.AsType[interface {
		error
		ContentMismatch() bool
	}](err)
	return errors.Is(err, ErrDigestMismatch) || ok && mismatch.ContentMismatch()
}
