package soci_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// The SOCI index of a platform that is no longer chosen, and has lost its config,
// stays with its prefetch artifacts when the SOCI-enabled image is made anew; if it
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
			if stays != (row.lost == 0) || len(next.Warnings) != row.lost ||
				row.lost > 0 && !strings.Contains(next.Warnings[0], "for linux/arm64 lists 1 prefetch artifact;") {
				t.Errorf("stays: %t, %q", stays, next.Warnings)
			}
		})
	}
}
