// Package estimate works out how much of an image a container start fetches if it
// reads certain files: span by span through a SOCI index, compared with the whole
// image. It reads zTOCs, and layers only if there is no SOCI index. Begin with
// Run.
package estimate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/soci"
)

// Options of Run. There must be a file or a pattern.
type Options struct {
	Files    []string // paths, in which no character is special
	Patterns []string // as of soci.Options.Prefetch

	// Platforms are those looked at, as "os/arch[/variant]". The default is all of
	// the image.
	Platforms []string

	// Version is the SOCI index that must be there, V1 or V2. The default is V2, or
	// else V1, or else zTOCs that are built and not kept.
	Version soci.IndexVersion

	// MinLayerSize is that of soci.Options, if zTOCs are built.
	MinLayerSize int64

	// Network is how fast the client fetches. The default is DefaultNetwork.
	Network Network

	// Building, if set, is called before layers of an image manifest are read because
	// it has no SOCI index, with these layers, and Progress while they are, as
	// soci.Options.Progress.
	Building func(platform string, layers []ocispec.Descriptor)
	Progress func(layer ocispec.Descriptor, n int64)
}

// ErrNoFile: the image has none of the files, as far as its zTOCs tell.
var ErrNoFile = errors.New("no file found")

// ErrNoPlatform: the image does not have a platform of Options.Platforms.
var ErrNoPlatform = errors.New("the image has no platform")

// ErrNoImage: there is no image manifest with layers.
var ErrNoImage = errors.New("not an image with layers")

// Run estimates a start of each image manifest of an image. The error is
// ErrNoFile if no image manifest that has a zTOC has any of the files, ErrNoPlatform,
// ErrNoImage, verify.ErrNoIndex if there is no SOCI index of the version that must be there,
// verify.ErrDifference for a zTOC that is not that of its layer, or one of the
// repository or of the engine.
func Run(ctx context.Context, repo verify.Repository, image *inspect.Versions, o Options) ([]*Image, error) {
	if o.Network.Bandwidth == 0 {
		o.Network = DefaultNetwork
	}
	nodes, err := choose(image, o.Platforms)
	if err != nil {
		return nil, err
	}
	all := make([]*Image, len(nodes))
	searched, found := 0, 0
	for k, node := range nodes {
		e := &estimator{repo: repo, o: o, node: node, ztocs: make(map[digest.Digest]*ztoc),
			skipped: make(map[digest.Digest]soci.SkipReason),
			out:     &Image{Platform: node.Platform, Manifest: node.Digest}}
		if err := e.run(ctx, image); err != nil {
			return nil, fmt.Errorf("%s: %w", node.Platform, err)
		}
		all[k] = e.out
		if len(e.ztocs) > 0 {
			searched++
			found += e.out.Files.Found
		}
	}
	if searched > 0 && found == 0 {
		return nil, noFile(all)
	}
	return all, nil
}

func noFile(all []*Image) error {
	files := all[0].Files
	why := fmt.Sprintf("all %d are directories", files.Directories)
	if len(files.Missing) > 0 {
		first := files.Missing[0]
		why = fmt.Sprintf("the first, %.200q: %s", first.Path, first.Detail)
	}
	if files.Asked == 1 && len(files.Missing) == 1 {
		return fmt.Errorf("%w: %.200q: %s", ErrNoFile, files.Missing[0].Path, files.Missing[0].Detail)
	}
	return fmt.Errorf("%w: the image has none of the %d that were asked for in a layer that has a zTOC; %s", ErrNoFile,
		files.Asked, why)
}

// choose returns the image manifests of the platforms asked for.
func choose(image *inspect.Versions, wanted []string) ([]*inspect.Node, error) {
	var all, chosen []*inspect.Node
	var have []string
	for _, node := range image.Images() {
		if !node.Missing && len(node.Layers) > 0 {
			all = append(all, node)
			have = append(have, node.Platform)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s is %s", ErrNoImage, image.Digest, image.Kind)
	}
	if len(wanted) == 0 {
		return all, nil
	}
	for _, w := range wanted {
		parsed, err := platforms.Parse(w)
		if err != nil {
			return nil, fmt.Errorf("%w: %.100q: %w", ErrNoPlatform, w, err)
		}
		matcher := platforms.OnlyStrict(parsed)
		n := len(chosen)
		for _, node := range all {
			if p, err := platforms.Parse(node.Platform); err == nil && matcher.Match(p) &&
				!slices.Contains(chosen, node) {
				chosen = append(chosen, node)
			}
		}
		if n == len(chosen) && !slices.ContainsFunc(chosen, func(node *inspect.Node) bool {
			p, err := platforms.Parse(node.Platform)
			return err == nil && matcher.Match(p)
		}) {
			return nil, fmt.Errorf("%w %.100q; it has %s", ErrNoPlatform, w, strings.Join(have, ", "))
		}
	}
	return chosen, nil
}

// ztoc is what is kept of one.
type ztoc struct {
	desc  Content
	spans []extent
}

// extent of a span in its layer, compressed.
type extent struct{ offset, size int64 }

type estimator struct {
	repo verify.Repository
	o    Options
	node *inspect.Node
	out  *Image

	search *soci.FileSearch
	mu     sync.Mutex
	ztocs  map[digest.Digest]*ztoc // by layer

	skipped map[digest.Digest]soci.SkipReason // of layers without a zTOC, if they were built
}

func (e *estimator) run(ctx context.Context, image *inspect.Versions) error {
	layers := make([]digest.Digest, len(e.node.Layers))
	for i, l := range e.node.Layers {
		layers[i] = l.Digest
	}
	e.search = soci.NewFileSearch(layers)
	index, tag, err := e.index(image)
	if err == nil && index != nil {
		err = e.read(ctx, index, tag)
	} else if err == nil {
		err = e.build(ctx)
	}
	if err != nil {
		return err
	}
	if err := e.find(ctx); err != nil {
		return err
	}
	e.layers()
	e.out.starts(e.o.Network)
	e.label()
	return nil
}

// index returns the SOCI index that is used, and the suffixed tag that led to it;
// nil if zTOCs are to be built.
func (e *estimator) index(image *inspect.Versions) (*inspect.SociIndex, string, error) {
	usable := func(n *inspect.Node, version Source) *inspect.SociIndex {
		for _, index := range n.SociIndexes {
			if index.Version == string(version) && index.Manifest != nil {
				return index
			}
		}
		return nil
	}
	if e.o.Version != soci.V1 {
		if index := usable(e.node, SourceV2); index != nil {
			return index, "", nil
		}
		if s := image.Suffixed; s != nil && s.Image != nil && s.State != soci.EnabledStale {
			for _, n := range s.Image.Images() {
				if index := usable(n, SourceV2); index != nil && verify.SameImage(n, e.node) {
					return index, s.Tag, nil
				}
			}
		}
	}
	if e.o.Version != soci.V2 {
		if index := usable(e.node, SourceV1); index != nil {
			return index, "", nil
		}
	}
	switch {
	case e.o.Version == soci.V2 && image.Suffixed != nil:
		return nil, "", fmt.Errorf("%w v2: %s", verify.ErrNoIndex, image.Suffixed.Text())
	case e.o.Version == soci.V2:
		return nil, "", fmt.Errorf("%w v2: the image names none in an annotation", verify.ErrNoIndex)
	case e.o.Version == soci.V1:
		return nil, "", fmt.Errorf("%w v1: the image %s has none as a referrer", verify.ErrNoIndex, e.node.Digest)
	}
	return nil, "", nil
}

// read takes the zTOCs of a SOCI index. Of several of one layer a client takes
// the last.
func (e *estimator) read(ctx context.Context, index *inspect.SociIndex, tag string) error {
	e.out.Source, e.out.Tag = Source(index.Version), tag
	e.out.Index = Content{index.Digest, index.Size}
	blobs := make(map[digest.Digest]*inspect.Blob)
	for _, b := range index.Ztocs {
		blobs[b.Layer] = b
	}
	for _, l := range e.node.Layers {
		b := blobs[l.Digest]
		if b == nil || e.ztocs[l.Digest] != nil {
			continue
		}
		layer := ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
		desc := ocispec.Descriptor{Digest: b.Digest, Size: b.Size}
		z, err := verify.FetchZtoc(ctx, e.repo, desc)
		if err == nil {
			_, err = verify.NewLazyLayer(e.repo, layer, z)
		}
		if err == nil {
			err = e.add(layer, z, Content{b.Digest, b.Size})
		}
		if err != nil {
			return fmt.Errorf("zTOC %s of layer %s, in SOCI index %s: %w", b.Digest, l.Digest, index.Digest, err)
		}
	}
	return nil
}

// build makes the zTOCs, of which only what is needed is kept.
func (e *estimator) build(ctx context.Context) error {
	e.out.Source = SourceBuilt
	work, err := soci.Plan(ctx, e.repo, nil, e.node.Descriptor(), soci.Options{
		DryRun: true, IndexVersion: soci.V1, MinLayerSize: e.o.MinLayerSize, Progress: e.o.Progress,
		Built: func(layer ocispec.Descriptor, z *soci.Ztoc) error { return e.add(layer, z, Content{}) },
	})
	if err != nil {
		return err
	}
	if layers := work.Layers(); e.o.Building != nil && len(layers) > 0 {
		e.o.Building(e.node.Platform, layers)
	}
	result, err := work.Index(ctx)
	if err != nil {
		return err
	}
	e.out.LeftAlone = result.Reason
	for _, m := range result.Manifests {
		e.out.Index.Size = m.Index.Size
		for _, l := range m.Layers {
			e.skipped[l.Layer.Digest] = l.Reason
			if z := e.ztocs[l.Layer.Digest]; z != nil {
				z.desc = Content{l.Ztoc.Digest, l.Ztoc.Size}
			}
		}
	}
	return nil
}

func (e *estimator) add(layer ocispec.Descriptor, z *soci.Ztoc, desc Content) error {
	kept := &ztoc{desc, make([]extent, len(z.Checkpoints))}
	for i, s := range z.Spans() {
		kept.spans[i] = extent{s.Start, s.End - s.Start}
	}
	if err := e.search.Add(layer.Digest, z); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ztocs[layer.Digest] = kept
	return nil
}

// find looks for everything that was asked for.
func (e *estimator) find(ctx context.Context) error {
	for _, p := range e.o.Files {
		if err := e.one(ctx, p, e.search.File); err != nil {
			return err
		}
	}
	for _, p := range e.o.Patterns {
		if err := e.one(ctx, p, e.search.Match); err != nil {
			return err
		}
	}
	return nil
}

func (e *estimator) one(ctx context.Context, p string, find func(string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	files := &e.out.Files
	files.Asked++
	if path.Clean(p) == "/" { // which find prints
		files.Directories++
		return nil
	}
	err := find(p)
	missing, ok := errors.AsType[*soci.FileNotFoundError](err)
	switch {
	case err == nil:
		files.Found++
		e.out.PrefetchFiles = append(e.out.PrefetchFiles, p)
	case !ok:
		return err
	case missing.Reason == soci.FileDirectory:
		files.Directories++
	default:
		files.NotFound++
		if first, _, _ := strings.Cut(path.Clean("/" + p)[1:], "/"); first == "proc" || first == "sys" ||
			first == "dev" {
			files.Kernel++
		}
		if len(files.Missing) < maxMissing {
			files.Missing = append(files.Missing, Missing{p, missing.Reason, missing.Detail})
		}
	}
	return nil
}

// layers works out what is fetched of each layer.
func (e *estimator) layers() {
	found := e.search.Spans()
	seen := make(map[digest.Digest]bool)
	for _, l := range e.node.Layers {
		out := Layer{Layer: l.Digest, Size: l.Size, Skipped: e.skipped[l.Digest], repeated: seen[l.Digest]}
		if z := e.ztocs[l.Digest]; z != nil {
			spans := found[l.Digest]
			out.Ztoc, out.SpanCount, out.Files = &z.desc, len(z.spans), spans.Files
			out.ReadSpans, out.PrefetchSpans = len(spans.Read), len(spans.Prefetch)
			numbers := slices.Concat(spans.Read, spans.Prefetch)
			slices.Sort(numbers)
			for _, n := range slices.Compact(numbers) {
				s := Span{Span: n, Offset: z.spans[n].offset, Size: z.spans[n].size}
				_, s.Read = slices.BinarySearch(spans.Read, n)
				_, s.Prefetch = slices.BinarySearch(spans.Prefetch, n)
				if s.Read {
					out.ReadBytes += s.Size
				}
				out.Spans = append(out.Spans, s)
			}
			if !out.repeated {
				e.out.Files.Different += out.Files
			}
		}
		seen[l.Digest] = true
		e.out.Layers = append(e.out.Layers, out)
	}
}
