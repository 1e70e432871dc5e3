package names

import (
	"strings"
	"testing"
)

func TestReferrersTag(t *testing.T) {
	for algorithm, length := range map[string]int{"sha256": 64, "sha384": 96, "sha512": 128} {
		digest := algorithm + ":" + strings.Repeat("a", 64) + strings.Repeat("b", length-64)
		got := ReferrersTag(digest)
		if want := algorithm + "-" + strings.Repeat("a", 64); got != want {
			t.Errorf("%s: the tag is %q, want %q", algorithm, got, want)
		}
		if !IsTag(got) || !IsReferrersTag(got) {
			t.Errorf("%q: a tag: %t, of referrers: %t", got, IsTag(got), IsReferrersTag(got))
		}
	}
	for _, tag := range []string{"", "sha256-", "commit-" + strings.Repeat("a", 64),
		"sha256-" + strings.Repeat("a", 63), "sha512-" + strings.Repeat("a", 128),
		"sha256-" + strings.Repeat("A", 64)} {
		if IsReferrersTag(tag) {
			t.Errorf("%q is taken for a tag of referrers", tag)
		}
	}
}
