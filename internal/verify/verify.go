// Package verify compares every byte that a lazy reader gets through a SOCI
// index with the image itself. Begin with Image, or with New for several images.
//
// It decodes nothing with the builder's code: a span is decoded from its checkpoint by
// the standard library's compress/flate, and the layer it is compared with is
// read by compress/gzip and archive/tar.
package verify

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/pkg/soci"
)

// Repository is what holds the image and its SOCI indexes.
type Repository interface {
	inspect.Repository
	Ranger
}

// ErrNoIndex: the image has no SOCI index.
var ErrNoIndex = errors.New("no SOCI index")

// Options of Image. The zero value is the default throughout.
type Options struct {
	// Concurrency is the number of layers worked on at once. The default is
	// the number of processors available.
	Concurrency int

	// Progress, if set, is called from several goroutines at once with the
	// compressed bytes of a layer that have been read so far.
	Progress func(layer ocispec.Descriptor, n int64)
}

// Report is what was compared of an image.
type Report struct {
	Indexes []IndexReport

	// Suffixed is what the image's tag with the suffix names; nil if that was not
	// looked at.
	Suffixed *inspect.Suffixed

	// Wrong are the differences of the suffixed tag itself.
	Wrong []Difference

	// Compared is the number of layers that were read for this report; those that
	// the Verifier had compared for another image are not read again.
	Compared int

	// WithoutIndex are the image manifests that have no SOCI index of the versions
	// looked at, as is right for one whose layers are all small.
	WithoutIndex []*inspect.Node

	// Missing are the image manifests that an image index lists but the
	// repository does not have.
	Missing []*inspect.Node

	Seconds float64
}

// IndexReport is what was compared of one SOCI index.
type IndexReport struct {
	Platform string
	Manifest digest.Digest // the image manifest
	Version  string        // v1 or v2
	Index    digest.Digest
	Size     int64  // of the SOCI index
	Tag      string // the suffixed tag that led to it; empty if the image itself did

	image *inspect.Node

	Layers      []*LayerReport   // those that have a zTOC, in the order of the SOCI index
	Prefetch    []PrefetchReport // the prefetch artifacts that could be compared
	Differences []Difference     // of the SOCI index itself
	Omitted     int              // differences beyond those listed
}

// Differences returns the number of all differences found.
func (r *Report) Differences() int {
	n := len(r.Wrong)
	for _, index := range r.Indexes {
		n += len(index.Differences) + index.Omitted
	}
	for _, layer := range r.Layers() {
		n += len(layer.Differences) + layer.Omitted
	}
	return n
}

// Layers returns each layer that was compared once, though several SOCI indexes
// may list it.
func (r *Report) Layers() []*LayerReport {
	var all []*LayerReport
	for _, index := range r.Indexes {
		for _, l := range index.Layers {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}

// Image verifies every SOCI index of the image, an image manifest or image
// index. A difference is not an error but stands in the report. The error is
// ErrNoIndex if there is nothing to verify, or one of the repository.
func Image(ctx context.Context, repo Repository, image ocispec.Descriptor, o Options) (*Report, error) {
	root, err := inspect.Load(ctx, repo, image)
	if err != nil {
		return nil, err
	}
	return New(repo, o).Versions(ctx, &inspect.Versions{Node: root}, "")
}

// Verifier verifies images of one repository. A layer that several images share
// is read once for each zTOC of it.
type Verifier struct {
	repo Repository
	o    Options
	done map[layerKey]*LayerReport
}

type layerKey struct{ layer, ztoc digest.Digest }

// New returns a Verifier. It is not safe for concurrent use.
func New(repo Repository, o Options) *Verifier {
	if o.Concurrency <= 0 {
		o.Concurrency = runtime.GOMAXPROCS(0)
	}
	return &Verifier{repo, o, map[layerKey]*LayerReport{}}
}

// work is the verification of one image.
type work struct {
	*Verifier
	parent context.Context
	ctx    context.Context // of group
	cancel context.CancelFunc
	group  *errgroup.Group
	begun  map[layerKey]*LayerReport
	later  []prefetches
	report *Report
}

func (v *Verifier) begin(ctx context.Context) *work {
	w := &work{Verifier: v, parent: ctx, begun: map[layerKey]*LayerReport{}, report: &Report{}}
	ctx, w.cancel = context.WithCancel(ctx)
	w.group, w.ctx = errgroup.WithContext(ctx)
	w.group.SetLimit(v.o.Concurrency)
	return w
}

// end stops what still runs.
func (w *work) end() {
	w.cancel()
	_ = w.group.Wait() // finish has returned its error, or another one came first
}

// images begins to verify the SOCI indexes of image manifests that are chosen by
// their version. tag is the suffixed tag that led to them, empty for the image
// itself.
func (w *work) images(images []*inspect.Node, chosen func(version string) bool, tag string) error {
	for _, node := range images {
		if node.Missing && !slices.ContainsFunc(w.report.Missing,
			func(m *inspect.Node) bool { return m.Digest == node.Digest }) {
			w.report.Missing = append(w.report.Missing, node)
		}
		for _, index := range node.SociIndexes {
			if !chosen(index.Version) {
				continue
			}
			one := IndexReport{Platform: node.Platform, Manifest: node.Digest, Version: index.Version,
				Index: index.Digest, Size: index.Size, Tag: tag, image: node}
			pairs, err := checkIndex(w.ctx, w.repo, node, index, &one)
			if err != nil {
				return err
			}
			for _, p := range pairs {
				one.Layers = append(one.Layers, w.layer(p))
			}
			if index.Manifest != nil {
				w.later = append(w.later,
					prefetches{len(w.report.Indexes), node, soci.ContentOf(index.Manifest).Prefetch})
			}
			w.report.Indexes = append(w.report.Indexes, one)
		}
	}
	return nil
}

// layer begins to compare a layer, unless that was done.
func (w *work) layer(p pair) *LayerReport {
	key := layerKey{p.layer.Digest, p.ztoc.Digest}
	if layer, ok := w.done[key]; ok {
		return layer
	}
	layer, ok := w.begun[key]
	if !ok {
		layer = &LayerReport{}
		w.begun[key] = layer
		w.group.Go(func() error {
			return verifyLayer(w.ctx, w.repo, p.layer, p.ztoc, w.o.Progress, layer)
		})
	}
	return layer
}

// finish waits for the layers.
func (w *work) finish() error {
	if err := w.group.Wait(); err != nil {
		return err
	}
	maps.Copy(w.done, w.begun)
	w.report.Compared = len(w.begun)
	// Only its zTOC tells how many spans a layer has.
	for _, p := range w.later {
		if err := checkPrefetch(w.parent, w.repo, p.image, p.blobs, &w.report.Indexes[p.index]); err != nil {
			return err
		}
	}
	return nil
}
