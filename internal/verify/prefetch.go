package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/pkg/soci"
)

// PrefetchReport is a prefetch artifact that was compared with the zTOC of its
// layer.
type PrefetchReport struct {
	Artifact ocispec.Descriptor
	Layer    digest.Digest
	Ranges   int   // of spans
	Spans    int64 // in all ranges; one that is in two counts twice
}

// prefetches are the prefetch artifacts of one SOCI index of the report.
type prefetches struct {
	index int // in Report.Indexes
	image *inspect.Node
	blobs []ocispec.Descriptor
}

// checkPrefetch compares the prefetch artifacts of a SOCI index with the layers
// in its report, which must have been verified. The error is that of a
// transfer.
func checkPrefetch(
	ctx context.Context, repo Repository, image *inspect.Node, blobs []ocispec.Descriptor, report *IndexReport,
) error {
	diffs := differences{report.Differences, report.Omitted}
	defer func() { report.Differences, report.Omitted = diffs.list, diffs.omitted }()
	layers := layersOf(image)
	for _, blob := range blobs {
		named := digest.Digest(blob.Annotations[soci.AnnotationLayerDigest])
		if _, ok := layers[named]; !ok {
			diffs.addf("", "prefetch artifact %s is for a layer %q, which the image does not have", blob.Digest, named)
			continue
		}
		differs := func(format string, args ...any) {
			diffs.addf(named, "prefetch artifact %s: %s", blob.Digest, fmt.Sprintf(format, args...))
		}
		p, err := fetchPrefetch(ctx, repo, blob)
		if errors.Is(err, ErrDifference) {
			differs("%s", plain(err))
			continue
		}
		if err != nil {
			return fmt.Errorf("fetching prefetch artifact %s: %w", blob.Digest, err)
		}
		spans, ok := report.spansOf(named)
		switch {
		case !ok:
			differs("the SOCI index has no zTOC of the layer")
			continue
		case spans == 0: // reported for the zTOC
			continue
		}
		if err := p.Check(spans); err != nil {
			differs("%v", err)
			continue
		}
		one := PrefetchReport{Artifact: blob, Layer: named, Ranges: len(p.Ranges)}
		for _, r := range p.Ranges {
			one.Spans += r.Last - r.First + 1
		}
		report.Prefetch = append(report.Prefetch, one)
	}
	return nil
}

// fetchPrefetch reads a prefetch artifact. Content that is wrong is
// ErrDifference.
func fetchPrefetch(ctx context.Context, repo Repository, desc ocispec.Descriptor) (*soci.Prefetch, error) {
	b, err := fetchBlob(ctx, repo, desc, soci.MaxPrefetchSize)
	if err != nil {
		return nil, err
	}
	p, err := soci.ParsePrefetch(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDifference, err)
	}
	return p, nil
}

// spansOf returns the number of spans of a layer, 0 if its zTOC could not be
// read, and whether the SOCI index has a zTOC of it. Of several zTOCs of one
// layer a client takes the last.
func (r *IndexReport) spansOf(layer digest.Digest) (spans int, ok bool) {
	for _, l := range r.Layers {
		if l.Layer.Digest == layer {
			spans, ok = l.spans, true
		}
	}
	return spans, ok
}
