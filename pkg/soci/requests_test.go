package soci_test

import (
	"fmt"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// The requests for an image with one layer, and those for one that is indexed
// already. Each request costs time on every push, and counts against a registry's
// quotas: nothing is asked for twice.
func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		version      soci.IndexVersion
		ecr          bool
		first, again int
	}{
		// ECR lists a SOCI index v1 that it has. Of another registry that is known
		// once it is known to have the referrers API, for which it is asked.
		{soci.V1, false, 12, 9},
		{soci.V1, true, 11, 8},
		{soci.V2, false, 20, 13},
		{soci.V2, true, 20, 13},
		{soci.Both, false, 23, 15},
		{soci.Both, true, 22, 14},
	} {
		t.Run(fmt.Sprintf("%s, ECR %t", tt.version, tt.ecr), func(t *testing.T) {
			s := registrytest.Start(t)
			s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))})
			for _, want := range []int{tt.first, tt.again} {
				s.Clear()
				o := both("v1")
				o.IndexVersion = tt.version
				host := s.Host()
				if tt.ecr {
					host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
				}
				repo, err := ecrclient.New(host+"/"+repoName, ecrclient.WithEndpoint(s.URL()))
				if err != nil {
					t.Fatal(err)
				}
				image, err := repo.Resolve(t.Context(), "v1")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := soci.IndexImage(t.Context(), repo, repo, image, o); err != nil {
					t.Fatal(err)
				}
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
