package soci_test

import (
	"context"
	"errors"
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

// inParts is IndexImage with every layer built on its own. Outcomes that fail
// for their layer are handed to Publish, as those of a layer that was built.
func inParts(ctx context.Context, repo *ecrclient.Repository, image ocispec.Descriptor, o soci.Options) (*soci.Result,
	error) {
	w, err := soci.Plan(ctx, repo, repo, image, o)
	if err != nil {
		return nil, err
	}
	var outcomes []soci.LayerOutcome
	for _, l := range w.Layers() {
		l = ocispec.Descriptor{Digest: l.Digest, Size: l.Size} // no more is needed
		out, err := soci.BuildLayer(ctx, repo, repo, l, o)
		if out.Err = err; err != nil {
			if _, ok := errors.AsType[*soci.LayerError](err); !ok {
				return nil, err
			}
		}
		outcomes = append(outcomes, out)
	}
	return soci.Publish(ctx, repo, repo, image, o, outcomes)
}

// kinds are images of every kind, each pushed under the tag v1 unless tag says
// otherwise.
var kinds = []struct {
	name string
	push func(t *testing.T, s *registrytest.Server) ocispec.Descriptor
	tag  string // of the event; "" is v1, "-" none
	want soci.Outcome
}{
	{"one manifest", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0), good(t, 1))}).Manifest
	}, "", soci.OutcomeIndexed},
	{"untagged", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	}, "-", soci.OutcomeIndexed},
	{"platforms, Docker, a shared layer, zstd, an attestation",
		func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			image, _ := platformImages(t, s, "v1")
			return image
		}, "", soci.OutcomeIndexed},
	{"nested", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		p := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 2))}).Manifest
		return s.PushIndex(t, repoName, "v1", true, s.PushIndex(t, repoName, "", false, p), p)
	}, "", soci.OutcomeIndexed},
	{"one layer under two media types", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		b := good(t, 1)
		return s.PushImage(t, repoName, "v1", registrytest.Image{Layers: []registrytest.Layer{
			{Content: b}, {MediaType: registrytest.DockerLayer, Content: b}}}).Manifest
	}, "", soci.OutcomeIndexed},
	{"sha512", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "v1", registrytest.Image{Layers: []registrytest.Layer{
			{Content: good(t, 1), Algorithm: digest.SHA512}}}).Manifest
	}, "", soci.OutcomeIndexed},
	{"unindexable layer among others", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "v1",
			registrytest.Image{Layers: layers(unsupported(t, "gnu-sparse").Blob, good(t, 1))}).Manifest
	}, "", soci.OutcomeIndexed},
	{"only an unindexable layer", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "v1",
			registrytest.Image{Layers: layers(unsupported(t, "gnu-sparse").Blob)}).Manifest
	}, "", soci.OutcomeNoLayer},
	{"no layers", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "v1", registrytest.Image{}).Manifest
	}, "", soci.OutcomeNoLayer},
	{"an artifact", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		p := s.PushImage(t, repoName, "v1", registrytest.Image{}).Manifest
		return s.PushReferrer(t, repoName, p, "application/vnd.example", []byte("text"))
	}, "", soci.OutcomePassedOver},
	{"a manifest that was not copied", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		gone := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/arm64"}).Manifest
		image := s.PushIndex(t, repoName, "v1", false, gone,
			s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest)
		s.Add(registrytest.Rule{Path: "/manifests/" + gone.Digest.String(),
			Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
		return image
	}, "", soci.OutcomeIndexed},
	{"a corrupt layer of one platform", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		b := good(t, 1)
		b[len(b)-8] ^= 1
		return s.PushIndex(t, repoName, "v1", false,
			s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0), b)}).Manifest,
			s.PushImage(t, repoName, "",
				registrytest.Image{Platform: "linux/arm64", Layers: layers(good(t, 0), good(t, 2))}).Manifest)
	}, "", soci.OutcomeFailed},
	{"a truncated layer", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		b := good(t, 1)
		return s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(b[:len(b)/2])}).Manifest
	}, "", soci.OutcomeFailed},
	{"opted out", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		return s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0)),
			Config: []byte(
				`{"os":"linux","architecture":"amd64","config":{"Labels":{"soci-index-builder.skip":"true"}}}`),
		}).Manifest
	}, "", soci.OutcomeOptedOut},
	{"a list of SOCI indexes", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		p := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
		repo := openRepo(t, s)
		r, err := soci.IndexImage(t.Context(), repo, repo, p, everyLayer)
		if err != nil {
			t.Fatal(err)
		}
		return s.PushIndex(t, repoName, "v1", false, r.Manifests[0].Index)
	}, "", soci.OutcomeOwnArtifact},
	{"superseded", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 1))})
		return s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	}, "", soci.OutcomeSuperseded},
	{"taken", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		s.PushImage(t, repoName, "v1-soci", registrytest.Image{Layers: layers(good(t, 1))})
		return s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	}, "", soci.OutcomeTagTaken},
	{"immutable", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		s.PushManifest(t, repoName, "v1-soci", ocispec.MediaTypeImageIndex, []byte(
			`{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":[],"annotations":{"`+
				soci.AnnotationUnindexed+`":"true"}}`))
		image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
		s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/v1-soci$",
			Fault: registrytest.ImmutableTags(http.StatusBadRequest, "TAG_INVALID")})
		return image
	}, "", soci.OutcomeTagImmutable},
	{"nothing that could be an image", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
		p := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))})
		return s.PushManifest(t, repoName, "v1", ocispec.MediaTypeImageManifest,
			[]byte(strings.Replace(string(p.Bytes), `"schemaVersion":2`, `"schemaVersion":1`, 1)))
	}, "", ""},
}

// An image whose layers were built one by one has the result, the manifests and
// the tags of one that was indexed in one piece, whatever it is.
func TestInParts(t *testing.T) {
	for _, kind := range kinds {
		for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
			t.Run(kind.name+"/"+string(version), func(t *testing.T) {
				type run func(ctx context.Context, repo *ecrclient.Repository, image ocispec.Descriptor,
					o soci.Options) (
					*soci.Result, error)
				var (
					results []*soci.Result
					texts   []string
					stored  [][]string
				)
				for _, index := range []run{func(ctx context.Context, repo *ecrclient.Repository,
					image ocispec.Descriptor,
					o soci.Options) (*soci.Result, error) {
					return soci.IndexImage(ctx, repo, repo, image, o)
				}, inParts} {
					s := registrytest.Start(t)
					image := kind.push(t, s)
					image.Platform = nil
					o := both("v1")
					if o.IndexVersion = version; kind.tag == "-" {
						o.Tag = ""
					}
					repo := openRepo(t, s)
					o.Catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: o.Tag})
					r, err := index(t.Context(), repo, image, o)
					text := ""
					if err != nil {
						text = strings.ReplaceAll(err.Error(), s.Host(), "HOST")
					}
					manifests := []string{"v1 " + tagged(t, s, "v1").String(),
						"v1-soci " + tagged(t, s, "v1-soci").String()}
					for _, m := range s.Stored() {
						manifests = append(manifests, m.Digest.String())
					}
					results, texts, stored = append(results, r), append(texts, text), append(stored, manifests)
				}
				if texts[0] != texts[1] {
					t.Errorf("errors:\n%s\n%s", texts[0], texts[1])
				}
				if !slices.Equal(stored[0], stored[1]) {
					t.Errorf("what was stored:\n%s\n%s", stored[0], stored[1])
				}
				if (results[0] == nil) != (results[1] == nil) {
					t.Fatalf("results %+v and %+v", results[0], results[1])
				}
				if results[0] == nil {
					if kind.want != "" {
						t.Errorf("no result, want %s", kind.want)
					}
					return
				}
				compareResults(t, results[0], results[1])
				if got := results[1].Outcome(); version == soci.Both && got != kind.want {
					t.Errorf("%s, want %s", got, kind.want)
				}
			})
		}
	}
}

// compareResults compares all but what took time and how much was transferred,
// which is not Publish's.
func compareResults(t *testing.T, whole, parts *soci.Result) {
	t.Helper()
	if a, b := withoutTimes(whole), withoutTimes(parts); a != b {
		t.Errorf("results:\n%s\n%s", a, b)
	}
}

func withoutTimes(r *soci.Result) string {
	c := *r
	c.Seconds, c.BytesRead, c.BytesPushed = 0, 0, 0
	c.Manifests = slices.Clone(c.Manifests)
	for i := range c.Manifests {
		m := &c.Manifests[i]
		if r.Version == soci.V2 && r.Outcome() == soci.OutcomeFailed && m.Outcome != soci.OutcomeFailed {
			m.Layers, m.Outcome, m.Reason = nil, "", "" // how far the others came until the failure is chance
		}
		m.Layers = slices.Clone(m.Layers)
		for j := range m.Layers {
			m.Layers[j].Seconds = 0
		}
	}
	return encoded(c)
}

// A plan names each layer to be read once, the largest first, and a second one
// none.
func TestPlanLayers(t *testing.T) {
	s := registrytest.Start(t)
	image, _ := platformImages(t, s, "v1")
	repo := openRepo(t, s)
	o := both("v1")
	o.Catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: "v1"})
	w, err := soci.Plan(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	list := w.Layers()
	if len(list) != 3 || !slices.IsSortedFunc(list, func(a, b ocispec.Descriptor) int { return int(b.Size - a.Size) }) {
		t.Errorf("layers %+v", list)
	}
	for _, l := range list {
		if n := s.Count(http.MethodGet, "/blobs/"+l.Digest.String()); n != 0 {
			t.Errorf("layer %s was asked for %d times", l.Digest, n)
		}
	}
	if _, err := w.Index(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w, err = soci.Plan(t.Context(), repo, repo, image, o); err != nil {
		t.Fatal(err)
	}
	if list := w.Layers(); len(list) != 1 { // the zstd layer, of which nothing is remembered
		t.Errorf("layers after the image was indexed: %+v", list)
	}
}

// Publish takes a zTOC only for a layer of the image, in its size and as long as
// it is there; for the rest it reads the layer, once.
func TestPublishTakesOnlyWhatFits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  func(t *testing.T, s *registrytest.Server, outcomes []soci.LayerOutcome) []soci.LayerOutcome
		reads int // of layers
	}{
		{"all there", func(_ *testing.T, _ *registrytest.Server, o []soci.LayerOutcome) []soci.LayerOutcome {
			return o
		}, 0},
		{"one of another image", func(t *testing.T, _ *registrytest.Server, o []soci.LayerOutcome) []soci.LayerOutcome {
			other := o[0]
			other.Layer = digest.FromString("another layer")
			return append(o, other)
		}, 0},
		{"one missing", func(_ *testing.T, _ *registrytest.Server, o []soci.LayerOutcome) []soci.LayerOutcome {
			return o[1:]
		}, 1},
		{"of a layer of another size", func(_ *testing.T, _ *registrytest.Server,
			o []soci.LayerOutcome) []soci.LayerOutcome {
			o[0].Size++
			return o
		}, 1},
		{"gone", func(_ *testing.T, s *registrytest.Server, o []soci.LayerOutcome) []soci.LayerOutcome {
			s.Add(registrytest.Rule{Method: http.MethodHead, Path: "/blobs/" + o[0].Result.Ztoc.Digest.String(),
				Times: 1,
				Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
			return o
		}, 1},
		{"of another size", func(_ *testing.T, _ *registrytest.Server, o []soci.LayerOutcome) []soci.LayerOutcome {
			o[0].Result.Ztoc.Size++
			return o
		}, 1},
		{"too large for the layer, and there", func(t *testing.T, s *registrytest.Server,
			o []soci.LayerOutcome) []soci.LayerOutcome {
			large := make([]byte, max(o[0].Size, soci.SmallZtoc)+1)
			s.PushBlob(t, repoName, large)
			o[0].Result.Ztoc.Digest, o[0].Result.Ztoc.Size = digest.FromBytes(large), int64(len(large))
			return o
		}, 1},
		{"skipped for what the descriptor does not show", func(_ *testing.T, _ *registrytest.Server,
			o []soci.LayerOutcome) []soci.LayerOutcome {
			o[0].Result = soci.LayerResult{Reason: soci.SkipTooSmall}
			return o
		}, 1},
		{"skipped for a reason that is none", func(_ *testing.T, _ *registrytest.Server,
			o []soci.LayerOutcome) []soci.LayerOutcome {
			o[0].Result = soci.LayerResult{Reason: "made-up"}
			return o
		}, 1},
		{"no digest", func(_ *testing.T, _ *registrytest.Server, o []soci.LayerOutcome) []soci.LayerOutcome {
			o[0].Result.Ztoc.Digest = "sha256:1"
			return o
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0), good(t, 1))}).Manifest
			image.Platform = nil
			repo := openRepo(t, s)
			w, err := soci.Plan(t.Context(), repo, repo, image, both("v1"))
			if err != nil {
				t.Fatal(err)
			}
			var outcomes []soci.LayerOutcome
			for _, l := range w.Layers() {
				out, err := soci.BuildLayer(t.Context(), repo, repo, l, both("v1"))
				if err != nil {
					t.Fatal(err)
				}
				outcomes = append(outcomes, out)
			}
			first := outcomes[0].Size
			s.Clear()
			r, err := soci.Publish(t.Context(), repo, repo, image, both("v1"), tt.edit(t, s, outcomes))
			if err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
				t.Fatalf("%v %+v", err, r)
			}
			if want := int64(tt.reads) * first; r.BytesRead != want {
				t.Errorf("%d bytes of layers were read, want %d", r.BytesRead, want)
			}
			if report, err := soci.CheckBlobs(t.Context(), repo, ztocsOf(t, s, r)); err != nil ||
				slices.ContainsFunc(report,
					func(b soci.BlobStatus) bool { return b.State != soci.BlobPresent }) {
				t.Errorf("%v %+v", err, report)
			}
		})
	}
}

// ztocsOf returns the zTOCs that the SOCI index v1 of the first manifest lists.
func ztocsOf(t *testing.T, s *registrytest.Server, r *soci.Result) []ocispec.Descriptor {
	t.Helper()
	return readManifest(t, s, r.Manifests[0].Index.Digest).Layers
}

// A layer that cannot be read is its own fault; a repository that does not take
// a zTOC is not a fault of the layer. A dry run pushes nothing.
func TestBuildLayerErrors(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	b := good(t, 1)
	b[len(b)-8] ^= 1
	bad, sound := s.PushBlob(t, repoName, b), s.PushBlob(t, repoName, good(t, 0))
	_, err := soci.BuildLayer(t.Context(), repo, repo, bad, everyLayer)
	if l, ok := errors.AsType[*soci.LayerError](err); !ok || !errors.Is(err, soci.ErrCorrupt) || l.Layer != bad.Digest {
		t.Errorf("a corrupt layer: %v", err)
	}
	_, err = soci.BuildLayer(t.Context(), repo, repo, ocispec.Descriptor{Digest: "sha256:1", Size: 1}, everyLayer)
	if !errors.Is(err, soci.ErrCorrupt) {
		t.Errorf("no digest: %v", err)
	}
	s.Clear()
	dry := everyLayer
	dry.DryRun = true
	out, err := soci.BuildLayer(t.Context(), repo, nil, sound, dry)
	if err != nil || out.Result.Ztoc.Digest == "" || s.Count(http.MethodPost, "")+s.Count(http.MethodPut, "") != 0 {
		t.Errorf("a dry run: %v %+v", err, out)
	}
	s.Add(registrytest.Rule{Method: http.MethodPost, Fault: registrytest.Status(http.StatusForbidden, "DENIED", "no")})
	_, err = soci.BuildLayer(t.Context(), repo, repo, sound, everyLayer)
	if _, ok := errors.AsType[*soci.LayerError](err); ok || !errors.Is(err, ecrclient.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
}

// A missing permission to push shows in a probe, and of a plan without layers
// there is none.
func TestWorkProbe(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	empty := s.PushImage(t, repoName, "v2", registrytest.Image{}).Manifest
	s.Add(registrytest.Rule{Method: http.MethodPost, Fault: registrytest.Status(http.StatusForbidden, "DENIED", "no")})
	for _, tt := range []struct {
		image ocispec.Descriptor
		want  error
	}{{image, ecrclient.ErrDenied}, {empty, nil}} {
		w, err := soci.Plan(t.Context(), repo, repo, tt.image, both("v1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Probe(t.Context()); !errors.Is(err, tt.want) {
			t.Errorf("%v, want %v", err, tt.want)
		}
	}
}
