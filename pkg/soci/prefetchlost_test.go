package soci_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// The SOCI index of a platform that is no longer chosen, and has lost its config,
// stays with its prefetch artifacts when the SOCI-enabled image is made again; if it
// does not stay, they are lost.
func TestPrefetchKept(t *testing.T) {
	for _, row := range []struct {
		name string
		lost int // warnings
	}{{"stays", 0}, {"its zTOC is gone", 1}} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			amd64 := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(rootFS()[1])})
			arm64 := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(rootFS()[1]),
				Platform: "linux/arm64"})
			image := s.PushIndex(t, repoName, "v1", false, amd64.Manifest, arm64.Manifest)
			o := smallSpans("/app/server")
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || r.Enabled.Outcome != soci.OutcomeTagged || r.Manifests[1].Prefetch == nil {
				t.Fatal(err, r)
			}
			gone := []digest.Digest{arm64.Config.Digest}
			if row.lost > 0 {
				gone = append(gone, readManifest(t, s, r.Manifests[1].IndexV2.Digest).Layers[0].Digest)
			}
			for _, d := range gone {
				s.Add(registrytest.Rule{Path: "/blobs/" + d.String(),
					Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
			}
			o.Choice, o.SpanSize = []string{"linux/amd64"}, 32<<10
			next, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || next.Enabled.Outcome != soci.OutcomeTagged {
				t.Fatal(err, next)
			}
			_, stays := indexesOf(readIndex(t, s, "v1-soci"))["linux/arm64"]
			if stays != (row.lost == 0) || len(next.Warnings) != row.lost {
				t.Errorf("stays: %t, and warnings %q, want %d", stays, next.Warnings, row.lost)
			}
			const want = "for linux/arm64 lists 1 prefetch artifact;"
			for _, warning := range next.Warnings {
				if !strings.Contains(warning, want) {
					t.Errorf("the warning is %q, want %q in it", warning, want)
				}
			}
		})
	}
}

// A tag does not lose what it has without a word.
func TestPrefetchLost(t *testing.T) {
	for _, tool := range []string{"soci-index-builder/1", "another tool"} { // that made what the tag names
		s := registrytest.Start(t)
		repo := openRepo(t, s)
		image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(rootFS()...)}).Manifest
		index := func(tool string, paths ...string) *soci.Result {
			t.Helper()
			o := smallSpans(paths...)
			o.BuildToolIdentifier = tool
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
				t.Fatal(err, r)
			}
			return r
		}
		with := index(tool, "/app/server")
		without := index("")
		want := fmt.Sprintf("v1-soci: the tag named the SOCI-enabled image %s, by %q, whose SOCI index %s for "+
			"linux/amd64 lists 1 prefetch artifact;", with.Enabled.Image.Digest, tool, with.Manifests[0].IndexV2.Digest)
		if len(without.Warnings) != 1 || !strings.HasPrefix(without.Warnings[0], want) {
			t.Errorf("%q, want %q", without.Warnings, want)
		}
		if r := index(tool, "/app/server"); len(r.Warnings) != 0 {
			t.Error(r.Warnings)
		}
		// An artifact of another layer does not take its place, one of the same layer
		// does.
		r := index("", "/usr/lib/libc.so.6")
		lost := fmt.Sprintf("has none for layer %s, since", with.Manifests[0].Prefetch.Artifacts[0].Layer)
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], want) || !strings.Contains(r.Warnings[0], lost) {
			t.Errorf("%q, want %q and %q", r.Warnings, want, lost)
		}
		if r := index(tool, "/usr/lib/libc.so.6", "/usr/lib/libm.so.1", "/app/server", "/app/config.json"); len(
			r.Warnings) != 0 {
			t.Error(r.Warnings)
		}
		r = index("", "/usr/lib/libc.so.6")
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "lists 3 prefetch artifacts; the one in its place "+
			"has none for 2 layers, the first of them "+with.Manifests[0].Prefetch.Artifacts[0].Layer.String()) {
			t.Errorf("%q", r.Warnings)
		}
	}
}

// A layer that the image under the tag no longer has takes its artifact along.
func TestPrefetchOfAnotherImage(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	for i, paths := range [][]string{{"/usr/lib/libc.so.6", "/app/server"}, {"/usr/lib/libc.so.6"}} {
		of := rootFS()[:2-i] // at last without the layer of /app
		image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(of...)}).Manifest
		r, err := soci.IndexImage(t.Context(), repo, repo, image, smallSpans(paths...))
		if err != nil || r.Enabled.Outcome != soci.OutcomeTagged || len(r.Manifests[0].Prefetch.Artifacts) != 2-i {
			t.Fatal(err, r)
		}
		if len(r.Warnings) != 0 {
			t.Errorf("%q", r.Warnings)
		}
	}
}

// One platform keeps its artifacts and another loses them.
func TestPrefetchLostForOnePlatform(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	push := func(arm64 string) ocispec.Descriptor {
		t.Helper()
		var manifests []ocispec.Descriptor
		for _, p := range []struct{ arch, label string }{{"amd64", "/app/server"}, {"arm64", arm64}} {
			manifests = append(manifests, s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(rootFS()...),
				Platform: "linux/" + p.arch, Config: labelledOn(p.arch, p.label)}).Manifest)
		}
		return s.PushIndex(t, repoName, "v1", false, manifests...)
	}
	index := func(image ocispec.Descriptor, tool string) *soci.Result {
		t.Helper()
		o := smallSpans()
		o.PrefetchLabel, o.BuildToolIdentifier = true, tool
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
			t.Fatal(err, r)
		}
		return r
	}
	if r := index(push("/app/server"), "another tool"); len(r.Warnings) != 0 {
		t.Fatal(r.Warnings)
	}
	r := index(push("/nothing/there"), "")
	lost := slices.DeleteFunc(r.Warnings, func(s string) bool { return !strings.Contains(s, "the tag named") })
	if len(lost) != 1 || !strings.Contains(lost[0], `by "another tool"`) ||
		!strings.Contains(lost[0], "for linux/arm64 lists 1 prefetch artifact;") {
		t.Errorf("%q", lost)
	}
}
