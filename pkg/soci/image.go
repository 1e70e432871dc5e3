package soci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Source gives the content of the repository that holds the image.
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

// Tagger is a Destination with tags, which V2 needs.
type Tagger interface {
	Destination

	// Resolve gives the descriptor of the manifest that a tag names. When
	// there is no such tag, errors.As finds in its error a
	// NotFound() bool that is true.
	Resolve(ctx context.Context, tag string) (ocispec.Descriptor, error)

	// PushTag stores the manifest that desc names under a tag, in place of
	// any other. content is a *bytes.Reader. When the registry refuses to
	// move the tag, errors.As finds in its error a TagImmutable() bool that
	// is true.
	PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error
}

// IndexImage builds the SOCI index v1 of every image manifest that image
// leads to and pushes it as a referrer of that manifest. Source and
// Destination are used from several goroutines at once.
//
// Everything is built before anything is pushed, and zTOCs are pushed before
// the SOCI index that lists them: a layer that fails leaves nothing behind,
// and nobody sees a SOCI index whose zTOCs are not all there. An image without
// a layer to index is no error but an Outcome.
//
// The error is one of this package's classes (a *LayerError when a layer is
// at fault) or wraps that of the Source or the Destination.
func IndexImage(ctx context.Context, src Source, dst Destination, image ocispec.Descriptor, o Options) (*Result, error) {
	start := time.Now()
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	targets, err := walk(ctx, src, image, o)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Digest, err)
	}
	work := newLayerWork(src, targets, o)
	if err := work.run(ctx); err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Digest, err)
	}

	result := &Result{Image: image, BytesRead: work.bytesRead.Load()}
	var indexes []content
	for _, t := range targets {
		mr := ManifestResult{Manifest: t.desc, Outcome: OutcomePassedOver, Reason: t.reason}
		if t.manifest != nil {
			mr.Platform = platforms.Format(t.platform)
			mr.Outcome = OutcomeNoLayer
			var ztocs []ocispec.Descriptor
			for _, layer := range t.manifest.Layers {
				lr := work.result(layer)
				mr.Layers = append(mr.Layers, lr)
				if lr.Indexed() {
					ztocs = append(ztocs, lr.Ztoc)
				}
			}
			if len(ztocs) > 0 {
				b, err := marshalIndex(t.desc, ztocs, o.BuildToolIdentifier)
				if err != nil {
					return nil, fmt.Errorf("manifest %s: %w", t.desc.Digest, err)
				}
				mr.Outcome = OutcomeIndexed
				mr.Index = blobDescriptor(b)
				mr.Index.MediaType = ocispec.MediaTypeImageManifest
				mr.Index.ArtifactType = ArtifactTypeV1
				indexes = append(indexes, content{mr.Index, b})
			}
		}
		result.Manifests = append(result.Manifests, mr)
	}
	if len(indexes) > 0 && !o.DryRun {
		n, err := push(ctx, dst, work.ztocs(), indexes)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Digest, err)
		}
		result.BytesPushed = n
	}
	result.Seconds = time.Since(start).Seconds()
	return result, nil
}

// content is a blob or a manifest with its descriptor.
type content struct {
	desc ocispec.Descriptor
	b    []byte
}

// pushConcurrency is well below ECR's quotas for one function.
const pushConcurrency = 4

// push stores the zTOCs and the config, then the SOCI indexes, as far as they
// are not there yet. It returns the bytes it sent.
func push(ctx context.Context, dst Destination, ztocs, indexes []content) (int64, error) {
	var sent atomic.Int64
	one := func(ctx context.Context, what string, c content) error {
		exists, err := dst.Exists(ctx, c.desc)
		if err != nil {
			return fmt.Errorf("looking for %s %s: %w", what, c.desc.Digest, err)
		}
		if exists {
			return nil
		}
		if err := dst.Push(ctx, c.desc, bytes.NewReader(c.b)); err != nil {
			return fmt.Errorf("pushing %s %s: %w", what, c.desc.Digest, err)
		}
		sent.Add(c.desc.Size)
		return nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(pushConcurrency)
	config := content{indexConfigDescriptor(ArtifactTypeV1), []byte(indexConfig)}
	for _, c := range append(ztocs, config) {
		group.Go(func() error { return one(groupCtx, "blob", c) })
	}
	if err := group.Wait(); err != nil {
		return sent.Load(), err
	}
	for _, c := range indexes {
		if err := one(ctx, "SOCI index", c); err != nil {
			return sent.Load(), err
		}
	}
	return sent.Load(), nil
}

// distinct gives the first of each digest.
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
