package soci_test

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// A platform that is no longer chosen loses its config, or its manifest: the SOCI
// indexes of the others stay, and its own as far as what stands for it is there.
func TestKeepsWithoutConfig(t *testing.T) {
	const amd64, s390x, windows = "linux/amd64", "linux/s390x", "windows/amd64"
	for _, tt := range []struct {
		name          string
		before, after []string // choices; none: every platform
		manifest      bool     // that is lost, too
		gone          string   // of the SOCI-enabled image: "index" or "manifest" of windows
		force         bool
		want          []string // with a SOCI index afterwards
		rewritten     bool     // windows is listed as before
		same          bool     // the SOCI-enabled image is as before
	}{
		{"all were", nil, []string{amd64}, false, "", false, []string{windows, amd64, s390x}, true, true},
		{"all were, by force", nil, []string{amd64}, false, "", true, []string{windows, amd64, s390x}, true, true},
		{"one more is", []string{"windows", amd64}, []string{"linux"}, false, "", false,
			[]string{windows, amd64, s390x}, true, false},
		{"another one, and one more", []string{"windows", amd64}, []string{s390x}, false, "", false,
			[]string{windows, amd64, s390x}, true, false},
		{"it never was", []string{"linux"}, []string{amd64}, false, "", false, []string{amd64, s390x}, true, true},
		{"its SOCI index is gone", nil, []string{amd64}, false, "index", false, []string{amd64, s390x}, false, false},
		{"what stands for it is gone", nil, []string{amd64}, false, "manifest", false, []string{amd64, s390x}, false,
			false},
		{"its manifest is gone", nil, []string{amd64}, true, "", false, []string{amd64, s390x}, false, false},
		{"its manifest is gone, and it never was", []string{"linux"}, []string{amd64}, true, "", false,
			[]string{amd64, s390x}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			var parts []registrytest.Pushed
			var listed []ocispec.Descriptor
			for i, p := range []string{windows, amd64, s390x} {
				parts = append(parts,
					s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, i)), Platform: p,
						Docker: true}))
				listed = append(listed, parts[i].Manifest)
			}
			image := s.PushIndex(t, repoName, "v1", false, listed...)
			o := both("v1")
			o.Choice = tt.before
			before, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatal(err)
			}
			was := readIndex(t, s, "v1-soci")
			lose := func(path string) {
				s.Add(registrytest.Rule{Path: path, Fault: registrytest.Status(http.StatusNotFound, "UNKNOWN", "")})
			}
			lose("/blobs/" + parts[0].Config.Digest.String())
			if tt.manifest {
				lose("/manifests/" + parts[0].Manifest.Digest.String())
			}
			switch tt.gone {
			case "manifest":
				lose("/manifests/" + was.Manifests[0].Digest.String())
			case "index":
				lose("/manifests/" + indexesOf(was)[windows].String())
			}
			o.Choice, o.Force = tt.after, tt.force
			after, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || (after.Enabled.Image.Digest == before.Enabled.Image.Digest) != tt.same {
				t.Fatalf("%v %+v, before %s", err, after, before.Enabled.Image.Digest)
			}
			is := readIndex(t, s, "v1-soci")
			if tt.rewritten != (is.Manifests[0].Digest == was.Manifests[0].Digest) ||
				tt.rewritten == (is.Manifests[0].Digest == listed[0].Digest) {
				t.Errorf("%s is listed as %s, was as %s, and is %s", windows, is.Manifests[0].Digest,
					was.Manifests[0].Digest,
					listed[0].Digest)
			}
			got, had := indexesOf(is), indexesOf(was)
			if len(got) != len(tt.want) {
				t.Errorf("SOCI indexes of %v, want %v", got, tt.want)
			}
			for _, p := range tt.want {
				if got[p] == "" || had[p] != "" && got[p] != had[p] {
					t.Errorf("%s: %q, before %q", p, got[p], had[p])
				}
			}
			o.Force = false
			again, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || again.Enabled.Outcome != soci.OutcomeAlreadyTagged || again.BytesPushed != 0 {
				t.Errorf("again: %v %+v", err, again)
			}
			status, err := soci.Examine(t.Context(), repo, image, []string{"v1"}, soci.Options{MinLayerSize: 1,
				Choice: tt.after}, nil)
			if err != nil || status.Enabled[0].State != soci.EnabledMatches {
				t.Errorf("status: %v %+v", err, status)
			}
		})
	}
}

// indexesOf returns the SOCI index of each platform that a SOCI-enabled image lists.
func indexesOf(x *ocispec.Index) map[string]digest.Digest {
	of := map[string]digest.Digest{}
	for _, d := range x.Manifests {
		if d.ArtifactType == soci.ArtifactTypeV2 {
			of[soci.PlatformText(d.Platform)] = d.Digest
		}
	}
	return of
}

// What stands in the SOCI-enabled image of another image is not taken for what
// cannot be read: the other platforms have to be the same.
func TestKeepsNothingOfAnother(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	push := func(layer int, platform string) registrytest.Pushed {
		return s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, layer)), Platform: platform})
	}
	a, b, c := push(0, "windows/amd64"), push(1, "linux/amd64"), push(2, "linux/s390x")
	o := both("v1")
	if _, err := soci.IndexImage(t.Context(), repo, repo,
		s.PushIndex(t, repoName, "v1", false, a.Manifest, b.Manifest, c.Manifest), o); err != nil {
		t.Fatal(err)
	}
	s.Add(registrytest.Rule{Path: "/manifests/" + a.Manifest.Digest.String(),
		Fault: registrytest.Status(http.StatusNotFound, "UNKNOWN", "")})
	o.Choice = []string{"linux/amd64"}
	for name, parts := range map[string][]ocispec.Descriptor{
		"another order":                  {b.Manifest, a.Manifest, c.Manifest},
		"one more":                       {a.Manifest, b.Manifest, c.Manifest, push(3, "linux/arm64").Manifest},
		"the others the other way round": {a.Manifest, c.Manifest, b.Manifest},
		"another platform":               {push(0, "freebsd/amd64").Manifest, b.Manifest, c.Manifest},
	} {
		r, err := soci.IndexImage(t.Context(), repo, repo, s.PushIndex(t, repoName, "v1", false, parts...), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := indexesOf(readIndex(t, s, "v1-soci")); len(got) != 1 || got["linux/amd64"] == "" {
			t.Errorf("%s: SOCI indexes of %v (%+v)", name, got, r)
		}
		// As it was for the next one.
		s.Clear()
		o.Choice = nil
		if _, err := soci.IndexImage(t.Context(), repo, repo,
			s.PushIndex(t, repoName, "v1", false, a.Manifest, b.Manifest, c.Manifest), o); err != nil {
			t.Fatal(err)
		}
		s.Add(registrytest.Rule{Path: "/manifests/" + a.Manifest.Digest.String(),
			Fault: registrytest.Status(http.StatusNotFound, "UNKNOWN", "")})
		o.Choice = []string{"linux/amd64"}
	}
}
