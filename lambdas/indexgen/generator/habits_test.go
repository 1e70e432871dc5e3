package generator

import (
	"maps"
	"net/http"
	"testing"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// On registries with habits of their own the result is the same as on any other,
// and a second event finds all of it.
func TestHandleHabits(t *testing.T) {
	clean := registrytest.Start(t)
	image, platform := multiImage(t, clean)
	if _, err := handlerOf(clean).Handle(t.Context(), push(image.Digest, "v1")); err != nil {
		t.Fatal(err)
	}
	want := made(t, clean, platform)
	status := func(status int) registrytest.Fault { return registrytest.Status(status, "", "") }
	for _, row := range []struct {
		name  string
		noAPI bool // the registry has no referrers API
		rule  registrytest.Rule
	}{
		{"referrers 400", true, registrytest.Rule{Path: "/referrers/", Fault: status(400)}},
		{"referrers 404", true, registrytest.Rule{Path: "/referrers/", Fault: registrytest.Page(404)}},
		{"referrers 405", true, registrytest.Rule{Path: "/referrers/", Fault: status(405)}},
		{"referrers 406", true, registrytest.Rule{Path: "/referrers/", Fault: status(406)}},
		{"referrers 501", true, registrytest.Rule{Path: "/referrers/", Fault: status(501)}},
		{"referrers 403", false, registrytest.Rule{Path: "/referrers/", Fault: status(403)}},
		{"referrers 503", false, registrytest.Rule{Path: "/referrers/", Fault: status(503)}},
		{"referrers, a page", true, registrytest.Rule{Path: "/referrers/", Fault: registrytest.Page(200)}},
		{"HEAD 405", false, registrytest.Rule{Method: http.MethodHead, Path: "/manifests/", Fault: status(405)}},
		{"HEAD of blobs 403", false, registrytest.Rule{Method: http.MethodHead, Path: "/blobs/", Fault: status(403)}},
		{"no digest", false,
			registrytest.Rule{Path: "/manifests/", Fault: registrytest.Header("Docker-Content-Digest", "")}},
		{"no media type", false,
			registrytest.Rule{Path: "/manifests/", Fault: registrytest.Header("Content-Type", "")}},
		{"Range 400", false, registrytest.Rule{Path: "/blobs/", Fault: registrytest.RefuseRange(400)}},
		{"Range 416", false, registrytest.Rule{Path: "/blobs/", Fault: registrytest.RefuseRange(416)}},
		{"Range 501", false, registrytest.Rule{Path: "/blobs/", Fault: registrytest.RefuseRange(501)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.StartWith(t, localregistry.Config{NoReferrers: row.noAPI})
			image, platform := multiImage(t, s)
			s.Add(row.rule)
			// Every blob of two pieces is read by ranges.
			h := handlerOf(s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}),
				ecrclient.WithParallel(ecrclient.Parallel{PieceSize: minSize / 2}))
			for n := range 2 {
				r, err := h.Handle(t.Context(), push(image.Digest, "v1"))
				if err != nil || r.Outcome != soci.OutcomeIndexed {
					t.Fatalf("event %d: %+v, %v", n+1, r, err)
				}
			}
			if got := made(t, s, platform); !maps.Equal(got, want) {
				t.Errorf("made %v, want %v", got, want)
			}
		})
	}
}
