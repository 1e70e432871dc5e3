package soci_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// spoil has a registry answer requests for one digest wrongly, until it is
// pushed again; then it does as stubborn says.
func spoil(s *registrytest.Server, d digest.Digest, methods []string, fault registrytest.Fault,
	stubborn bool) (pushes *atomic.Int64) {
	pushes = new(atomic.Int64)
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/blobs/uploads/|/manifests/" + d.String(),
		Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Query().Get("digest") == d.String() || strings.HasSuffix(r.URL.Path, d.String()) {
				pushes.Add(1)
			}
			next.ServeHTTP(w, r)
		}})
	for _, method := range methods {
		s.Add(registrytest.Rule{Method: method, Path: "/(blobs|manifests)/" + d.String() + "$",
			Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if pushes.Load() > 0 && !stubborn {
					next.ServeHTTP(w, r)
					return
				}
				fault(w, r, next)
			}})
	}
	return pushes
}

var get, head = []string{http.MethodGet}, []string{http.MethodHead}

// A blob that the registry has with other content than its digest says is pushed
// again; if that does not help, the run fails and names it.
func TestDamagedInRegistry(t *testing.T) {
	notFound := registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")
	for _, tt := range []struct {
		name     string
		methods  []string
		fault    registrytest.Fault
		manifest bool // the SOCI index is damaged, not a zTOC
	}{
		{"other bytes", get, registrytest.Corrupt(100), false},
		{"listed and not there", get, notFound, false},
		{"another size", append(get, head...), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header().Set("Content-Length", "7")
			if r.Method == http.MethodGet {
				_, _ = w.Write([]byte("damaged"))
			}
		}, false},
		{"other bytes of a SOCI index", get, registrytest.Corrupt(100), true},
	} {
		for _, stubborn := range []bool{false, true} {
			name := tt.name
			if stubborn {
				name += ", and it stays"
			}
			t.Run(name, func(t *testing.T) {
				s := registrytest.Start(t)
				repo := openRepo(t, s)
				image := s.PushImage(t, repoName, "v1",
					registrytest.Image{Layers: layers(good(t, 0), good(t, 1))}).Manifest
				o := both("v1")
				o.Catalog = repo.Catalog(ecrclient.CatalogOptions{TagSuffix: "-soci"})
				first, err := soci.IndexImage(t.Context(), repo, repo, image, o)
				if err != nil {
					t.Fatal(err)
				}
				m := first.Manifests[0]
				bad := m.Layers[1].Ztoc
				if tt.manifest {
					bad = m.Index
				}
				pushes := spoil(s, bad.Digest, tt.methods, tt.fault, stubborn)
				again, err := soci.IndexImage(t.Context(), repo, repo, image, o)
				if pushes.Load() != 1 {
					t.Errorf("%d pushes", pushes.Load())
				}
				if stubborn {
					if !errors.Is(err, soci.ErrDigestMismatch) ||
						!strings.Contains(err.Error(),
							bad.Digest.String()+" is damaged in the registry, and still is") {
						t.Errorf("the error is %v", err)
					}
					return
				}
				if err != nil || again.Manifests[0].Index.Digest != m.Index.Digest || again.BytesPushed < bad.Size {
					t.Fatalf("%v %+v", err, again)
				}
				s.Clear()
				third, err := soci.IndexImage(t.Context(), repo, repo, image, o)
				if err != nil || third.SearchError != nil {
					t.Fatalf("after it was mended: %v %+v", err, third)
				}
				if third.BytesRead != 0 || third.BytesPushed != 0 {
					t.Errorf("after it was mended: %v %+v", err, third)
				}
			})
		}
	}
}

// A zTOC of another size is found without a search, too.
func TestDamagedSize(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	first, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil {
		t.Fatal(err)
	}
	pushes := spoil(s, first.Manifests[0].Layers[0].Ztoc.Digest, head, registrytest.Header("Content-Length", "7"),
		false)
	if _, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1")); err != nil || pushes.Load() != 1 {
		t.Errorf("%d pushes, %v", pushes.Load(), err)
	}
}

// Force pushes blobs to a real registry, too.
func TestForcePushesBlobs(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	for range 2 {
		s.Clear()
		o := both("v1")
		o.Force = true
		if _, err := soci.IndexImage(t.Context(), repo, repo, image, o); err != nil {
			t.Fatal(err)
		}
		if n := s.Count(http.MethodPut, "/blobs/uploads/"); n != 2 { // the zTOC and the config
			t.Errorf("%d blobs were pushed", n)
		}
	}
}

// What is damaged is also pushed again when layers are built one by one, each of which
// sees only that the zTOC is there: Publish builds such a layer again.
func TestDamagedInParts(t *testing.T) {
	for _, manifest := range []bool{false, true} {
		s := registrytest.Start(t)
		repo := openRepo(t, s)
		image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0), good(t, 1))}).Manifest
		o := both("v1")
		o.IndexVersion = soci.V1
		o.Catalog = repo.Catalog(ecrclient.CatalogOptions{TagSuffix: "-soci"})
		first, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil {
			t.Fatal(err)
		}
		bad, built := first.Manifests[0].Layers[1].Ztoc.Digest, 1
		if manifest { // in which no zTOC is found
			bad, built = first.Manifests[0].Index.Digest, 2
		}
		pushes := spoil(s, bad, get, registrytest.Corrupt(100), false)
		w, err := soci.Plan(t.Context(), repo, repo, image, o)
		if err != nil || len(w.Layers()) != built {
			t.Fatalf("%v %+v", err, w.Layers())
		}
		r, err := inParts(t.Context(), repo, image, o)
		if err != nil {
			t.Fatal(err)
		}
		if n := pushes.Load(); n != 1 {
			t.Errorf("%s was pushed %d times", bad, n)
		}
		s.Clear()
		if again, err := soci.IndexImage(t.Context(), repo, repo, image, o); err != nil || again.SearchError != nil ||
			again.BytesRead+again.BytesPushed != 0 || again.Manifests[0].Index.Digest != r.Manifests[0].Index.Digest {
			t.Errorf("after it was mended: %v %+v", err, again)
		}
	}
}

// A registry that refuses to take damaged content again says so.
func TestDamagedRefused(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	o := both("v1")
	first, err := soci.IndexImage(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	ztoc := first.Manifests[0].Layers[0].Ztoc.Digest
	o.Catalog = repo.Catalog(ecrclient.CatalogOptions{TagSuffix: "-soci"})
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/" + ztoc.String(), Fault: registrytest.Corrupt(9)},
		// The first upload is the probe's.
		registrytest.Rule{Method: http.MethodPost, Path: "/blobs/uploads/", Skip: 1,
			Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
	_, err = soci.IndexImage(t.Context(), repo, repo, image, o)
	if !errors.Is(err, ecrclient.ErrDenied) ||
		!strings.Contains(err.Error(), ztoc.String()+", which is damaged in the registry") {
		t.Errorf("the error is %v", err)
	}
}
