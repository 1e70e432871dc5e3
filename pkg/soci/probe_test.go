package soci_test

import (
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

// configDigest is that of the config of every SOCI index, "{}".
const configDigest digest.Digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

// leftNamed is what was pushed beside that and the zTOCs: what anybody can see.
func (s *store) leftNamed() []ocispec.Descriptor {
	return slices.DeleteFunc(s.left(), func(d ocispec.Descriptor) bool { return d.MediaType == soci.ZtocMediaType })
}

// left is what was pushed beside the two bytes that try whether anything can be.
func (s *store) left() []ocispec.Descriptor {
	return slices.DeleteFunc(slices.Clone(s.pushed),
		func(d ocispec.Descriptor) bool { return d.Digest == configDigest })
}

// Without permission to push the run fails before a layer is read, whether the two
// bytes are there or not.
func TestPushRefusedBeforeReading(t *testing.T) {
	for _, there := range []bool{false, true} {
		for _, row := range []struct {
			name   string
			method string
			fault  registrytest.Fault
			class  error
		}{
			{"POST denied", http.MethodPost, registrytest.Status(403, "DENIED", "no"), ecrclient.ErrDenied},
			{"PUT denied", http.MethodPut, registrytest.Status(403, "DENIED", "no"), ecrclient.ErrDenied},
			{"no login", http.MethodPost, registrytest.Status(401, "UNAUTHORIZED", "no"), ecrclient.ErrDenied},
			{"a mirror", http.MethodPost, registrytest.Status(405, "UNSUPPORTED", "read only"), nil},
			{"down", http.MethodPost, registrytest.Status(503, "", ""), ecrclient.ErrUnavailable},
		} {
			t.Run(row.name, func(t *testing.T) {
				s := registrytest.Start(t)
				img := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 1))})
				if there {
					s.PushBlob(t, repoName, []byte("{}"))
				}
				s.Add(registrytest.Rule{Method: row.method, Path: "/blobs/uploads/", Fault: row.fault})
				repo := openRepo(t, s)
				r, err := soci.IndexImage(t.Context(), repo, repo, img.Manifest, both("v1"))
				e, ok := errors.AsType[*ecrclient.Error](err)
				if !ok || e.Op != "push blob" || r != nil {
					t.Fatalf("%v %+v", err, r)
				}
				if row.class != nil && !errors.Is(err, row.class) ||
					!strings.Contains(err.Error(), "before any layer is read") {
					t.Errorf("%v %+v", err, r)
				}
				if n := s.Count(http.MethodGet, img.Layers[0].Digest.String()); n != 0 {
					t.Errorf("the layer was read %d times", n)
				}

				// A dry run pushes nothing, so it needs no permission.
				o := both("v1")
				o.DryRun = true
				if r, err = soci.IndexImage(t.Context(), repo, repo, img.Manifest, o); err != nil ||
					r.Outcome() != soci.OutcomeIndexed {
					t.Errorf("dry run: %v %+v", err, r)
				}
			})
		}
	}
}

// Nothing is tried where no layer is to be read, and what is tried is counted
// once.
func TestProbe(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	img := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 1))})
	small := both("v1")
	small.MinLayerSize = 1 << 30
	small.TagUnindexed = false
	if _, err := soci.IndexImage(t.Context(), repo, repo, img.Manifest, small); err != nil ||
		s.Count(http.MethodPost, "") != 0 {
		t.Errorf("no layer to index: %v, %d uploads", err, s.Count(http.MethodPost, ""))
	}
	r, err := soci.IndexImage(t.Context(), repo, repo, img.Manifest, both("v1"))
	if err != nil {
		t.Fatal(err)
	}
	want := r.Manifests[0].Layers[0].Ztoc.Size + r.Manifests[0].Index.Size + r.Manifests[0].IndexV2.Size +
		r.Manifests[0].Enabled.Size + r.Enabled.Image.Size
	if r.BytesPushed != want {
		t.Errorf("%d bytes pushed, want %d", r.BytesPushed, want)
	}
	s.Clear()
	again := both("v1")
	again.Catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: "v1", TagSuffix: "-soci"})
	if _, err := soci.IndexImage(t.Context(), repo, repo, img.Manifest, again); err != nil ||
		s.Count(http.MethodPost, "") != 0 {
		t.Errorf("all zTOCs are there: %v, %d uploads", err, s.Count(http.MethodPost, ""))
	}

	// Some registries take no blob twice.
	s.Clear()
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/blobs/uploads/",
		Fault: registrytest.Status(400, "LAYER_ALREADY_EXISTS", "")})
	if r, err := soci.IndexImage(t.Context(), repo, repo, img.Manifest, both("v1")); err != nil || r.BytesPushed != 0 {
		t.Errorf("a registry that takes no blob twice: %v %+v", err, r)
	}
}
