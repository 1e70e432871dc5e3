package soci

import (
	"errors"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types and annotations of the SOCI formats.
const (
	ArtifactTypeV1 = "application/vnd.amazon.soci.index.v1+json"
	ArtifactTypeV2 = "application/vnd.amazon.soci.index.v2+json"

	// ZtocMediaType is that of a zTOC blob.
	ZtocMediaType = "application/octet-stream"

	AnnotationLayerMediaType      = "com.amazon.soci.image-layer-mediaType"
	AnnotationLayerDigest         = "com.amazon.soci.image-layer-digest"
	AnnotationSpanSize            = "com.amazon.soci.span-size"
	AnnotationBuildToolIdentifier = "com.amazon.soci.build-tool-identifier"
	AnnotationIndexDigest         = "com.amazon.soci.index-digest"
	AnnotationImageManifestDigest = "com.amazon.soci.image-manifest-digest"
)

// ParseIndex reads a SOCI index manifest, v1 or v2; other manifests are
// ErrUnsupported. The zTOCs are its Layers, the image manifest of a v1 index
// is its Subject.
func ParseIndex(b []byte) (*ocispec.Manifest, error) {
	return nil, errors.New("internal error: not built yet")
}
