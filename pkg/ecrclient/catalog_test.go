package ecrclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

var _ soci.Catalog = (*ecrclient.Catalog)(nil)

// pushV2 stores a SOCI index v2, and returns it as an image index lists it.
func pushV2(t *testing.T, s *registrytest.Server, n int) ocispec.Descriptor {
	t.Helper()
	config := s.PushBlob(t, repository, []byte("{}"))
	config.MediaType = soci.ArtifactTypeV2
	b, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: []ocispec.Descriptor{}, Annotations: map[string]string{"n": strconv.Itoa(n)},
	})
	if err != nil {
		t.Fatal(err)
	}
	desc := s.PushManifest(t, repository, "", ocispec.MediaTypeImageManifest, b)
	desc.ArtifactType = soci.ArtifactTypeV2
	return desc
}

// collect asks for all SOCI indexes, or for as many as most.
func collect(ctx context.Context, c *ecrclient.Catalog, most int, images ...ocispec.Descriptor) (found []digest.Digest,
	err error) {
	err = c.SOCIIndexes(ctx, images, func(d ocispec.Descriptor) bool {
		found = append(found, d.Digest)
		return len(found) < most
	})
	return found, err
}

func digests(descs ...ocispec.Descriptor) []digest.Digest {
	var all []digest.Digest
	for _, d := range descs {
		all = append(all, d.Digest)
	}
	return all
}

// catalogFixture has every source of a registry that is not ECR.
type catalogFixture struct {
	*registrytest.Server
	images []ocispec.Descriptor // the first one has referrers
	want   []digest.Digest      // all of the SOCI indexes, in order
}

func newCatalogFixture(t *testing.T) *catalogFixture {
	f := &catalogFixture{Server: registrytest.Start(t)}
	for i := range 2 {
		img := f.PushImage(t, repository, "", registrytest.Image{Annotations: map[string]string{"n": strconv.Itoa(i)}})
		f.images = append(f.images, img.Manifest)
	}
	v1 := f.PushReferrer(t, repository, f.images[0], soci.ArtifactTypeV1, []byte("ztoc"))
	f.PushReferrer(t, repository, f.images[0], "application/vnd.other", []byte("signature"))
	a, b, c := pushV2(t, f.Server, 1), pushV2(t, f.Server, 2), pushV2(t, f.Server, 3)
	f.PushIndex(t, repository, "v2-soci", false, f.images[0], a, b)
	f.PushIndex(t, repository, "v1-soci", false, c, a) // a is known already
	f.PushIndex(t, repository, "v0-soci", false, f.images[1])
	f.PushImage(t, repository, "odd-soci", registrytest.Image{})    // no image index
	f.PushIndex(t, repository, "v1", false, pushV2(t, f.Server, 4)) // without the suffix
	f.want = digests(v1, a, b, c)
	return f
}

var ofV2 = ecrclient.CatalogOptions{Tag: "v2", TagSuffix: "-soci"}

func TestCatalog(t *testing.T) {
	f := newCatalogFixture(t)
	r := open(t, f.Server)
	for _, row := range []struct {
		name string
		o    ecrclient.CatalogOptions
		want []digest.Digest
	}{
		{"all sources", ofV2, f.want},
		{"no tag", ecrclient.CatalogOptions{TagSuffix: "-soci"},
			[]digest.Digest{f.want[0], f.want[1], f.want[2], f.want[3]}},
		{"no suffix", ecrclient.CatalogOptions{Tag: "v2"}, f.want[:1]},
		{"no such tag", ecrclient.CatalogOptions{Tag: "v9", TagSuffix: "-soci"}, f.want},
		{"no such suffix", ecrclient.CatalogOptions{Tag: "v2", TagSuffix: ".other"}, f.want[:1]},
	} {
		t.Run(row.name, func(t *testing.T) {
			found, err := collect(t.Context(), r.Catalog(row.o), 100, f.images...)
			if err != nil || !slices.Equal(found, row.want) {
				t.Errorf("found %v, %v; want %v", found, err, row.want)
			}
		})
	}
	t.Run("an empty repository", func(t *testing.T) {
		s := registrytest.Start(t)
		if found, err := collect(t.Context(), open(t, s).Catalog(ofV2), 100, f.images...); err != nil ||
			len(found) != 0 {
			t.Errorf("found %v, %v", found, err)
		}
	})
}

// The search asks for nothing that it has no use for.
func TestCatalogStops(t *testing.T) {
	f := newCatalogFixture(t)
	for _, row := range []struct {
		most     int
		requests int
	}{
		{1, 1}, // the first image's referrers
		{2, 4}, // those of both, the tag and what it names
		{3, 4},
		{4, 7}, // the list, and its last tag
	} {
		f.Clear()
		found, err := collect(t.Context(), open(t, f.Server).Catalog(ofV2), row.most, f.images...)
		if err != nil || !slices.Equal(found, f.want[:row.most]) {
			t.Errorf("found %v, %v", found, err)
		}
		if n := f.Count("", ""); n != row.requests {
			t.Errorf("%d requests for %d SOCI indexes, want %d: %+v", n, row.most, row.requests, f.Requests())
		}
	}
}

func TestCatalogTags(t *testing.T) {
	s := registrytest.Start(t)
	for i := range 30 {
		s.PushIndex(t, repository, fmt.Sprintf("v%02d-soci", i), false, pushV2(t, s, i))
	}
	t.Run("the last ones", func(t *testing.T) {
		found, err := collect(t.Context(), open(t, s).Catalog(ofV2), 100)
		var want []digest.Digest
		for i := range 20 {
			want = append(want, pushV2(t, s, 29-i).Digest)
		}
		if err != nil || !slices.Equal(found, want) {
			t.Errorf("found %d, %v", len(found), err)
		}
	})
	t.Run("no end", func(t *testing.T) {
		page := 0
		s.Add(registrytest.Rule{Path: "/tags/list",
			Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				page++
				var tags []string
				for i := range 999 {
					tags = append(tags, fmt.Sprintf("p%d-%d", page, i))
				}
				w.Header().Set("Link", fmt.Sprintf("<%s?last=%d>; rel=next", r.URL.Path, page))
				_ = json.NewEncoder(w).Encode(map[string]any{"tags": append(tags, fmt.Sprintf("v%02d-soci", page))})
			}})
		defer s.Clear()
		log := new(bytes.Buffer)
		r := open(t, s, ecrclient.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
		found, err := collect(t.Context(), r.Catalog(ofV2), 100)
		if err != nil || len(found) != 10 || page != 10 {
			t.Errorf("found %d after %d pages, %v", len(found), page, err)
		}
		if !strings.Contains(log.String(), "listed=10000") {
			t.Errorf("log: %s", log)
		}
	})
	t.Run("in a circle", func(t *testing.T) {
		page := 0
		s.Add(registrytest.Rule{Path: "/tags/list",
			Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				page++
				w.Header().Set("Link", fmt.Sprintf("<%s?last=%d>; rel=next", r.URL.Path, page))
				_ = json.NewEncoder(w).Encode(map[string]any{"tags": []string{"v", "v07-soci"}})
			}})
		defer s.Clear()
		found, err := collect(t.Context(), open(t, s).Catalog(ofV2), 100)
		if err != nil || len(found) != 1 || page != 2 {
			t.Errorf("found %d after %d pages, %v", len(found), page, err)
		}
	})
}

// A source that fails costs no more than what it would have found.
func TestCatalogFails(t *testing.T) {
	f := newCatalogFixture(t)
	for _, row := range []struct {
		name, path string
		fault      registrytest.Fault
		class      error
		want       []digest.Digest
	}{
		{"referrers denied", "/referrers/", registrytest.Status(403, "DENIED", ""), ecrclient.ErrDenied, f.want[1:]},
		{"referrers unavailable", "/referrers/", registrytest.Status(503, "", ""), ecrclient.ErrUnavailable,
			f.want[1:]},
		{"image index gone", "/manifests/sha256", registrytest.Status(404, "", ""), nil, f.want[:1]},
		{"tag denied", "/manifests/", registrytest.Status(403, "DENIED", ""), ecrclient.ErrDenied, f.want[:1]},
		{"image index corrupt", "/manifests/sha256", registrytest.Corrupt(20), ecrclient.ErrDigestMismatch, f.want[:1]},
		{"tags denied", "/tags/list", registrytest.Status(401, "UNAUTHORIZED", ""), ecrclient.ErrDenied, f.want[:3]},
		{"no such API", "/tags/list", registrytest.Status(404, "", ""), nil, f.want[:3]},
		{"tags that are none", "/tags/list", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			fmt.Fprint(w, `{"tags":["x/../y-soci"]}`)
		}, nil, f.want[:3]},
	} {
		t.Run(row.name, func(t *testing.T) {
			f.Clear()
			f.Add(registrytest.Rule{Path: row.path, Fault: row.fault})
			found, err := collect(t.Context(), open(t, f.Server).Catalog(ofV2), 100, f.images...)
			if !errors.Is(err, row.class) || !slices.Equal(found, row.want) {
				t.Errorf("found %v, %v; want %v, %v", found, err, row.want, row.class)
			}
			if err != nil {
				if _, ok := errors.AsType[*ecrclient.Error](err); !ok {
					t.Errorf("%T: %v", err, err)
				}
			}
		})
	}
}

func TestCatalogEnds(t *testing.T) {
	f := newCatalogFixture(t)
	f.Add(registrytest.Rule{Path: "/referrers/", Fault: f.Stall()})
	c := open(t, f.Server)
	t.Run("the time is up", func(t *testing.T) {
		o := ofV2
		o.Timeout = 50 * time.Millisecond
		found, err := collect(t.Context(), c.Catalog(o), 100, f.images...)
		if !errors.Is(err, context.DeadlineExceeded) || len(found) != 0 || !strings.Contains(err.Error(), "50ms") {
			t.Errorf("found %v, %v", found, err)
		}
	})
	t.Run("the caller's time is up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n := f.Count("", "")
		_, err := collect(ctx, c.Catalog(ofV2), 100, f.images...)
		if err != context.Canceled || f.Count("", "") != n {
			t.Errorf("%v after %d requests", err, f.Count("", "")-n)
		}
	})
	t.Run("the list takes too long", func(t *testing.T) {
		f.Clear()
		f.Add(registrytest.Rule{Path: "/tags/list", Fault: f.Stall()})
		o := ofV2
		o.ListTimeout = 50 * time.Millisecond
		found, err := collect(t.Context(), c.Catalog(o), 100, f.images...)
		if err != nil || !slices.Equal(found, f.want[:3]) {
			t.Errorf("found %v, %v", found, err)
		}
	})
}

// A referrers list that is not found makes no registry without referrers of
// one that has them: what is pushed afterwards is a referrer.
func TestCatalogLeavesPushAlone(t *testing.T) {
	s := registrytest.Start(t)
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	config := s.PushBlob(t, repository, []byte("{}"))
	r := open(t, s)
	s.Add(registrytest.Rule{Path: "/referrers/", Times: 1, Fault: registrytest.Status(404, "NOT_FOUND", "")})
	if _, err := collect(t.Context(), r.Catalog(ofV2), 100, img.Manifest); err != nil {
		t.Fatal(err)
	}
	m := fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},`+
			`"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		ocispec.MediaTypeImageManifest, soci.ArtifactTypeV1, config.Digest, img.Manifest.MediaType, img.Manifest.Digest,
		img.Manifest.Size)
	s.Clear()
	if err := r.Push(t.Context(), describe(ocispec.MediaTypeImageManifest, m), bytes.NewReader(m)); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(http.MethodPut, "/manifests/"); n != 1 {
		t.Errorf("%d manifests were pushed: %+v", n, s.Requests())
	}
	if got, err := open(t, s).Referrers(t.Context(), img.Manifest, soci.ArtifactTypeV1); err != nil || len(got) != 1 {
		t.Errorf("referrers %v, %v", got, err)
	}
}
