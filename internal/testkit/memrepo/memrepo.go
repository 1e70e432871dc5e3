// Package memrepo is a repository in memory for tests of the engine: a
// soci.Source, soci.Destination and soci.Tagger that checks what is pushed.
// Start with [New].
package memrepo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Repository holds blobs and manifests alike. Its methods are safe for
// concurrent use, its fields only between calls.
type Repository struct {
	mu sync.Mutex

	Blobs  map[digest.Digest][]byte
	Pushed map[digest.Digest]ocispec.Descriptor // those of Blobs that Push stored
	Tags   map[string]ocispec.Descriptor
}

// New returns an empty repository.
func New() *Repository {
	return &Repository{
		Blobs:  map[digest.Digest][]byte{},
		Pushed: map[digest.Digest]ocispec.Descriptor{},
		Tags:   map[string]ocispec.Descriptor{},
	}
}

// Fetch opens a blob or manifest.
func (r *Repository) Fetch(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.Blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("no content %s", desc.Digest)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Exists reports whether the content was pushed. Content that a test put into
// Blobs does not count, so that its push is seen.
func (r *Repository) Exists(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.Pushed[desc.Digest]
	return ok, nil
}

// Push stores content, once, that matches its descriptor.
func (r *Repository) Push(_ context.Context, desc ocispec.Descriptor, content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.Pushed[desc.Digest]; ok {
		return fmt.Errorf("%s was pushed twice", desc.Digest)
	}
	if desc.Digest != digest.FromBytes(b) || desc.Size != int64(len(b)) {
		return fmt.Errorf("%s names other content", desc.Digest)
	}
	r.Pushed[desc.Digest], r.Blobs[desc.Digest] = desc, b
	return nil
}

// Resolve returns what a tag names. Its error has a NotFound method.
func (r *Repository) Resolve(_ context.Context, tag string) (ocispec.Descriptor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if desc, ok := r.Tags[tag]; ok {
		return desc, nil
	}
	return ocispec.Descriptor{}, noTag(tag)
}

// PushTag is Push, and moves a tag to the manifest.
func (r *Repository) PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error {
	if err := r.Push(ctx, desc, content); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Tags[tag] = desc
	return nil
}

type noTag string

func (t noTag) Error() string { return "no tag " + string(t) }

// NotFound is what the engine looks for.
func (noTag) NotFound() bool { return true }
