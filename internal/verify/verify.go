// Package verify compares what a lazy reader gets by way of a SOCI index with
// what the image really holds, every byte of it. Begin with Image.
//
// It shares nothing with the code that builds: a span is decoded from its
// checkpoint by the standard library's compress/flate, and the layer it is
// compared with is read by compress/gzip and archive/tar.
package verify

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

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

	// WithoutIndex are the image manifests that have no SOCI index, as is
	// right for one whose layers are all small.
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

	Layers      []*LayerReport   // those that have a zTOC, in the order of the SOCI index
	Prefetch    []PrefetchReport // the prefetch artifacts that could be compared
	Differences []Difference     // of the SOCI index itself
	Omitted     int              // differences beyond those listed
}

// Differences returns the number of all differences found.
func (r *Report) Differences() int {
	n := 0
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
	start := time.Now()
	root, err := inspect.Load(ctx, repo, image)
	if err != nil {
		return nil, err
	}
	report := &Report{}
	images := root.Images()
	if len(images) == 0 {
		what := string(root.Kind)
		if root.ArtifactType != "" {
			what += fmt.Sprintf(" of type %.100q", root.ArtifactType)
		}
		return nil, fmt.Errorf("%w: %s is not an image (%s)", ErrNoIndex, image.Digest, what)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = runtime.GOMAXPROCS(0)
	}
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Concurrency)
	done := map[[2]digest.Digest]*LayerReport{} // by layer and zTOC
	var later []prefetches
	for _, node := range images {
		switch {
		case node.Missing:
			report.Missing = append(report.Missing, node)
		case len(node.SociIndexes) == 0:
			report.WithoutIndex = append(report.WithoutIndex, node)
		}
		for _, index := range node.SociIndexes {
			one := IndexReport{Platform: node.Platform, Manifest: node.Digest, Version: index.Version, Index: index.Digest}
			pairs, err := checkIndex(ctx, repo, node, index, &one)
			if err != nil {
				cancel()
				_ = group.Wait() // that it was cancelled
				return nil, err
			}
			for _, p := range pairs {
				key := [2]digest.Digest{p.layer.Digest, p.ztoc.Digest}
				layer := done[key]
				if layer == nil {
					layer = &LayerReport{}
					done[key] = layer
					group.Go(func() error {
						return verifyLayer(ctx, repo, p.layer, p.ztoc, o.Progress, layer)
					})
				}
				one.Layers = append(one.Layers, layer)
			}
			if index.Manifest != nil {
				later = append(later, prefetches{len(report.Indexes), node, soci.ContentOf(index.Manifest).Prefetch})
			}
			report.Indexes = append(report.Indexes, one)
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	// How many spans a layer has only its zTOC tells.
	for _, p := range later {
		if err := checkPrefetch(parent, repo, p.image, p.blobs, &report.Indexes[p.index]); err != nil {
			return nil, err
		}
	}
	if len(report.Indexes) == 0 {
		return nil, fmt.Errorf("%w: the image %s has none, neither by referrer nor by annotation", ErrNoIndex, image.Digest)
	}
	report.Seconds = time.Since(start).Seconds()
	return report, nil
}
