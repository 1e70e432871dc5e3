package soci_test

import (
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// The requests for an image with one layer, and those for one that is indexed
// already. Each request costs time on every push, and counts against a registry's
// quotas: nothing is asked for twice.
func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		version      soci.IndexVersion
		first, again int
	}{
		{soci.V1, 12, 8},
		{soci.V2, 20, 13},
		{soci.Both, 23, 14},
	} {
		t.Run(string(tt.version), func(t *testing.T) {
			s := registrytest.Start(t)
			s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))})
			for _, want := range []int{tt.first, tt.again} {
				s.Clear()
				o := both("v1")
				o.IndexVersion = tt.version
				index(t, s, "v1", o)
				if got := s.Requests(); len(got) > want {
					var lines []string
					for _, r := range got {
						lines = append(lines, r.Method+" "+r.Path)
					}
					t.Errorf("%d requests, want %d at most:\n%s", len(got), want, strings.Join(lines, "\n"))
				}
			}
		})
	}
}
