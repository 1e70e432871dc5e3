package ecrclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

var (
	_ soci.Source      = (*ecrclient.Repository)(nil)
	_ soci.Destination = (*ecrclient.Repository)(nil)
)

const repository = "team/app"

// waits records the pauses between attempts, and makes none.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	return ctx.Err()
}

func (w *waits) list() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Duration(nil), w.all...)
}

// open returns the repository of a test server, which never pauses.
func open(t *testing.T, s *registrytest.Server, opts ...ecrclient.Option) *ecrclient.Repository {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return openParallel(t, s, opts...)
}

// openParallel is open for parallel tests, on a registry that wants no
// credentials.
func openParallel(t *testing.T, s *registrytest.Server, opts ...ecrclient.Option) *ecrclient.Repository {
	t.Helper()
	opts = append([]ecrclient.Option{ecrclient.WithSleep(new(waits).sleep)}, opts...)
	r, err := ecrclient.New(s.Host()+"/"+repository, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// noise returns n bytes that are the same for the same seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func describe(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func readAll(t *testing.T, rc io.ReadCloser) []byte {
	t.Helper()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	s := registrytest.Start(t)
	r := open(t, s, ecrclient.WithUserAgent("a-test/1"))
	ctx := t.Context()

	config, layer := []byte(`{}`), noise(1, 100_000)
	layerDesc, configDesc := describe(ocispec.MediaTypeImageLayerGzip, layer),
		describe(ocispec.MediaTypeImageConfig, config)
	for _, blob := range [][]byte{config, layer} {
		desc := describe("application/octet-stream", blob)
		if ok, err := r.Exists(ctx, desc); ok || err != nil {
			t.Fatalf("Exists before Push: %t, %v", ok, err)
		}
		if err := r.Push(ctx, desc, bytes.NewReader(blob)); err != nil {
			t.Fatal(err)
		}
		if ok, err := r.Exists(ctx, desc); !ok || err != nil {
			t.Fatalf("Exists after Push: %t, %v", ok, err)
		}
	}
	manifest := fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},`+
			`"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		ocispec.MediaTypeImageManifest, configDesc.MediaType, configDesc.Digest, layerDesc.MediaType, layerDesc.Digest,
		layerDesc.Size)
	desc := describe(ocispec.MediaTypeImageManifest, manifest)
	if ok, err := r.Exists(ctx, desc); ok || err != nil {
		t.Fatalf("Exists before Push: %t, %v", ok, err)
	}
	if err := r.Push(ctx, desc, bytes.NewReader(manifest)); err != nil {
		t.Fatal(err)
	}
	if err := r.PushTag(ctx, desc, bytes.NewReader(manifest), "v1"); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"v1", desc.Digest.String()} {
		got, err := r.Resolve(ctx, reference)
		expect.Equal(t, expect.Facts{
			{"error", err, nil},
			{"Digest", got.Digest, desc.Digest},
			{"Size", got.Size, desc.Size},
			{"MediaType", got.MediaType, desc.MediaType},
		}, "Resolve(%q)", reference)
	}
	untyped := desc
	untyped.MediaType = ""
	for _, d := range []ocispec.Descriptor{desc, untyped} {
		if got, err := r.FetchManifest(ctx, d); err != nil || !bytes.Equal(got, manifest) {
			t.Errorf("FetchManifest(%q): %q, %v", d.MediaType, got, err)
		}
	}
	rc, err := r.Fetch(ctx, desc)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, rc); !bytes.Equal(got, manifest) {
		t.Errorf("Fetch of the manifest: %q", got)
	}
	if rc, err = r.Fetch(ctx, layerDesc); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, rc); !bytes.Equal(got, layer) {
		t.Error("Fetch of the layer gives other bytes")
	}
	for _, request := range s.Requests() {
		if request.UserAgent != "a-test/1" {
			t.Errorf("%s %s: User-Agent %q", request.Method, request.Path, request.UserAgent)
		}
	}
}

func TestNew(t *testing.T) {
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, row := range []struct{ ref, name, reference string }{
		{"registry.example/app", "registry.example/app", ""},
		{"registry.example:5000/a/b/c:Tag_1", "registry.example:5000/a/b/c", "Tag_1"},
		{"[::1]:5000/app:v1", "[::1]:5000/app", "v1"},
		{"localhost/app@" + d, "localhost/app", d},
		{"localhost/app:v1@" + d, "localhost/app", d},
	} {
		t.Run(row.ref, func(t *testing.T) {
			r, err := ecrclient.New(row.ref)
			if err != nil {
				t.Fatal(err)
			}
			if r.Name() != row.name || r.Reference() != row.reference {
				t.Errorf("got %q and %q", r.Name(), r.Reference())
			}
		})
	}
	for name, ref := range map[string]string{
		"empty": "", "no registry": "app", "no repository": "registry.example/", "capitals": "registry.example/App",
		"scheme": "http://registry.example/app", "bad tag": "registry.example/app:a b",
		"short digest":      "registry.example/app@sha256:12",
		"unknown algorithm": "registry.example/app@md5:0123", "user": "me@registry.example/app",
		"dots": "registry.example/../app",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ecrclient.New(ref); !errors.Is(err, ecrclient.ErrInvalidReference) {
				t.Errorf("New(%q): %v", ref, err)
			}
		})
	}
}

func TestNewRefusesOptions(t *testing.T) {
	for name, row := range map[string]struct {
		names string
		opts  []ecrclient.Option
	}{
		"endpoint without scheme": {"localhost:5000", []ecrclient.Option{ecrclient.WithEndpoint("localhost:5000")}},
		"endpoint with path":      {"/v2", []ecrclient.Option{ecrclient.WithEndpoint("http://localhost:5000/v2")}},
		"endpoint with user": {"localhost",
			[]ecrclient.Option{ecrclient.WithEndpoint("http://me:secret@localhost")}},
		"contradiction": {"https://localhost",
			[]ecrclient.Option{ecrclient.WithEndpoint("https://localhost"), ecrclient.WithPlainHTTP(true)}},
		"stall timeout": {"-1s", []ecrclient.Option{ecrclient.WithStallTimeout(-time.Second)}},
		"attempts":      {"-1", []ecrclient.Option{ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: -1})}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ecrclient.New("registry.example/app", row.opts...)
			if err == nil || !strings.Contains(err.Error(), row.names) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The endpoint stands in for an ECR host, whose token is then not asked for:
// asking would fail here.
func TestWithEndpoint(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:1")
	s := registrytest.Start(t)
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	host := account + ".dkr.ecr.us-east-1.amazonaws.com"
	r, err := ecrclient.New(host+"/"+repository+":v1", ecrclient.WithEndpoint(s.URL()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Name() != host+"/"+repository {
		t.Errorf("Name: %q", r.Name())
	}
	if got, err := r.Resolve(t.Context(), r.Reference()); err != nil || got.Digest != img.Manifest.Digest {
		t.Errorf("Resolve: %+v, %v", got, err)
	}
	if _, err := r.Resolve(t.Context(), "v2"); !errors.Is(err, ecrclient.ErrNotFound) ||
		!strings.Contains(err.Error(), host) {
		t.Errorf("Resolve of a missing tag: %v", err)
	}
}

func TestPushBlob(t *testing.T) {
	content := noise(2, 1<<20)
	desc := describe("application/octet-stream", content)
	t.Run("one PUT", func(t *testing.T) {
		s := registrytest.Start(t)
		reader := bytes.NewReader(append([]byte("read before"), content...))
		if _, err := reader.Seek(11, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := open(t, s).Push(t.Context(), desc, reader); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Blob(t, repository, desc.Digest), content) {
			t.Error("the registry has other bytes")
		}
		var methods []string
		for _, request := range s.Requests() {
			methods = append(methods, request.Method)
		}
		if got := strings.Join(methods, " "); got != "POST PUT" {
			t.Fatalf("requests %s", got)
		}
		if n := s.Requests()[1].ContentLength; n != desc.Size {
			t.Errorf("PUT with Content-Length %d", n)
		}
	})
	t.Run("refused for being there", func(t *testing.T) {
		for _, status := range []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity} {
			s := registrytest.Start(t)
			s.Add(registrytest.Rule{Method: http.MethodPut,
				Fault: registrytest.Status(status, "LAYER_ALREADY_EXISTS", "")})
			if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(content)); err == nil {
				t.Errorf("%d, and it is not there", status)
			}
			s.PushBlob(t, repository, content)
			if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(content)); err != nil {
				t.Errorf("%d, and it is there: %v", status, err)
			}
		}
	})
	t.Run("a stream", func(t *testing.T) {
		s := registrytest.Start(t)
		if err := open(t, s).Push(t.Context(), desc, io.MultiReader(bytes.NewReader(content))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Blob(t, repository, desc.Digest), content) {
			t.Error("the registry has other bytes")
		}
	})
	t.Run("a stream has one attempt", func(t *testing.T) {
		s := registrytest.Start(t)
		s.Add(registrytest.Rule{Method: http.MethodPut, Fault: registrytest.Status(503, "UNAVAILABLE", "")})
		err := open(t, s).Push(t.Context(), desc, io.MultiReader(bytes.NewReader(content)))
		if !errors.Is(err, ecrclient.ErrUnavailable) || s.Count(http.MethodPut, "") != 1 {
			t.Errorf("%v after %d PUTs", err, s.Count(http.MethodPut, ""))
		}
	})
	t.Run("wrong size", func(t *testing.T) {
		s := registrytest.Start(t)
		err := open(t, s).Push(t.Context(), desc, bytes.NewReader(content[1:]))
		if !errors.Is(err, ecrclient.ErrDigestMismatch) || s.Count(http.MethodPut, "") != 0 {
			t.Errorf("%v after %d PUTs", err, s.Count(http.MethodPut, ""))
		}
	})
	t.Run("content that fails", func(t *testing.T) {
		s := registrytest.Start(t)
		broken := errors.New("broken source")
		err := open(t, s).Push(t.Context(), desc, io.MultiReader(bytes.NewReader(content[:5]), failing{broken}))
		if !errors.Is(err, broken) || errors.Is(err, ecrclient.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("upload elsewhere", func(t *testing.T) {
		s := registrytest.Start(t)
		s.Add(registrytest.Rule{Method: http.MethodPost,
			Fault: registrytest.Header("Location", "http://registry.invalid/upload?_state="+registrytest.Signature)})
		err := open(t, s).Push(t.Context(), desc, bytes.NewReader(content))
		if err == nil || strings.Contains(err.Error(), registrytest.Signature) || s.Count(http.MethodPost, "") != 1 {
			t.Errorf("got %v", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPushTagImmutable(t *testing.T) {
	s := registrytest.Start(t)
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	other := s.PushImage(t, repository, "", registrytest.Image{Platform: "linux/arm64"})
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/v1",
		Fault: registrytest.Status(400, "TAG_INVALID", "the tag is immutable")})
	r := open(t, s)
	if err := r.PushTag(t.Context(), img.Manifest, bytes.NewReader(img.Bytes), "v1"); err != nil {
		t.Errorf("the same manifest: %v", err)
	}
	err := r.PushTag(t.Context(), other.Manifest, bytes.NewReader(other.Bytes), "v1")
	e, ok := errors.AsType[*ecrclient.Error](err)
	if !ok {
		t.Fatalf("another manifest: %v", err)
	}
	expect.Equal(t, expect.Facts{
		{"Code", e.Code, "TAG_INVALID"},
		{"Status", e.Status, 400},
		{"Temporary", e.Temporary(), false},
	}, "another manifest")
}

func TestReferrers(t *testing.T) {
	const mine, foreign = "application/vnd.mine", "application/vnd.foreign"
	for name, cfg := range map[string]localregistry.Config{"API": {}, "tag schema": {NoReferrers: true}} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.StartWith(t, cfg)
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			r := open(t, s)
			if got, err := r.Referrers(t.Context(), img.Manifest, mine); err != nil || len(got) != 0 {
				t.Fatalf("before: %v, %v", got, err)
			}
			config := s.PushBlob(t, repository, []byte("{}"))
			var want []digest.Digest
			for i, artifactType := range []string{mine, foreign, mine} {
				m := fmt.Appendf(nil,
					`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},`+
						`"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"n":"%d"}}`,
					ocispec.MediaTypeImageManifest, artifactType, config.Digest, img.Manifest.MediaType,
					img.Manifest.Digest, img.Manifest.Size, i)
				desc := describe(ocispec.MediaTypeImageManifest, m)
				for range 2 { // the second time nothing changes
					if err := r.Push(t.Context(), desc, bytes.NewReader(m)); err != nil {
						t.Fatal(err)
					}
				}
				if artifactType == mine {
					want = append(want, desc.Digest)
				}
			}
			got, err := r.Referrers(t.Context(), img.Manifest, mine)
			if err != nil || len(got) != 2 {
				t.Fatalf("of one type: %+v, %v", got, err)
			}
			if got[0].ArtifactType != mine || !contains(got, want...) {
				t.Errorf("of one type: %+v, %v", got, err)
			}
			if got, err = r.Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 3 {
				t.Errorf("of all types: %+v, %v", got, err)
			}
			// Another client knows nothing of what the first one found out.
			if got, err = open(t, s).Referrers(t.Context(), img.Manifest, foreign); err != nil || len(got) != 1 {
				t.Errorf("of the other type: %+v, %v", got, err)
			}
		})
	}
}

func contains(list []ocispec.Descriptor, want ...digest.Digest) bool {
	found := 0
	for _, d := range list {
		for _, w := range want {
			if d.Digest == w {
				found++
			}
		}
	}
	return found == len(want)
}
