package ecrclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

const otherDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// What registries leave out of the answer to HEAD, and how they refuse it.
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
					(err != nil || got.Digest != want.Digest || got.Size != want.Size || got.MediaType != want.MediaType):
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

// The media type of a manifest that says nothing of it itself is told by its
// fields.
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
			s.Add(registrytest.Rule{Path: "/manifests/", Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
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
			signed.Add(registrytest.Rule{Method: http.MethodHead, Fault: registrytest.Status(403, "SignatureDoesNotMatch", "")})
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
// is told by its number, from 0.
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
		{"nothing but empty pages", func(n int) ([]string, string) { return nil, to(n + 1) }, -1, ecrclient.MaxEmptyPages + 1,
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
		{"to another host", func(n int) ([]string, string) { return one(n), "<http://127.0.0.1:1/v2/x>; rel=next" }, -1, 1,
			"another host"},
	} {
		t.Run(row.name, func(t *testing.T) {
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

// referrer is a manifest whose subject is another.
func referrer(subject, config ocispec.Descriptor, n int) (ocispec.Descriptor, []byte) {
	m := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.mine","digest":%q,"size":2},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"n":"%d"}}`,
		ocispec.MediaTypeImageManifest, config.Digest, subject.MediaType, subject.Digest, subject.Size, n)
	return describe(ocispec.MediaTypeImageManifest, m), m
}

// The ways to say that there is no referrers API.
var noReferrersAPI = map[string]registrytest.Fault{
	"400":             registrytest.Status(400, "NAME_INVALID", ""),
	"404":             registrytest.Page(404),
	"405":             registrytest.Status(405, "UNSUPPORTED", ""),
	"406":             registrytest.Page(406),
	"501":             registrytest.Status(501, "", ""),
	"a page":          registrytest.Page(200),
	"an empty answer": registrytest.Text(200, ""),
	"another document": registrytest.Both(registrytest.Header("Content-Type", "application/json"),
		registrytest.Text(200, `{"referrers":[]}`)),
}

// What was pushed is found again, whatever the registry says in place of
// the API; also when it takes notice of subjects, and only the API is closed.
func TestNoReferrersAPI(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for name, fault := range noReferrersAPI {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closed %t", name, closed), func(t *testing.T) {
				s := registrytest.StartWith(t, localregistry.Config{NoReferrers: !closed})
				s.Add(registrytest.Rule{Path: "/referrers/", Fault: fault})
				img := s.PushImage(t, repository, "v1", registrytest.Image{})
				config := s.PushBlob(t, repository, []byte("{}"))
				var want []string
				for n := range 3 {
					desc, b := referrer(img.Manifest, config, n)
					if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
						t.Fatal(err)
					}
					want = append(want, desc.Digest.String())
				}
				r := open(t, s)
				asked := s.Count("", "/referrers/")
				for range 2 {
					got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine")
					if err != nil || !slices.Equal(digestsOf(got), want) {
						t.Errorf("%v, %v; want %v", digestsOf(got), err, want)
					}
				}
				if n := s.Count("", "/referrers/") - asked; n != 1 {
					t.Errorf("asked %d times what the registry has not got", n)
				}
				if got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.other"); err != nil || len(got) != 0 {
					t.Errorf("of another type: %v, %v", got, err)
				}
				if err := r.DeleteManifest(t.Context(), got(t, r, want[1])); err != nil {
					t.Fatal(err)
				}
				want = slices.Delete(want, 1, 2)
				if got, err := open(t, s).Referrers(t.Context(), img.Manifest, ""); err != nil ||
					!slices.Equal(digestsOf(got), want) {
					t.Errorf("after a deletion %v, %v; want %v", digestsOf(got), err, want)
				}
			})
		}
	}
}

func got(t *testing.T, r *ecrclient.Repository, reference string) ocispec.Descriptor {
	t.Helper()
	desc, err := r.Resolve(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

func digestsOf(list []ocispec.Descriptor) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.Digest.String())
	}
	return out
}

// That one manifest is not there says nothing of the API.
func TestReferrersOfNothing(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t)
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	desc, b := referrer(img.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
	s.Add(registrytest.Rule{Path: "/referrers/" + desc.Digest.String(),
		Fault: registrytest.Status(404, "MANIFEST_UNKNOWN", "")})
	r := open(t, s)
	if got, err := r.Referrers(t.Context(), desc, ""); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	if err := r.Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 1 {
		t.Errorf("of the image: %v, %v", got, err)
	}
	if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 1 {
		t.Errorf("tags %v, %v; a list of referrers was pushed", tags, err)
	}
}

// A registry that tells neither media type nor length of the list that clients
// keep does not keep them from it.
func TestReferrersListUntold(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	s.Add(registrytest.Rule{Path: "/manifests/",
		Fault: registrytest.Both(registrytest.Header("Content-Type", ""), registrytest.Header("Content-Length", ""))})
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	config := s.PushBlob(t, repository, []byte("{}"))
	for n := range 3 {
		desc, b := referrer(img.Manifest, config, n)
		if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := open(t, s).Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// The API is there, under a media type that is written in another way.
func TestReferrersMediaType(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, mediaType := range []string{"", "application/json", "application/vnd.oci.image.index.v1+json; charset=utf-8",
		"text/plain"} {
		t.Run(mediaType, func(t *testing.T) {
			s := registrytest.Start(t)
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			desc, b := referrer(img.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Header("Content-Type", mediaType)})
			r := open(t, s)
			if err := r.Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine"); err != nil || len(got) != 1 ||
				s.Count("", "/manifests/sha256-") > 0 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// 403 and 5xx say nothing about referrers: what the tag schema has is read, and
// the error says that there may be more.
func TestReferrersUnknown(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, row := range []struct {
		status   int
		class    error
		requests int // of the first call
	}{
		{403, ecrclient.ErrDenied, 1},
		{500, ecrclient.ErrUnavailable, attempts},
		{503, ecrclient.ErrUnavailable, attempts},
	} {
		t.Run(strconv.Itoa(row.status), func(t *testing.T) {
			s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			desc, b := referrer(img.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
			if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			s.Clear()
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(row.status, "", "")})
			r := open(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
			for call := range 2 {
				got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine")
				checkError(t, err, row.class, row.status)
				e, ok := errors.AsType[*ecrclient.Error](err)
				if !ok || !e.ReferrersUnknown() || !errors.Is(err, ecrclient.ErrReferrersUnknown) || len(got) != 1 {
					t.Errorf("%v, %v", got, err)
				}
				if n := s.Count("", "/referrers/"); n != row.requests+call {
					t.Errorf("%d requests after %d calls, want %d", n, call+1, row.requests+call)
				}
			}
			s.Clear()
			if got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine"); err != nil || len(got) != 1 {
				t.Errorf("once it answers: %v, %v", got, err)
			}
			// Neither is known.
			s.Add(
				registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(row.status, "", "")},
				registrytest.Rule{Path: "/manifests/sha256-", Fault: registrytest.Status(403, "DENIED", "")},
			)
			got, err := open(t, s).Referrers(t.Context(), img.Manifest, "application/vnd.mine")
			if !errors.Is(err, ecrclient.ErrReferrersUnknown) || len(got) != 0 {
				t.Errorf("with the tag schema refused: %v, %v", got, err)
			}
		})
	}
}

// ECR has the API: what it refuses is about rights, and nothing else serves.
func TestReferrersOfECR(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, status := range []int{400, 403, 406, 500, 501} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			s := registrytest.Start(t)
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")})
			r, err := ecrclient.New("123456789012.dkr.ecr.eu-west-1.amazonaws.com/"+repository, ecrclient.WithEndpoint(s.URL()),
				ecrclient.WithSleep(new(waits).sleep))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Referrers(t.Context(), img.Manifest, "")
			if e, ok := errors.AsType[*ecrclient.Error](err); !ok || e.Status != status || e.ReferrersUnknown() || got != nil {
				t.Errorf("%v, %v", got, err)
			}
			if s.Count("", "/manifests/sha256-") > 0 {
				t.Error("the tag schema was read")
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
