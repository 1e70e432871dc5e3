package imagefile

import (
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

	"soci-index-builder/internal/imagefile/atomicfile"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Layout is an OCI layout that is written. It is a soci.Tagger, a soci.Replacer and
// a soci.Lister, and is read like every Store.
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

// Listed reports whether index.json lists a manifest that is there, if it has a
// subject. A run that was interrupted may have written it and not listed it.
func (l *Layout) Listed(_ context.Context, desc ocispec.Descriptor, manifest []byte) (bool, error) {
	info, err := soci.Classify(desc.MediaType, manifest)
	if err != nil || info.Subject == nil {
		return err == nil, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.lists(desc.Digest, ""), nil
}

// lists reports whether index.json has a manifest, with a tag if one is named.
// The caller holds the lock.
func (l *Layout) lists(d digest.Digest, tag string) bool {
	return slices.ContainsFunc(l.index, func(listed ocispec.Descriptor) bool {
		return listed.Digest == d && (tag == "" || tagOf(listed) == tag)
	})
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
	if l.lists(desc.Digest, tag) {
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

// Copy writes an image with everything that it leads to, under a tag if that is
// not empty. A manifest that an image index lists but that is not there is left
// out. Nothing leads to what was written before all of it is there. copying may be nil.
func (l *Layout) Copy(ctx context.Context, from From, image ocispec.Descriptor, tag string, copying Copying) error {
	if err := Copy(ctx, from, unlisted{l}, image, copying); err != nil {
		return fmt.Errorf("copying %s to %s: %w", image.Digest, l.path, err)
	}
	return l.list(plainDescriptor(image), tag)
}

// unlisted is a layout to which parts of an image are copied: index.json lists no
// part of one.
type unlisted struct{ *Layout }

// Push writes nothing anew that another run has written meanwhile: it would not be
// there for a moment.
func (l unlisted) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	if there, err := l.Exists(ctx, desc); err != nil || there {
		return err
	}
	return l.write(ctx, desc, content)
}
