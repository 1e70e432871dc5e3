package names_test

import (
	"regexp"
	"strings"
	"testing"

	"soci-index-builder/internal/names"
)

// The rows on which several places of this project once disagreed say so.
func TestGrammars(t *testing.T) {
	const good, bad = true, false
	long := func(n int) string { return strings.Repeat("a", n) }
	tests := []struct {
		what   string
		is     func(string) bool
		values map[string]bool
	}{
		{"account", names.IsAccount,
			map[string]bool{"123456789012": good, "": bad, "12345678901": bad, "1234567890123": bad,
				"12345678901a":   bad,
				"123456789012\n": bad}},
		{"region", names.IsRegion, map[string]bool{
			"us-east-1": good, "ap-southeast-7": good, "us-gov-west-1": good, "cn-northwest-1": good,
			"eusc-de-east-1": good,
			"us-isob-east-1": good,
			// The client took no more than four letters and two words in front,
			// the functions took these.
			"europe-west-1": good, "us-gov-secret-east-1": good,
			"": bad, "us-east": bad, "us-east-1a": bad, "US-EAST-1": bad, "us-east-1.example.com": bad,
			"us-east-1\n": bad,
			"us_east_1":   bad,
		}},
		{"partition", names.IsPartition, map[string]bool{
			"aws": good, "aws-cn": good, "aws-us-gov": good, "aws-iso-b": good, "aws-eusc": good,
			// In the ARN of a stack or a function these were allowed.
			"awsx": bad, "aws-": bad, "aws--cn": bad, "": bad, "AWS": bad,
		}},
		{"stack", names.IsStack,
			map[string]bool{"a": good, "My-Stack-1": good, long(128): good, "": bad, "1a": bad, "-a": bad, "a_b": bad,
				long(129): bad, "a\n": bad}},
		{"repository", names.IsRepository, map[string]bool{
			"a": good, "app": good, "team/app": good, "a.b": good, "a_b": good, "a__b": good, "a--b": good,
			"docker.io/library/nginx": good, long(256): good,
			"": bad, "App": bad, "a//b": bad, "a/": bad, "/a": bad, "a___b": bad, "a._b": bad, "-a": bad, "a-": bad,
			"a/../b": bad, "a:b": bad, long(257): bad,
		}},
		// Events had 2 characters at least, queries and listings one.
		{"repository of ECR", names.IsECRRepository,
			map[string]bool{"a": bad, "ab": good, long(256): good, long(257): bad, "": bad, "Ab": bad}},
		{"tag", names.IsTag,
			map[string]bool{"v1": good, "_": good, "A.b-c_D": good, long(128): good, "": bad, "-v": bad,
				".v": bad, "v 1": bad, "v:1": bad, "v+1": bad, long(129): bad, "v\n": bad}},
		{"tag suffix", names.IsTagSuffix,
			map[string]bool{names.DefaultTagSuffix: good, "_SOCI": good, ".x": good, long(127): good, "": bad,
				"+x": bad,
				"/":  bad, long(128): bad}},
		{"digest", names.IsDigest, map[string]bool{
			sha(256): good, sha(384): good, sha(512): good,
			"": bad, "sha256:": bad, "sha256:0a": bad, "sha512:" + strings.Repeat("0", 64): bad,
			"md5:" + strings.Repeat("0", 32): bad, strings.ToUpper(sha(256)): bad, sha(256) + "\n": bad,
		}},
		{"bucket", names.IsBucket,
			map[string]bool{"my-bucket": good, "a.b.c": good, "123": good, long(63): good, "": bad, "ab": bad,
				long(64):    bad,
				"My-Bucket": bad, "-bucket": bad, "bucket-": bad, "a..b": bad, "a_b": bad, "abc\n": bad}},
		{"digest in ECR", names.IsECRDigest, map[string]bool{sha(256): good, sha(384): bad, sha(512): bad, "": bad}},
		{"host", names.IsHost, map[string]bool{
			"localhost": good, "registry.example.com": good, "registry.example:5000": good, "my_registry:5000": good,
			"127.0.0.1:5000": good, "[::1]:5000": good, "Registry": good,
			"": bad, "a b": bad, "me@registry": bad, "registry:": bad, "registry:port": bad, ":5000": bad, "-a": bad,
			"[::1": bad, "a/b": bad, "a?b": bad, long(300): bad,
		}},
	}
	for _, tt := range tests {
		for value, want := range tt.values {
			if got := tt.is(value); got != want {
				t.Errorf("%s %.150q: %t, want %t", tt.what, value, got, want)
			}
		}
	}
}

// A short form takes whatever its grammar does: what it refused, nobody could
// deploy.
func TestShortForms(t *testing.T) {
	for _, tt := range []struct {
		what, short string
		is          func(string) bool
		good        []string
		bad         []string // of both
	}{
		{"region", names.ShortRegion, names.IsRegion,
			[]string{"us-east-1", "ap-southeast-7", "us-gov-west-1", "eusc-de-east-1", "us-isob-east-1"},
			[]string{"", "US-EAST-1", "us_east_1", "us-east-1.example.com", "us-east-1\n"}},
		{"partition", names.ShortPartition, names.IsPartition,
			[]string{"aws", "aws-cn", "aws-us-gov", "aws-iso-b", "aws-eusc"}, []string{"", "AWS", "gcp", "aws/cn"}},
		{"repository", names.ShortRepository, names.IsRepository,
			[]string{"a", "team/app", "a.b", "a_b", "a__b", "a--b"}, []string{"", "App", "a:b", "a b", "a@b"}},
		{"host of ECR", names.ShortECRHost, func(s string) bool {
			h, ok := names.ParseECRHost(s)
			return ok && !h.FIPS && !h.DualStack
		},
			[]string{"123456789012.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
				"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
				"123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
				"123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
				// The template's pattern refused this one.
				"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"},
			[]string{"", "public.ecr.aws", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
				"123456789012.dkr-ecr.eu-west-1.on.aws", "12345.dkr.ecr.eu-west-1.amazonaws.com",
				"123456789012.dkr.ecr.eu-west-1.amazonaws.com:443", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a"}},
	} {
		short := regexp.MustCompile(`^(?:` + tt.short + `)$`)
		for want, values := range map[bool][]string{true: tt.good, false: tt.bad} {
			for _, value := range values {
				if is, matches := tt.is(value), short.MatchString(value); is != want || matches != want {
					t.Errorf("%s %q: by the grammar %t, by its short form %t, want %t", tt.what, value, is, matches,
						want)
				}
			}
		}
	}
}

func sha(bits int) string {
	return "sha" + map[int]string{256: "256", 384: "384", 512: "512"}[bits] + ":" + strings.Repeat("0a", bits/8)
}

func TestParseECRHost(t *testing.T) {
	for text, want := range map[string]names.ECRHost{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": {Account: "123456789012", Region: "eu-west-1",
			Suffix: "amazonaws.com"},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": {Account: "123456789012", Region: "us-gov-west-1",
			FIPS: true, Suffix: "amazonaws.com"},
		"123456789012.dkr-ecr.eu-west-1.on.aws": {Account: "123456789012", Region: "eu-west-1",
			DualStack: true, Suffix: "on.aws"},
		"123456789012.dkr-ecr-fips.us-east-1.on.aws": {Account: "123456789012", Region: "us-east-1", FIPS: true,
			DualStack: true, Suffix: "on.aws"},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": {Account: "123456789012", Region: "cn-north-1",
			Suffix: "amazonaws.com.cn"},
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk": {Account: "123456789012", Region: "eu-isoe-west-1",
			Suffix: "cloud.adc-e.uk"},
		"":                                      {},
		"registry.example.com":                  {},
		"public.ecr.aws":                        {},
		"123456789012.dkr.ecr.amazonaws.com":    {}, // logs took it for a host, for it has no region
		"12345.dkr.ecr.eu-west-1.amazonaws.com": {},
		"123456789012.dkr.ecr.eu-west-1":        {},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.":     {},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com\n":    {},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com:443":  {},
		"evil.123456789012.dkr.ecr.eu-west-1.amazonaws.com": {},
		"123456789012.dkr.ecr.eu-west-1..com":               {},
	} {
		if got, ok := names.ParseECRHost(text); got != want || ok != (want != names.ECRHost{}) {
			t.Errorf("%q is %+v, %t, want %+v", text, got, ok, want)
		}
	}
}

func TestIsPlatform(t *testing.T) {
	for s, want := range map[string]bool{
		"linux": true, "linux/amd64": true, "linux/arm/v7": true, "windows": true, "linux/386": true,
		"": false, "Linux": false, "linux/": false, "/amd64": false, "linux/amd64/": false, "linux/a/b/c": false,
		"linux amd64": false, "linux,windows": false, "*": false, "linux/*": false,
		"freebsd": true, "darwin/arm64": true, "amd64": false, "arm64": false, "linux64": false, "x86_64": false,
	} {
		if names.IsPlatform(s) != want {
			t.Errorf("%q is a platform: %t", s, !want)
		}
	}
}
