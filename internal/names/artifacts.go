package names

// The artifact types of SOCI indexes.
const (
	SociIndexV1 = "application/vnd.amazon.soci.index.v1+json"
	SociIndexV2 = "application/vnd.amazon.soci.index.v2+json"
)

// Unindexed is the annotation, with the value "true", of an image index that
// stands in for the SOCI-enabled image of an image without a layer to index.
const Unindexed = "soci-index-builder.unindexed"

// ShortDigest returns enough of a digest for people to tell two of one image
// apart.
func ShortDigest(digest string) string {
	const length = len("sha256:") + 12
	return digest[:min(len(digest), length)]
}
