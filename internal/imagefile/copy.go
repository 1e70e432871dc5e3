package imagefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
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

const (
	maxCopied = 1000 // manifests
	maxDepth  = 8    // image indexes in image indexes
)

// Copy writes an image with everything that it leads to, what a manifest names
// before the manifest, and leaves alone what is there. A manifest that an image
// index lists but that is not there is left out.
func Copy(ctx context.Context, from From, to To, image ocispec.Descriptor) error {
	c := copier{to, from, map[digest.Digest]bool{}}
	return c.manifest(ctx, image, 0)
}

type copier struct {
	to   To
	from From
	done map[digest.Digest]bool
}

func (c *copier) manifest(ctx context.Context, desc ocispec.Descriptor, depth int) error {
	if c.done[desc.Digest] {
		return nil
	}
	if len(c.done) == maxCopied || depth > maxDepth {
		return fmt.Errorf("%w: more than %d manifests or %d levels of them", ErrFormat, maxCopied, maxDepth)
	}
	c.done[desc.Digest] = true
	raw, err := c.from.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) && depth > 0 {
		return nil
	}
	if err != nil {
		return err
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
		if err := c.manifest(ctx, child, depth+1); err != nil {
			return err
		}
	}
	blobs := m.Layers
	if m.Config.Digest != "" {
		blobs = append([]ocispec.Descriptor{m.Config}, blobs...)
	}
	for _, blob := range blobs {
		if err := c.blob(ctx, blob); err != nil {
			return err
		}
	}
	return c.put(ctx, desc, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
}

func (c *copier) blob(ctx context.Context, desc ocispec.Descriptor) error {
	return c.put(ctx, desc, func() (io.ReadCloser, error) { return c.from.Fetch(ctx, desc) })
}

// put writes content unless it is there.
func (c *copier) put(ctx context.Context, desc ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("%w: digest %.100q: %w", ErrFormat, desc.Digest, err)
	}
	exists, err := c.to.Exists(ctx, desc)
	if err != nil || exists {
		return err
	}
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	return c.to.Push(ctx, desc, content)
}
