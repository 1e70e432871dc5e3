package ecrclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

const otherDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// Registries leave headers out of the answer to HEAD, or refuse it in several ways.
func TestHeadOfManifests(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	without := func(name string) registrytest.Fault { return registrytest.Header(name, "") }
	for _, row := range []struct {
		name   string
		method string // that the fault meets; "" is both
		fault  registrytest.Fault
		gets   int
		class  error // of Resolve
	}{
		{"all is told", "", nil, 0, nil},
		{"no digest", "", without("Docker-Content-Digest"), 1, nil},
		{"a digest that is none", http.MethodHead, registrytest.Header("Docker-Content-Digest", "sha256:abc"), 1, nil},
		{"no media type", "", without("Content-Type"), 1, nil},
		{"a media type of anything", "", registrytest.Header("Content-Type", "application/octet-stream"), 1, nil},
		{"a malformed media type", "", registrytest.Header("Content-Type", "/"), 1, nil},
		{"no length", http.MethodHead, without("Content-Length"), 1, nil},
		{"no length at all", "", without("Content-Length"), 1, nil},
		{"length 0", http.MethodHead, registrytest.Header("Content-Length", "0"), 1, nil},
		{"nothing at all", "", registrytest.Both(without("Content-Type"),
			registrytest.Both(without("Docker-Content-Digest"), without("Content-Length"))), 1, nil},
		{"204", http.MethodHead, registrytest.Text(204, ""), 1, nil},
		{"400", http.MethodHead, registrytest.Status(400, "", ""), 1, nil},
		{"403", http.MethodHead, registrytest.Status(403, "", ""), 1, nil},
		{"405", http.MethodHead, registrytest.Status(405, "", ""), 1, nil},
		{"415", http.MethodHead, registrytest.Status(415, "", ""), 1, nil},
		{"501", http.MethodHead, registrytest.Status(501, "", ""), 1, nil},
		{"405, and GET is no better", "", registrytest.Status(405, "", ""), 1, errAny},
		{"no digest, and another one with GET", "",
			registrytest.Both(without("Content-Type"), registrytest.Header("Docker-Content-Digest", otherDigest)), 1,
			ecrclient.ErrDigestMismatch},
		{"no digest, and GET is cut", "", registrytest.Both(without("Docker-Content-Digest"), registrytest.Truncate(9)),
			attempts, ecrclient.ErrUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			if row.fault != nil {
				f.Add(registrytest.Rule{Method: row.method, Path: "/manifests/", Fault: row.fault})
			}
			r := open(t, f.Server, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
			want := ocispec.Descriptor{MediaType: f.img.Manifest.MediaType, Digest: f.img.Manifest.Digest,
				Size: f.img.Manifest.Size}
			for _, reference := range []string{"v1", want.Digest.String()} {
				got, err := r.Resolve(t.Context(), reference)
				switch {
				case row.class == errAny:
					checkError(t, err, nil, 405)
				case row.class != nil && reference == "v1":
					checkError(t, err, row.class, 0)
				case row.class == nil &&
					(err != nil || got.Digest != want.Digest || got.Size != want.Size ||
						got.MediaType != want.MediaType):
					t.Errorf("Resolve(%s): %+v, %v; want %+v", reference, got, err, want)
				}
			}
			if n := f.Count(http.MethodGet, "/manifests/v1"); n != row.gets {
				t.Errorf("%d GETs, want %d", n, row.gets)
			}
			if row.class != nil {
				return
			}
			if ok, err := r.Exists(t.Context(), f.img.Manifest); !ok || err != nil {
				t.Errorf("Exists: %t, %v", ok, err)
			}
			missing := describe(ocispec.MediaTypeImageManifest, []byte("nobody pushed this"))
			if row.fault == nil || strings.Trim(row.name, "0123456789") != "" {
				if ok, err := r.Exists(t.Context(), missing); ok || err != nil {
					t.Errorf("Exists of none: %t, %v", ok, err)
				}
			}
		})
	}
}

// errAny stands for an error of no class.
var errAny = errors.New("any")

// The media type of a manifest that does not state it is known by its fields.
func TestMediaTypeOfContent(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, row := range []struct{ name, content, want string }{
		{"an image manifest", `{"schemaVersion":2,"config":{},"layers":[]}`, ocispec.MediaTypeImageManifest},
		{"an image index", `{"schemaVersion":2,"manifests":[]}`, ocispec.MediaTypeImageIndex},
		{"Docker's", `{"schemaVersion":2,"mediaType":"` + registrytest.DockerManifestList + `","manifests":[]}`,
			registrytest.DockerManifestList},
		{"schema 1", `{"schemaVersion":1,"name":"a","fsLayers":[]}`,
			"application/vnd.docker.distribution.manifest.v1+prettyjws"},
		{"both", `{"schemaVersion":2,"manifests":[],"config":{}}`, ""},
		{"neither", `{"schemaVersion":2}`, ""},
		{"a media type that is none", `{"mediaType":"a b c"}`, ""},
		{"no JSON", `<html>`, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			s.Add(registrytest.Rule{Path: "/manifests/",
				Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					w.Header()["Content-Type"] = nil
					_, _ = w.Write([]byte(row.content))
				}})
			got, err := open(t, s).Resolve(t.Context(), "v1")
			if row.want == "" {
				checkError(t, err, nil, 0)
			} else if want := describe(row.want, []byte(row.content)); err != nil || got.Digest != want.Digest ||
				got.MediaType != row.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestHeadOfBlobs(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, row := range []struct {
		name  string
		fault func(*testing.T, *fixture) registrytest.Fault
		gets  int
		want  bool
		class error
	}{
		{"no length", with(registrytest.Header("Content-Length", "")), 0, true, nil},
		{"length 0", with(registrytest.Header("Content-Length", "0")), 1, true, nil},
		{"another length", with(registrytest.Header("Content-Length", "49999")), 0, false, nil},
		{"another digest", with(registrytest.Header("Docker-Content-Digest", otherDigest)), 0, false,
			ecrclient.ErrDigestMismatch},
		{"400", with(registrytest.Status(400, "", "")), 1, true, nil},
		{"405", with(registrytest.Status(405, "", "")), 1, true, nil},
		{"501", with(registrytest.Status(501, "", "")), 1, true, nil},
		{"a URL signed for GET", func(t *testing.T, f *fixture) registrytest.Fault {
			signed := registrytest.StartSignedURLs(t, f.Server)
			signed.Add(registrytest.Rule{Method: http.MethodHead,
				Fault: registrytest.Status(403, "SignatureDoesNotMatch", "")})
			return signed.Redirect()
		}, 1, true, nil},
		{"403", with(registrytest.Status(403, "DENIED", "")), 1, true, nil},
		{"401", with(registrytest.Status(401, "UNAUTHORIZED", "")), 0, false, ecrclient.ErrDenied},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			f.Add(registrytest.Rule{Method: http.MethodHead, Path: "/blobs/", Fault: row.fault(t, f)})
			got, err := open(t, f.Server).Exists(t.Context(), f.img.Layers[0])
			if row.class != nil {
				if !errors.Is(err, row.class) {
					t.Errorf("got %v, want %v", err, row.class)
				}
			} else if got != row.want || err != nil {
				t.Errorf("got %t, %v", got, err)
			}
			if n := f.Count(http.MethodGet, "/blobs/"); n != row.gets {
				t.Errorf("%d GETs, want %d", n, row.gets)
			}
			for _, r := range f.Requests() {
				if r.Method == http.MethodGet && r.Range != "bytes=0-0" {
					t.Errorf("asked for range %q", r.Range)
				}
			}
		})
	}
	t.Run("HEAD and ranges refused", func(t *testing.T) {
		f := newFixture(t)
		f.Add(
			registrytest.Rule{Method: http.MethodHead, Path: "/blobs/", Fault: registrytest.Status(405, "", "")},
			registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: registrytest.RefuseRange(416)},
		)
		r := open(t, f.Server)
		if ok, err := r.Exists(t.Context(), f.img.Layers[0]); !ok || err != nil {
			t.Errorf("got %t, %v", ok, err)
		}
		other := f.img.Layers[0]
		other.Size++
		if ok, err := r.Exists(t.Context(), other); ok || err != nil {
			t.Errorf("of another size: %t, %v", ok, err)
		}
		missing := describe("application/octet-stream", []byte("nobody pushed this"))
		if ok, err := r.Exists(t.Context(), missing); ok || err != nil {
			t.Errorf("of none: %t, %v", ok, err)
		}
		empty := f.PushBlob(t, repository, nil)
		if ok, err := r.Exists(t.Context(), empty); !ok || err != nil {
			t.Errorf("of an empty one: %t, %v", ok, err)
		}
	})
}

func with(fault registrytest.Fault) func(*testing.T, *fixture) registrytest.Fault {
	return func(*testing.T, *fixture) registrytest.Fault { return fault }
}

// ring answers a list with pages of tags: what a page has and where it leads to
// is named by its number, from 0.
func ring(page func(n int) (tags []string, link string)) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		tags, link := page(n)
		if link != "" {
			w.Header().Set("Link", link)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"tags": tags})
	}
}

func TestListsEnd(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	to := func(n int) string { return fmt.Sprintf(`</v2/%s/tags/list?page=%d>; rel="next"`, repository, n) }
	one := func(n int) []string { return []string{fmt.Sprintf("v%06d", n)} }
	for _, row := range []struct {
		name     string
		page     func(int) ([]string, string)
		tags     int // -1 for an error
		requests int
		says     string
	}{
		{"one page", func(n int) ([]string, string) { return one(n), "" }, 1, 1, ""},
		{"three", func(n int) ([]string, string) { return one(n), []string{to(1), to(2), ""}[n] }, 3, 3, ""},
		{"to itself", func(n int) ([]string, string) { return one(0), to(0) }, 1, 2, ""},
		{"to itself, empty", func(n int) ([]string, string) { return nil, to(7) }, 0, 2, ""},
		{"there and back", func(n int) ([]string, string) { return one(n % 2), to((n + 1) % 2) }, 2, 3, ""},
		{"the same page under ever new names", func(n int) ([]string, string) { return one(0), to(n + 1) }, 1, 2, ""},
		{"an empty page within", func(n int) ([]string, string) {
			if n == 1 {
				return nil, to(2)
			}
			return one(n), []string{to(1), "", ""}[n]
		}, 2, 3, ""},
		{"nothing but empty pages", func(n int) ([]string, string) { return nil, to(n + 1) }, -1,
			ecrclient.MaxEmptyPages + 1,
			"without an entry"},
		{"no end", func(n int) ([]string, string) { return one(n), to(n + 1) }, -1, ecrclient.MaxPages,
			"more than 10000 pages"},
		{"back only", func(n int) ([]string, string) { return one(n), `</v2/x>; rel="prev"` }, 1, 1, ""},
		{"back and on", func(n int) ([]string, string) {
			return one(n), []string{`</v2/x>; rel="prev", ` + to(1), ""}[n]
		}, 2, 2, ""},
		{"without rel", func(n int) ([]string, string) { return one(n), []string{"<?page=1>", ""}[n] }, 2, 2, ""},
		{"malformed", func(n int) ([]string, string) { return one(n), "/v2/x" }, -1, 1, "malformed"},
		{"to no URL", func(n int) ([]string, string) { return one(n), "<http://[::1/%zz>" }, -1, 1, "malformed"},
		{"a link without end", func(n int) ([]string, string) {
			return one(n), fmt.Sprintf("</v2/x?page=1&pad=%s>", strings.Repeat("x", ecrclient.MaxPageLink))
		}, -1, 1, "at most 8192 are allowed"},
		{"more than a million", func(n int) ([]string, string) {
			all := make([]string, 400_000)
			for i := range all {
				all[i] = strconv.FormatInt(int64(n*len(all)+i), 36)
			}
			return all, to(n + 1)
		}, -1, 3, "more than 1000000 tags"},
		{"to another host", func(n int) ([]string, string) { return one(n), "<http://127.0.0.1:1/v2/x>; rel=next" },
			-1, 1,
			"another host"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if testing.Short() && row.name == "more than a million" {
				t.Skip("by one goroutine, and ten times as long under the race detector")
			}
			s := registrytest.Start(t)
			s.Add(registrytest.Rule{Path: "/tags/list", Fault: ring(row.page)})
			tags, err := open(t, s).Tags(t.Context())
			if row.tags < 0 {
				checkError(t, err, nil, 0)
				if !strings.Contains(err.Error(), row.says) {
					t.Errorf("%q does not say %q", err, row.says)
				}
			} else if err != nil || len(tags) != row.tags {
				t.Errorf("%d tags, %v; want %d", len(tags), err, row.tags)
			}
			if n := s.Count("", "/tags/list"); n != row.requests {
				t.Errorf("%d requests, want %d", n, row.requests)
			}
		})
	}
}

// Redirects are followed ten times, for whatever is asked.
func TestRedirectsEnd(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	hops := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops++
		http.Redirect(w, r, fmt.Sprintf("/v2/%s/tags/list?hop=%d", repository, hops), http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	r, err := ecrclient.New("registry.example/"+repository, ecrclient.WithEndpoint(front.URL),
		ecrclient.WithSleep(new(waits).sleep), ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tags(t.Context()); err == nil || !strings.Contains(err.Error(), "stopped after 10 redirects") ||
		hops != 10 {
		t.Errorf("got %v after %d redirects", err, hops)
	}
}

// A web page in the place of an answer is told as such, and keeps the class of its
// status; one that a registry says is its own is none, and asking for a login neither.
func TestPages(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	own := registrytest.Header("Docker-Distribution-Api-Version", "registry/2.0")
	for _, row := range []struct {
		name  string
		fault registrytest.Fault
		class error
		page  bool
	}{
		{"403", registrytest.Page(http.StatusForbidden), ecrclient.ErrDenied, true},
		{"404", registrytest.Page(http.StatusNotFound), ecrclient.ErrNotFound, true},
		{"502", registrytest.Page(http.StatusBadGateway), ecrclient.ErrUnavailable, true},
		{"401", registrytest.Page(http.StatusUnauthorized), ecrclient.ErrDenied, false},
		{"404 of a registry", registrytest.Both(own, registrytest.Page(http.StatusNotFound)), ecrclient.ErrNotFound,
			false},
		{"403 without a page", registrytest.Status(http.StatusForbidden, "", ""), ecrclient.ErrDenied, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			f.Add(registrytest.Rule{Fault: row.fault})
			r := open(t, f.Server, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			_, resolved := r.Resolve(t.Context(), "v1")
			_, listed := r.Tags(t.Context())
			for _, err := range []error{resolved, listed} {
				if !errors.Is(err, row.class) || errors.Is(err, ecrclient.ErrNotRegistry) != row.page {
					t.Errorf("%v, want %v, and that it is a page: %t", err, row.class, row.page)
				}
			}
		})
	}
}
