// Package inspect reads what belongs to an image in its repository: image
// index, image manifests, layers, SOCI indexes of both versions and their
// zTOCs. Begin with Load.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Repository is what holds the image.
type Repository interface {
	// Resolve returns the descriptor of the manifest that a tag or digest names.
	Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error)

	// FetchManifest reads a manifest and verifies its digest.
	FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)

	// Fetch opens a blob.
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)

	// Referrers lists the manifests of one artifact type whose subject is desc.
	Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error)
}

// Node is one manifest of the tree.
type Node struct {
	Kind         soci.Kind     `json:"kind"`
	MediaType    string        `json:"mediaType"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Digest       digest.Digest `json:"digest"`
	Size         int64         `json:"size"`
	Platform     string        `json:"platform,omitempty"` // os/arch[/variant], of an image
	Missing      bool          `json:"missing,omitempty"`  // named, but not in the repository

	Manifests   []*Node      `json:"manifests,omitempty"`   // of an image index
	Layers      []Layer      `json:"layers,omitempty"`      // of an image
	SociIndexes []*SociIndex `json:"sociIndexes,omitempty"` // of an image

	descriptor ocispec.Descriptor
}

// Descriptor of the manifest.
func (n *Node) Descriptor() ocispec.Descriptor { return n.descriptor }

// Layer of an image.
type Layer struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"` // compressed bytes
}

// SociIndex of an image.
type SociIndex struct {
	Version   string        `json:"version"` // v1, by referrer, or v2, by annotation
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	BuildTool string        `json:"buildTool,omitempty"`
	Missing   bool          `json:"missing,omitempty"` // named, but not in the repository
	Invalid   string        `json:"invalid,omitempty"` // why it cannot be read
	Ztocs     []*Blob       `json:"ztocs,omitempty"`
	Prefetch  []*Blob       `json:"prefetchArtifacts,omitempty"`
	Other     []*Blob       `json:"other,omitempty"` // of no type that clients read

	// Raw and Manifest are what it says; Manifest is nil when it cannot be
	// read.
	Raw      []byte            `json:"-"`
	Manifest *ocispec.Manifest `json:"-"`
}

// Blob is a zTOC, or another blob, as a SOCI index lists it. CheckBlobs adds
// what the repository has of it.
type Blob struct {
	MediaType string        `json:"mediaType,omitempty"` // of SociIndex.Other alone
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	Layer     digest.Digest `json:"layer"`
	Foreign   bool          `json:"foreign,omitempty"`           // the image does not have the layer
	SpanSize  string        `json:"annotatedSpanSize,omitempty"` // as the annotation says, uncompressed bytes

	Missing    bool   `json:"missing,omitempty"`    // not in the repository
	StoredSize *int64 `json:"storedSize,omitempty"` // bytes in the repository, where they are not Size
	Invalid    string `json:"invalid,omitempty"`    // why it cannot be asked for
}

func (n *Node) isImage() bool {
	return n.Kind == soci.KindImage || n.Kind == soci.KindEnabledManifest
}

// Images returns the image manifests of the tree, in order.
func (n *Node) Images() []*Node {
	if n.isImage() {
		return []*Node{n}
	}
	var all []*Node
	for _, m := range n.Manifests {
		all = append(all, m.Images()...)
	}
	return all
}

const (
	maxDepth     = 8        // image indexes in image indexes
	maxManifests = 1000     // of the whole tree
	maxConfig    = 16 << 20 // bytes of an image's config
)

// ErrInvalid: a manifest breaks the rules of its format, or a limit of this
// package.
var ErrInvalid = errors.New("invalid manifest")

// Load reads the tree under the manifest that desc names. It does not ask
// whether the blobs that SOCI indexes list are there; CheckBlobs does.
func Load(ctx context.Context, repo Repository, desc ocispec.Descriptor) (*Node, error) {
	l := loader{repo: repo}
	return l.node(ctx, desc, 0)
}

type loader struct {
	repo      Repository
	manifests int
}

func (l *loader) node(ctx context.Context, desc ocispec.Descriptor, depth int) (*Node, error) {
	l.manifests++
	if l.manifests > maxManifests || depth > maxDepth {
		return nil, fmt.Errorf("%w: more than %d manifests or %d levels of them", ErrInvalid, maxManifests, maxDepth)
	}
	n := &Node{
		MediaType: desc.MediaType, ArtifactType: desc.ArtifactType, Digest: desc.Digest, Size: desc.Size,
		descriptor: desc,
	}
	n.Kind = soci.ClassifyListed(desc)
	if n.Kind != soci.KindImage && n.Kind != soci.KindImageIndex {
		return n, nil
	}
	raw, err := l.repo.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) && depth > 0 {
		n.Missing = true
		if n.Kind == soci.KindImage && desc.Platform != nil {
			n.Platform = soci.PlatformText(desc.Platform)
		}
		return n, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := soci.Classify(desc.MediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, desc.Digest, err)
	}
	n.Kind = info.Kind
	if info.ArtifactType != "" {
		n.ArtifactType = info.ArtifactType
	}
	for _, child := range info.Manifests {
		c, err := l.node(ctx, child, depth+1)
		if err != nil {
			return nil, err
		}
		n.Manifests = append(n.Manifests, c)
	}
	if !n.isImage() {
		return n, nil
	}
	var m ocispec.Manifest
	if err := documents.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, desc.Digest, err)
	}
	if m.Config.Digest == "" {
		return n, nil // of schema 1, which has neither a config nor layers with a size
	}
	for _, layer := range m.Layers {
		n.Layers = append(n.Layers, Layer{MediaType: layer.MediaType, Digest: layer.Digest, Size: layer.Size})
	}
	if n.Platform, err = l.platform(ctx, desc, m.Config); err != nil {
		return nil, err
	}
	n.SociIndexes, err = l.sociIndexes(ctx, desc, m.Annotations[soci.AnnotationIndexDigest])
	for _, blob := range n.blobs() {
		blob.Foreign = !slices.ContainsFunc(n.Layers, func(layer Layer) bool { return layer.Digest == blob.Layer })
	}
	return n, err
}

// platform is the one that the image index says, or else that of the config.
func (l *loader) platform(ctx context.Context, desc, config ocispec.Descriptor) (string, error) {
	if desc.Platform != nil {
		return soci.PlatformText(desc.Platform), nil
	}
	if config.Size > maxConfig {
		return "", fmt.Errorf("%w: config of %d bytes, at most %d are allowed", ErrInvalid, config.Size, maxConfig)
	}
	body, err := l.repo.Fetch(ctx, config)
	if err != nil {
		return "", fmt.Errorf("reading the image's config: %w", err)
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, config.Size+1))
	if err != nil {
		return "", fmt.Errorf("reading the image's config: %w", err)
	}
	if config.Digest.Validate() != nil || config.Digest.Algorithm().FromBytes(raw) != config.Digest {
		return "", fmt.Errorf("%w: the config does not have the digest %q", ErrInvalid, config.Digest)
	}
	var image ocispec.Image
	if err := documents.Unmarshal(raw, &image); err != nil {
		return "", fmt.Errorf("%w: config %s: %w", ErrInvalid, config.Digest, err)
	}
	return soci.PlatformText(&image.Platform), nil
}

// sociIndexes finds those of one image: the v1 indexes refer to it, the v2
// index is named in its annotations.
func (l *loader) sociIndexes(ctx context.Context, image ocispec.Descriptor, annotation string) ([]*SociIndex, error) {
	var found []*SociIndex
	referrers, err := l.repo.Referrers(ctx, image, soci.ArtifactTypeV1)
	if err != nil {
		return nil, err
	}
	for _, desc := range referrers {
		index, err := l.sociIndex(ctx, desc)
		if err != nil {
			return nil, err
		}
		index.Version = "v1"
		found = append(found, index)
	}
	if annotation == "" {
		return found, nil
	}
	v2 := &SociIndex{Digest: digest.Digest(annotation)}
	if err := v2.Digest.Validate(); err != nil {
		v2.Invalid = fmt.Sprintf("annotation %s: %v", soci.AnnotationIndexDigest, err)
	} else if desc, err := l.repo.Resolve(ctx, annotation); errors.Is(err, ecrclient.ErrNotFound) {
		v2.Missing = true
	} else if err != nil {
		return nil, err
	} else if v2, err = l.sociIndex(ctx, desc); err != nil {
		return nil, err
	}
	v2.Version = "v2"
	return append(found, v2), nil
}

func (l *loader) sociIndex(ctx context.Context, desc ocispec.Descriptor) (*SociIndex, error) {
	index := &SociIndex{Digest: desc.Digest, Size: desc.Size}
	raw, err := l.repo.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) {
		index.Missing = true
		return index, nil
	}
	if err != nil {
		return nil, err
	}
	index.Raw = raw
	m, err := soci.ParseIndex(raw)
	if err != nil {
		index.Invalid = err.Error()
		return index, nil
	}
	index.Manifest = m
	index.BuildTool = m.Annotations[soci.AnnotationBuildToolIdentifier]
	content := soci.ContentOf(m)
	index.Ztocs, index.Prefetch, index.Other = blobs(content.Ztocs), blobs(content.Prefetch), blobs(content.Other)
	for i, blob := range index.Other {
		blob.MediaType = content.Other[i].MediaType
	}
	return index, nil
}
