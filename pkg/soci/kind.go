package soci

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
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
	// KindEnabledManifest is an image manifest that names a SOCI index v2, or
	// has the annotation of an unindexed image. SOCI-enabled and unindexed
	// images list such manifests; images that were built from one of those, or
	// copied out of one, inherit the annotation.
	KindEnabledManifest Kind = "soci-enabled-manifest"
	// KindUnindexed is an image index of this project that stands, under the
	// suffixed tag, for an image without a layer to index. It lists manifests
	// of that image.
	KindUnindexed Kind = "unindexed-image"

	// KindArtifactList is an image index that lists only artifacts, such as the
	// list of referrers that stands in for the referrers API.
	KindArtifactList Kind = "artifact-list"

	// KindAttestation is a statement about an image, as BuildKit pushes them.
	KindAttestation Kind = "attestation"
	// KindSignature is one of cosign or notation.
	KindSignature Kind = "signature"
	// KindArtifact is any other manifest that is no image.
	KindArtifact Kind = "artifact"
)

// SOCI reports whether a manifest of this kind exists only for lazy loading,
// and is neither an image that somebody built nor anything else of theirs. A
// KindEnabledManifest may be such an image all the same.
func (k Kind) SOCI() bool {
	switch k {
	case KindSOCIIndexV1, KindSOCIIndexV2, KindEnabledImage, KindEnabledManifest, KindUnindexed:
		return true
	}
	return false
}

var kindTexts = map[Kind]string{
	KindImage:           "image",
	KindImageIndex:      "image index",
	KindSOCIIndexV1:     "SOCI index v1",
	KindSOCIIndexV2:     "SOCI index v2",
	KindEnabledImage:    "SOCI-enabled image",
	KindEnabledManifest: "SOCI-enabled image manifest",
	KindUnindexed:       "stands for an image without a layer to index",
	KindArtifactList:    "list of artifacts",
	KindAttestation:     "attestation",
	KindSignature:       "signature",
	KindArtifact:        "artifact",
}

// Text is the kind in words, for people.
func (k Kind) Text() string { return kindTexts[k] }

// ErrManifest: the content is no manifest of Docker or OCI.
var ErrManifest = errors.New("not a manifest")

// ManifestInfo is what Classify sees in a manifest.
type ManifestInfo struct {
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

// SOCIIndexes returns the SOCI indexes v2 that a SOCI-enabled image lists.
func (m *ManifestInfo) SOCIIndexes() []ocispec.Descriptor {
	return listedIndexes(m.Manifests)
}

// listedIndexes returns the SOCI indexes v2 among what an image index lists.
func listedIndexes(listed []ocispec.Descriptor) []ocispec.Descriptor {
	var found []ocispec.Descriptor
	for _, d := range listed {
		if d.ArtifactType == ArtifactTypeV2 {
			found = append(found, d)
		}
	}
	return found
}

// Media types that make an artifact of what else looks like an image.
const (
	inTotoType       = images.MediaTypeInToto
	dsseType         = "application/vnd.dsse.envelope.v1+json"
	cosignType       = "application/vnd.dev.cosign.simplesigning.v1+json"
	cosignBundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	notationType     = "application/vnd.cncf.notary.signature"
)

// schema1Types are the manifests of Docker before schema 2. They are images,
// which nobody can index: their layers have no sizes and their digest is not
// that of their bytes.
var schema1Types = []string{images.MediaTypeDockerSchema1Manifest,
	"application/vnd.docker.distribution.manifest.v1+json"}

// IsSchema1 reports whether a media type is that of a manifest of Docker before
// schema 2. Such an image can be listed, but its manifest cannot be verified
// by its digest, and it cannot be indexed.
func IsSchema1(mediaType string) bool { return slices.Contains(schema1Types, mediaType) }

// earlyConfigType is the media type of an image's config as Docker before
// 1.10 pushed it, with manifests of schema 2.
const earlyConfigType = "application/octet-stream"

// Classify returns the kind of a manifest by its bytes. mediaType is what the
// registry says it is. The error is ErrManifest.
func Classify(mediaType string, manifest []byte) (*ManifestInfo, error) {
	if IsSchema1(mediaType) {
		return &ManifestInfo{Kind: KindImage, MediaType: mediaType}, nil
	}
	var doc struct {
		ocispec.Manifest
		Layers    documents.Descriptors `json:"layers"`
		Manifests documents.Descriptors `json:"manifests"`
	}
	if err := documents.Unmarshal(manifest, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	doc.Manifest.Layers = doc.Layers
	m := &ManifestInfo{MediaType: mediaType, Subject: doc.Subject}
	switch {
	case images.IsIndexType(mediaType):
		m.Manifests = doc.Manifests
		m.Kind, m.ArtifactType = kindOfIndex(&ocispec.Index{
			ArtifactType: doc.ArtifactType, Annotations: doc.Annotations, Manifests: doc.Manifests})
	case images.IsManifestType(mediaType):
		m.Kind, m.ArtifactType = kindOfManifest(mediaType, &doc.Manifest)
		if m.Kind == KindSOCIIndexV1 || m.Kind == KindSOCIIndexV2 {
			m.BuildTool = doc.Annotations[AnnotationBuildToolIdentifier]
		}
	default:
		return nil, fmt.Errorf("%w: media type %.100q", ErrManifest, mediaType)
	}
	return m, nil
}

// kindOfIndex judges an image index, and returns the artifact type of one that
// is none.
func kindOfIndex(x *ocispec.Index) (Kind, string) {
	switch {
	case len(listedIndexes(x.Manifests)) > 0:
		return KindEnabledImage, ""
	case x.Annotations[AnnotationUnindexed] == "true":
		return KindUnindexed, ""
	case len(x.Manifests) > 0 &&
		(slices.ContainsFunc(x.Manifests, isReferrer) || !slices.ContainsFunc(x.Manifests, mayBeImage)):
		return KindArtifactList, x.ArtifactType
	case x.ArtifactType != "" && !images.IsConfigType(x.ArtifactType) && !slices.ContainsFunc(x.Manifests, hasPlatform):
		return KindArtifact, x.ArtifactType
	}
	return KindImageIndex, ""
}

func isReferrer(d ocispec.Descriptor) bool { return ClassifyListed(d) == KindSOCIIndexV1 }

// mayBeImage reports whether an entry may be an image, or lead to one.
func mayBeImage(d ocispec.Descriptor) bool {
	kind := ClassifyListed(d)
	return kind == KindImage || kind == KindImageIndex
}

// hasPlatform reports whether an entry is one that clients choose by platform.
func hasPlatform(d ocispec.Descriptor) bool {
	return ClassifyListed(d) == KindImage && d.Platform != nil && d.Platform.OS != ""
}

// kindOfManifest judges what is no image index, and returns the artifact type
// of what is no image either.
func kindOfManifest(mediaType string, m *ocispec.Manifest) (Kind, string) {
	artifactType := m.ArtifactType
	if artifactType == "" || isSociIndexType(m.Config.MediaType) {
		artifactType = m.Config.MediaType
	}
	is := func(types ...string) bool {
		return slices.Contains(types, artifactType) ||
			slices.ContainsFunc(m.Layers,
				func(l ocispec.Descriptor) bool { return slices.Contains(types, l.MediaType) })
	}
	switch {
	case artifactType == ArtifactTypeV1:
		return KindSOCIIndexV1, artifactType
	case artifactType == ArtifactTypeV2:
		return KindSOCIIndexV2, artifactType
	case isImage(mediaType, m):
		if isAnnotated(m.Annotations) {
			return KindEnabledManifest, ""
		}
		return KindImage, ""
	case is(inTotoType, dsseType):
		return KindAttestation, artifactType
	case is(cosignType, cosignBundleType, notationType):
		return KindSignature, artifactType
	}
	return KindArtifact, artifactType
}

// isImage reports whether a manifest is an image: its config says so, and it
// has a layer of a file system unless it has none at all. Signatures and SBOMs
// have the config of an image too.
func isImage(mediaType string, m *ocispec.Manifest) bool {
	hasLayer := slices.ContainsFunc(m.Layers, func(l ocispec.Descriptor) bool { return isLayerType(l.MediaType) })
	switch {
	case images.IsConfigType(m.Config.MediaType):
		return hasLayer || len(m.Layers) == 0
	case mediaType == images.MediaTypeDockerSchema2Manifest && m.Config.MediaType == earlyConfigType:
		return hasLayer
	}
	return false
}

// isAnnotated reports whether an image manifest has an annotation of those that
// are made for a suffixed tag.
func isAnnotated(annotations map[string]string) bool {
	return annotations[AnnotationIndexDigest] != "" || annotations[AnnotationUnindexed] == "true"
}

// isLayerType reports whether a media type is that of a layer of a file system,
// of whatever format: containerd knows some, and the name tells others, such as
// squashfs and WebAssembly. Those of signatures, SBOMs and attestations do not
// have it.
func isLayerType(t string) bool { return images.IsLayerType(t) || strings.Contains(t, ".layer.") }

func isSociIndexType(t string) bool { return t == ArtifactTypeV1 || t == ArtifactTypeV2 }

const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
)

// ClassifyListed returns the kind of an image index's entry by its descriptor.
// An entry that may be an image or an image index, which only reading it shows,
// passes for one.
func ClassifyListed(desc ocispec.Descriptor) Kind {
	switch {
	case desc.ArtifactType == ArtifactTypeV1:
		return KindSOCIIndexV1
	case desc.ArtifactType == ArtifactTypeV2:
		return KindSOCIIndexV2
	case desc.ArtifactType == inTotoType:
		return KindAttestation
	case desc.ArtifactType == notationType, desc.ArtifactType == cosignType, desc.ArtifactType == cosignBundleType:
		return KindSignature
	case desc.ArtifactType != "" && !images.IsConfigType(desc.ArtifactType):
		// Some tools write the media type of an image's config as its artifact type.
		return KindArtifact
	case desc.Annotations[annotationReferenceType] != "",
		desc.Platform != nil && desc.Platform.OS == "unknown" && desc.Platform.Architecture == "unknown":
		return KindAttestation
	case images.IsIndexType(desc.MediaType):
		return KindImageIndex
	case images.IsManifestType(desc.MediaType), IsSchema1(desc.MediaType):
		return KindImage
	}
	return KindArtifact
}

// whatItIs describes, for people, what was passed over as no image.
func whatItIs(kind Kind, artifactType string, layers []ocispec.Descriptor) string {
	if images.IsConfigType(artifactType) && len(layers) > 0 {
		return fmt.Sprintf("%s with content of type %q", kind, cut(layers[0].MediaType, 100))
	}
	return fmt.Sprintf("%s of type %q", kind, cut(artifactType, 100))
}

// whatIsListed is whatItIs for an entry of an image index that is not read.
func whatIsListed(kind Kind, desc ocispec.Descriptor) string {
	switch {
	case desc.ArtifactType != "" && !images.IsConfigType(desc.ArtifactType):
		return whatItIs(kind, desc.ArtifactType, nil)
	case desc.Annotations[annotationReferenceType] != "":
		return cut(desc.Annotations[annotationReferenceType], 100)
	case kind == KindAttestation:
		return "platform unknown/unknown"
	}
	return fmt.Sprintf("media type %q", cut(strings.TrimSpace(desc.MediaType), 100))
}
