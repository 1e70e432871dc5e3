package imagefile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// notFoundError is what the engine and ecrclient know for content that is not
// there.
type notFoundError struct{ text string }

func (e *notFoundError) Error() string        { return e.text }
func (e *notFoundError) NotFound() bool       { return true }
func (e *notFoundError) Is(target error) bool { return target == ecrclient.ErrNotFound }

func (s *Store) notFound(what string) error {
	return &notFoundError{fmt.Sprintf("%s does not hold %s", s.path, what)}
}

// Resolve returns the descriptor of the manifest that a tag or digest names.
func (s *Store) Resolve(_ context.Context, reference string) (ocispec.Descriptor, error) {
	if d := digest.Digest(reference); d.Validate() == nil {
		return s.manifest(d)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []ocispec.Descriptor
	for _, desc := range s.index {
		if tagOf(desc) == reference && !slices.ContainsFunc(found,
			func(f ocispec.Descriptor) bool { return f.Digest == desc.Digest }) {
			found = append(found, desc)
		}
	}
	switch len(found) {
	case 0:
		return ocispec.Descriptor{}, s.notFound(fmt.Sprintf("the tag %q", reference))
	case 1:
		return plainDescriptor(found[0]), nil
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: %s holds %d with the tag %s, of several names; name one as %s@%s",
		ErrAmbiguous, s.path, len(found), reference, s.path, found[0].Digest)
}

// plainDescriptor leaves out what index.json says besides, as a registry does.
func plainDescriptor(desc ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}

// manifest describes a manifest by its content.
func (s *Store) manifest(d digest.Digest) (ocispec.Descriptor, error) {
	raw, err := s.bytes(d, ecrclient.MaxManifestSize)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var m struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := documents.Unmarshal(raw, &m); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %s is not a manifest: %w", s.path, d, err)
	}
	switch {
	case m.MediaType != "":
	case m.Manifests != nil:
		m.MediaType = ocispec.MediaTypeImageIndex
	default:
		m.MediaType = ocispec.MediaTypeImageManifest
	}
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(raw))}, nil
}

// open opens content by its digest.
func (s *Store) open(d digest.Digest) (file, error) {
	if err := d.Validate(); err != nil {
		return file{}, fmt.Errorf("%s: digest %.100q: %w", s.path, d, err)
	}
	name, ok := s.held[d]
	if !ok {
		name = "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
	}
	f, err := s.files.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f, s.notFound(d.String())
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", s.path, err)
	}
	return f, nil
}

// bytes reads content up to a limit, and verifies its digest.
func (s *Store) bytes(d digest.Digest, limit int64) ([]byte, error) {
	if b, ok := s.made[d]; ok {
		return b, nil
	}
	f, err := s.open(d)
	if err != nil {
		return nil, err
	}
	defer f.close()
	b, err := readAll(f, d.String(), limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return nil, fmt.Errorf("%s: %w: %s has the digest %s", s.path, ecrclient.ErrDigestMismatch, d, got)
	}
	return b, nil
}

// FetchManifest reads a manifest and verifies its digest and size.
func (s *Store) FetchManifest(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	b, err := s.bytes(desc.Digest, ecrclient.MaxManifestSize)
	if err == nil && int64(len(b)) != desc.Size {
		return nil, fmt.Errorf("%s: %w: manifest %s has %d bytes, not %d", s.path, ecrclient.ErrDigestMismatch,
			desc.Digest, len(b), desc.Size)
	}
	return b, err
}

// Fetch opens content.
func (s *Store) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	size, err := s.BlobSize(ctx, desc)
	if err != nil {
		return nil, err
	}
	return s.FetchRange(ctx, desc, 0, size)
}

// FetchRange opens n bytes of content, from offset off.
func (s *Store) FetchRange(ctx context.Context, desc ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	f, err := s.file(desc.Digest)
	if err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || off > f.size || n > f.size-off {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s has %d bytes, %d from %d on are asked for", s.path,
			ecrclient.ErrDigestMismatch, desc.Digest, f.size, n, off), f.close())
	}
	return &part{ctx, io.NewSectionReader(f, off, n), f.close}, nil
}

// file is open, also for manifests in memory.
func (s *Store) file(d digest.Digest) (file, error) {
	if b, ok := s.made[d]; ok {
		return inMemory(b), nil
	}
	return s.open(d)
}

// part of a file, until the context ends.
type part struct {
	ctx context.Context
	io.Reader
	close func() error
}

func (p *part) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.Reader.Read(b)
}

func (p *part) Close() error { return p.close() }

// BlobSize returns how many bytes content has.
func (s *Store) BlobSize(_ context.Context, desc ocispec.Descriptor) (int64, error) {
	f, err := s.file(desc.Digest)
	if err != nil {
		return 0, err
	}
	return f.size, f.close()
}

// Referrers returns the manifests in index.json that have one artifact type and
// desc as their subject.
func (s *Store) Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) (
	[]ocispec.Descriptor, error) {
	s.mu.RLock()
	listed := slices.Clone(s.index)
	s.mu.RUnlock()
	var found []ocispec.Descriptor
	for _, one := range listed {
		if one.ArtifactType != "" && one.ArtifactType != artifactType || !images.IsManifestType(one.MediaType) ||
			slices.ContainsFunc(found, func(f ocispec.Descriptor) bool { return f.Digest == one.Digest }) {
			continue
		}
		raw, err := s.FetchManifest(ctx, one)
		if errors.Is(err, ecrclient.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		info, err := soci.Classify(one.MediaType, raw)
		if err != nil || info.ArtifactType != artifactType || info.Subject == nil ||
			info.Subject.Digest != desc.Digest {
			continue
		}
		one = plainDescriptor(one)
		one.ArtifactType = artifactType
		found = append(found, one)
	}
	return found, nil
}
