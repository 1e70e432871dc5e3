package soci

import (
	"bytes"
	"context"
	_ "crypto/sha512" // so that package digest knows sha384 and sha512
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
)

func blobDescriptor(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// fetchVerified reads a manifest or a config: small content that is read as a
// whole, and used only when it is what its descriptor says.
func fetchVerified(ctx context.Context, src Source, desc ocispec.Descriptor, limits Limits) (_ []byte, err error) {
	if err := checkDescriptor(desc); err != nil {
		return nil, err
	}
	if desc.Size > limits.MaxManifestSize {
		return nil, fmt.Errorf("%w: %s has %d bytes, and a manifest or config of at most %d is supported", ErrLimit,
			desc.Digest, desc.Size, limits.MaxManifestSize)
	}
	return fetchWhole(ctx, src, desc)
}

// fetchWhole reads content of a size that the caller has checked, and verifies
// it.
func fetchWhole(ctx context.Context, src Source, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := src.Fetch(ctx, desc)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err)
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, desc.Size+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", desc.Digest, err)
	}
	return b, verify(b, desc)
}

// fetchExactly is fetchWhole for content whose size may be allocated: it is read into
// one buffer, which does not grow.
func fetchExactly(ctx context.Context, src Source, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := src.Fetch(ctx, desc)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err)
	}
	defer rc.Close()
	// One more, to find out what has more; MinRead is what ReadFrom wants free at the end.
	b := bytes.NewBuffer(make([]byte, 0, desc.Size+1+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(rc, desc.Size+1)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", desc.Digest, err)
	}
	return b.Bytes(), verify(b.Bytes(), desc)
}

// verifyStored reads content that nothing is wanted of but that it is there as its
// descriptor says. It holds none of it.
func verifyStored(ctx context.Context, src Source, desc ocispec.Descriptor) error {
	rc, err := src.Fetch(ctx, desc)
	if err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	defer rc.Close()
	digester := desc.Digest.Algorithm().Digester()
	n, err := io.Copy(digester.Hash(), io.LimitReader(rc, desc.Size+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", desc.Digest, err)
	}
	return compare(n, digester.Digest(), desc)
}

// verify compares content that was read as a whole with its descriptor.
func verify(b []byte, desc ocispec.Descriptor) error {
	return compare(int64(len(b)), desc.Digest.Algorithm().FromBytes(b), desc)
}

func compare(size int64, got digest.Digest, desc ocispec.Descriptor) error {
	if size != desc.Size {
		return fmt.Errorf("%w: %d bytes arrived for %s, not %d", ErrDigestMismatch, size, desc.Digest, desc.Size)
	}
	if got != desc.Digest {
		return fmt.Errorf("%w: the digest of what arrived is %s, not %s", ErrDigestMismatch, got, desc.Digest)
	}
	return nil
}

// checkDescriptor is for what is read: no manifest, config or zTOC is empty.
func checkDescriptor(desc ocispec.Descriptor) error {
	if desc.Size == 0 {
		return fmt.Errorf("%w descriptor: %s has a size of 0 bytes", ErrCorrupt, desc.Digest)
	}
	return checkLayerDescriptor(desc)
}

// checkLayerDescriptor is checkDescriptor for a layer, which may be an empty
// blob.
func checkLayerDescriptor(desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); errors.Is(err, digest.ErrDigestUnsupported) {
		return fmt.Errorf("%w descriptor: digest %q: only sha256, sha384 and sha512 can be verified",
			ErrUnsupported, cut(desc.Digest.String(), 100))
	} else if err != nil {
		return fmt.Errorf("%w descriptor: digest %q: %w", ErrCorrupt, cut(desc.Digest.String(), 100), err)
	}
	if desc.Size < 0 {
		return fmt.Errorf("%w descriptor: %s has a size of %d bytes", ErrCorrupt, desc.Digest, desc.Size)
	}
	return nil
}

// document is what an image manifest and an image index have between them.
// Content that could be read as both is refused: two readers would see two
// images.
type document struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
	FSLayers      json.RawMessage `json:"fsLayers"`
	Manifests     json.RawMessage `json:"manifests"`
}

func checkDocument(b []byte, desc ocispec.Descriptor, isIndex bool) error {
	var d document
	if err := documents.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("%w manifest %s: %w", ErrCorrupt, desc.Digest, err)
	}
	if d.MediaType != "" && d.MediaType != desc.MediaType {
		return fmt.Errorf("%w manifest %s: its media type is %q by its own word and %q by its descriptor",
			ErrCorrupt, desc.Digest, cut(d.MediaType, 100), cut(desc.MediaType, 100))
	}
	if d.SchemaVersion != 2 {
		return fmt.Errorf("%w manifest %s: schemaVersion is %d, not 2", ErrCorrupt, desc.Digest, d.SchemaVersion)
	}
	foreign := ""
	switch {
	case d.FSLayers != nil:
		foreign = "fsLayers"
	case isIndex && d.Config != nil:
		foreign = "config"
	case isIndex && d.Layers != nil:
		foreign = "layers"
	case !isIndex && d.Manifests != nil:
		foreign = "manifests"
	}
	if foreign != "" {
		return fmt.Errorf("%w manifest %s: it has the field %s, of another kind of manifest", ErrCorrupt, desc.Digest,
			foreign)
	}
	return nil
}

// fetchManifest reads an image manifest.
func fetchManifest(ctx context.Context, src Source, desc ocispec.Descriptor, limits Limits) (*ocispec.Manifest, error) {
	b, err := fetchVerified(ctx, src, desc, limits)
	if err != nil {
		return nil, err
	}
	if err := checkDocument(b, desc, false); err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := documents.Manifest(b, &m); err != nil {
		return nil, fmt.Errorf("%w manifest %s: %w", ErrCorrupt, desc.Digest, err)
	}
	return &m, nil
}

// checkLayers judges the layers of an image manifest by their descriptors.
// Artifacts may list what they like.
func checkLayers(m *ocispec.Manifest, desc ocispec.Descriptor, limits Limits) error {
	if len(m.Layers) > limits.MaxLayers {
		return fmt.Errorf("%w: manifest %s has %d layers, and at most %d are supported", ErrLimit, desc.Digest,
			len(m.Layers), limits.MaxLayers)
	}
	sizes := make(map[digest.Digest]int64, len(m.Layers))
	for _, l := range m.Layers {
		if err := checkLayerDescriptor(l); err != nil {
			return fmt.Errorf("manifest %s: a layer's %w", desc.Digest, err)
		}
		if l.Size > limits.MaxUncompressedSize {
			return fmt.Errorf("%w: layer %s of manifest %s has %d bytes, and at most %d are supported", ErrLimit,
				l.Digest, desc.Digest, l.Size, limits.MaxUncompressedSize)
		}
		if size, ok := sizes[l.Digest]; ok && size != l.Size {
			return fmt.Errorf("%w manifest %s: layer %s has %d bytes in one place and %d in another", ErrCorrupt,
				desc.Digest, l.Digest, size, l.Size)
		}
		sizes[l.Digest] = l.Size
	}
	return nil
}

// fetchImageIndex reads an image index.
func fetchImageIndex(ctx context.Context, src Source, desc ocispec.Descriptor, limits Limits) (*ocispec.Index, error) {
	b, err := fetchVerified(ctx, src, desc, limits)
	if err != nil {
		return nil, err
	}
	if err := checkDocument(b, desc, true); err != nil {
		return nil, err
	}
	var x ocispec.Index
	if err := documents.Index(b, &x); err != nil {
		return nil, fmt.Errorf("%w image index %s: %w", ErrCorrupt, desc.Digest, err)
	}
	return &x, nil
}
