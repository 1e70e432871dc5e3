package imagefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/imagefile/atomicfile"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Layout is an OCI layout that is written. It is a soci.Tagger and a
// soci.Replacer, and is read like every Store.
type Layout struct {
	*Store
	blobs *oci.Storage
}

// CreateLayout opens the OCI layout in a folder to add to it, and makes one where
// there is nothing or an empty folder. A folder with something else in it is
// ErrFormat.
func CreateLayout(dir string) (*Layout, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files, err := openFiles(dir)
	if err != nil {
		return nil, err
	}
	l := &Layout{Store: &Store{path: dir, files: files}}
	if err := l.begin(len(entries) == 0); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Layout) begin(empty bool) error {
	raw, err := readFile(l.files, indexFile, maxIndexSize)
	switch {
	case err == nil:
		if err := l.parseIndex(raw); err != nil {
			return fmt.Errorf("reading %s: %w", l.path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !empty:
		return fmt.Errorf("%w: the folder %s is not empty, and is no OCI layout", ErrFormat, l.path)
	}
	// No link leads what is written out of the folder.
	root, err := os.OpenRoot(l.path)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{"blobs/sha256", "blobs/sha384", "blobs/sha512", "ingest"} {
		if info, err := root.Lstat(dir); err == nil && !info.IsDir() {
			return fmt.Errorf("%w: %s in %s is not a folder", ErrFormat, dir, l.path)
		}
	}
	if err := root.MkdirAll("blobs/sha256", 0o755); err != nil {
		return err
	}
	if l.blobs, err = oci.NewStorage(l.path); err != nil || raw != nil {
		return err
	}
	if err := l.writeFile(layoutFile, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)); err != nil {
		return err
	}
	return l.save()
}

// writeFile replaces a file of the layout. Everybody may read it, as everything
// in a layout.
func (l *Layout) writeFile(name string, content []byte) error {
	return atomicfile.Write(filepath.Join(l.path, name), content, 0o644)
}

// save writes index.json. The caller holds the lock, or is alone.
func (l *Layout) save() error {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: l.index,
		Annotations: l.annotations,
	}
	if index.Manifests == nil {
		index.Manifests = []ocispec.Descriptor{}
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return l.writeFile(indexFile, raw)
}

// Exists reports whether content is there, with its size.
func (l *Layout) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	size, err := l.BlobSize(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return false, nil
	}
	return size == desc.Size, err
}

// Push writes content, unless it is there, and verifies its size and digest. A
// manifest with a subject is listed in index.json, where its referrers are found.
func (l *Layout) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	exists, err := l.Exists(ctx, desc)
	if err != nil {
		return err
	}
	if !exists {
		if err := l.write(ctx, desc, content); err != nil {
			return err
		}
	}
	if !images.IsManifestType(desc.MediaType) {
		return nil
	}
	raw, err := l.FetchManifest(ctx, desc)
	if err != nil {
		return err
	}
	info, err := soci.Classify(desc.MediaType, raw)
	if err != nil || info.Subject == nil {
		return err
	}
	listed := plainDescriptor(desc)
	listed.ArtifactType = info.ArtifactType
	return l.list(listed, "")
}

// damagedError is an ecrclient.ErrDigestMismatch of what was to be written.
type damagedError struct {
	desc ocispec.Descriptor
	err  error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s of %d bytes is damaged where it is read from: its content does not match", e.desc.Digest,
		e.desc.Size)
}
func (e *damagedError) Unwrap() error        { return e.err }
func (e *damagedError) Is(target error) bool { return target == ecrclient.ErrDigestMismatch }

// write replaces what is there with another size.
func (l *Layout) write(ctx context.Context, desc ocispec.Descriptor, from io.Reader) error {
	if err := desc.Digest.Validate(); err != nil || desc.Size < 0 {
		return fmt.Errorf("%w: content with the digest %.100q and %d bytes", ErrFormat, desc.Digest, desc.Size)
	}
	blob := filepath.Join(l.path, "blobs", desc.Digest.Algorithm().String(), desc.Digest.Encoded())
	if err := os.Remove(blob); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := l.blobs.Push(ctx, desc, from)
	switch {
	case err == nil, errors.Is(err, errdef.ErrAlreadyExists):
		return nil
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData),
		errors.Is(err, content.ErrInvalidDescriptorSize), errors.Is(err, io.ErrUnexpectedEOF):
		return &damagedError{desc, err}
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok && filepath.Dir(path.Path) == filepath.Join(l.path, ingest) {
		err = path.Err // the file is a temporary one, whose name means nothing to people
	}
	return fmt.Errorf("writing %s to %s: %w", desc.Digest, l.path, err)
}

// Replace is Push, and writes content that is there already.
func (l *Layout) Replace(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	if err := l.write(ctx, desc, content); err != nil {
		return err
	}
	return l.Push(ctx, desc, content) // which lists it; there is nothing left to write
}

// PushTag is Push, and has a tag name the manifest.
func (l *Layout) PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error {
	if err := l.Push(ctx, desc, content); err != nil {
		return err
	}
	return l.list(plainDescriptor(desc), tag)
}

// list enters a manifest into index.json, with a tag or without one, and takes
// the tag from others. An entry that is there stays as it is.
func (l *Layout) list(desc ocispec.Descriptor, tag string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.index, func(d ocispec.Descriptor) bool {
		return d.Digest == desc.Digest && (tag == "" || tagOf(d) == tag)
	}) {
		return nil
	}
	l.index = slices.DeleteFunc(l.index, func(d ocispec.Descriptor) bool { return tag != "" && tagOf(d) == tag })
	if tag != "" {
		desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	}
	l.index = append(l.index, desc)
	return l.save()
}

// ingest is the folder of the layout in which content is until it is complete.
const ingest = "ingest"

// Finish removes the folder in which unfinished content was, also what a run
// left there that was interrupted.
func (l *Layout) Finish() error {
	root, err := os.OpenRoot(l.path) // no link leads out of it
	if err != nil {
		return err
	}
	return errors.Join(root.RemoveAll(ingest), root.Close())
}

// From is where Copy reads an image.
type From interface {
	FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}

const (
	maxCopied = 1000 // manifests
	maxDepth  = 8    // image indexes in image indexes
)

// Copying is told how far a Copy is.
type Copying interface {
	// Begin gets the layers that are to be written.
	Begin(layers []ocispec.Descriptor)

	// Layer gets how many bytes of a layer have been read.
	Layer(layer ocispec.Descriptor, n int64)
}

// Copy writes an image with everything that it leads to, under a tag if that is
// not empty. A manifest that an image index lists but that is not there is left
// out. Nothing leads to what was written before all of it is there. copying may be nil.
func (l *Layout) Copy(ctx context.Context, from From, image ocispec.Descriptor, tag string, copying Copying) error {
	c := copier{to: l, from: from, copying: copying, done: map[digest.Digest]bool{}, listed: map[digest.Digest]bool{}}
	if err := c.all(ctx, image); err != nil {
		return fmt.Errorf("copying %s to %s: %w", image.Digest, l.path, err)
	}
	return l.list(plainDescriptor(image), tag)
}

type copier struct {
	to      *Layout
	from    From
	copying Copying

	done    map[digest.Digest]bool // manifests
	configs []ocispec.Descriptor
	layers  []ocispec.Descriptor   // those that are not there, each once
	listed  map[digest.Digest]bool // of layers
}

// all copies the manifests first, which tell what else there is.
func (c *copier) all(ctx context.Context, image ocispec.Descriptor) error {
	if err := c.manifest(ctx, image, 0); err != nil {
		return err
	}
	for _, config := range c.configs {
		open := func() (io.ReadCloser, error) { return c.from.Fetch(ctx, config) }
		if err := c.to.blobFrom(ctx, config, open); err != nil {
			return err
		}
	}
	if c.copying != nil {
		c.copying.Begin(c.layers)
	}
	for _, layer := range c.layers {
		if err := c.to.blobFrom(ctx, layer, func() (io.ReadCloser, error) { return c.open(ctx, layer) }); err != nil {
			return err
		}
	}
	return nil
}

// open opens a layer, and tells what is read of it.
func (c *copier) open(ctx context.Context, layer ocispec.Descriptor) (io.ReadCloser, error) {
	content, err := c.from.Fetch(ctx, layer)
	if err != nil || c.copying == nil {
		return content, err
	}
	return &layerReader{ReadCloser: content, layer: layer, copying: c.copying}, nil
}

type layerReader struct {
	io.ReadCloser
	layer   ocispec.Descriptor
	copying Copying
	n       int64
}

func (r *layerReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.n += int64(n)
	r.copying.Layer(r.layer, r.n)
	return n, err
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
		return fmt.Errorf("%w: manifest %s is of Docker schema 1, which no OCI layout can hold", ErrFormat, desc.Digest)
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
	if m.Config.Digest != "" {
		c.configs = append(c.configs, m.Config)
	}
	for _, layer := range m.Layers {
		if err := checkDigest(layer); err != nil {
			return err
		}
		exists, err := c.to.Exists(ctx, layer)
		if err != nil {
			return err
		}
		if !exists && !c.listed[layer.Digest] {
			c.listed[layer.Digest] = true
			c.layers = append(c.layers, layer)
		}
	}
	return c.to.blobFrom(ctx, desc, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
}

// checkDigest is for what a manifest names.
func checkDigest(desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("%w: digest %.100q: %w", ErrFormat, desc.Digest, err)
	}
	return nil
}

// blobFrom writes content unless it is there.
func (l *Layout) blobFrom(ctx context.Context, desc ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	if err := checkDigest(desc); err != nil {
		return err
	}
	exists, err := l.Exists(ctx, desc)
	if err != nil || exists {
		return err
	}
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	return l.write(ctx, desc, content)
}
