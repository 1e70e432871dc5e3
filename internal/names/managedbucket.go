package names

import (
	"slices"

	"soci-index-builder/internal/names/lazyregexp"
)

// BucketFolder is where deploy keeps things in a bucket of the user's own.
const BucketFolder = "soci-index-builder/"

// ManagedBucketPrefix begins the name of every managed bucket: the one that deploy
// makes for its code where the user names none.
const ManagedBucketPrefix = "soci-index-builder-"

// WithoutBucketNamespaces matches, in a policy's condition, the regions of
// [HasBucketNamespaces] without namespaces, and no other region of today.
const WithoutBucketNamespaces = "me-*"

var withoutBucketNamespaces = []string{"me-central-1", "me-south-1"}

// HasBucketNamespaces reports whether accounts have a namespace of their own for
// buckets in a region, as far as is known: S3's answer tells.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/gpbucketnamespaces.html
func HasBucketNamespaces(region string) bool {
	return !slices.Contains(withoutBucketNamespaces, region)
}

// ManagedBucket returns the name of the managed bucket in the account's own
// namespace.
func ManagedBucket(account, region string) string {
	return ManagedBucketPrefix + account + "-" + region + "-an"
}

var randomBucket = lazyregexp.New(`^` + ManagedBucketPrefix + `[0-9a-f]{12}$`)

// IsRandomBucket reports whether a name is that of a managed bucket outside of an
// account's own namespace.
func IsRandomBucket(name string) bool { return randomBucket.MatchString(name) }

// IsManagedBucket reports whether a name is one that a managed bucket of the account
// in the region can have.
func IsManagedBucket(name, account, region string) bool {
	return IsRandomBucket(name) || name == ManagedBucket(account, region)
}
