package soci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Buffering is a Source whose readers hold bytes in memory, which a build
// takes from its budget.
type Buffering interface {
	// FetchMemory is the most that a reader of desc's content holds at once.
	FetchMemory(desc ocispec.Descriptor) int64
}

// Transferring is a reader of a Source that knows how many bytes came for it.
// They are more than were read when it reads ahead or had to begin again.
type Transferring interface {
	// Transferred is called after Close.
	Transferred() int64
}

// layerWork builds the zTOCs of all the layers of an image, each once.
type layerWork struct {
	src       Source
	o         Options
	images    []ocispec.Descriptor              // the image manifests
	layers    []ocispec.Descriptor              // to be built, largest first
	manifests map[digest.Digest][]digest.Digest // by layer: those that list it
	platforms map[digest.Digest]string          // by manifest
	built     map[digest.Digest]*builtLayer
	memory    *memory
	bytesRead atomic.Int64

	// publisher takes each zTOC as soon as it is built; nil in a dry run.
	publisher *publisher

	// damaged are zTOCs and SOCI indexes of earlier builds that the repository
	// does not give as their digests name them.
	damaged map[digest.Digest]bool

	tables *pathTables // for the spans of files to prefetch; nil when there are none

	searched int64 // steps, see maxImagePrefetchSteps
}

// builtLayer is the result for a layer.
type builtLayer struct {
	result LayerResult
	err    *LayerError // why the layer failed
	taken  bool        // BuildLayer made the zTOC, in another process
}

// done reports whether the layer has its result.
func (b *builtLayer) done() bool {
	return b.err != nil || b.result.Reason != "" || b.result.Ztoc.Digest != ""
}

func newLayerWork(src Source, targets []target, o Options) *layerWork {
	w := &layerWork{
		src: src, o: o, tables: newPathTables(targets, o),
		manifests: make(map[digest.Digest][]digest.Digest),
		platforms: make(map[digest.Digest]string),
		built:     make(map[digest.Digest]*builtLayer),
	}
	w.memory = newMemory(o.Limits.MaxMemory)
	if w.tables != nil {
		w.memory.max -= w.tables.max
		w.memory.kept = w.tables.max
	}
	var layers []ocispec.Descriptor
	contradicted := sizesContradicted(targets)
	for _, t := range targets {
		if t.manifest == nil {
			continue
		}
		w.images = append(w.images, t.desc)
		w.platforms[t.desc.Digest] = t.platform.String()
		for _, layer := range t.manifest.Layers {
			if reason, _ := skipByDescriptor(layer, o); reason != "" {
				continue
			}
			layers = append(layers, layer)
			if list := w.manifests[layer.Digest]; !slices.Contains(list, t.desc.Digest) {
				w.manifests[layer.Digest] = append(list, t.desc.Digest)
			}
		}
	}
	w.layers = distinct(layers)
	// The longest work first, so that it does not begin when all else is done.
	slices.SortStableFunc(w.layers, func(a, b ocispec.Descriptor) int {
		switch {
		case a.Size != b.Size:
			return int(min(max(b.Size-a.Size, -1), 1))
		default:
			return strings.Compare(a.Digest.String(), b.Digest.String())
		}
	})
	for _, l := range w.layers {
		w.built[l.Digest] = new(builtLayer)
		if err := contradicted[l.Digest]; err != nil {
			w.built[l.Digest].err = &LayerError{Manifest: w.manifests[l.Digest][0], Layer: l.Digest, Err: err}
		}
	}
	return w
}

// sizesContradicted returns the layers that image manifests list with different
// sizes. A zTOC fits one of them, and would be named beside a layer that it is
// not of; which manifest is right cannot depend on their order.
func sizesContradicted(targets []target) map[digest.Digest]error {
	type place struct {
		size     int64
		manifest digest.Digest
	}
	first := make(map[digest.Digest]place)
	wrong := make(map[digest.Digest]error)
	for _, t := range targets {
		if t.manifest == nil {
			continue
		}
		for _, l := range t.manifest.Layers {
			p, ok := first[l.Digest]
			if !ok {
				first[l.Digest] = place{l.Size, t.desc.Digest}
			} else if p.size != l.Size {
				wrong[l.Digest] = fmt.Errorf("%w image: the layer has %d bytes by manifest %s and %d by manifest %s",
					ErrCorrupt, p.size, p.manifest, l.Size, t.desc.Digest)
			}
		}
	}
	return wrong
}

// skipByDescriptor tells why a layer need not be fetched at all.
func skipByDescriptor(layer ocispec.Descriptor, o Options) (SkipReason, string) {
	switch {
	case !isTarLayer(layer.MediaType):
		return SkipNotALayer, fmt.Sprintf("media type %q", cut(layer.MediaType, 100))
	case images.IsNonDistributable(layer.MediaType):
		return SkipForeign, fmt.Sprintf("media type %q", cut(layer.MediaType, 100))
	case strings.HasSuffix(layer.MediaType, encryptedSuffix):
		return SkipEncrypted, fmt.Sprintf("media type %q", cut(layer.MediaType, 100))
	case layer.Size < max(o.MinLayerSize, 1): // an empty blob has nothing to index, whatever the option says
		return SkipTooSmall, fmt.Sprintf("%d bytes, less than %d", layer.Size, max(o.MinLayerSize, 1))
	}
	return "", ""
}

// maxSourceFailures is how many layers may fail for want of the source before
// the others are given up: it can be at fault with one blob, or out of order.
const maxSourceFailures = 3

// errNotNeeded is the cause that ends the work on a layer of which every image
// manifest has failed by another one.
var errNotNeeded = errors.New("every manifest of the layer has failed")

// run builds all layers. One that fails is remembered, and ends the work on its
// image manifests alone. A layer that makes way for an older one begins again
// when another has left. The error says why the work was given up.
func (w *layerWork) run(ctx context.Context) error {
	f := &failures{w: w, cancel: make(map[digest.Digest]context.CancelCauseFunc), failed: make(map[digest.Digest]bool)}
	for _, l := range w.layers {
		if w.built[l.Digest].err != nil {
			f.lose(l)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(w.o.Concurrency)
	of := make([]context.Context, len(w.layers))
	for i, l := range w.layers {
		var cancel context.CancelCauseFunc
		of[i], cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		f.cancel[l.Digest] = cancel
	}
	// Decided before any work begins, which changes what is needed.
	var ages []int
	for age, l := range w.layers {
		if !w.built[l.Digest].done() && f.needed(l) {
			ages = append(ages, age)
		}
	}
	for _, age := range ages {
		l := w.layers[age]
		group.Go(func() error {
			for {
				if err := ctx.Err(); err != nil {
					return err
				}
				if of[age].Err() != nil {
					return nil
				}
				departures := w.memory.departures()
				err := w.build(of[age], age, l)
				switch {
				case err == nil:
					return nil
				case errors.Is(err, errPreempted):
					w.memory.awaitDeparture(departures)
					continue
				case ctx.Err() == nil && context.Cause(of[age]) == errNotNeeded:
					return nil
				}
				if unpushed, ok := errors.AsType[*pushError](err); ok {
					return unpushed.error // the repository is at fault, not the layer
				}
				return f.add(ctx, l, err)
			}
		})
	}
	return group.Wait()
}

// failures ends the work on the image manifests that have lost a layer.
type failures struct {
	w      *layerWork
	cancel map[digest.Digest]context.CancelCauseFunc // by layer

	mu       sync.Mutex
	failed   map[digest.Digest]bool // image manifests
	ofSource int
}

// add remembers that a layer failed. It returns an error when all work is to
// end.
func (f *failures) add(ctx context.Context, layer ocispec.Descriptor, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.w
	first := w.manifests[layer.Digest][0]
	failed := &LayerError{Manifest: first, Layer: layer.Digest, Err: err}
	if !ofContent(err) {
		f.ofSource++
	}
	if ctx.Err() != nil || f.ofSource == maxSourceFailures {
		return &ManifestError{Manifest: first, Platform: w.platforms[first], Err: failed}
	}
	w.built[layer.Digest].err = failed
	f.lose(layer)
	for _, l := range w.layers {
		if !f.needed(l) {
			f.cancel[l.Digest](errNotNeeded)
		}
	}
	return nil
}

// lose notes that the image manifests of a layer have failed.
func (f *failures) lose(layer ocispec.Descriptor) {
	for _, m := range f.w.manifests[layer.Digest] {
		f.failed[m] = true
	}
}

// needed reports whether anything can still come of a layer: a SOCI-enabled
// image needs every manifest, a SOCI index v1 its own.
func (f *failures) needed(layer ocispec.Descriptor) bool {
	if len(f.failed) == 0 {
		return true
	}
	return f.w.o.IndexVersion.v1() &&
		slices.ContainsFunc(f.w.manifests[layer.Digest], func(m digest.Digest) bool { return !f.failed[m] })
}

// pushError is that a zTOC could not be pushed.
type pushError struct{ error }

func (e *pushError) Unwrap() error { return e.error }

// build makes the zTOC of a layer, pushes it and forgets it: until a manifest
// names it, a blob is invisible. The error is errPreempted when the work is to
// be begun again.
func (w *layerWork) build(ctx context.Context, age int, layer ocispec.Descriptor) (err error) {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	memory := w.memory.enter(age, func() { cancel(errPreempted) })
	defer func() {
		memory.leave()
		// Being cancelled shows as any error of the source.
		if err != nil && context.Cause(ctx) == errPreempted {
			err = errPreempted
		}
	}()
	if b, ok := w.src.(Buffering); ok {
		if err := memory.take(b.FetchMemory(layer)); err != nil {
			return err
		}
	}
	rc, err := w.src.Fetch(ctx, layer)
	if err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	r := &layerReader{ctx: ctx, r: rc, layer: layer, progress: w.o.Progress}
	defer func() {
		rc.Close()
		n := r.n
		if t, ok := rc.(Transferring); ok {
			n = t.Transferred()
		}
		w.bytesRead.Add(n)
	}()
	if err := w.o.parallel.processors.enter(ctx); err != nil {
		return err
	}
	defer w.o.parallel.processors.leave()
	z, err := buildZtoc(r, ZtocOptions{
		SpanSize:            w.o.SpanSize,
		BuildToolIdentifier: w.o.BuildToolIdentifier,
		Limits:              w.o.Limits,
		Size:                layer.Size,
		Digest:              layer.Digest,
		MediaType:           layer.MediaType,
		LayerWorkers:        w.o.LayerWorkers,
		maxZtoc:             maxZtocSizeOf(layer.Size),
		parallel:            w.o.parallel,
	}, memory)
	var b []byte
	if err == nil {
		b, err = z.Marshal()
	}
	if err == nil && int64(len(b)) > maxZtocSizeOf(layer.Size) {
		err = ztocTooLarge(maxZtocSizeOf(layer.Size))
	}
	out := w.built[layer.Digest]
	if unsupported, ok := errors.AsType[*UnsupportedError](err); ok {
		out.result = LayerResult{Reason: unsupported.Reason, Detail: unsupported.Detail}
		return nil
	}
	if err != nil {
		return err
	}
	desc := blobDescriptor(b)
	if w.publisher != nil {
		ztoc := content{desc, b}
		ztoc.desc.MediaType = ZtocMediaType
		if _, err := w.publisher.put(ctx, "blob", ztoc); err != nil {
			return &pushError{err}
		}
	}
	out.result = indexedLayer(z, desc, start)
	w.tables.add(layer.Digest, z)
	if w.o.Built != nil {
		return w.o.Built(layer, z)
	}
	return nil
}

// indexedLayer is the result of a layer that has a zTOC, whose work began at start.
func indexedLayer(z *Ztoc, desc ocispec.Descriptor, start time.Time) LayerResult {
	return LayerResult{
		Ztoc:             desc,
		Compression:      z.Compression,
		UncompressedSize: z.UncompressedSize,
		Spans:            len(z.Checkpoints),
		Entries:          len(z.Entries),
		Seconds:          time.Since(start).Seconds(),
	}
}

// ofContent reports whether a layer failed by what it is, or by not being
// there, and not for want of the source.
func ofContent(err error) bool {
	return unusable(err) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrDigestMismatch) || notThere(err)
}

// failure returns why the first layer of a manifest failed that did, if any.
func (w *layerWork) failure(m *ocispec.Manifest) error {
	for _, l := range m.Layers {
		if b := w.built[l.Digest]; b != nil && b.err != nil {
			return b.err
		}
	}
	return nil
}

// result is what became of a layer at one of its occurrences, whose media
// type may differ from another's.
func (w *layerWork) result(layer ocispec.Descriptor) LayerResult {
	if reason, detail := skipByDescriptor(layer, w.o); reason != "" {
		return LayerResult{Layer: layer, Reason: reason, Detail: detail}
	}
	lr := w.built[layer.Digest].result
	lr.Layer = layer
	if lr.Indexed() {
		lr.Ztoc = ztocDescriptor(lr.Ztoc, layer, w.o.SpanSize)
	}
	return lr
}

// layerReader stops when the work is cancelled, and tells how far it came.
type layerReader struct {
	ctx      context.Context
	r        io.Reader
	layer    ocispec.Descriptor
	n        int64
	progress func(ocispec.Descriptor, int64)
}

func (l *layerReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	l.n += int64(n)
	l.progress(l.layer, l.n)
	return n, err
}

// distinct returns the first of each digest.
func distinct(descs []ocispec.Descriptor) []ocispec.Descriptor {
	seen := make(map[digest.Digest]bool)
	var out []ocispec.Descriptor
	for _, d := range descs {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	return out
}
