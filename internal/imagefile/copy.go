package imagefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// From is where Copy reads an image.
type From interface {
	FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}

// To is where Copy writes an image.
type To interface {
	Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error)
	Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
}

// Copying is told how far a Copy is.
type Copying interface {
	// Begin gets the layers that are to be written.
	Begin(layers []ocispec.Descriptor)

	// Layer gets how many bytes of a layer have been read.
	Layer(layer ocispec.Descriptor, n int64)
}

const (
	maxCopied = 1000                           // manifests
	maxHeld   = 16 * ecrclient.MaxManifestSize // bytes of manifests
	maxDepth  = 8                              // image indexes in image indexes
)

// Copy writes an image with everything that it leads to, what a manifest names
// before the manifest, and leaves alone what is there. A manifest that an image
// index lists but that is not there is left out. copying may be nil.
func Copy(ctx context.Context, from From, to To, image ocispec.Descriptor, copying Copying) error {
	c := copier{to: to, from: from, copying: copying, done: map[digest.Digest]bool{}}
	if err := c.find(ctx, image, 0); err != nil {
		return err
	}
	return c.write(ctx)
}

type copier struct {
	to      To
	from    From
	copying Copying

	done      map[digest.Digest]bool // manifests and blobs that were asked for
	asked     int                    // manifests
	manifests []copied               // what they list before them
	held      int64                  // bytes of manifests
	configs   []ocispec.Descriptor
	layers    []ocispec.Descriptor // that are not there
}

type copied struct {
	desc ocispec.Descriptor
	raw  []byte
}

// find reads the manifests, which tell what there is to be copied.
func (c *copier) find(ctx context.Context, desc ocispec.Descriptor, depth int) error {
	if c.done[desc.Digest] {
		return nil
	}
	if c.asked == maxCopied || depth > maxDepth {
		return fmt.Errorf("%w: more than %d manifests or %d levels of them", ErrFormat, maxCopied, maxDepth)
	}
	c.asked++
	c.done[desc.Digest] = true
	raw, err := c.from.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) && depth > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if c.held += int64(len(raw)); c.held > maxHeld {
		return fmt.Errorf("%w: its manifests together have more than %s", ErrFormat, bytesize.Format(maxHeld))
	}
	if soci.IsSchema1(desc.MediaType) {
		return fmt.Errorf("%w: manifest %s is of Docker schema 1, which cannot be copied: push the image again with "+
			"a current builder", ErrFormat, desc.Digest)
	}
	var m struct {
		ocispec.Manifest
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := documents.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%w: manifest %s: %w", ErrFormat, desc.Digest, err)
	}
	for _, child := range m.Manifests {
		if err := c.find(ctx, child, depth+1); err != nil {
			return err
		}
	}
	if err := c.lacks(ctx, m.Layers, &c.layers); err != nil {
		return err
	}
	if m.Config.Digest != "" {
		if err := c.lacks(ctx, []ocispec.Descriptor{m.Config}, &c.configs); err != nil {
			return err
		}
	}
	c.manifests = append(c.manifests, copied{desc, raw})
	return nil
}

// lacks adds to a list what is not there of some blobs, each once.
func (c *copier) lacks(ctx context.Context, blobs []ocispec.Descriptor, list *[]ocispec.Descriptor) error {
	for _, blob := range blobs {
		if c.done[blob.Digest] {
			continue
		}
		c.done[blob.Digest] = true
		exists, err := c.exists(ctx, blob)
		if err != nil {
			return err
		}
		if !exists {
			*list = append(*list, blob)
		}
	}
	return nil
}

func (c *copier) exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if err := desc.Digest.Validate(); err != nil {
		return false, fmt.Errorf("%w: digest %.100q: %w", ErrFormat, desc.Digest, err)
	}
	return c.to.Exists(ctx, desc)
}

// write copies what find found, the blobs first.
func (c *copier) write(ctx context.Context) error {
	if c.copying != nil {
		c.copying.Begin(c.layers)
	}
	for _, layer := range c.layers {
		if err := c.blob(ctx, layer, c.copying); err != nil {
			return err
		}
	}
	for _, config := range c.configs {
		if err := c.blob(ctx, config, nil); err != nil {
			return err
		}
	}
	for _, m := range c.manifests {
		exists, err := c.exists(ctx, m.desc)
		if err != nil {
			return err
		}
		if exists {
			continue
		}
		if err := c.to.Push(ctx, m.desc, bytes.NewReader(m.raw)); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) blob(ctx context.Context, desc ocispec.Descriptor, copying Copying) error {
	content, err := c.from.Fetch(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) && images.IsNonDistributable(desc.MediaType) {
		return nil // it is elsewhere, by its descriptor's URLs
	}
	if err != nil {
		return err
	}
	defer content.Close()
	if copying == nil {
		return c.to.Push(ctx, desc, content)
	}
	return c.to.Push(ctx, desc, &layerReader{Reader: content, layer: desc, copying: copying})
}

// layerReader tells how much of a layer has been read.
type layerReader struct {
	io.Reader
	layer   ocispec.Descriptor
	copying Copying
	n       int64
}

func (r *layerReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n += int64(n)
	r.copying.Layer(r.layer, r.n)
	return n, err
}
