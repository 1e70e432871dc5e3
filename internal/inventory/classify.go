package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// Kind is what a manifest is, by its content. Names and tags play no part.
type Kind string

// The kinds of manifests.
const (
	// KindImage is an image manifest as it was built.
	KindImage Kind = "image"
	// KindImageIndex is an image index (or manifest list) as it was built.
	KindImageIndex Kind = "image-index"

	// KindSOCIIndexV1 refers to the image manifest that is its subject.
	KindSOCIIndexV1 Kind = "soci-index-v1"
	// KindSOCIIndexV2 is listed by a SOCI-enabled image.
	KindSOCIIndexV2 Kind = "soci-index-v2"
	// KindEnabledImage is a SOCI-enabled image: an image index that lists
	// SOCI indexes v2 beside the image manifests they belong to.
	KindEnabledImage Kind = "soci-enabled-image"
	// KindEnabledManifest is an image manifest that names its SOCI index v2,
	// as SOCI-enabled images list them.
	KindEnabledManifest Kind = "soci-enabled-manifest"
	// KindUnindexed is an image index of this project that stands, under the
	// suffixed tag, for an image without a layer to index. It lists manifests
	// of that image.
	KindUnindexed Kind = "unindexed-image"

	// KindAttestation is a statement about an image, as BuildKit pushes them.
	KindAttestation Kind = "attestation"
	// KindSignature is one of cosign or notation.
	KindSignature Kind = "signature"
	// KindArtifact is any other manifest that is no image.
	KindArtifact Kind = "artifact"
)

// SOCI reports whether a manifest of this kind exists only for lazy loading,
// and is neither an image that somebody built nor anything else of theirs.
func (k Kind) SOCI() bool {
	switch k {
	case KindSOCIIndexV1, KindSOCIIndexV2, KindEnabledImage, KindEnabledManifest, KindUnindexed:
		return true
	}
	return false
}

// ErrManifest: the content is no manifest of Docker schema 2 or OCI.
var ErrManifest = errors.New("not a manifest")

// Manifest is what Classify sees in a manifest.
type Manifest struct {
	Kind         Kind
	MediaType    string
	ArtifactType string // of one that is no image or image index, else empty

	// BuildTool is the build-tool identifier of a SOCI index.
	BuildTool string

	// Subject is that of a referrer, nil for others.
	Subject *ocispec.Descriptor

	// Manifests are what an image index lists, of whatever kind.
	Manifests []ocispec.Descriptor
}

// SOCIIndexes gives the SOCI indexes v2 that a SOCI-enabled image lists.
func (m *Manifest) SOCIIndexes() []ocispec.Descriptor {
	var found []ocispec.Descriptor
	for _, d := range m.Manifests {
		if d.ArtifactType == soci.ArtifactTypeV2 {
			found = append(found, d)
		}
	}
	return found
}

// Layers that make an artifact of what else looks like an image.
const (
	inTotoType       = "application/vnd.in-toto+json"
	dsseType         = "application/vnd.dsse.envelope.v1+json"
	cosignType       = "application/vnd.dev.cosign.simplesigning.v1+json"
	cosignBundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	notationType     = "application/vnd.cncf.notary.signature"
)

// Classify tells by its bytes what a manifest is. mediaType is what the
// registry says it is. The error is ErrManifest.
func Classify(mediaType string, manifest []byte) (*Manifest, error) {
	var doc struct {
		ocispec.Manifest
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(manifest, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	m := &Manifest{MediaType: mediaType, Subject: doc.Subject}
	switch {
	case images.IsIndexType(mediaType):
		m.Manifests = doc.Manifests
		switch {
		case len(m.SOCIIndexes()) > 0:
			m.Kind = KindEnabledImage
		case doc.Annotations[soci.AnnotationUnindexed] == "true":
			m.Kind = KindUnindexed
		case doc.ArtifactType != "" && !images.IsConfigType(doc.ArtifactType):
			m.Kind, m.ArtifactType = KindArtifact, doc.ArtifactType
		default:
			m.Kind = KindImageIndex
		}
		return m, nil
	case !images.IsManifestType(mediaType):
		return nil, fmt.Errorf("%w: media type %.100q", ErrManifest, mediaType)
	}
	classifyManifest(m, &doc.Manifest)
	return m, nil
}

// classifyManifest fills in what is no image index.
func classifyManifest(m *Manifest, doc *ocispec.Manifest) {
	m.ArtifactType = doc.ArtifactType
	if m.ArtifactType == "" || doc.Config.MediaType == soci.ArtifactTypeV1 || doc.Config.MediaType == soci.ArtifactTypeV2 {
		m.ArtifactType = doc.Config.MediaType
	}
	has := func(types ...string) bool {
		return slices.Contains(types, m.ArtifactType) ||
			slices.ContainsFunc(doc.Layers, func(l ocispec.Descriptor) bool { return slices.Contains(types, l.MediaType) })
	}
	isLayer := func(l ocispec.Descriptor) bool { return images.IsLayerType(l.MediaType) }
	switch {
	case m.ArtifactType == soci.ArtifactTypeV1:
		m.Kind, m.BuildTool = KindSOCIIndexV1, doc.Annotations[soci.AnnotationBuildToolIdentifier]
	case m.ArtifactType == soci.ArtifactTypeV2:
		m.Kind, m.BuildTool = KindSOCIIndexV2, doc.Annotations[soci.AnnotationBuildToolIdentifier]
	case images.IsConfigType(doc.Config.MediaType) && (len(doc.Layers) == 0 || slices.ContainsFunc(doc.Layers, isLayer)):
		m.Kind, m.ArtifactType = KindImage, ""
		if doc.Annotations[soci.AnnotationIndexDigest] != "" {
			m.Kind = KindEnabledManifest
		}
	case has(inTotoType, dsseType):
		m.Kind = KindAttestation
	case has(cosignType, cosignBundleType, notationType):
		m.Kind = KindSignature
	default:
		m.Kind = KindArtifact
	}
}
