package soci_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
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
		gone          string   // of the SOCI-enabled image, of windows: "index", "manifest", "ztoc"
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
		{"its zTOC is gone", nil, []string{amd64}, false, "ztoc", false, []string{amd64, s390x}, false, false},
		{"its zTOC is gone, by force", nil, []string{amd64}, false, "ztoc", true, []string{amd64, s390x}, false, false},
		{"its SOCI index is damaged", nil, []string{amd64}, false, "index damaged", false, []string{amd64, s390x},
			false, false},
		{"what stands for it is damaged", nil, []string{amd64}, false, "manifest damaged", false,
			[]string{amd64, s390x}, false, false},
		{"its SOCI index is listed in another size", nil, []string{amd64}, false, "size", false,
			[]string{amd64, s390x}, false, false},
		{"another one is without a config", nil, []string{amd64}, false, "s390x config", false,
			[]string{windows, amd64, s390x}, true, true},
		{"its SOCI index is gone, and another one is without a config", nil, []string{amd64}, false,
			"index s390x config", false, []string{amd64, s390x}, false, false},
		{"another one's manifest is gone", nil, []string{amd64}, false, "s390x manifest", false,
			[]string{windows, amd64}, true, false},
		{"another one's manifest is gone, and its zTOC", nil, []string{amd64}, false, "ztoc s390x manifest", false,
			[]string{amd64}, false, false},
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
			damage := func(path string) {
				s.Add(registrytest.Rule{Method: http.MethodGet, Path: path, Fault: registrytest.Corrupt(20)})
			}
			index := indexesOf(was)[windows]
			gone, other, _ := strings.Cut(tt.gone, "s390x ")
			switch strings.TrimSpace(gone) {
			case "manifest":
				lose("/manifests/" + was.Manifests[0].Digest.String())
			case "manifest damaged":
				damage("/manifests/" + was.Manifests[0].Digest.String())
			case "index":
				lose("/manifests/" + index.String())
			case "index damaged":
				damage("/manifests/" + index.String())
			case "size":
				i := slices.IndexFunc(was.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == index })
				was.Manifests[i].Size++
				s.PushManifest(t, repoName, "v1-soci", ocispec.MediaTypeImageIndex, jsonOf(t, was))
			case "ztoc":
				lose("/blobs/" + readManifest(t, s, index).Layers[0].Digest.String())
			}
			switch other {
			case "config":
				lose("/blobs/" + parts[2].Config.Digest.String())
			case "manifest":
				lose("/manifests/" + parts[2].Manifest.Digest.String())
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
			if state := stateFor(t, repo, image, tt.after); state != soci.EnabledMatches {
				t.Errorf("status: %s", state)
			}
		})
	}
}

// stateFor is the state of the suffixed tag of v1, with this choice.
func stateFor(t *testing.T, repo *ecrclient.Repository, image ocispec.Descriptor, choice []string) soci.EnabledState {
	t.Helper()
	status, err := soci.Examine(t.Context(), repo, image, []string{"v1"},
		soci.Options{MinLayerSize: 1, Choice: choice}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return status.Enabled[0].State
}

// What is listed as the SOCI index of a platform without its config is kept only if
// it is one, of its layers, with zTOCs that are there; otherwise the state before an
// index run is that something is broken, and afterwards that nothing is.
func TestKeepsNothingBroken(t *testing.T) {
	const amd64, windows = "linux/amd64", "windows/amd64"
	for _, row := range []struct {
		name  string
		spoil func(t *testing.T, s *registrytest.Server, was *ocispec.Index, of map[string]registrytest.Pushed) []byte
	}{
		{"zTOC that is gone", func(t *testing.T, s *registrytest.Server, was *ocispec.Index,
			_ map[string]registrytest.Pushed) []byte {
			ztoc := readManifest(t, s, indexesOf(was)[windows]).Layers[0].Digest.String()
			s.Add(registrytest.Rule{Path: "/blobs/" + ztoc,
				Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
			return nil
		}},
		{"SOCI index that is damaged", func(_ *testing.T, s *registrytest.Server, was *ocispec.Index,
			_ map[string]registrytest.Pushed) []byte {
			s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/manifests/" + indexesOf(was)[windows].String(),
				Fault: registrytest.Corrupt(20)})
			return nil
		}},
		{"image manifest", func(t *testing.T, s *registrytest.Server, _ *ocispec.Index,
			of map[string]registrytest.Pushed) []byte {
			m := readManifest(t, s, of[amd64].Manifest.Digest)
			m.MediaType = ocispec.MediaTypeImageManifest
			return jsonOf(t, m)
		}},
		{"SOCI index of another platform", func(t *testing.T, s *registrytest.Server, was *ocispec.Index,
			_ map[string]registrytest.Pushed) []byte {
			return s.Manifest(t, repoName, indexesOf(was)[amd64].String())
		}},
		{"SOCI index without a zTOC", func(t *testing.T, s *registrytest.Server, was *ocispec.Index,
			_ map[string]registrytest.Pushed) []byte {
			m := readManifest(t, s, indexesOf(was)[windows])
			m.Layers = m.Layers[:0]
			return jsonOf(t, m)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			of := map[string]registrytest.Pushed{}
			for i, p := range []string{windows, amd64} {
				of[p] = s.PushImage(t, repoName, "",
					registrytest.Image{Layers: layers(good(t, i)), Platform: p, Docker: true})
			}
			image := s.PushIndex(t, repoName, "v1", false, of[windows].Manifest, of[amd64].Manifest)
			o := both("v1")
			if _, err := soci.IndexImage(t.Context(), repo, repo, image, o); err != nil {
				t.Fatal(err)
			}
			was := readIndex(t, s, "v1-soci")
			if instead := row.spoil(t, s, was, of); instead != nil {
				list(t, s, was, indexesOf(was)[windows], instead)
			}
			s.Add(registrytest.Rule{Path: "/blobs/" + of[windows].Config.Digest.String(),
				Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
			o.Choice = []string{amd64}
			if state := stateFor(t, repo, image, o.Choice); state != soci.EnabledBroken {
				t.Errorf("before: %s", state)
			}
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
				t.Fatal(err, r)
			}
			if got := indexesOf(readIndex(t, s, "v1-soci")); len(got) != 1 || got[amd64] == "" {
				t.Errorf("SOCI indexes of %v", got)
			}
			if state := stateFor(t, repo, image, o.Choice); state != soci.EnabledMatches {
				t.Errorf("afterwards: %s", state)
			}
		})
	}
}

// list has the SOCI-enabled image v1-soci, whose content is x, list other content in
// place of a SOCI index, as if that were what belongs to the image manifest.
func list(t *testing.T, s *registrytest.Server, x *ocispec.Index, index digest.Digest, other []byte) {
	t.Helper()
	pushed := s.PushManifest(t, repoName, "", ocispec.MediaTypeImageManifest, other)
	at := slices.IndexFunc(x.Manifests, func(d ocispec.Descriptor) bool {
		return d.Annotations[soci.AnnotationIndexDigest] == index.String()
	})
	m := readManifest(t, s, x.Manifests[at].Digest)
	m.Annotations[soci.AnnotationIndexDigest] = pushed.Digest.String()
	stands := s.PushManifest(t, repoName, "", ocispec.MediaTypeImageManifest, jsonOf(t, m))
	x.Manifests[at].Digest, x.Manifests[at].Size = stands.Digest, stands.Size
	x.Manifests[at].Annotations = m.Annotations
	i := slices.IndexFunc(x.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == index })
	x.Manifests[i].Digest, x.Manifests[i].Size = pushed.Digest, pushed.Size
	x.Manifests[i].Annotations = map[string]string{soci.AnnotationImageManifestDigest: stands.Digest.String()}
	s.PushManifest(t, repoName, "v1-soci", ocispec.MediaTypeImageIndex, jsonOf(t, x))
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
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
