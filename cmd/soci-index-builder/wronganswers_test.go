package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// wrongAnswer is what a server in a registry's place says to a manifest's URL.
type wrongAnswer struct {
	status int
	header map[string]string
	body   string
}

// manifest answers with an image manifest.
func manifest(layers string) wrongAnswer {
	return wrongAnswer{200, map[string]string{"Content-Type": ocispec.MediaTypeImageManifest},
		`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"mediaType":"` +
			ocispec.MediaTypeImageConfig + `","digest":"` + ocispec.DescriptorEmptyJSON.Digest.String() +
			`","size":2},"layers":` + layers + `}`}
}

func as(mediaType, body string) wrongAnswer {
	return wrongAnswer{200, map[string]string{"Content-Type": mediaType}, body}
}

// What a registry answers is reported in one line of plain words, with exit code 1.
func TestWrongAnswers(t *testing.T) {
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	gone := digest.FromString("gone").String()
	layer := `{"mediaType":"` + ocispec.MediaTypeImageLayerGzip + `","digest":%q,"size":%s}`
	answers := map[string]struct {
		answer wrongAnswer
		want   string
	}{
		"cut":   {as(image, `{"schemaVersion":2,`), "not a manifest: the JSON ends in the middle"},
		"array": {as(image, `[]`), "not a manifest: it must be an object, and is an array"},
		"empty": {as(image, ``), "not a manifest: the JSON ends in the middle"},
		"words": {as(image, `no manifest`), "not a manifest: it is no JSON from byte 2 on"},
		"size": {manifest(`[` + fmt.Sprintf(layer, gone, `"big"`) + `]`),
			`"layers.size" must be a whole number, and is a string`},
		"layers":   {manifest(`{}`), `"layers" must be an array, and is an object`},
		"negative": {manifest(`[` + fmt.Sprintf(layer, gone, `-1`) + `]`), "has a size of -1 bytes"},
		"digest":   {manifest(`[` + fmt.Sprintf(layer, "sha256:xyz", `1`) + `]`), `digest "sha256:xyz"`},
		"toomany": {manifest(`[` + strings.Repeat(fmt.Sprintf(layer, gone, `1`)+`,`, 1024) +
			fmt.Sprintf(layer, gone, `1`) +
			`]`),
			"has 1025 layers, and at most 1024 are supported"},
		"schema1": {as("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`),
			"push the image again with a current builder"},
		"large": {as(image, `{"a":"`+strings.Repeat("x", 5<<20)+`"}`), "manifest too large: "},
		"child": {as(index, `{"schemaVersion":2,"manifests":[{"mediaType":"`+image+`","digest":"md5:1","size":4}]}`),
			`digest "md5:1"`},
		"teapot":  {wrongAnswer{418, nil, "tea"}, "418 I'm a teapot"},
		"method":  {wrongAnswer{405, nil, ""}, "405 Method Not Allowed"},
		"nothing": {wrongAnswer{204, nil, ""}, "204 No Content"},
		"name": {wrongAnswer{400, map[string]string{"Content-Type": "application/json"},
			`{"errors":[{"code":"NAME_INVALID","message":"invalid repository name"}]}`},
			"400 Bad Request"},
		"forbidden": {wrongAnswer{403, map[string]string{"Content-Type": "application/json"},
			`{"errors":[{"code":"DENIED","message":"no"}]}`},
			"403 Forbidden"},
		"login": {wrongAnswer{401, nil, ""}, `log in with "docker login 127.0.0.1:`},
		"basic": {wrongAnswer{401, map[string]string{"Www-Authenticate": `Basic realm="x"`}, ""},
			"there are no credentials for 127.0.0.1:"},
		"token": {wrongAnswer{401, map[string]string{"Www-Authenticate": `Bearer realm="http://HOST/page",service="s"`},
			""},
			"the server that gives out the registry's tokens answered with none (check the host, and HTTPS_PROXY)"},
		"realm": {wrongAnswer{401, map[string]string{"Www-Authenticate": `Bearer realm="ftp://x",service="s"`}, ""},
			`bearer realm "ftp://x" uses unsupported scheme "ftp"`},
		"loop": {wrongAnswer{302, map[string]string{"Location": "/v2/team/loop/manifests/1"}, ""},
			"stopped after 10 redirects"},
		"redirect": {wrongAnswer{302, map[string]string{"Location": "ftp://x/y"}, ""},
			`refused a redirect to scheme "ftp"`},
		"otherwhere": {wrongAnswer{200, map[string]string{"Content-Type": image, "Docker-Content-Digest": gone}, `{}`},
			"404 Not Found: the registry has no such content"},
		"page": {wrongAnswer{404, map[string]string{"Content-Type": "text/html"}, "<h1>nothing</h1>"},
			"404 Not Found, with a web page instead of a registry's answer (check the image's name, the host, and " +
				"HTTPS_PROXY)"},
		"pageofregistry": {wrongAnswer{404, map[string]string{"Content-Type": "text/html",
			"Docker-Distribution-Api-Version": "registry/2.0"}, "<h1>nothing</h1>"},
			"404 Not Found: the registry has no such repository or tag"},
		"refusedpage": {wrongAnswer{403, map[string]string{"Content-Type": "text/html"}, "<h1>no</h1>"},
			"403 Forbidden, with a web page instead of a registry's answer (check the host, and HTTPS_PROXY)"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			fmt.Fprint(w, "<html>")
			return
		}
		parts := strings.Split(r.URL.Path, "/") // /v2/team/NAME/manifests/REFERENCE
		a, ok := answers[parts[min(3, len(parts)-1)]]
		if len(parts) == 6 && parts[4] == "tags" {
			fmt.Fprint(w, `{"name":"team/app","tags":[1]}`)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/blobs/"+ocispec.DescriptorEmptyJSON.Digest.String()) {
			fmt.Fprint(w, "{}")
			return
		}
		if !ok || len(parts) != 6 || parts[4] != "manifests" ||
			strings.HasPrefix(parts[5], "sha256:") && parts[5] != digest.FromString(a.answer.body).String() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if a.answer.status == http.StatusOK {
			w.Header().Set("Docker-Content-Digest", digest.FromString(a.answer.body).String())
		}
		for name, value := range a.answer.header {
			w.Header().Set(name, strings.ReplaceAll(value, "HOST", r.Host))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(a.answer.body)))
		w.WriteHeader(a.answer.status)
		if r.Method == http.MethodGet {
			fmt.Fprint(w, a.answer.body)
		}
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	told := func(t *testing.T, want string, args ...string) {
		t.Helper()
		cmd := exec.Command(programName, args...)
		cmd.Env = append(cmd.Environ(), "HOME=/no-home", "DOCKER_CONFIG=/no-home")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		text := stderr.String()
		if cmd.ProcessState.ExitCode() != exitFailure || len(out) > 0 {
			t.Fatalf("%q ends with %d and %q, %s; want one line with %q", args, cmd.ProcessState.ExitCode(), text, out,
				want)
		}
		if strings.Count(text, "\n") != 1 || !strings.Contains(text, want) || raw.MatchString(text) {
			t.Errorf("%q ends with %d and %q, %s; want one line with %q", args, cmd.ProcessState.ExitCode(), text, out,
				want)
		}
	}
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) { told(t, tt.want, "inspect", host+"/team/"+name+":1") })
	}
	told(t, `the list of tags: "tags" must be a string, and is a number`, "status", host+"/team/app")
}
