package soci_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// pushPlatforms pushes an image index with an image of one layer for each
// platform.
func pushPlatforms(t *testing.T, s *registrytest.Server, tag string, platforms ...string) ocispec.Descriptor {
	t.Helper()
	var parts []ocispec.Descriptor
	for i, p := range platforms {
		parts = append(parts,
			s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, i)), Platform: p}).Manifest)
	}
	return s.PushIndex(t, repoName, tag, false, parts...)
}

// Image manifests of platforms that are not chosen get no SOCI index, and an
// image that has no others is left alone.
func TestChoice(t *testing.T) {
	for _, tt := range []struct {
		name      string
		platforms []string // of the image
		choice    []string
		want      soci.Outcome
		indexed   []string
	}{
		{"every one", []string{"linux/amd64", "windows/amd64"}, nil, soci.OutcomeIndexed,
			[]string{"linux/amd64", "windows/amd64"}},
		{"by system", []string{"linux/amd64", "windows/amd64", "linux/arm64/v8"}, []string{"linux"},
			soci.OutcomeIndexed, []string{"linux/amd64", "linux/arm64"}},
		{"by architecture", []string{"linux/amd64", "linux/arm64"}, []string{"linux/arm64"}, soci.OutcomeIndexed,
			[]string{"linux/arm64"}},
		{"by one of two", []string{"linux/amd64", "linux/s390x"}, []string{"linux/arm64", "linux/amd64"},
			soci.OutcomeIndexed, []string{"linux/amd64"}},
		{"by variant", []string{"linux/arm/v7", "linux/arm/v6"}, []string{"linux/arm/v6"}, soci.OutcomeIndexed,
			[]string{"linux/arm/v6"}},
		{"none of one", []string{"windows/amd64"}, []string{"linux"}, soci.OutcomePlatformNotChosen, nil},
		{"none of two", []string{"linux/amd64", "windows/amd64"}, []string{"linux/arm64", "freebsd"},
			soci.OutcomePlatformNotChosen, nil},
	} {
		for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
			t.Run(tt.name+", "+string(version), func(t *testing.T) {
				s := registrytest.Start(t)
				repo := openRepo(t, s)
				image := pushPlatforms(t, s, "v1", tt.platforms...)
				s.Clear()
				o := both("v1")
				o.IndexVersion, o.Choice = version, tt.choice
				r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
				if err != nil || r.Outcome() != tt.want {
					t.Fatalf("%v %+v, want %s", err, r, tt.want)
				}
				var indexed []string
				for _, m := range r.Manifests {
					if m.Outcome == soci.OutcomeIndexed {
						indexed = append(indexed, m.Platform)
					}
				}
				if !slices.Equal(indexed, tt.indexed) {
					t.Errorf("indexed are %q, want %q", indexed, tt.indexed)
				}
				if tt.want != soci.OutcomePlatformNotChosen {
					return
				}
				if n := s.Count(http.MethodPut, "") + s.Count(http.MethodPost, ""); n != 0 {
					t.Errorf("%d requests that write", n)
				}
				for _, want := range slices.Concat(tt.platforms, tt.choice) {
					if !strings.Contains(r.Reason, want) {
						t.Errorf("the reason %q does not name %s", r.Reason, want)
					}
				}
			})
		}
	}
}

// An image of one manifest whose config says no platform is Linux, as for
// clients.
func TestChoiceOfUnknownPlatform(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1",
		registrytest.Image{Layers: layers(good(t, 0)), Config: []byte(`{}`)}).Manifest
	image.Platform = nil
	for choice, want := range map[string]soci.Outcome{"linux": soci.OutcomeIndexed,
		"linux/amd64": soci.OutcomePlatformNotChosen, "windows": soci.OutcomePlatformNotChosen} {
		o := both("v1")
		o.Choice, o.DryRun = []string{choice}, true
		if r, err := soci.IndexImage(t.Context(), repo, nil, image, o); err != nil || r.Outcome() != want {
			t.Errorf("%s: %v %+v, want %s", choice, err, r, want)
		}
	}
}

// The results of an earlier choice stay: the SOCI-enabled image keeps the SOCI
// index of a platform that is no longer chosen, byte for byte.
func TestChoiceKeepsWhatIsThere(t *testing.T) {
	for _, version := range []soci.IndexVersion{soci.V2, soci.Both} {
		s := registrytest.Start(t)
		repo := openRepo(t, s)
		image := pushPlatforms(t, s, "v1", "linux/amd64", "windows/amd64")
		o := both("v1")
		o.IndexVersion = version
		before, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, choice := range [][]string{{"linux"}, {"linux/arm64"}} {
			o.Choice = choice
			after, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || after.Enabled.Outcome != soci.OutcomeAlreadyTagged ||
				after.Enabled.Image.Digest != before.Enabled.Image.Digest {
				t.Errorf("%s, %q: %v %+v, want the SOCI-enabled image %s", version, choice, err, after,
					before.Enabled.Image.Digest)
			}
		}
		// Of another image the same tag keeps nothing.
		o.Choice = []string{"linux"}
		other := pushPlatforms(t, s, "v1", "windows/amd64", "linux/amd64")
		r, err := soci.IndexImage(t.Context(), repo, repo, other, o)
		if err != nil || len(r.Manifests) != 1 || r.Manifests[0].Platform != "linux/amd64" {
			t.Errorf("%s: %v %+v", version, err, r)
		}
	}
}

func TestInvalidChoice(t *testing.T) {
	_, err := soci.IndexImage(t.Context(), nil, nil, ocispec.Descriptor{}, soci.Options{Choice: []string{"Linux"}})
	if !errors.Is(err, soci.ErrInvalidOption) || !strings.Contains(err.Error(), "Linux") {
		t.Errorf("an invalid choice: %v", err)
	}
}
