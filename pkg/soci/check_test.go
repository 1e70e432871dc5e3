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
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// emptied is the zTOC that earlier releases made of a layer that is no tar: of
// the layer's size, and without entries.
func emptied(t *testing.T, layer []byte, size int64) []byte {
	t.Helper()
	z, err := soci.BuildZtoc(strings.NewReader(string(layer)), soci.ZtocOptions{SpanSize: 64 << 10, AllowMisread: true})
	if err != nil {
		t.Fatal(err)
	}
	z.Entries, z.UncompressedSize, z.CompressedSize = nil, 1024, size
	b, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every way in which a zTOC that a SOCI index lists can be of no use is found:
// what existence and size show always, the rest by a deep look. An index run
// mends what it can.
func TestCheckZtocs(t *testing.T) {
	erofs := append(make([]byte, 1024), testlayers.Noise(7, 20<<10)...)
	other := func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
		s.PushImage(t, repoName, "other", registrytest.Image{Layers: layers(good(t, 3))})
		d := index(t, s, "other", both("other")).Manifests[0].Layers[0].Ztoc
		d.Annotations = z.Annotations
		return d
	}
	push := func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor, b []byte) ocispec.Descriptor {
		d := s.PushBlob(t, repoName, b)
		d.MediaType, d.Annotations = z.MediaType, z.Annotations
		return d
	}
	for _, tt := range []struct {
		name    string
		layer   []byte // nil is one with files
		replace func(t *testing.T, s *registrytest.Server,
			z ocispec.Descriptor) ocispec.Descriptor // what the SOCI indexes list
		spoil   func(s *registrytest.Server, z digest.Digest)
		shallow soci.FaultKind
		deep    soci.FaultKind
		text    string
	}{
		{name: "sound"},
		{name: "an empty archive", layer: testlayers.GoGzip(make([]byte, 10240), 9, 0)},
		{name: "missing", spoil: func(s *registrytest.Server, z digest.Digest) {
			spoil(s, z, append(get, head...), registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", ""), false)
		}, shallow: soci.FaultMissing, deep: soci.FaultMissing, text: "is not in the repository"},
		{name: "of another size", spoil: func(s *registrytest.Server, z digest.Digest) {
			spoil(s, z, head, registrytest.Header("Content-Length", "7"), false)
		}, shallow: soci.FaultSize, deep: soci.FaultSize, text: "has 7 bytes of it"},
		{name: "there, and cannot be fetched", spoil: func(s *registrytest.Server, z digest.Digest) {
			spoil(s, z, get, registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", ""), false)
		}, deep: soci.FaultMissing, text: "is not in the repository"},
		{name: "damaged", spoil: func(s *registrytest.Server,
			z digest.Digest) {
			spoil(s, z, get, registrytest.Corrupt(99), false)
		},
			deep: soci.FaultDamaged, text: "is damaged"},
		{name: "swapped for another layer's", replace: other, deep: soci.FaultOtherLayer, text: "another layer"},
		{name: "of a layer of another image",
			replace: func(_ *testing.T, _ *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
				z.Annotations[soci.AnnotationLayerDigest] = digest.FromString("another").String()
				return z
			}, shallow: soci.FaultForeign, deep: soci.FaultForeign, text: "does not have"},
		{name: "of another span size than is said",
			replace: func(_ *testing.T, _ *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
				z.Annotations[soci.AnnotationSpanSize] = "4194304"
				return z
			}, deep: soci.FaultOtherLayer, text: "span size"},
		{name: "no zTOC", replace: func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
			return push(t, s, z, []byte("no flatbuffer, however one reads it"))
		}, deep: soci.FaultNotZtoc, text: "is no zTOC"},
		{name: "the earlier mistake: no archive, taken for an empty one", layer: erofs,
			replace: func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
				return push(t, s, z, emptied(t, make([]byte, 1024), int64(len(erofs))))
			}, deep: soci.FaultNoArchive, text: "no empty archive"},
		{name: "the earlier mistake, compressed",
			layer: testlayers.GoGzip(append(make([]byte, 1024), make([]byte, 10240)...), 9, 0),
			replace: func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
				b := testlayers.GoGzip(append(make([]byte, 1024), make([]byte, 10240)...), 9, 0)
				return push(t, s, z, emptied(t, testlayers.GoGzip(make([]byte, 1024), 9, 0), int64(len(b))))
			}, deep: soci.FaultNoArchive, text: "no empty archive"},
		{name: "the earlier mistake, of a layer too large to read",
			layer: append(make([]byte, 1024), testlayers.Noise(9, 2<<20)...),
			replace: func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
				return push(t, s, z, emptied(t, good(t, 0), 1024+2<<20))
			}, deep: soci.FaultNoArchive, text: "2098176 bytes"},
		{name: "no files, and the layer has some",
			replace: func(t *testing.T, s *registrytest.Server, z ocispec.Descriptor) ocispec.Descriptor {
				return push(t, s, z, emptied(t, good(t, 0), int64(len(good(t, 0)))))
			}, deep: soci.FaultNoArchive, text: "it has "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			layer := tt.layer
			if layer == nil {
				layer = good(t, 0)
			}
			image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(layer)}).Manifest
			d := ocispec.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size}
			z := ocispec.Descriptor{MediaType: soci.ZtocMediaType, Annotations: map[string]string{
				soci.AnnotationLayerDigest: digest.FromBytes(layer).String(), soci.AnnotationSpanSize: "65536"}}
			if r := index(t, s, "v1", both("v1")); r.Manifests[0].Outcome == soci.OutcomeIndexed {
				z = r.Manifests[0].Layers[0].Ztoc
			}
			if tt.replace != nil {
				z = tt.replace(t, s, z)
				m := ocispec.Manifest{MediaType: ociManifest, Subject: &d, Layers: []ocispec.Descriptor{z},
					Annotations: map[string]string{soci.AnnotationBuildToolIdentifier: soci.BuildToolIdentifier}}
				m.SchemaVersion = 2
				m.Config = s.PushBlob(t, repoName, []byte("{}"))
				m.Config.MediaType = soci.ArtifactTypeV1
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				for _, old := range examine(t, s, "v1").Manifests[0].Indexes {
					deleteManifest(t, s, old.Index.Digest)
				}
				s.PushManifest(t, repoName, "", ociManifest, b)
			}
			if tt.spoil != nil {
				tt.spoil(s, z.Digest)
			}
			for _, deep := range []bool{false, true} {
				want := tt.shallow
				if deep {
					want = tt.deep
				}
				check := soci.NewChecker(repo, deep)
				for range 2 {
					status, err := soci.Examine(t.Context(), repo, d, []string{"v1"}, soci.Options{MinLayerSize: 1},
						check)
					if err != nil {
						t.Fatal(err)
					}
					found := status.Manifests[0].Indexes[0]
					if want == "" {
						if !found.Sound() || found.Trouble() != "" {
							t.Errorf("deep %t: %s", deep, found.Trouble())
						}
						continue
					}
					if len(found.Faults) != 1 {
						t.Fatalf("deep %t: %+v, want %s", deep, found.Faults, want)
					}
					if found.Faults[0].Kind != want || !strings.Contains(found.Trouble(), tt.text) || found.Sound() {
						t.Errorf("deep %t: %+v, want %s", deep, found.Faults, want)
					}
					if tt.replace == nil && (status.Enabled[0].State != soci.EnabledBroken ||
						!strings.Contains(status.Enabled[0].Reason, tt.text)) {
						t.Errorf("deep %t: %+v", deep, status.Enabled[0])
					}
				}
			}
			if tt.deep == "" || tt.replace != nil {
				return
			}
			o := both("v1")
			o.Catalog = &catalog{indexes: []ocispec.Descriptor{examine(t, s, "v1").Manifests[0].Indexes[0].Index}}
			if _, err := soci.IndexImage(t.Context(), repo, repo, d, o); err != nil {
				t.Fatal(err)
			}
			if status, err := soci.Examine(t.Context(), repo, d, []string{"v1"}, soci.Options{MinLayerSize: 1},
				soci.NewChecker(repo, true)); err != nil ||
				!status.Manifests[0].Indexes[0].Sound() || status.Enabled[0].State != soci.EnabledMatches {
				t.Errorf("after an index run: %v %+v", err, status)
			}
		})
	}
}

// A zTOC that many SOCI indexes list is asked for once, and read once.
func TestCheckOnce(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	tags := []string{"a", "b", "c"}
	for i, tag := range tags {
		s.PushImage(t, repoName, tag, registrytest.Image{Layers: layers(good(t, 0), good(t, i+1))})
		index(t, s, tag, both(tag))
	}
	shared := examine(t, s, "a").Manifests[0].Layers[0].Layer.Digest
	ztoc := ""
	for _, l := range index(t, s, "a", both("a")).Manifests[0].Layers {
		if l.Layer.Digest == shared {
			ztoc = l.Ztoc.Digest.String()
		}
	}
	s.Clear()
	check := soci.NewChecker(repo, true)
	for _, tag := range slices.Concat(tags, tags) {
		image, err := repo.Resolve(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := soci.Examine(t.Context(), repo, image, []string{tag}, soci.Options{MinLayerSize: 1},
			check); err != nil {
			t.Fatal(err)
		}
	}
	if heads, gets := s.Count(http.MethodHead, ztoc), s.Count(http.MethodGet, ztoc); heads != 1 || gets != 1 {
		t.Errorf("asked for %d times, read %d times", heads, gets)
	}
	if n := s.Count(http.MethodGet, "/blobs/"+shared.String()); n != 0 {
		t.Errorf("a layer was read")
	}
}
