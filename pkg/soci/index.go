package soci

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/names"
)

// Media types and annotations of the SOCI formats.
const (
	ArtifactTypeV1 = names.SociIndexV1
	ArtifactTypeV2 = names.SociIndexV2

	// ZtocMediaType is that of a zTOC blob.
	ZtocMediaType = "application/octet-stream"

	// PrefetchMediaType is that of a prefetch artifact, which a SOCI index lists
	// behind the zTOCs.
	PrefetchMediaType = "application/vnd.amazon.soci.prefetch.v1+json"

	AnnotationLayerMediaType      = "com.amazon.soci.image-layer-mediaType"
	AnnotationLayerDigest         = "com.amazon.soci.image-layer-digest"
	AnnotationSpanSize            = "com.amazon.soci.span-size"
	AnnotationBuildToolIdentifier = "com.amazon.soci.build-tool-identifier"

	// AnnotationIndexDigest, on an image manifest, names its SOCI index v2.
	AnnotationIndexDigest = "com.amazon.soci.index-digest"

	// AnnotationImageManifestDigest, on the descriptor of a SOCI index v2 in
	// an image index, names the image manifest it belongs to.
	AnnotationImageManifestDigest = "com.amazon.soci.image-manifest-digest"

	// AnnotationUnindexed, with the value "true", marks an image index that
	// stands in for the SOCI-enabled image of an image without a layer to
	// index, under the same tag.
	AnnotationUnindexed = names.Unindexed

	// LabelSkip, with the value "true" in the config of an image, makes the
	// builder skip the image.
	LabelSkip = "soci-index-builder.skip"
)

// indexConfig is the config of every SOCI index.
const indexConfig = "{}"

// marshalIndex writes a SOCI index: v1 with a subject, v2 without. The bytes
// are those of the json package for this struct, which is also how clients
// rebuild them: a client that marshals the parsed index again and gets other
// bytes ignores it. unindexable is what AnnotationUnindexable has, or empty.
func marshalIndex(artifactType string, subject *ocispec.Descriptor, ztocs []ocispec.Descriptor, buildTool,
	unindexable string) ([]byte, error) {
	annotations := map[string]string{AnnotationBuildToolIdentifier: buildTool}
	if unindexable != "" {
		annotations[AnnotationUnindexable] = unindexable
	}
	return json.Marshal(ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      indexConfigDescriptor(artifactType),
		Layers:      ztocs,
		Subject:     subject,
		Annotations: annotations,
	})
}

// sociIndexDescriptor is that of a marshalled SOCI index.
func sociIndexDescriptor(b []byte, artifactType string) ocispec.Descriptor {
	d := blobDescriptor(b)
	d.MediaType = ocispec.MediaTypeImageManifest
	d.ArtifactType = artifactType
	return d
}

func indexConfigDescriptor(artifactType string) ocispec.Descriptor {
	d := blobDescriptor([]byte(indexConfig))
	d.MediaType = artifactType
	return d
}

// ztocDescriptor is how a SOCI index lists the zTOC of a layer.
func ztocDescriptor(ztoc, layer ocispec.Descriptor, spanSize int64) ocispec.Descriptor {
	ztoc.MediaType = ZtocMediaType
	ztoc.Annotations = map[string]string{
		AnnotationLayerMediaType: layer.MediaType,
		AnnotationLayerDigest:    layer.Digest.String(),
		AnnotationSpanSize:       strconv.FormatInt(spanSize, 10),
	}
	return ztoc
}

// ParseIndex reads a SOCI index manifest, v1 or v2. ContentOf separates its
// zTOCs from the other content of its Layers; the image manifest of a v1 index
// is its Subject. Any other manifest is ErrUnsupported, and anything else
// ErrCorrupt.
func ParseIndex(b []byte) (*ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := documents.Manifest(b, &m); err != nil {
		return nil, fmt.Errorf("%w SOCI index: %w", ErrCorrupt, err)
	}
	switch m.Config.MediaType {
	case ArtifactTypeV1:
		if m.Subject == nil {
			return nil, fmt.Errorf("%w SOCI index: v1 without a subject", ErrCorrupt)
		}
	case ArtifactTypeV2:
	default:
		return nil, fmt.Errorf("%w: config media type %q, not that of a SOCI index (%s or %s)",
			ErrUnsupported, cut(m.Config.MediaType, 100), ArtifactTypeV1, ArtifactTypeV2)
	}
	return &m, nil
}

// IndexContent is what a SOCI index lists, in its order.
type IndexContent struct {
	Ztocs    []ocispec.Descriptor
	Prefetch []ocispec.Descriptor // prefetch artifacts

	// Other are blobs of any other type, which clients ignore.
	Other []ocispec.Descriptor
}

// ContentOf sorts the blobs of a SOCI index by their media types, as clients
// do: a blob of a type other than a zTOC's is never mistaken for a zTOC.
func ContentOf(index *ocispec.Manifest) IndexContent {
	var c IndexContent
	for _, blob := range index.Layers {
		switch blob.MediaType {
		case ZtocMediaType:
			c.Ztocs = append(c.Ztocs, blob)
		case PrefetchMediaType:
			c.Prefetch = append(c.Prefetch, blob)
		default:
			c.Other = append(c.Other, blob)
		}
	}
	return c
}
