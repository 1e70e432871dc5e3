package names

import (
	"path"
	"testing"
)

func TestIsManagedBucket(t *testing.T) {
	const account, region = "123456789012", "eu-west-1"
	for name, want := range map[string]bool{
		"soci-index-builder-123456789012-eu-west-1-an": true,
		"soci-index-builder-0123456789ab":              true,
		"soci-index-builder-123456789013-eu-west-1-an": false,
		"soci-index-builder-123456789012-eu-west-2-an": false,
		"soci-index-builder-123456789012-eu-west-1":    false,
		"soci-index-builder-0123456789abc":             false,
		"soci-index-builder-0123456789aG":              false,
		"my-soci-index-builder-0123456789ab":           false,
		"":                                             false,
	} {
		if got := IsManagedBucket(name, account, region); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
		if want && !IsBucket(name) {
			t.Errorf("%q cannot be a bucket", name)
		}
	}
}

// The permission that only those regions need is granted in them.
func TestWithoutBucketNamespaces(t *testing.T) {
	for _, region := range withoutBucketNamespaces {
		matched, err := path.Match(WithoutBucketNamespaces, region)
		if !matched || err != nil || HasBucketNamespaces(region) {
			t.Errorf("%s: %t, %v, %t", region, matched, err, HasBucketNamespaces(region))
		}
	}
	if matched, _ := path.Match(WithoutBucketNamespaces, "eu-west-1"); matched || !HasBucketNamespaces("eu-west-1") {
		t.Error("eu-west-1 is without namespaces")
	}
}
