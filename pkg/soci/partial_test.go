package soci_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// A bad entry of an image index does not affect the others. Their SOCI indexes v1
// are pushed; the SOCI-enabled image is made only if no image manifest failed.
func TestOneChildNeverTakesTheOthers(t *testing.T) {
	corrupt := slices.Clone(good(t, 1))
	corrupt[len(corrupt)-8] ^= 1
	linux := func(d ocispec.Descriptor, arch string) ocispec.Descriptor {
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		return d
	}
	// odd pushes what only its descriptor calls an image manifest.
	odd := func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		p := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 3))})
		return s.PushManifest(t, repoName, "", ocispec.MediaTypeImageManifest,
			[]byte(strings.Replace(string(p.Bytes), `"schemaVersion":2`, `"schemaVersion":1`, 1)))
	}
	// absent is a manifest that was not copied.
	absent := func(t *testing.T, s *registrytest.Server, mediaType string) ocispec.Descriptor {
		d := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64"}).Manifest
		if mediaType == ocispec.MediaTypeImageIndex {
			d = s.PushIndex(t, repoName, "", false, d)
		}
		s.Add(registrytest.Rule{Path: "/manifests/" + d.Digest.String(),
			Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
		d.Platform = nil
		return d
	}
	for _, tt := range []struct {
		name  string
		child func(t *testing.T, s *registrytest.Server) ocispec.Descriptor
		want  soci.Outcome
		err   error // nil: the image is indexed in both versions
	}{
		{"sparse copy", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return linux(absent(t, s, ocispec.MediaTypeImageManifest), "arm64")
		}, soci.OutcomeMissing, nil},
		{"sparse copy, without a platform", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return absent(t, s, ocispec.MediaTypeImageManifest)
		}, soci.OutcomeMissing, nil},
		{"image index that was not copied", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return absent(t, s, ocispec.MediaTypeImageIndex)
		}, soci.OutcomeMissing, nil},
		{"layer of size 0", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return s.PushImage(t, repoName, "",
				registrytest.Image{Platform: "linux/arm64", Layers: layers(nil)}).Manifest
		}, soci.OutcomeNoLayer, nil},
		{"artifact with an empty file", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return s.PushReferrer(t, repoName, absent(t, s, ocispec.MediaTypeImageManifest), "application/vnd.example",
				nil)
		}, soci.OutcomePassedOver, nil},
		{"no manifest by its content", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return odd(t, s)
		}, soci.OutcomeUnreadable, nil},
		{"unknown media type", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			d := odd(t, s)
			d.MediaType = "application/vnd.oci.artifact.manifest.v1+json"
			return d
		}, soci.OutcomePassedOver, nil},
		{"the same with a platform", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return linux(odd(t, s), "arm64")
		}, soci.OutcomeFailed, soci.ErrCorrupt},
		{"corrupt layer", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return s.PushImage(t, repoName, "",
				registrytest.Image{Platform: "linux/arm64", Layers: layers(corrupt, good(t, 2))}).Manifest
		}, soci.OutcomeFailed, soci.ErrCorrupt},
		{"truncated layer", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			b := good(t, 1)
			return s.PushImage(t, repoName, "",
				registrytest.Image{Platform: "linux/arm64", Layers: layers(b[:len(b)/2])}).Manifest
		}, soci.OutcomeFailed, soci.ErrTruncated},
		{"config that is not there", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 1))})
			s.Add(registrytest.Rule{Path: "/blobs/" + p.Config.Digest.String(),
				Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
			return p.Manifest
		}, soci.OutcomeFailed, ecrclient.ErrNotFound},
		{"layer that is not there", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 1))})
			s.Add(registrytest.Rule{Path: "/blobs/" + p.Layers[0].Digest.String(),
				Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
			return p.Manifest
		}, soci.OutcomeFailed, ecrclient.ErrNotFound},
		{"layer that the registry cannot serve", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 1))})
			s.Add(registrytest.Rule{Path: "/blobs/" + p.Layers[0].Digest.String(),
				Fault: registrytest.Status(http.StatusInternalServerError, "UNKNOWN", "")})
			return p.Manifest
		}, soci.OutcomeFailed, ecrclient.ErrUnavailable},
		{"manifest that the registry cannot serve", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 1))})
			s.Add(registrytest.Rule{Path: "/manifests/" + p.Manifest.Digest.String(),
				Fault: registrytest.Status(http.StatusInternalServerError, "UNKNOWN", "")})
			return p.Manifest
		}, soci.OutcomeFailed, ecrclient.ErrUnavailable},
		{"image indexes nested too deep", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			d := s.PushImage(t, repoName, "",
				registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 1))}).Manifest
			for range 4 {
				d = s.PushIndex(t, repoName, "", false, d)
			}
			return d
		}, soci.OutcomeFailed, soci.ErrLimit},
	} {
		for _, order := range []string{"first", "last"} {
			t.Run(tt.name+", "+order, func(t *testing.T) {
				s := registrytest.Start(t)
				repo := openRepo(t, s)
				sound := s.PushImage(t, repoName, "",
					registrytest.Image{Layers: layers(good(t, 0), good(t, 2))}).Manifest
				parts := []ocispec.Descriptor{sound, tt.child(t, s)}
				at := 0
				if order == "first" {
					slices.Reverse(parts)
					at = 1
				}
				image := s.PushIndex(t, repoName, "v1", false, parts...)
				r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
				if r == nil {
					t.Fatal(err)
				}
				if m := r.Manifests[at]; m.Outcome != soci.OutcomeIndexed ||
					s.Manifest(t, repoName, m.Index.Digest.String()) == nil {
					t.Errorf("the sound manifest: %+v", m)
				}
				if m := r.Manifests[1-at]; m.Outcome != tt.want || m.Reason == "" || m.Index.Digest != "" {
					t.Errorf("the other: %s %q", m.Outcome, m.Reason)
				}
				checkPartial(t, s, r, err, tt.err, parts[1-at].Digest)
				if tt.err == nil {
					x := readIndex(t, s, "v1-soci")
					if got := x.Manifests[1-at]; tt.want == soci.OutcomeMissing && got.Digest != parts[1-at].Digest {
						t.Errorf("its entry is %+v", got)
					}
					if status := examine(t, s, "v1"); status.Enabled[0].State != soci.EnabledMatches {
						t.Errorf("examined: %+v", status.Enabled)
					}
				}
				// A second run is the same, and pushes nothing.
				again, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
				if again == nil || again.BytesPushed != 0 || again.Outcome() != r.Outcome() {
					t.Errorf("again: %v %+v", err, again)
				}
				// V2 alone leaves nothing behind when a manifest failed.
				o := both("v1")
				o.IndexVersion, o.TagSuffix = soci.V2, "-two"
				r, err = soci.IndexImage(t.Context(), repo, repo, image, o)
				if tt.err == nil {
					return
				}
				if r == nil {
					t.Fatalf("V2: no result, %v", err)
				}
				expect.Equal(t, expect.Facts{
					{"BytesPushed", r.BytesPushed, 0},
					{"this manifest indexed", r.Manifests[at].Outcome == soci.OutcomeIndexed, false},
					{"Outcome", r.Outcome(), soci.OutcomeFailed},
				}, "V2")
			})
		}
	}
}

func checkPartial(t *testing.T, s *registrytest.Server, r *soci.Result, err, want error, child digest.Digest) {
	t.Helper()
	if want == nil {
		if err != nil || r.Outcome() != soci.OutcomeIndexed || r.Enabled.Outcome != soci.OutcomeTagged {
			t.Fatalf("%v %s %+v", err, r.Outcome(), r.Enabled)
		}
		return
	}
	failed, ok := errors.AsType[soci.ManifestErrors](err)
	if !ok || len(failed) != 1 || !errors.Is(err, want) {
		t.Fatalf("%v, want %v of one manifest", err, want)
	}
	if failed[0].Manifest != child && !strings.Contains(err.Error(), "nested") {
		t.Errorf("manifest %s failed, want %s: %v", failed[0].Manifest, child, err)
	}
	if n := strings.Count(err.Error(), child.String()); n > 2 {
		t.Errorf("the digest stands %d times: %v", n, err)
	}
	expect.Equal(t, expect.Facts{
		{"Outcome", r.Outcome(), soci.OutcomeFailed},
		{"Enabled.Outcome", r.Enabled.Outcome, soci.OutcomeFailed},
		{"without a reason", r.Enabled.Reason == "", false},
		{"the suffixed tag", tagged(t, s, "v1-soci"), ""},
	}, "of a failed manifest")
}

// A source that is out of order is not asked for every layer.
func TestSourceGivenUp(t *testing.T) {
	s := newStore()
	broken := errors.New("the line broke")
	var images []ocispec.Descriptor
	for i, arch := range []string{"amd64", "arm64", "s390x", "ppc64le", "riscv64"} {
		l := s.add(gz, good(t, i%4))
		l.Digest = digest.FromString(arch)
		s.fetchErr[l.Digest] = broken
		images = append(images, s.image(arch, l))
	}
	o := everyLayer
	o.Concurrency = 1
	r, err := soci.IndexImage(t.Context(), s, s, s.index(images...), o)
	if !errors.Is(err, broken) || r != nil {
		t.Errorf("%v %+v", err, r)
	}
}

// An image without a platform has none in the SOCI-enabled image either: an
// empty architecture is nobody's, while clients read the config of an entry
// without a platform.
func TestNoPlatform(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		listed       *ocispec.Platform
		platform     string
	}{
		{"empty config", `{}`, nil, "unknown"},
		{"empty strings", `{"os":"","architecture":""}`, nil, "unknown"},
		{"no operating system", `{"architecture":"arm64"}`, nil, "linux/arm64"},
		{"no architecture", `{"os":"linux"}`, nil, "unknown"},
		{"both", `{"os":"linux","architecture":"arm64","variant":"v8"}`,
			&ocispec.Platform{OS: "linux", Architecture: "arm64"}, "linux/arm64"},
	} {
		for _, inIndex := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				s := registrytest.Start(t)
				repo := openRepo(t, s)
				image := s.PushImage(t, repoName, "v1",
					registrytest.Image{Layers: layers(good(t, 0)), Config: []byte(tt.config)}).Manifest
				image.Platform = nil
				if inIndex {
					image = s.PushIndex(t, repoName, "v1", false, image)
				}
				r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
				if err != nil || r.Outcome() != soci.OutcomeIndexed || r.Manifests[0].Platform != tt.platform {
					t.Fatalf("%v %+v", err, r)
				}
				x := readIndex(t, s, "v1-soci")
				for i, d := range x.Manifests {
					want := tt.listed
					if inIndex && i == 0 {
						want = nil // as the original lists it
					}
					if (d.Platform == nil) != (want == nil) || want != nil &&
						(d.Platform.OS != want.OS || d.Platform.Architecture != want.Architecture) {
						t.Errorf("entry %d has the platform %+v, want %+v", i, d.Platform, want)
					}
				}
				if b := s.Manifest(t, repoName, "v1-soci"); strings.Contains(string(b), `"architecture":""`) ||
					strings.Contains(string(b), `"os":""`) {
					t.Errorf("%s", b)
				}
				small := both("v1")
				small.MinLayerSize, small.TagSuffix = 1<<30, "-none"
				if _, err := soci.IndexImage(t.Context(), repo, repo, image, small); err != nil {
					t.Fatal(err)
				}
				if b := s.Manifest(t, repoName, "v1-none"); strings.Contains(string(b), `"architecture":""`) {
					t.Errorf("unindexed: %s", b)
				}
			})
		}
	}
}

// Docker before 1.10 pushed configs under another media type; such an image
// gets its SOCI indexes, and OCI's media types in the SOCI-enabled image.
func TestEarlyDocker(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	p := s.PushImage(t, repoName, "", registrytest.Image{Docker: true, Layers: layers(good(t, 0))})
	b := strings.Replace(string(p.Bytes), registrytest.DockerConfig, "application/octet-stream", 1)
	image := s.PushManifest(t, repoName, "v1", registrytest.DockerManifest, []byte(b))
	r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil || r.Outcome() != soci.OutcomeIndexed || r.Enabled.Outcome != soci.OutcomeTagged {
		t.Fatalf("%v %+v", err, r)
	}
	if m := readManifest(t, s, r.Manifests[0].Enabled.Digest); m.Config.MediaType != ocispec.MediaTypeImageConfig {
		t.Errorf("%+v", m.Config)
	}
}

// With V2 alone one failed manifest ends the work on all layers. Those that were
// given up are not said to be indexed, and no SOCI index names them, not even the
// one by which zTOCs of other functions are read back.
func TestLayersGivenUp(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	amd64 := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(rootFS()[0], good(t, 1))})
	none := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/s390x"})
	failing := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 2))})
	image := s.PushIndex(t, repoName, "v1", false, amd64.Manifest, none.Manifest, failing.Manifest)
	o := smallSpans("/usr/lib/libc.so.6")
	o.IndexVersion = soci.V2
	built, err := soci.BuildLayer(t.Context(), repo, repo, amd64.Layers[0], o)
	if err != nil {
		t.Fatal(err)
	}
	s.Clear()
	r, err := soci.Publish(t.Context(), repo, repo, image, o, []soci.LayerOutcome{built,
		{Layer: failing.Layers[0].Digest, Size: failing.Layers[0].Size, Err: soci.ErrCorrupt}})
	if failed, ok := errors.AsType[soci.ManifestErrors](err); !ok || len(failed) != 1 {
		t.Fatal(err)
	}
	m := r.Manifests[0]
	if len(m.Layers) != 1 || !m.Layers[0].Indexed() || m.Layers[0].Layer.Digest != amd64.Layers[0].Digest {
		t.Errorf("layers %+v, want the one that was built", m.Layers)
	}
	for i, want := range []soci.Outcome{soci.OutcomePassedOver, soci.OutcomeNoLayer, soci.OutcomeFailed} {
		if got := r.Manifests[i]; got.Outcome != want || got.Reason == "" {
			t.Errorf("manifest %d: %s, %q, want %s", i, got.Outcome, got.Reason, want)
		}
	}
	if n := s.Count(http.MethodPut, "/manifests/"); n != 0 || len(r.Warnings) != 0 {
		t.Errorf("%d manifests were pushed, with warnings %q", n, r.Warnings)
	}
	// The same when none of its layers was built.
	if r, err = soci.Publish(t.Context(), repo, repo, image, o, []soci.LayerOutcome{
		{Layer: failing.Layers[0].Digest, Size: failing.Layers[0].Size, Err: soci.ErrCorrupt}}); r == nil {
		t.Fatal(err)
	}
	if m := r.Manifests[0]; m.Outcome != soci.OutcomePassedOver || len(m.Layers) != 0 {
		t.Errorf("%s, layers %+v", m.Outcome, m.Layers)
	}
}
