package soci_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// examine looks at the image that a tag names.
func examine(t *testing.T, s *registrytest.Server, tag string) *soci.Status {
	t.Helper()
	repo := openRepo(t, s)
	image, err := repo.Resolve(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	status, err := soci.Examine(t.Context(), repo, image, []string{tag}, soci.Options{MinLayerSize: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func index(t *testing.T, s *registrytest.Server, tag string, o soci.Options) *soci.Result {
	t.Helper()
	repo := openRepo(t, s)
	image, err := repo.Resolve(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func deleteManifest(t *testing.T, s *registrytest.Server, d digest.Digest) {
	t.Helper()
	(&world{t: t, s: s}).untag(d.String())
}

func TestExamineEnabled(t *testing.T) {
	v1 := both("v1")
	v1.IndexVersion = soci.V1
	push := func(t *testing.T, s *registrytest.Server) { platformImages(t, s, "v1") }
	tests := []struct {
		name string
		make func(t *testing.T, s *registrytest.Server)
		want soci.EnabledState
		v1   int // manifests with a SOCI index v1
		v2   int // and with one of v2

		other bool // the reason is that it was made of another image
	}{
		{"not indexed", push, soci.EnabledAbsent, 0, 0, false},
		{"V1", func(t *testing.T, s *registrytest.Server) { push(t, s); index(t, s, "v1", v1) }, soci.EnabledAbsent,
			2, 0,
			false},
		{"Both", func(t *testing.T, s *registrytest.Server) { push(t, s); index(t, s, "v1", both("v1")) },
			soci.EnabledMatches, 2, 2, false},
		{"one manifest", func(t *testing.T, s *registrytest.Server) {
			s.PushImage(t, repoName, "v1", registrytest.Image{Docker: true, Layers: layers(good(t, 0))})
			index(t, s, "v1", both("v1"))
		}, soci.EnabledMatches, 1, 1, false},
		{"nested", func(t *testing.T, s *registrytest.Server) {
			image, _ := platformImages(t, s, "")
			s.PushIndex(t, repoName, "v1", true, image)
			index(t, s, "v1", both("v1"))
		}, soci.EnabledMatches, 2, 2, false},
		{"the tag was moved", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			index(t, s, "v1", both("v1"))
			s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 2))})
		}, soci.EnabledStale, 0, 0, true},
		{"the tag was moved to one of its manifests", func(t *testing.T, s *registrytest.Server) {
			_, parts := platformImages(t, s, "v1")
			index(t, s, "v1", both("v1"))
			s.PushManifest(t, repoName, "v1", parts[1].MediaType, s.Manifest(t, repoName, parts[1].Digest.String()))
		}, soci.EnabledStale, 1, 0, false},
		{"a platform was added", func(t *testing.T, s *registrytest.Server) {
			_, parts := platformImages(t, s, "v1")
			index(t, s, "v1", both("v1"))
			more := s.PushImage(t, repoName, "",
				registrytest.Image{Platform: "linux/riscv64", Layers: layers(good(t, 2))})
			s.PushIndex(t, repoName, "v1", false, append(parts, more.Manifest)...)
		}, soci.EnabledStale, 2, 0, false},
		{"no layer to index", func(t *testing.T, s *registrytest.Server) {
			s.PushImage(t, repoName, "v1", registrytest.Image{})
			index(t, s, "v1", both("v1"))
		}, soci.EnabledUnindexed, 0, 0, false},
		{"no layer to index in what the tag named", func(t *testing.T, s *registrytest.Server) {
			s.PushImage(t, repoName, "v1", registrytest.Image{})
			index(t, s, "v1", both("v1"))
			push(t, s)
		}, soci.EnabledStale, 0, 0, true},
		{"somebody's image", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			s.PushImage(t, repoName, "v1-soci", registrytest.Image{})
		}, soci.EnabledForeign, 0, 0, false},
		{"somebody's image index",
			func(t *testing.T, s *registrytest.Server) { push(t, s); platformImages(t, s, "v1-soci") },
			soci.EnabledForeign, 0, 0, false},
		{"a SOCI index was deleted", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			deleteManifest(t, s, index(t, s, "v1", both("v1")).Manifests[0].IndexV2.Digest)
		}, soci.EnabledBroken, 2, 1, false},
		{"without the attestation, as another tool makes it", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			index(t, s, "v1", both("v1"))
			x := readIndex(t, s, "v1-soci")
			x.Manifests[3].Annotations = nil
			b, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			s.PushManifest(t, repoName, "v1-soci", x.MediaType, b)
		}, soci.EnabledMatches, 2, 2, false},
		{"without one of the images", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			index(t, s, "v1", both("v1"))
			x := readIndex(t, s, "v1-soci")
			x.Manifests = append(x.Manifests[:2:2], x.Manifests[3:]...)
			b, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			s.PushManifest(t, repoName, "v1-soci", x.MediaType, b)
		}, soci.EnabledStale, 2, 0, false},
		{"the same image, written otherwise", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			index(t, s, "v1", both("v1"))
			s.PushManifest(t, repoName, "v1-soci", ociIndex, rewritten(t, s, "v1-soci", "written by", "another tool"))
		}, soci.EnabledDiffers, 2, 2, false},
		{"the same image, whose SOCI index is not listed", func(t *testing.T, s *registrytest.Server) {
			push(t, s)
			index(t, s, "v1", both("v1"))
			s.PushManifest(t, repoName, "v1-soci", ociIndex,
				rewritten(t, s, "v1-soci", soci.AnnotationIndexDigest, digest.FromString("gone").String()))
		}, soci.EnabledBroken, 2, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			tt.make(t, s)
			s.Clear()
			status := examine(t, s, "v1")
			e := status.Enabled[0]
			if e.State != tt.want || e.EnabledTag != "v1-soci" ||
				(e.Image.Digest == "") != (tt.want == soci.EnabledAbsent) {
				t.Errorf("%+v, want %s", e, tt.want)
			}
			if other := strings.HasSuffix(e.Reason, "made of another image"); other != tt.other {
				t.Errorf("reason %q", e.Reason)
			}
			if explained := tt.want != soci.EnabledAbsent && tt.want != soci.EnabledMatches &&
				tt.want != soci.EnabledUnindexed; (e.Reason != "") != explained {
				t.Errorf("reason %q", e.Reason)
			}
			n := 0
			for _, m := range status.Manifests {
				for _, found := range m.Indexes {
					if found.BuildTool != soci.BuildToolIdentifier {
						t.Errorf("built by %q", found.BuildTool)
					}
				}
				n += min(len(m.Indexes), 1)
			}
			if n != tt.v1 || len(e.Indexes) != tt.v2 {
				t.Errorf("%d with V1, %d with V2, want %d, %d", n, len(e.Indexes), tt.v1, tt.v2)
			}
			if n := s.Count(http.MethodPut, "") + s.Count(http.MethodPost, ""); n != 0 {
				t.Errorf("%d requests that write", n)
			}
		})
	}
}

// rewritten returns a SOCI-enabled image of which the first two image manifests
// have another annotation, and are listed as they then are.
func rewritten(t *testing.T, s *registrytest.Server, tag, annotation, value string) []byte {
	t.Helper()
	x := readIndex(t, s, tag)
	for i := range 2 {
		m := readManifest(t, s, x.Manifests[i].Digest)
		m.Annotations[annotation] = value
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		old := x.Manifests[i].Digest.String()
		d := s.PushManifest(t, repoName, "", ociManifest, b)
		x.Manifests[i].Digest, x.Manifests[i].Size = d.Digest, d.Size
		for _, listed := range x.Manifests {
			if listed.Annotations[soci.AnnotationImageManifestDigest] == old {
				listed.Annotations[soci.AnnotationImageManifestDigest] = d.Digest.String()
			}
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExamineLayers(t *testing.T) {
	s := registrytest.Start(t)
	platformImages(t, s, "v1")
	repo := openRepo(t, s)
	image, err := repo.Resolve(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(good(t, 0)))
	status, err := soci.Examine(t.Context(), repo, image, nil, soci.Options{MinLayerSize: size + 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Manifests) != 4 || len(status.Enabled) != 0 {
		t.Fatalf("%+v", status)
	}
	amd, none, attestation := status.Manifests[0], status.Manifests[2], status.Manifests[3]
	if amd.Platform != "linux/amd64" || amd.Layers[0].Reason != soci.SkipTooSmall || amd.Layers[0].Detail == "" {
		t.Errorf("%+v", amd)
	}
	if indexable := int64(len(good(t, 1))) > size; amd.Indexable() != indexable {
		t.Errorf("Indexable is %t: %+v", amd.Indexable(), amd.Layers)
	}
	if none.Layers[0].Reason != soci.SkipTooSmall || none.Indexable() {
		t.Errorf("%+v", none)
	}
	if attestation.Reason != "attestation-manifest" || attestation.Platform != "" {
		t.Errorf("%+v", attestation)
	}
	if none := examine(t, s, "v1").Manifests[2]; none.Layers[0].Reason != soci.SkipZstd || none.Indexable() {
		t.Errorf("%+v", none)
	}
}

func TestExamineOthers(t *testing.T) {
	s := registrytest.Start(t)
	image, _ := platformImages(t, s, "v1")
	o := both("v1")
	o.BuildToolIdentifier = "another tool"
	index(t, s, "v1", o)
	index(t, s, "v1", soci.Options{MinLayerSize: 1})
	status := examine(t, s, "v1")
	if tools := status.Manifests[0].Indexes; len(tools) != 2 || tools[0].BuildTool == tools[1].BuildTool {
		t.Errorf("%+v", tools)
	}
	for _, found := range status.Enabled[0].Indexes {
		if found.BuildTool != "another tool" {
			t.Errorf("%+v", found)
		}
	}

	s.PushImage(t, repoName, "out", registrytest.Image{Layers: layers(good(t, 0)),
		Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Labels":{"soci-index-builder.skip":"true"}}}`)})
	if status := examine(t, s, "out"); status.LeftAlone != soci.OutcomeOptedOut || status.Reason == "" {
		t.Errorf("%+v", status)
	}
	if status := examine(t, s, "v1-soci"); status.LeftAlone != soci.OutcomeOwnArtifact || status.Manifests != nil {
		t.Errorf("%+v", status)
	}
	// A second manifest of a platform has its SOCI index too.
	other := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 3))})
	first := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 2))})
	s.PushIndex(t, repoName, "twice", false, first.Manifest, other.Manifest)
	index(t, s, "twice", both("twice"))
	if e := examine(t, s, "twice").Enabled[0]; e.State != soci.EnabledMatches || len(e.Indexes) != 2 {
		t.Errorf("%+v", e)
	}

	repo := openRepo(t, s)
	long := strings.Repeat("t", 128)
	status, err := soci.Examine(t.Context(), repo, image, []string{"v1", long}, soci.Options{}, nil)
	if err != nil {
		t.Fatalf("%+v, %v", status, err)
	}
	expect.Equal(t, expect.Facts{
		{"Enabled[0].State", status.Enabled[0].State, soci.EnabledMatches},
		{"Enabled[1].State", status.Enabled[1].State, soci.EnabledAbsent},
		{"Enabled[1].EnabledTag", status.Enabled[1].EnabledTag, ""},
		{`status.Enabled[1].Reason == ""`, status.Enabled[1].Reason == "", false},
	}, "%+v, %v", status, err)
	if _, err := soci.Examine(t.Context(), repo, image, nil, soci.Options{TagSuffix: "/"}, nil); !errors.Is(err,
		soci.ErrInvalidOption) {
		t.Errorf("suffix: %v", err)
	}
	gone := ocispec.Descriptor{MediaType: image.MediaType, Digest: digest.FromString("gone"), Size: 4}
	if _, err := soci.Examine(t.Context(), repo, gone, nil, soci.Options{}, nil); !errors.Is(err,
		ecrclient.ErrNotFound) {
		t.Errorf("gone: %v", err)
	}
	s.Add(registrytest.Rule{Path: "/manifests/v1-soci$",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
	if _, err := soci.Examine(t.Context(), repo, image, []string{"v1"}, soci.Options{}, nil); !errors.Is(err,
		ecrclient.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
}
