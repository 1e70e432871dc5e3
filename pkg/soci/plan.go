package soci

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Work is an image whose manifests have been read and whose earlier zTOCs have
// been looked for, so that it is known what there is to do. It is used once, by
// one goroutine.
type Work struct {
	x      *indexer
	start  time.Time
	round  int // how many images were indexed before it for the sake of its tag
	result *Result
	tree   *tree
	layers *layerWork // nil when there is nothing to do: result is complete
}

// Plan reads the manifests of an image and looks for zTOCs to reuse. Nothing is
// pushed, and no layer is read. IndexImage is Plan and Work.Index; the layers
// may also be built elsewhere, each by BuildLayer, and put together by Publish.
// An image that is left alone is no error: its Work has no layers. The errors
// are those of IndexImage.
func Plan(ctx context.Context, src Source, dst Destination, image ocispec.Descriptor, o Options) (*Work, error) {
	x, err := newIndexer(src, dst, o)
	if err != nil {
		return nil, err
	}
	return x.plan(ctx, image, nil)
}

// Layers returns the layers that are to be read, each once, the largest first.
func (w *Work) Layers() []ocispec.Descriptor {
	if w.layers == nil {
		return nil
	}
	var list []ocispec.Descriptor
	for _, l := range w.layers.layers {
		if !w.layers.built[l.Digest].done() {
			list = append(list, l)
		}
	}
	return list
}

// Probe pushes the config of SOCI indexes, two bytes, if there are layers to be
// read: a missing permission to push shows before they are. Index does so by
// itself.
func (w *Work) Probe(ctx context.Context) error {
	if w.layers == nil {
		return nil
	}
	return w.named(w.x.probe(ctx, w.layers))
}

// Index does the work, as IndexImage describes it, with the same Result and
// errors.
func (w *Work) Index(ctx context.Context) (*Result, error) {
	var err error
	if w.layers != nil {
		err = w.finish(ctx)
	}
	w.result.Seconds = time.Since(w.start).Seconds()
	_, inPart := err.(ManifestErrors) // of this image, not of one that took its tag
	if err != nil && !inPart && !errors.Is(err, ErrTagImmutable) && !errors.Is(err, ErrTagTaken) {
		return nil, w.named(err)
	}
	return w.result, w.named(err)
}

// Pushed is what a Work has pushed.
type Pushed struct {
	Ztocs, Indexes int   // those that were not there, or are pushed again
	Bytes          int64 // of all content
}

// Pushed returns what was pushed so far, also when Index has failed or was
// interrupted.
func (w *Work) Pushed() Pushed {
	if w.layers == nil || w.layers.publisher == nil {
		return Pushed{}
	}
	p := w.layers.publisher
	return Pushed{Ztocs: int(p.ztocs.Load()), Indexes: int(p.indexes.Load()), Bytes: p.sent.Load()}
}

func (w *Work) named(err error) error {
	return named(w.result.Image.Digest, err)
}

// named says of which image an error is, unless it names that digest already, as
// that of an image manifest that is the image does.
func named(image digest.Digest, err error) error {
	if err == nil || strings.Contains(err.Error(), image.String()) {
		return err
	}
	return fmt.Errorf("image %s: %w", image, err)
}

// plan is Plan for an image some of whose layers have been built already.
func (x *indexer) plan(ctx context.Context, image ocispec.Descriptor, outcomes []LayerOutcome) (*Work, error) {
	w := &Work{x: x, start: time.Now(), result: &Result{Image: image, Version: x.o.IndexVersion}}
	tree, err := walk(ctx, x.src, image, x.o)
	if err == nil {
		err = x.choose(ctx, tree)
	}
	if other, ok := alone(err); ok {
		w.result.LeftAlone, w.result.Reason, w.result.Lacking = other.outcome, other.reason, other.lacking
		return w, nil
	}
	if err != nil {
		return nil, w.named(err)
	}
	if x.o.IndexVersion == V2 && x.o.Tag == "" {
		w.result.Enabled = EnabledResult{Outcome: OutcomeUntagged, Reason: x.o.noTag}
		return w, nil
	}
	layers := newLayerWork(x.src, tree.images(), x.o)
	layers.take(outcomes)
	w.result.SearchError = layers.reuse(ctx, x.o.Catalog)
	if !x.o.DryRun {
		layers.publisher = &publisher{dst: x.dst, src: x.src, force: x.o.Force, damaged: layers.damaged}
	}
	w.tree, w.layers = tree, layers
	return w, nil
}

// choose returns a *leftAlone when no platform of the image is among
// Options.Choice. A SOCI index for another one that the suffixed tag has stays.
func (x *indexer) choose(ctx context.Context, tree *tree) error {
	if len(tree.notChosen) > 0 && x.tagger != nil {
		desc, err := x.tagger.Resolve(ctx, x.o.Tag+x.o.TagSuffix)
		var index *ocispec.Index
		if err == nil {
			index, _, err = fetchEnabled(ctx, x.src, desc, x.o.Limits)
		}
		if err == nil && index != nil {
			err = tree.keep(ctx, x.src, x.o.Limits, desc, index)
		}
		if err != nil && !notThere(err) && !unusable(err) {
			return fmt.Errorf("the SOCI-enabled image of tag %q: %w", x.o.Tag, err)
		}
	}
	return tree.noneChosen(x.o.Choice)
}

// index is Plan and Index.
func (x *indexer) index(ctx context.Context, image ocispec.Descriptor, round int) (*Result, error) {
	w, err := x.plan(ctx, image, nil)
	if err != nil {
		return nil, err
	}
	w.round = round
	return w.Index(ctx)
}

// finish builds the layers and pushes what refers to their zTOCs.
func (w *Work) finish(ctx context.Context) error {
	x, layers, result := w.x, w.layers, w.result
	if p := layers.publisher; p != nil {
		defer func() { result.BytesPushed += p.sent.Load() }()
	}
	if err := x.probe(ctx, layers); err != nil {
		return err
	}
	if err := x.build(ctx, layers); err != nil {
		return err
	}
	result.BytesRead = layers.bytesRead.Load()
	if !x.hopeless(w.tree, layers) {
		if err := x.readTaken(ctx, w.tree, layers, result); err != nil {
			return err
		}
	}

	out, ztocsOf, failed, err := x.indexes(ctx, w.tree, layers, result)
	if err != nil {
		return err
	}
	if x.o.IndexVersion.v2() {
		if err := x.enable(w.tree, ztocsOf, failed, result, out); err != nil {
			return err
		}
	}
	if layers.publisher == nil {
		err = x.foresee(ctx, result, out)
	} else {
		err = x.publish(ctx, layers.publisher, result, out, w.round)
	}
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// LayerOutcome is what BuildLayer made of a layer, for Publish.
type LayerOutcome struct {
	Layer digest.Digest
	Size  int64 // compressed bytes

	// Result has the zTOC or the reason that there is none. Reused is false;
	// Detail and Seconds may be missing.
	Result LayerResult

	// Err, when set, is why the layer failed: the image manifests that list it
	// fail with a LayerError that wraps it. It is never set by BuildLayer, whose
	// error it may be.
	Err error
}

// BuildLayer reads one layer of an image, of which only digest and size are
// needed, and pushes its zTOC, which nothing names yet. A layer of zstd is read to
// its end unless its media type, too, says so. What o says of the image
// (IndexVersion, Tag, Platforms, Choice, Catalog) does not matter. The same layer and
// options lead to the same zTOC as in IndexImage. The error is a *LayerError
// without a Manifest when the layer could not be read, and otherwise that of
// dst.
func BuildLayer(ctx context.Context, src Source, dst Destination, layer ocispec.Descriptor, o Options) (LayerOutcome,
	error) {
	o.IndexVersion, o.Tag, o.Platforms, o.Choice = V1, "", nil, nil
	out := LayerOutcome{Layer: layer.Digest, Size: layer.Size}
	x, err := newIndexer(src, dst, o)
	if err != nil {
		return out, err
	}
	if err := checkDescriptor(layer); err != nil {
		return out, err
	}
	b := new(builtLayer)
	w := &layerWork{src: src, o: x.o, memory: newMemory(x.o.Limits.MaxMemory),
		built: map[digest.Digest]*builtLayer{layer.Digest: b}}
	if !o.DryRun {
		w.publisher = &publisher{dst: dst, src: src, force: o.Force}
	}
	if err := w.build(ctx, 0, layer); err != nil {
		if unpushed, ok := errors.AsType[*pushError](err); ok {
			return out, unpushed.error // the repository is at fault, not the layer
		}
		return out, &LayerError{Layer: layer.Digest, Err: err}
	}
	out.Result = b.result
	out.Result.Layer = layer
	return out, nil
}

// Publish is IndexImage for an image whose layers were built by BuildLayer with
// the same options, apart from what o says of the image. It reads the manifests
// again, and takes an outcome only for a layer that they list, in its size. A
// zTOC that is not in the repository, or not in its size, is built, once; so are
// layers without an outcome, unless their zTOCs can be reused.
func Publish(ctx context.Context, src Source, dst Destination, image ocispec.Descriptor, o Options,
	outcomes []LayerOutcome) (*Result, error) {
	x, err := newIndexer(src, dst, o)
	if err != nil {
		return nil, err
	}
	w, err := x.plan(ctx, image, outcomes)
	if err != nil {
		return nil, err
	}
	return w.Index(ctx)
}

// take uses what BuildLayer made, as far as it is of a layer of this image and
// can be right: what is wrong costs no more than building the layer here.
func (w *layerWork) take(outcomes []LayerOutcome) {
	sizes := make(map[digest.Digest]int64)
	for _, l := range w.layers {
		sizes[l.Digest] = l.Size
	}
	for _, o := range outcomes {
		b := w.built[o.Layer]
		if b == nil || b.done() || sizes[o.Layer] != o.Size {
			continue
		}
		switch r := o.Result; {
		case o.Err != nil:
			b.err = &LayerError{Manifest: w.manifests[o.Layer][0], Layer: o.Layer, Err: o.Err}
			if l, ok := errors.AsType[*LayerError](o.Err); ok {
				b.err.Err = l.Err
			}
		case r.Reason != "" && !r.Reason.OfContent(): // BuildLayer has not said so
		case r.Reason != "":
			b.result = LayerResult{Reason: r.Reason, Detail: r.Detail}
		case checkDescriptor(r.Ztoc) == nil && r.Ztoc.Size <= maxZtocSizeOf(o.Size):
			r.Ztoc = ocispec.Descriptor{MediaType: ZtocMediaType, Digest: r.Ztoc.Digest, Size: r.Ztoc.Size}
			b.result, b.taken = r, true
		}
	}
}
