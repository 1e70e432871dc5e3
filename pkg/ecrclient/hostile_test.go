package ecrclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// Whatever a token's lifetime is said to be, it is used, and renewed no more often
// than that demands.
func TestECRTokenLifetimes(t *testing.T) {
	for _, row := range []struct {
		name  string
		life  time.Duration
		ahead time.Duration // of the client's clock
		calls int           // for three requests
	}{
		{"past when it comes", time.Hour, 2 * time.Hour, 3},
		{"over at once", time.Hour, time.Hour, 3},
		{"shorter than the margin", time.Minute, 0, 1},
		{"of a hundred years", 100 * 365 * 24 * time.Hour, 0, 1},
		{"the client's clock is years behind", time.Hour, -100_000 * time.Hour, 1},
	} {
		f := newFakeAWS(t)
		f.life = row.life
		f.PushImage(t, repository, "v1", registrytest.Image{})
		r := f.open(t, ecrHost, ecrclient.WithOwnTokens(),
			ecrclient.WithClock(func() time.Time { return f.clock().Add(row.ahead) }))
		for range 3 {
			if _, err := r.Resolve(t.Context(), "v1"); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
		}
		if f.count() != row.calls {
			t.Errorf("%s: %d tokens, want %d", row.name, f.count(), row.calls)
		}
	}
}

// A request that is refused late does not discard the token that another has
// gotten meanwhile.
func TestECRTokenOfAnother(t *testing.T) {
	f := newFakeAWS(t)
	f.PushImage(t, repository, "v1", registrytest.Image{})
	r := f.open(t, ecrHost, ecrclient.WithOwnTokens())
	if _, err := r.Resolve(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	arrived, refuse := make(chan struct{}), make(chan struct{})
	f.Add(
		registrytest.Rule{Path: "/manifests/late", Times: 1,
			Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				close(arrived)
				<-refuse
				registrytest.Status(http.StatusForbidden, "DENIED", "")(w, r, nil)
			}},
		registrytest.Rule{Path: "/manifests/v1", Times: 1,
			Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")},
	)
	late := make(chan error)
	go func() {
		_, err := r.Resolve(t.Context(), "late")
		late <- err
	}()
	<-arrived
	if _, err := r.Resolve(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	close(refuse)
	checkError(t, <-late, ecrclient.ErrNotFound, http.StatusNotFound)
	if f.count() != 2 {
		t.Errorf("%d tokens, want 2", f.count())
	}
}

// On the way over several hosts nothing of the registry's goes along, and nothing
// of a signed URL to where that leads.
func TestNothingFollowsRedirects(t *testing.T) {
	s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
	dockerConfig(t, s.Host())
	desc := s.PushBlob(t, repository, []byte("content"))
	var mu sync.Mutex
	headers := make(map[string]http.Header)
	hop := func(name string, h http.HandlerFunc) *httptest.Server {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			headers[name] = r.Header.Clone()
			mu.Unlock()
			h(w, r)
		}))
		t.Cleanup(server.Close)
		return server
	}
	last := hop("last", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") })
	first := hop("first", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, last.URL+"/?X-Amz-Signature="+registrytest.Signature, http.StatusTemporaryRedirect)
	})
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/",
		Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if _, _, ok := r.BasicAuth(); !ok {
				next.ServeHTTP(w, r)
				return
			}
			redirectTo(first.URL+"/?X-Amz-Signature="+registrytest.Signature)(w, r, nil)
		}})
	if got, err := fetchAll(t.Context(), openParallel(t, s), desc); err != nil || string(got) != "content" {
		t.Fatalf("%q, %v", got, err)
	}
	for _, name := range []string{"first", "last"} {
		if headers[name] == nil {
			t.Fatalf("the %s server was not asked", name)
		}
		for _, header := range []string{"Authorization", "Cookie", "Referer"} {
			if v := headers[name].Get(header); v != "" {
				t.Errorf("the %s server was shown %s: %s", name, header, v)
			}
		}
	}
}

// A server that a blob's request was redirected to gets no credentials by asking
// for them, with a token server of its own.
func TestChallengeOfAnotherHost(t *testing.T) {
	s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
	dockerConfig(t, s.Host())
	desc := s.PushBlob(t, repository, []byte("content"))
	var asked []string
	var mu sync.Mutex
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
		mu.Unlock()
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: redirectTo(other.URL + "/blob")})
	_, err := fetchAll(t.Context(), openParallel(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 2})),
		desc)
	checkError(t, err, ecrclient.ErrDenied, http.StatusUnauthorized)
	for _, a := range asked {
		if a != "/blob " {
			t.Errorf("asked for %q", a)
		}
	}
}

// endless answers with bytes until the client leaves, and counts them.
type endless struct {
	mu   sync.Mutex
	sent int64
}

func (e *endless) answer(header ...string) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		if r.Method == http.MethodHead {
			return
		}
		if w.Header().Get("Content-Range") != "" {
			w.WriteHeader(http.StatusPartialContent)
		}
		b := []byte(strings.Repeat(" ", 64<<10))
		for r.Context().Err() == nil {
			n, err := w.Write(b)
			e.mu.Lock()
			e.sent += int64(n)
			e.mu.Unlock()
			if err != nil {
				return
			}
		}
	}
}

// Answers without end are read as far as they can be what was asked for.
func TestEndlessAnswers(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	content := noise(77, 100_000)
	for _, row := range []struct {
		name   string
		path   string
		header []string
		ask    func(*ecrclient.Repository, ocispec.Descriptor) error
		class  error
	}{
		{"manifest", "/manifests/", nil, func(r *ecrclient.Repository, d ocispec.Descriptor) error {
			d.MediaType = ocispec.MediaTypeImageManifest
			_, err := r.FetchManifest(t.Context(), d)
			return err
		}, ecrclient.ErrManifestTooLarge},
		{"tag", "/manifests/", nil, func(r *ecrclient.Repository, d ocispec.Descriptor) error {
			_, err := r.Resolve(t.Context(), "v1")
			return err
		}, ecrclient.ErrManifestTooLarge},
		{"tags", "/tags/list", nil, func(r *ecrclient.Repository, d ocispec.Descriptor) error {
			_, err := r.Tags(t.Context())
			return err
		}, ecrclient.ErrManifestTooLarge},
		{"referrers", "/referrers/", []string{"Content-Type", ocispec.MediaTypeImageIndex},
			func(r *ecrclient.Repository, d ocispec.Descriptor) error {
				_, err := r.Referrers(t.Context(), d, "")
				return err
			}, ecrclient.ErrManifestTooLarge},
		{"blob", "/blobs/", nil, func(r *ecrclient.Repository, d ocispec.Descriptor) error {
			_, err := fetchAll(t.Context(), r, d)
			return err
		}, ecrclient.ErrDigestMismatch},
		{"range of a blob", "/blobs/", []string{"Content-Range", "bytes 10-19/100000"},
			func(r *ecrclient.Repository, d ocispec.Descriptor) error {
				body, err := r.FetchRange(t.Context(), d, 10, 10)
				if err != nil {
					return err
				}
				defer body.Close()
				_, err = io.ReadAll(body)
				return err
			}, ecrclient.ErrDigestMismatch},
		{"size of a blob", "/blobs/", nil, func(r *ecrclient.Repository, d ocispec.Descriptor) error {
			if size, err := r.BlobSize(t.Context(), d); err != nil || size != d.Size+1 {
				return fmt.Errorf("size %d, %w", size, err)
			}
			return nil
		}, nil},
		{"error", "/blobs/", nil, func(r *ecrclient.Repository, d ocispec.Descriptor) error {
			_, err := fetchAll(t.Context(), r, d)
			return err
		}, ecrclient.ErrDenied},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			e := new(endless)
			fault := e.answer(row.header...)
			if row.name == "error" {
				body := fault
				fault = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					w.WriteHeader(http.StatusForbidden)
					body(w, r, next)
				}
			}
			s.Add(registrytest.Rule{Path: row.path, Fault: fault})
			err := row.ask(open(t, s), desc)
			if !errors.Is(err, row.class) {
				t.Errorf("got %v, want %v", err, row.class)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			// What is sent and not read fills the buffers between both.
			if s.Count("", row.path) == 0 || e.sent > 5*(ecrclient.MaxManifestSize+16<<20) {
				t.Errorf("%d bytes were sent", e.sent)
			}
		})
	}
}

// dripping answers with step bytes at once, and a pause before them.
func dripping(content []byte, step int, pause time.Duration) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		for part := range slices.Chunk(content, step) {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
				return
			}
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// An answer that goes on byte by byte is given up when a KiB takes longer than the
// stall timeout; one that is short enough is not.
func TestDrippingAnswer(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t)
	for _, row := range []struct {
		size, step int
		pause      time.Duration
		class      error
	}{
		{300, 1, 10 * time.Millisecond, ecrclient.ErrUnavailable},
		{20, 1, 10 * time.Millisecond, nil},
		{3000, 1, 0, nil},
		{30_000, 1500, 60 * time.Millisecond, nil}, // more than the timeout in all
	} {
		content := noise(3, row.size)
		desc := describe(ocispec.MediaTypeImageManifest, content)
		s.Clear()
		s.Add(registrytest.Rule{Path: "/manifests/", Fault: dripping(content, row.step, row.pause)})
		r := open(t, s, ecrclient.WithStallTimeout(time.Second),
			ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
		_, err := r.FetchManifest(t.Context(), desc)
		if !errors.Is(err, row.class) || err != nil && !strings.Contains(err.Error(), "no KiB received for 1s") {
			t.Errorf("%d bytes, %d each %v: %v", row.size, row.step, row.pause, err)
		}
	}
}

// A registry that answers for one digest with another is not believed.
func TestAnotherDigest(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t)
	pushed := s.PushImage(t, repository, "v1", registrytest.Image{})
	blob := s.PushBlob(t, repository, noise(5, 5000))
	s.Add(registrytest.Rule{Fault: registrytest.Header("Docker-Content-Digest", otherDigest)})
	r := open(t, s)
	for name, ask := range map[string]func() error{
		"resolve": func() error { _, err := r.Resolve(t.Context(), pushed.Manifest.Digest.String()); return err },
		"look for manifest": func() error {
			manifest := pushed.Manifest
			manifest.Platform = nil
			_, err := r.Exists(t.Context(), manifest)
			return err
		},
		"look for blob": func() error { _, err := r.Exists(t.Context(), blob); return err },
		"size of blob":  func() error { _, err := r.BlobSize(t.Context(), blob); return err },
		"fetch blob":    func() error { _, err := fetchAll(t.Context(), r, blob); return err },
		"fetch manifest": func() error {
			_, err := r.FetchManifest(t.Context(), pushed.Manifest)
			return err
		},
	} {
		if err := ask(); !errors.Is(err, ecrclient.ErrDigestMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Content that speaks of tokens says nothing about the one that it was fetched with.
func TestContentAboutTokens(t *testing.T) {
	f := newFakeAWS(t)
	content := []byte("Your authorization token has expired.")
	desc := f.PushBlob(t, repository, content)
	got, err := fetchAll(t.Context(), f.open(t, ecrHost, ecrclient.WithOwnTokens()), desc)
	if err != nil {
		t.Fatalf("%q, %v, with %d tokens and %d requests", got, err, f.count(), f.Count("", "/blobs/"))
	}
	if !bytes.Equal(got, content) || f.count() != 1 || f.Count("", "/blobs/") != 1 {
		t.Errorf("%q, %v, with %d tokens and %d requests", got, err, f.count(), f.Count("", "/blobs/"))
	}
}

// Storage may call a manifest whatever it likes; only what answers in the registry's
// place with a page is none.
func TestManifestFromStorage(t *testing.T) {
	f := newFakeAWS(t)
	pushed := f.PushImage(t, repository, "v1", registrytest.Image{})
	signed := registrytest.StartSignedURLs(t, f.Server).Elsewhere()
	f.Add(registrytest.Rule{Path: "/manifests/", Fault: signed.Redirect()})
	signed.Add(registrytest.Rule{Fault: registrytest.Both(registrytest.Header("Content-Type", "text/html"),
		registrytest.Header("Docker-Content-Digest", ""))})
	r := f.open(t, ecrHost, ecrclient.WithOwnTokens())
	desc, err := r.Resolve(t.Context(), "v1")
	if err != nil || desc.Digest != pushed.Manifest.Digest || desc.MediaType != pushed.Manifest.MediaType {
		t.Errorf("%+v, %v", desc, err)
	}
}

// A registry that has listed referrers once has the API: one bad answer is not a list
// without any.
func TestReferrersAPIForgotten(t *testing.T) {
	s := registrytest.Start(t)
	subject := s.PushImage(t, repository, "v1", registrytest.Image{}).Manifest
	subject.Platform = nil
	want := s.PushReferrer(t, repository, subject, "application/vnd.example", []byte("{}"))
	r := open(t, s)
	if got, err := r.Referrers(t.Context(), subject, ""); err != nil || len(got) != 1 || got[0].Digest != want.Digest {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusNotFound, http.StatusNotImplemented} {
		s.Clear()
		s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")})
		if got, err := r.Referrers(t.Context(), subject, ""); err == nil {
			t.Errorf("%d: %+v", status, got)
		}
	}
	s.Clear()
	if got, err := r.Referrers(t.Context(), subject, ""); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A tag that is another manifest with each request leads to none that was not named
// by its digest.
func TestManifestThatChanges(t *testing.T) {
	s := registrytest.Start(t)
	var n atomic.Int64
	s.Add(registrytest.Rule{Path: "/manifests/", Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"n":%d}`, n.Add(1))
	}})
	r := open(t, s)
	desc, err := r.Resolve(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := r.FetchManifest(t.Context(), desc); !errors.Is(err, ecrclient.ErrDigestMismatch) {
		t.Errorf("%s, %v", b, err)
	}
	if got, err := r.Resolve(t.Context(), desc.Digest.String()); err == nil && got.Digest != desc.Digest {
		t.Errorf("%+v", got)
	}
}

// A list is bounded in bytes.
func TestListsAreBounded(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	pad := strings.Repeat(" ", ecrclient.MaxManifestSize-1000)
	s := registrytest.Start(t)
	n := 0
	s.Add(
		registrytest.Rule{Path: "/tags/list", Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			n++
			w.Header().Set("Link", fmt.Sprintf("<?page=%d>; rel=next", n))
			_, _ = fmt.Fprintf(w, `{"tags":["v%d"]%s}`, n, pad)
		}},
		registrytest.Rule{Path: "/referrers/", Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			n++
			w.Header().Set("Link", fmt.Sprintf("<?page=%d>; rel=next", n))
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = fmt.Fprintf(w, `{"manifests":[{"digest":"sha256:%064x","size":1}]%s}`, n, pad)
		}},
	)
	r := open(t, s)
	if _, err := r.Tags(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 134217728 bytes") ||
		n != 33 {
		t.Errorf("tags: %v after %d pages", err, n)
	}
	n = 0
	subject := describe(ocispec.MediaTypeImageManifest, []byte("{}"))
	if _, err := r.Referrers(t.Context(), subject, ""); err == nil ||
		!strings.Contains(err.Error(), "more than 33554432 bytes") || n != 9 {
		t.Errorf("referrers: %v after %d pages", err, n)
	}
}

// Names in a list of tags that cannot be tags are left out, with one warning; a
// page of nothing else is not the end.
func TestNamesThatAreNoTags(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for tag, first := range map[string]string{
		"\x1b[2J\x07../x": "[2J../x", strings.Repeat("x", 129): strings.Repeat("x", 129), "": "", "a/b": "a/b",
	} {
		s := registrytest.Start(t)
		s.Add(registrytest.Rule{Path: "/tags/list", Fault: ring(func(page int) ([]string, string) {
			switch page {
			case 0:
				return []string{"v1", tag}, "<?page=1>; rel=next"
			case 1:
				return []string{tag + "/other"}, "<?page=2>; rel=next"
			}
			return []string{"v2", tag}, ""
		})})
		var log bytes.Buffer
		r := open(t, s, ecrclient.WithLogger(slog.New(slog.NewJSONHandler(&log, nil))))
		got, err := r.Tags(t.Context())
		if err != nil || !slices.Equal(got, []string{"v1", "v2"}) {
			t.Errorf("%q: %q, %v", tag, got, err)
		}
		var line struct {
			Level, First string
			Names        int
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines are logged: %s", n, &log)
		}
		err = json.Unmarshal(log.Bytes(), &line)
		expect.Equal(t, expect.Facts{{"error", err, nil}, {"level", line.Level, "WARN"}, {"names", line.Names, 2},
			{"first", line.First, first}}, "%q: logged %s", tag, &log)
	}
}
