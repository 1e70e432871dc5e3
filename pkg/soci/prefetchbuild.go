package soci

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PrefetchResult is what clients may fetch of an image manifest before a
// container starts.
type PrefetchResult struct {
	Files     int                // found, each once
	Artifacts []PrefetchArtifact // in the order of the layers, one for each
}

// Spans counts the spans of all layers.
func (p *PrefetchResult) Spans() (n int) {
	for _, a := range p.Artifacts {
		n += a.Spans
	}
	return n
}

// PrefetchArtifact is the prefetch artifact of a layer.
type PrefetchArtifact struct {
	Layer  digest.Digest
	Blob   ocispec.Descriptor // as the SOCI index lists it
	Ranges int                // runs of spans
	Spans  int
}

// maxPrefetchWarnings is how many warnings there are for one image manifest.
const maxPrefetchWarnings = 100

// prefetch makes the prefetch artifacts of an image manifest, whose zTOCs are
// there. It returns nil when nothing was asked for, or found; the error is that of
// ctx.
func (w *layerWork) prefetch(ctx context.Context, t *target) (*PrefetchResult, []content, []string, error) {
	f := newPrefetchFinder()
	f.stop = ctx.Err
	if t.badLabel != nil {
		f.warn("the label %s is not heeded: %v", LabelPrefetch, t.badLabel)
	}
	switch {
	case len(t.prefetch) == 0:
		return nil, nil, f.warnings, nil
	case w.tables.full():
		f.warn("nothing is prefetched: %s", w.tables.lack())
		return nil, nil, f.warnings, nil
	}
	for _, l := range t.manifest.Layers {
		if table := w.tables.of[l.Digest]; table != nil && w.result(l).Indexed() {
			f.layers = append(f.layers, prefetchLayer{l.Digest, table})
		}
	}
	if len(f.layers) == 0 {
		f.warn("nothing is prefetched: no layer has a zTOC that could be read")
		return nil, nil, f.warnings, nil
	}
	f.most = min(f.most, maxImagePrefetchSteps-w.searched)
	for _, p := range t.prefetch {
		f.find(p)
	}
	w.searched += f.steps
	if f.err != nil {
		return nil, nil, nil, f.err
	}
	if n := len(f.warnings) - maxPrefetchWarnings; n > 0 {
		// The last one says where a bound was reached, if any was.
		last := f.warnings[len(f.warnings)-1]
		f.warnings = f.warnings[:maxPrefetchWarnings-1]
		f.warn("%d more of what was asked for are not prefetched", n)
		f.warnings = append(f.warnings, last)
	}
	r := &PrefetchResult{Files: len(f.files)}
	var blobs []content
	for _, l := range f.layers { // a layer that is there twice is listed twice, as its zTOC is
		spans := f.spans[l.digest]
		if len(spans) == 0 {
			continue
		}
		c, ranges, err := marshalPrefetch(spans)
		if err != nil {
			f.warn("layer %s: %v", l.digest, err)
			continue
		}
		c.desc.Annotations = map[string]string{AnnotationLayerDigest: l.digest.String()}
		blobs = append(blobs, c)
		r.Artifacts = append(r.Artifacts,
			PrefetchArtifact{Layer: l.digest, Blob: c.desc, Ranges: ranges, Spans: len(spans)})
	}
	return r, blobs, f.warnings, nil
}

// marshalPrefetch writes a prefetch artifact of spans, in runs as long as can
// be. The bytes are those of the json package for this struct, as upstream's.
func marshalPrefetch(spans map[int32]bool) (content, int, error) {
	p := Prefetch{Version: prefetchVersion}
	for _, s := range slices.Sorted(maps.Keys(spans)) {
		if n := len(p.Ranges); n > 0 && p.Ranges[n-1].Last+1 == int64(s) {
			p.Ranges[n-1].Last++
			continue
		}
		p.Ranges = append(p.Ranges, PrefetchRange{First: int64(s), Last: int64(s)})
	}
	b, err := json.Marshal(p)
	if err != nil {
		return content{}, 0, fmt.Errorf("prefetch artifact: %w", err)
	}
	c := content{blobDescriptor(b), b}
	c.desc.MediaType = PrefetchMediaType
	return c, len(p.Ranges), nil
}

// readBackPauses bounds the pauses, the first of 0.1 s and each of the others three
// times as long, in which an image's zTOCs are waited for: a registry may tell of a manifest that
// somebody else pushes at the same time a moment before it serves what that names.
const readBackPauses = 2 * time.Second

// readTaken reads the zTOCs that BuildLayer made, as far as files are to be
// found in them. ECR serves a blob only once a manifest names it, so a SOCI
// index v2 that no image names is pushed first: clients do not see it. What
// cannot be read costs the prefetch artifacts of its files, with a warning.
func (x *indexer) readTaken(ctx context.Context, tree *tree, w *layerWork, result *Result) error {
	if w.tables == nil {
		return nil
	}
	var missing []ocispec.Descriptor
	seen := make(map[digest.Digest]bool)
	for _, t := range tree.images() {
		if len(t.prefetch) == 0 || w.failure(t.manifest) != nil {
			continue
		}
		var ztocs []ocispec.Descriptor
		needed := false
		for _, l := range t.manifest.Layers {
			lr := w.result(l)
			if !lr.Indexed() {
				continue
			}
			ztocs = append(ztocs, lr.Ztoc)
			if w.tables.of[l.Digest] == nil && w.built[l.Digest].taken {
				needed = true
				if !seen[l.Digest] {
					seen[l.Digest] = true
					missing = append(missing, l)
				}
			}
		}
		if !needed || w.tables.full() || w.publisher == nil {
			continue
		}
		b, err := marshalIndex(ArtifactTypeV2, nil, ztocs, x.o.BuildToolIdentifier, w.unindexable(t.manifest.Layers))
		if err != nil {
			return fmt.Errorf("manifest %s: %w", t.desc.Digest, err)
		}
		if err := x.pushConfig(ctx, w.publisher); err != nil {
			return err
		}
		if _, err := w.publisher.put(ctx, "SOCI index",
			content{sociIndexDescriptor(b, ArtifactTypeV2), b}); err != nil {
			return err
		}
	}
	slices.SortFunc(missing, func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	pause := 100 * time.Millisecond
	for _, l := range missing {
		if w.tables.full() {
			break
		}
		err := w.readZtoc(ctx, l)
		for ; notThere(err) && pause < readBackPauses; pause *= 3 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			err = w.readZtoc(ctx, l)
		}
		switch {
		case err == nil:
		case damaged(err), notThere(err), unusable(err):
			result.Warnings = append(result.Warnings,
				fmt.Sprintf("nothing of layer %s is prefetched: its zTOC cannot be read back: %v", l.Digest, err))
		default:
			return fmt.Errorf("reading zTOC of layer %s back: %w", l.Digest, err)
		}
	}
	return nil
}

// readZtoc reads the zTOC of a layer that BuildLayer made. It takes no more memory
// than BuildLayer did: the windows, most of a large zTOC, stay where they are read.
func (w *layerWork) readZtoc(ctx context.Context, layer ocispec.Descriptor) error {
	if w.publisher == nil {
		return fmt.Errorf("%w: it was not pushed", ErrUnsupported)
	}
	made := w.built[layer.Digest].result
	memory := w.memory.enter(0, func() {})
	defer memory.leave()
	if err := memory.take(made.Ztoc.Size); err != nil {
		return err
	}
	b, err := fetchExactly(ctx, w.src, made.Ztoc)
	if err != nil {
		return err
	}
	z, err := parseZtoc(b, memory.take)
	if err != nil {
		return err
	}
	if len(z.Checkpoints) != made.Spans {
		return fmt.Errorf("%w zTOC: it has %d spans, not %d", ErrCorrupt, len(z.Checkpoints), made.Spans)
	}
	if err := z.madeFor(layer.Size, &w.o); err != nil {
		return err
	}
	w.tables.add(layer.Digest, z)
	return nil
}

// withPrefetch appends prefetch artifacts to the zTOCs of a SOCI index.
func withPrefetch(ztocs []ocispec.Descriptor, prefetch []content) []ocispec.Descriptor {
	for _, c := range prefetch {
		ztocs = append(ztocs, c.desc)
	}
	return ztocs
}
