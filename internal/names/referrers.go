package names

import (
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// Lengths that ReferrersTag cuts the two parts of a digest to.
const (
	maxReferrersAlgorithm = 32
	maxReferrersEncoded   = 64
)

// ReferrersTag returns the tag under which clients keep the list of the referrers of
// a manifest in a registry without the referrers API.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
func ReferrersTag(digest string) string {
	algorithm, encoded, _ := strings.Cut(digest, ":")
	return algorithm[:min(len(algorithm), maxReferrersAlgorithm)] + "-" +
		encoded[:min(len(encoded), maxReferrersEncoded)]
}

// referrersTag has the algorithms of [IsDigest]. With any other word in front it is a
// tag like others, of a commit or of a build.
var referrersTag = lazyregexp.New(`^sha(256|384|512)-[0-9a-f]{64}$`)

// IsReferrersTag reports whether a tag is one that [ReferrersTag] returns. What it
// names is a list, and no image.
func IsReferrersTag(tag string) bool { return referrersTag.MatchString(tag) }
