package ecrclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// pages answers with a list of total referrers, perPage at a time, every
// second one of another type. It claims to have filtered if claim is set.
func pages(total, perPage int, claim bool) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		start, _ := strconv.Atoi(r.URL.Query().Get("start"))
		index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
		for i := start; i < min(start+perPage, total); i++ {
			artifactType := "application/vnd.mine"
			if i%2 == 1 {
				artifactType = "application/vnd.other"
			}
			index.Manifests = append(index.Manifests, ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 100,
				ArtifactType: artifactType,
			})
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if claim {
			w.Header().Set("OCI-Filters-Applied", "artifactType")
		}
		if start+perPage < total {
			q := r.URL.Query()
			q.Set("start", strconv.Itoa(start+perPage))
			w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=next", r.URL.Path, q.Encode()))
		}
		_ = json.NewEncoder(w).Encode(index)
	}
}

func TestReferrersPages(t *testing.T) {
	subject := describe(ocispec.MediaTypeImageManifest, []byte("{}"))
	for _, row := range []struct {
		name         string
		total, per   int
		claim        bool
		artifactType string
		want         int // -1 for an error
	}{
		{"none", 0, 10, false, "", 0},
		{"one page", 7, 10, false, "", 7},
		{"pages", 95, 10, false, "", 95},
		{"pages, filter ignored", 95, 10, false, "application/vnd.mine", 48},
		{"pages, filter only claimed", 95, 10, true, "application/vnd.mine", 48},
		{"none of that type", 95, 10, false, "application/vnd.none", 0},
		{"as many as may be", ecrclient.MaxReferrers, 1000, false, "", ecrclient.MaxReferrers},
		{"one more", ecrclient.MaxReferrers + 1, 1000, false, "", -1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: pages(row.total, row.per, row.claim)})
			got, err := open(t, s).Referrers(t.Context(), subject, row.artifactType)
			if row.want < 0 {
				checkError(t, err, nil, 0)
				if !strings.Contains(err.Error(), "10000") {
					t.Errorf("%q does not name the limit", err)
				}
				return
			}
			if err != nil || len(got) != row.want {
				t.Errorf("%d referrers, %v; want %d", len(got), err, row.want)
			}
		})
	}
	t.Run("a page fails", func(t *testing.T) {
		s := registrytest.Start(t)
		s.Add(
			registrytest.Rule{Path: "/referrers/", Skip: 1, Times: 1, Fault: registrytest.Status(503, "", "")},
			registrytest.Rule{Path: "/referrers/", Fault: pages(30, 10, false)},
		)
		got, err := open(t, s).Referrers(t.Context(), subject, "")
		if err != nil || len(got) != 30 || s.Count("", "/referrers/") != 5 {
			t.Errorf("%d referrers, %v, after %d requests", len(got), err, s.Count("", "/referrers/"))
		}
	})
	t.Run("always the same page", func(t *testing.T) {
		s := registrytest.Start(t)
		s.Add(registrytest.Rule{Path: "/referrers/",
			Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.URL.RawQuery = ""
				pages(5000, 1000, false)(w, r, next)
			}})
		got, err := open(t, s).Referrers(t.Context(), subject, "")
		if err != nil || len(got) != 1000 || s.Count("", "/referrers/") != 2 {
			t.Errorf("%d referrers, %v, after %d requests", len(got), err, s.Count("", "/referrers/"))
		}
	})
	t.Run("a digest that is none", func(t *testing.T) {
		s := registrytest.Start(t)
		s.Add(registrytest.Rule{Path: "/referrers/",
			Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				fmt.Fprint(w, `{"manifests":[{"digest":"sha256:../..","size":1}]}`)
			}})
		_, err := open(t, s).Referrers(t.Context(), subject, "")
		checkError(t, err, ecrclient.ErrInvalidReference, 0)
	})
}

// A search that is answered with 404 says nothing about how to push.
func TestReferrersNotFoundThenPush(t *testing.T) {
	s := registrytest.Start(t)
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	config := s.PushBlob(t, repository, []byte("{}"))
	r := open(t, s)
	s.Add(registrytest.Rule{Path: "/referrers/", Times: 1, Fault: registrytest.Status(404, "", "")})
	if got, err := r.Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 0 {
		t.Fatalf("%d referrers, %v", len(got), err)
	}
	m := fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.mine","digest":%q,"size":2},`+
			`"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		ocispec.MediaTypeImageManifest, config.Digest, img.Manifest.MediaType, img.Manifest.Digest, img.Manifest.Size)
	if err := r.Push(t.Context(), describe(ocispec.MediaTypeImageManifest, m), bytes.NewReader(m)); err != nil {
		t.Fatal(err)
	}
	tags, err := r.Tags(t.Context())
	if err != nil || len(tags) != 1 {
		t.Errorf("tags %v, %v; a list of referrers was pushed beside v1", tags, err)
	}
}

// Without permission to delete, the list before the last one stays behind; the
// push is no less a success.
func TestReferrersListLeftBehind(t *testing.T) {
	s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	s.Add(registrytest.Rule{Method: http.MethodDelete, Fault: registrytest.Status(403, "DENIED", "")})
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	config := s.PushBlob(t, repository, []byte("{}"))
	r := open(t, s)
	for i := range 3 {
		m := fmt.Appendf(nil,
			`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.mine","digest":%q,"size":2},`+
				`"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"n":"%d"}}`,
			ocispec.MediaTypeImageManifest, config.Digest, img.Manifest.MediaType, img.Manifest.Digest,
			img.Manifest.Size, i)
		if err := r.Push(t.Context(), describe(ocispec.MediaTypeImageManifest, m), bytes.NewReader(m)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Count(http.MethodDelete, "") == 0 {
		t.Error("nothing was to be deleted")
	}
	if got, err := r.Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 3 {
		t.Errorf("%d referrers, %v", len(got), err)
	}
}

func TestError(t *testing.T) {
	cause := errors.New("cause")
	for _, row := range []struct {
		name      string
		err       *ecrclient.Error
		class     error
		temporary bool
		text      string
	}{
		{"404", &ecrclient.Error{Op: "resolve", Repository: "h/app", Reference: "v1", Status: 404},
			ecrclient.ErrNotFound, false, "resolve h/app:v1: 404 Not Found"},
		{"401", &ecrclient.Error{Op: "resolve", Repository: "h/app", Status: 401}, ecrclient.ErrDenied, false,
			"resolve h/app: 401 Unauthorized"},
		{"403", &ecrclient.Error{Status: 403}, ecrclient.ErrDenied, false, ""},
		{"429", &ecrclient.Error{Status: 429}, ecrclient.ErrThrottled, true, ""},
		{"408", &ecrclient.Error{Status: 408}, ecrclient.ErrUnavailable, true, ""},
		{"500", &ecrclient.Error{Status: 500}, ecrclient.ErrUnavailable, true, ""},
		{"504", &ecrclient.Error{Status: 504}, ecrclient.ErrUnavailable, true, ""},
		{"400", &ecrclient.Error{Status: 400}, nil, false, ""},
		{"cause", &ecrclient.Error{Op: "fetch blob", Repository: "h/app", Reference: "sha256:0", Err: cause}, cause,
			false, "fetch blob h/app@sha256:0: cause"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.class != nil && !errors.Is(row.err, row.class) {
				t.Errorf("not %v", row.class)
			}
			if row.class == nil {
				checkError(t, row.err, nil, row.err.Status)
			}
			if row.err.Temporary() != row.temporary {
				t.Errorf("Temporary: %t", !row.temporary)
			}
			if row.text != "" && row.err.Error() != row.text {
				t.Errorf("text %q", row.err)
			}
		})
	}
}
