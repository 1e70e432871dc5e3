package surplus_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup/surplus"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// repository holds an image whose SOCI index v1 was built with several span
// sizes; it returns the result of each build.
func repository(t *testing.T, spans ...int64) (*registrytest.Server, *ecrclient.Repository, []*soci.Result) {
	t.Helper()
	layers, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	server := registrytest.Start(t)
	pushed := server.PushImage(t, "app", "1", registrytest.Image{
		Layers: []registrytest.Layer{{Content: layers[0].Blob()}}})
	repo, err := ecrclient.New(server.Host() + "/app")
	if err != nil {
		t.Fatal(err)
	}
	var results []*soci.Result
	for _, span := range spans {
		r, err := soci.IndexImage(t.Context(), repo, repo, pushed.Manifest,
			soci.Options{SpanSize: span, MinLayerSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	return server, repo, results
}

// indexes returns the SOCI indexes v1 that are there, as far as they are of results.
func indexes(t *testing.T, repo *ecrclient.Repository, results []*soci.Result) (there []bool) {
	t.Helper()
	for _, r := range results {
		ok, err := repo.Exists(t.Context(), built(r))
		if err != nil {
			t.Fatal(err)
		}
		there = append(there, ok)
	}
	return there
}

func built(r *soci.Result) ocispec.Descriptor { return r.Manifests[0].Index }

func TestRemove(t *testing.T) {
	_, repo, results := repository(t, 1<<20, 2<<20, 4<<20)
	older, err := surplus.Remove(t.Context(), repo, results[1], true)
	if err != nil || len(older) != 2 {
		t.Fatalf("a dry run: %v, %v", older, err)
	}
	if there := indexes(t, repo, results); !there[0] || !there[1] || !there[2] {
		t.Fatalf("a dry run deleted: %v", there)
	}
	older, err = surplus.Remove(t.Context(), repo, results[1], false)
	if err != nil || len(older) != 2 {
		t.Fatalf("%v, %v", older, err)
	}
	gone := map[digest.Digest]bool{}
	for _, o := range older {
		if o.Err != nil || o.Subject.Digest != results[1].Image.Digest {
			t.Errorf("%+v", o)
		}
		gone[o.Index.Digest] = true
	}
	if !gone[built(results[0]).Digest] || !gone[built(results[2]).Digest] {
		t.Errorf("told to be deleted: %v", gone)
	}
	if there := indexes(t, repo, results); there[0] || !there[1] || there[2] {
		t.Errorf("there: %v", there)
	}
	if older, err := surplus.Remove(t.Context(), repo, results[1], false); err != nil || len(older) != 0 {
		t.Errorf("again: %v, %v", older, err)
	}
}

// While this run deletes the other's SOCI index, the other deletes this one's:
// what was built last is put back.
func TestRemoveAtOnce(t *testing.T) {
	server, repo, results := repository(t, 1<<20, 2<<20)
	other, err := ecrclient.New(server.Host() + "/app")
	if err != nil {
		t.Fatal(err)
	}
	server.Add(registrytest.Rule{
		Method: http.MethodDelete, Path: "/manifests/" + built(results[0]).Digest.String(), Times: 1,
		Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if err := other.DeleteManifest(context.WithoutCancel(r.Context()), built(results[1])); err != nil {
				t.Error(err)
			}
			next.ServeHTTP(w, r)
		}})
	if _, err := surplus.Remove(t.Context(), repo, results[1], false); err != nil {
		t.Fatal(err)
	}
	if there := indexes(t, repo, results); there[0] || !there[1] {
		t.Errorf("there: %v", there)
	}
	if found, err := repo.Referrers(t.Context(), results[1].Image, soci.ArtifactTypeV1); err != nil || len(found) != 1 {
		t.Errorf("referrers: %v, %v", found, err)
	}
}

// If it cannot be put back, that is an error of its own.
func TestRemoveLost(t *testing.T) {
	server, repo, results := repository(t, 1<<20, 2<<20)
	server.Add(registrytest.Rule{Method: http.MethodHead, Path: "/manifests/" + built(results[1]).Digest.String(),
		Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
	server.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
	if _, err := surplus.Remove(t.Context(), repo, results[1], false); !errors.Is(err, surplus.ErrLost) {
		t.Errorf("%v", err)
	}
}

// A SOCI index that cannot be deleted is reported with the reason.
func TestRemoveRefused(t *testing.T) {
	server, repo, results := repository(t, 1<<20, 2<<20)
	server.Add(registrytest.Rule{Method: http.MethodDelete, Path: "/manifests/",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
	older, err := surplus.Remove(t.Context(), repo, results[1], false)
	if err != nil || len(older) != 1 || !errors.Is(older[0].Err, ecrclient.ErrDenied) {
		t.Errorf("%v, %v", older, err)
	}
	if there := indexes(t, repo, results); !there[0] || !there[1] {
		t.Errorf("there: %v", there)
	}
}

// SOCI indexes of another tool, and other referrers of the image, are never
// deleted, whatever the list of referrers says about them.
func TestRemoveKeepsOthers(t *testing.T) {
	_, repo, results := repository(t, 1<<20)
	theirs, err := soci.IndexImage(t.Context(), repo, repo, results[0].Image,
		soci.Options{SpanSize: 2 << 20, MinLayerSize: 1, BuildToolIdentifier: "AWS SOCI CLI v0.2"})
	if err != nil {
		t.Fatal(err)
	}
	if older, err := surplus.Remove(t.Context(), repo, results[0], false); err != nil || len(older) != 0 {
		t.Errorf("%v, %v", older, err)
	}
	if there := indexes(t, repo, []*soci.Result{results[0], theirs}); !there[0] || !there[1] {
		t.Errorf("there: %v", there)
	}
}

// Nothing is deleted unless clients find what was built: a push that broke off may
// have stored it without entering it into the list.
func TestRemoveUnlisted(t *testing.T) {
	server, repo, results := repository(t, 1<<20, 2<<20)
	server.Add(registrytest.Rule{Path: "/referrers/", Fault: func(w http.ResponseWriter, r *http.Request,
		next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var list ocispec.Index
		if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
			t.Error(err)
		}
		list.Manifests = slices.DeleteFunc(list.Manifests, func(d ocispec.Descriptor) bool {
			return d.Digest == built(results[1]).Digest
		})
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	}})
	older, err := surplus.Remove(t.Context(), repo, results[1], false)
	if err == nil || errors.Is(err, surplus.ErrLost) || len(older) != 1 || older[0].Err == nil {
		t.Errorf("%v, %v", older, err)
	}
	if there := indexes(t, repo, results); !there[0] || !there[1] {
		t.Errorf("there: %v", there)
	}
}
