package names_test

import (
	"errors"
	"strings"
	"testing"

	"soci-index-builder/internal/names"
)

// Each text is read by all three: where one of them differs it is for what may
// stand in front of the repository, and for nothing else.
func TestParse(t *testing.T) {
	const host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	d, d512 := sha(256), sha(512)
	type image = names.Image
	var none image // refused
	tests := []struct {
		text               string
		parse, hosted, ecr image
	}{
		{"app", image{Repository: "app"}, none, image{Repository: "app"}},
		{"app:1.4", image{Repository: "app", Tag: "1.4"}, none, image{Repository: "app", Tag: "1.4"}},
		{"app@" + d, image{Repository: "app", Digest: d}, none, image{Repository: "app", Digest: d}},
		{"app:1@" + d, image{Repository: "app", Tag: "1", Digest: d}, none,
			image{Repository: "app", Tag: "1", Digest: d}},
		{"app@" + d512, none, none, none}, // no digest of ECR
		{"a:1", none, none, none},         // no repository of ECR, which logs and status took for one

		{"team/app:1", image{Repository: "team/app", Tag: "1"}, image{Host: "team", Repository: "app", Tag: "1"},
			image{Repository: "team/app", Tag: "1"}},
		{"team/app:RC_1@" + d, image{Repository: "team/app", Tag: "RC_1", Digest: d},
			image{Host: "team", Repository: "app", Tag: "RC_1", Digest: d},
			image{Repository: "team/app", Tag: "RC_1", Digest: d}},

		{host + "/team/app:1", image{host, "team/app", "1", ""}, image{host, "team/app", "1", ""},
			image{host, "team/app", "1", ""}},
		{host + "/app@" + d, image{host, "app", "", d}, image{host, "app", "", d}, image{host, "app", "", d}},
		{host + "/app@" + d512, image{host, "app", "", d512}, image{host, "app", "", d512}, none},
		{host + "/a:1", image{host, "a", "1", ""}, image{host, "a", "1", ""}, none},
		{host + ":443/app:1", image{host + ":443", "app", "1", ""}, image{host + ":443", "app", "1", ""}, none},
		// logs took it for ECR's, filters test for a part of the repository's name.
		// All but ParseECR took these for the hosts of other registries.
		{"123456789012.dkr.ecr.amazonaws.com/app:1", none, none, none},
		{"1.dkr.ecr.eu-west-1.amazonaws.com/app:1", none, none, none},
		{"12345678901.dkr.ecr.eu-west-1.amazonaws.com/app:1", none, none, none},
		{"12345678901.dkr.ecr.eu-west-1.amazonaws.com:443/app:1", none, none, none},
		{"123456789012.dkr.ecr.eu-west1.amazonaws.com/app:1", none, none, none},
		{"123456789012.dkr-ecr.on.aws/app:1", none, none, none},
		{"evil." + host + "/app:1", none, none, none},
		// All that there is of ECR can be named, and what stands in for it.
		{"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/app:1",
			image{"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "app", "1", ""},
			image{"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "app", "1", ""},
			image{"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "app", "1", ""}},
		{"123456789012.dkr-ecr-fips.us-east-1.on.aws/app:1",
			image{"123456789012.dkr-ecr-fips.us-east-1.on.aws", "app", "1", ""},
			image{"123456789012.dkr-ecr-fips.us-east-1.on.aws", "app", "1", ""},
			image{"123456789012.dkr-ecr-fips.us-east-1.on.aws", "app", "1", ""}},
		{"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/app:1",
			image{"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "app", "1", ""},
			image{"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "app", "1", ""},
			image{"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "app", "1", ""}},
		{"public.ecr.aws/docker/library/app:1", image{"public.ecr.aws", "docker/library/app", "1", ""},
			image{"public.ecr.aws", "docker/library/app", "1", ""},
			image{Repository: "public.ecr.aws/docker/library/app", Tag: "1"}},
		{"vpce-0a1.dkr.ecr.us-east-1.vpce.amazonaws.com/app:1",
			image{"vpce-0a1.dkr.ecr.us-east-1.vpce.amazonaws.com", "app", "1", ""},
			image{"vpce-0a1.dkr.ecr.us-east-1.vpce.amazonaws.com", "app", "1", ""}, none},
		{"000000000000.dkr.ecr.us-east-1.localhost.localstack.cloud:4566/app:1",
			image{"000000000000.dkr.ecr.us-east-1.localhost.localstack.cloud:4566", "app", "1", ""},
			image{"000000000000.dkr.ecr.us-east-1.localhost.localstack.cloud:4566", "app", "1", ""}, none},

		{"registry.example:5000/a/b/c:Tag_1", image{"registry.example:5000", "a/b/c", "Tag_1", ""},
			image{"registry.example:5000", "a/b/c", "Tag_1", ""}, none},
		{"127.0.0.1:5000/a", image{"127.0.0.1:5000", "a", "", ""}, image{"127.0.0.1:5000", "a", "", ""}, none},
		{"[::1]:5000/app:v1", image{"[::1]:5000", "app", "v1", ""}, image{"[::1]:5000", "app", "v1", ""}, none},
		{"localhost/app@" + d512, image{"localhost", "app", "", d512}, image{"localhost", "app", "", d512}, none},
		{"localhost/app:1", image{"localhost", "app", "1", ""}, image{"localhost", "app", "1", ""},
			image{Repository: "localhost/app", Tag: "1"}},
		{"docker.io/library/nginx:1", image{"docker.io", "library/nginx", "1", ""},
			image{"docker.io", "library/nginx", "1", ""}, image{Repository: "docker.io/library/nginx", Tag: "1"}},

		// With a digest behind it the client once took any tag.
		{"registry.example/app:-v@" + d, none, none, none},
		{"", none, none, none},
		{":", none, none, none},
		{"App", none, none, none},
		{"team//app", none, none, none},
		{"registry.example/", none, none, none},
		{"/app", none, none, none},
		{"registry.example/App", none, none, none},
		{"registry.example/app:", none, none, none},
		{"registry.example/app@", none, none, none},
		{"registry.example/app:@" + d, none, none, none},
		{"registry.example/app:a b", none, none, none},
		{"registry.example/app:v1:2", none, none, none},
		{"registry.example/app@sha256:12", none, none, none},
		{"registry.example/app@md5:0123", none, none, none},
		{"registry.example/app@" + d + "@" + d, none, none, none},
		{"registry.example/../app", none, none, none},
		{"me@registry.example/app", none, none, none},
		{d, none, none, none}, // was the repository sha256 with a tag
		{"sha256:1.0", image{Repository: "sha256", Tag: "1.0"}, none, image{Repository: "sha256", Tag: "1.0"}},
		{"12345678901.dkr.ecr.eu-west-1.amazonaws.com", none, none, none}, // was a repository
		{"http://registry.example/app:1", none, none, none},
		{"registry.example/app\n", none, none, none},
		{`team/app:1" or tag = "a`, none, none, none},
		{"registry.example/" + strings.Repeat("r", 257), none, none, none},
		{strings.Repeat("x", 5000) + "!", none, none, none},
	}
	for _, tt := range tests {
		for parser, row := range map[string]struct {
			parse func(string) (image, error)
			want  image
		}{"Parse": {names.Parse, tt.parse}, "ParseHosted": {names.ParseHosted, tt.hosted},
			"ParseECR": {names.ParseECR, tt.ecr}} {
			got, err := row.parse(tt.text)
			if got != row.want || errors.Is(err, names.ErrInvalid) != (row.want == none) {
				t.Errorf("%s(%.300q) = %+v, %v, want %+v", parser, tt.text, got, err, row.want)
				continue
			}
			if err == nil && got.String() != tt.text {
				t.Errorf("%s(%q) is written as %s", parser, tt.text, got)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000) {
				t.Errorf("%s(%.300q): the message is not one line of sane length: %q", parser, tt.text, err)
			}
		}
	}
}

// The error lists everything that is wrong.
func TestError(t *testing.T) {
	for text, want := range map[string]string{
		"Prod/api:-x": `invalid image name "Prod/api:-x": its repository name "Prod/api" must be 2 to 256 of a-z and ` +
			`0-9, separated by one of / . _ __ or by hyphens; its tag "-x" must be 1 to 128 of ` +
			`A-Z, a-z, 0-9, _, and, but not at its beginning, . and -`,
		"app@sha1:0": `invalid image name "app@sha1:0": its digest "sha1:0" must be ` +
			`sha256: and 64 of 0-9 and a-f`,
		"1.dkr.ecr.x/app:1": `invalid image name "1.dkr.ecr.x/app:1": its host "1.dkr.ecr.x" must be ` +
			`<account>.dkr.ecr.<region>.amazonaws.com, or as the region's partition has it`,
		"app@sha256:0a0a0a0a0a0a": `invalid image name "app@sha256:0a0a0a0a0a0a": its digest "sha256:0a0a0a0a0a0a" ` +
			`must be sha256: and 64 of 0-9 and a-f; this one is cut: --no-trunc shows whole digests`,
		sha(256): `invalid image name "` + sha(256) + `": this is a digest; an image is named ` +
			`[HOST/]REPOSITORY@sha256:0a0a0a0a0a0a...`,
		"oci://host.io/app:1": `invalid image name "oci://host.io/app:1": leave out oci://, as in host.io/app:1`,
		"https://me:secret@host.io/app:1?token=secret": `invalid image name "https://host.io/app:1": ` +
			`leave out https://, as in host.io/app:1`,
		"127.0.0.1:5000": `invalid image name "127.0.0.1:5000": this is a host; an image is named ` +
			`HOST/REPOSITORY[:TAG|@DIGEST]`,
		"./app.tar": `invalid image name "./app.tar": this is a path; an image is named ` +
			`[HOST/]REPOSITORY[:TAG|@DIGEST]`,
		"127.0.0.1:5000/app:1": `invalid image name "127.0.0.1:5000/app:1": its host "127.0.0.1:5000" must be ` +
			`<account>.dkr.ecr.<region>.amazonaws.com, or as the region's partition has it`,
	} {
		_, err := names.ParseECR(text)
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestIsPath(t *testing.T) {
	for text, want := range map[string]bool{
		".": true, "..": true, "./image": true, "../image": true, "/tmp/image": true, "~/image": true,
		"image.tar": true, "folder/image.tar.gz": true, "image.tgz": true, "My Image.tar": true,
		"": false, "app": false, "team/app": false, "app:1.tar": false, "registry.example/app.tar": false,
		"127.0.0.1:5000/app.tar": false, "http://host/app.tar": false, "app@sha256:1.tar": false, "...": false,
	} {
		if got := names.IsPath(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"app:1", "registry.example:5000/a/b@" + sha(256),
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1", "[::1]/a"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, parse := range map[string]func(string) (names.Image, error){"Parse": names.Parse,
			"ParseHosted": names.ParseHosted, "ParseECR": names.ParseECR} {
			got, err := parse(text)
			switch {
			case err != nil && (got != names.Image{} || !errors.Is(err, names.ErrInvalid)):
				t.Errorf("%s(%q) = %+v, %v", name, text, got, err)
			case err == nil && (got.String() != text || !names.IsRepository(got.Repository)):
				t.Errorf("%s(%q) = %+v", name, text, got)
			}
		}
	})
}

// What may be secret in a URL is not shown, however it is malformed.
func TestWithoutSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"http://me:secret@host:5000/path?token=secret": "http://host:5000/path", "host:5000": "host:5000",
		"me:secret@host": "host", "http:/me:secret@host": "host", "": "",
		"https://host/me:secret@other": "https://other",
	} {
		if got := names.WithoutSecrets(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Docker Hub has no repository without a folder, which is library for its own.
func TestDockerHub(t *testing.T) {
	for _, text := range []string{"docker.io/nginx", "docker.io/nginx:1"} {
		if _, err := names.Parse(text); err == nil || !strings.Contains(err.Error(), "docker.io/library/nginx") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := names.Parse("docker.io/library/nginx:1"); err != nil {
		t.Error(err)
	}
}
