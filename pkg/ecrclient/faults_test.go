package ecrclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// fixture is a registry with an image, and content that is not there yet.
type fixture struct {
	*registrytest.Server
	img   registrytest.Pushed
	layer []byte // of img
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{Server: registrytest.Start(t), layer: noise(3, 50_000)}
	f.img = f.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{{Content: f.layer}}})
	return f
}

// call is one operation of a Repository and the request that it consists of.
type call struct {
	name   string
	method string
	path   string
	run    func(context.Context, *ecrclient.Repository, *fixture) error
}

var calls = []call{
	{"resolve", http.MethodHead, "/manifests/v1", func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
		_, err := r.Resolve(ctx, "v1")
		return err
	}},
	{"fetch manifest", http.MethodGet, "/manifests/",
		func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
			_, err := r.FetchManifest(ctx, f.img.Manifest)
			return err
		}},
	{"fetch blob", http.MethodGet, "/blobs/", func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
		return compare(f.layer)(r.Fetch(ctx, f.img.Layers[0]))
	}},
	{"fetch range", http.MethodGet, "/blobs/", func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
		return compare(f.layer[7:40_000])(r.FetchRange(ctx, f.img.Layers[0], 7, 40_000-7))
	}},
	{"exists blob", http.MethodHead, "/blobs/", func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
		_, err := r.Exists(ctx, f.img.Layers[0])
		return err
	}},
	{"exists manifest", http.MethodHead, "/manifests/",
		func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
			_, err := r.Exists(ctx, f.img.Manifest)
			return err
		}},
	{"push blob, POST", http.MethodPost, "/blobs/uploads/", pushNew},
	{"push blob, PUT", http.MethodPut, "/blobs/uploads/", pushNew},
	{"push manifest", http.MethodPut, "/manifests/",
		func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
			return r.Push(ctx, f.img.Manifest, bytes.NewReader(f.img.Bytes))
		}},
	{"referrers", http.MethodGet, "/referrers/", func(ctx context.Context, r *ecrclient.Repository, f *fixture) error {
		_, err := r.Referrers(ctx, f.img.Manifest, "")
		return err
	}},
}

func pushNew(ctx context.Context, r *ecrclient.Repository, _ *fixture) error {
	content := noise(4, 300_000)
	return r.Push(ctx, describe("application/octet-stream", content), bytes.NewReader(content))
}

var errOtherBytes = errors.New("other bytes than the registry has")

func compare(want []byte) func(io.ReadCloser, error) error {
	return func(rc io.ReadCloser, err error) error {
		if err != nil {
			return err
		}
		defer rc.Close()
		got, err := io.ReadAll(rc)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errOtherBytes
		}
		return nil
	}
}

const attempts = 3

// Every operation against every way in which a registry fails before it
// answers.
func TestFaultsBeforeTheAnswer(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	stall := func(f *fixture) registrytest.Fault { return f.Stall() }
	always := func(fault registrytest.Fault) func(*fixture) registrytest.Fault {
		return func(*fixture) registrytest.Fault { return fault }
	}
	for _, row := range []struct {
		name     string
		fault    func(*fixture) registrytest.Fault
		times    int // 0 is always
		class    error
		status   int
		code     string
		requests int
		wait     time.Duration // the first pause is at least this
	}{
		{"401", always(registrytest.Status(401, "UNAUTHORIZED", "who are you")), 0, ecrclient.ErrDenied, 401,
			"UNAUTHORIZED", 1, 0},
		{"403", always(registrytest.Status(403, "DENIED", "not yours")), 0, ecrclient.ErrDenied, 403, "DENIED", 1, 0},
		{"400", always(registrytest.Status(400, "NAME_INVALID", "no such name")), 0, nil, 400, "NAME_INVALID", 1, 0},
		{"429 always", always(registrytest.Status(429, "TOOMANYREQUESTS", "slow down")), 0, ecrclient.ErrThrottled, 429,
			"TOOMANYREQUESTS", attempts, 0},
		{"429 once with Retry-After", always(registrytest.Status(429, "TOOMANYREQUESTS", "", "Retry-After", "7")), 1,
			nil, 0, "", 2, 7 * time.Second},
		{"429 once with a long Retry-After",
			always(registrytest.Status(429, "TOOMANYREQUESTS", "", "Retry-After", "86400")),
			1, nil, 0, "", 2, 20 * time.Second},
		{"408 once", always(registrytest.Status(408, "", "")), 1, nil, 0, "", 2, 0},
		{"500 always", always(registrytest.Status(500, "INTERNAL", "")), 0, ecrclient.ErrUnavailable, 500, "INTERNAL",
			attempts, 0},
		{"500 twice", always(registrytest.Status(500, "", "")), 2, nil, 0, "", 3, 0},
		{"503 once", always(registrytest.Status(503, "", "")), 1, nil, 0, "", 2, 0},
		{"reset always", always(registrytest.Reset()), 0, ecrclient.ErrUnavailable, 0, "", attempts, 0},
		{"reset once", always(registrytest.Reset()), 1, nil, 0, "", 2, 0},
		{"stall always", stall, 0, ecrclient.ErrUnavailable, 0, "", attempts, 0},
		{"stall once", stall, 1, nil, 0, "", 2, 0},
	} {
		for _, c := range calls {
			t.Run(row.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				requests, rule := row.requests,
					registrytest.Rule{Method: c.method, Path: c.path, Times: row.times, Fault: row.fault(f)}
				switch {
				case c.method == http.MethodHead && (row.status == 400 || row.status == 403):
					rule.Method = "" // GET, which is tried then, is refused as well
				case c.name == "referrers" && row.status == 400:
					return // no referrers API; TestNoReferrersAPI
				case c.name == "fetch range" && row.status == 400:
					requests++ // without a range
				}
				f.Add(rule)
				paused := new(waits)
				opts := []ecrclient.Option{
					ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}),
					ecrclient.WithSleep(paused.sleep),
				}
				switch row.name {
				case "stall always":
					opts = append(opts, ecrclient.WithHeaderTimeout(250*time.Millisecond))
				case "stall once": // what follows must be in time
					opts = append(opts, ecrclient.WithHeaderTimeout(600*time.Millisecond))
				}
				r := openParallel(t, f.Server, opts...)
				err := c.run(t.Context(), r, f)

				// net/http itself sends a GET or HEAD again, once, when a
				// connection that it kept from before turns out to be closed.
				if got := f.Count(c.method, c.path); got != requests && !strings.HasPrefix(row.name, "reset") {
					t.Errorf("%d requests, want %d", got, requests)
				}
				if n := len(paused.list()); n != row.requests-1 && row.class != ecrclient.ErrDenied {
					t.Errorf("%d pauses, want %d", n, row.requests-1)
				}
				if row.wait > 0 && len(paused.list()) > 0 && paused.list()[0] != row.wait {
					t.Errorf("paused for %v, want %v", paused.list()[0], row.wait)
				}
				if row.class == nil && row.status == 0 {
					if err != nil {
						t.Fatalf("got %v", err)
					}
					return
				}
				checkError(t, err, row.class, row.status)
				e, ok := errors.AsType[*ecrclient.Error](err)
				if !ok {
					t.Fatalf("%T is no *Error", err)
				}
				if e.Code != row.code && c.method != http.MethodHead { // which has no body
					t.Errorf("code %q, want %q", e.Code, row.code)
				}
				if want := row.class == ecrclient.ErrThrottled ||
					row.class == ecrclient.ErrUnavailable; e.Temporary() != want {
					t.Errorf("Temporary: %t", e.Temporary())
				}
				if e.Repository != r.Name() || e.Op == "" || !strings.Contains(err.Error(), r.Name()) {
					t.Errorf("%q names no operation or repository: %+v", err, e)
				}
			})
		}
	}
}

// checkError wants err to be of exactly one class, nil for none.
func checkError(t *testing.T, err, class error, status int) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, c := range []error{
		ecrclient.ErrNotFound, ecrclient.ErrDenied, ecrclient.ErrThrottled, ecrclient.ErrUnavailable,
		ecrclient.ErrManifestTooLarge, ecrclient.ErrDigestMismatch, ecrclient.ErrInvalidReference, ecrclient.ErrNoRange,
	} {
		if got := errors.Is(err, c); got != (c == class) {
			t.Errorf("%q is %q: %t", err, c, got)
		}
	}
	if e, ok := errors.AsType[*ecrclient.Error](err); !ok || e.Status != status {
		t.Errorf("%q has status %+v, want %d", err, e, status)
	}
}

// The answers of a registry that has not got it.
func TestNotFound(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	f := newFixture(t)
	r := open(t, f.Server)
	missing := describe("application/octet-stream", []byte("nobody pushed this"))
	manifest := describe(ocispec.MediaTypeImageManifest, []byte("nor this"))
	for name, run := range map[string]func() error{
		"resolve a tag":  func() error { _, err := r.Resolve(t.Context(), "missing"); return err },
		"resolve digest": func() error { _, err := r.Resolve(t.Context(), missing.Digest.String()); return err },
		"fetch blob":     func() error { _, err := r.Fetch(t.Context(), missing); return err },
		"fetch range":    func() error { _, err := r.FetchRange(t.Context(), missing, 0, 5); return err },
		"fetch empty":    func() error { e := missing; e.Size = 0; _, err := r.Fetch(t.Context(), e); return err },
		"fetch manifest": func() error { _, err := r.FetchManifest(t.Context(), manifest); return err },
	} {
		t.Run(name, func(t *testing.T) { checkError(t, run(), ecrclient.ErrNotFound, 404) })
	}
	for _, desc := range []ocispec.Descriptor{missing, manifest} {
		if ok, err := r.Exists(t.Context(), desc); ok || err != nil {
			t.Errorf("Exists: %t, %v", ok, err)
		}
	}
	if got, err := r.Referrers(t.Context(), manifest, ""); len(got) != 0 || err != nil {
		t.Errorf("Referrers: %v, %v", got, err)
	}
	f.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(404, "NAME_UNKNOWN", "no such repository")})
	_, err := open(t, f.Server).Referrers(t.Context(), manifest, "")
	checkError(t, err, ecrclient.ErrNotFound, 404)
	if e, _ := errors.AsType[*ecrclient.Error](err); e.Code != "NAME_UNKNOWN" {
		t.Errorf("code %q", e.Code)
	}
}

// Answers that begin well.
func TestFaultsWithinTheAnswer(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	const manifest, blob, ranged, referrers = "fetch manifest", "fetch blob", "fetch range", "referrers"
	for _, row := range []struct {
		name     string
		call     string
		fault    registrytest.Fault
		times    int
		class    error
		requests int
	}{
		{"cut once", manifest, registrytest.Truncate(20), 1, nil, 2},
		{"cut always", manifest, registrytest.Truncate(20), 0, ecrclient.ErrUnavailable, attempts},
		{"ends early", manifest, registrytest.Short(20), 1, ecrclient.ErrDigestMismatch, 1},
		{"longer, unannounced", manifest, registrytest.Lengthen([]byte("  "), false), 1, ecrclient.ErrDigestMismatch,
			1},
		{"longer, announced", manifest, registrytest.Lengthen([]byte("  "), true), 1, ecrclient.ErrDigestMismatch, 1},
		{"another byte", manifest, registrytest.Corrupt(30), 1, ecrclient.ErrDigestMismatch, 1},
		{"another digest", manifest, registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), 1,
			ecrclient.ErrDigestMismatch, 1},
		{"over the limit", manifest, registrytest.Lengthen(make([]byte, ecrclient.MaxManifestSize), false), 1,
			ecrclient.ErrManifestTooLarge, 1},
		{"over the limit, announced", manifest, registrytest.Lengthen(make([]byte, ecrclient.MaxManifestSize), true), 1,
			ecrclient.ErrManifestTooLarge, 1},

		{"cut once", blob, registrytest.Truncate(20_000), 1, nil, 2},
		{"cut at once, once", blob, registrytest.Truncate(0), 1, nil, 2},
		{"cut at once, always", blob, registrytest.Truncate(0), 0, ecrclient.ErrUnavailable, attempts},
		{"ends early once", blob, registrytest.Short(20_000), 1, nil, 2},
		{"ends at once, always", blob, registrytest.Short(0), 0, ecrclient.ErrUnavailable, attempts},
		{"longer, unannounced", blob, registrytest.Lengthen([]byte("+"), false), 1, ecrclient.ErrDigestMismatch, 1},
		{"longer, announced", blob, registrytest.Lengthen([]byte("+"), true), 1, ecrclient.ErrDigestMismatch, 1},
		{"another digest", blob, registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), 1,
			ecrclient.ErrDigestMismatch, 1},
		{"a part, unasked", blob, forceRange("bytes=0-9"), 1, ecrclient.ErrDigestMismatch, 1},

		{"cut once", ranged, registrytest.Truncate(20_000), 1, nil, 2},
		{"range ignored", ranged, registrytest.IgnoreRange(), 1, nil, 1},
		{"range ignored, of unannounced length", ranged,
			registrytest.Both(registrytest.IgnoreRange(), registrytest.Header("Content-Length", "")), 1, nil, 1},
		{"range ignored, and cut once", ranged,
			registrytest.Both(registrytest.IgnoreRange(), registrytest.Truncate(20_000)),
			1, nil, 2},
		{"range ignored, ends early", ranged,
			registrytest.Both(registrytest.IgnoreRange(), registrytest.Short(20_000)), 0,
			ecrclient.ErrUnavailable, attempts},
		{"another begin", ranged, registrytest.Header("Content-Range", "bytes 8-39999/50000"), 1,
			ecrclient.ErrDigestMismatch, 1},
		{"another end", ranged, registrytest.Header("Content-Range", "bytes 7-40000/50000"),
			1, ecrclient.ErrDigestMismatch,
			1},
		{"an earlier end than its bytes", ranged, registrytest.Header("Content-Range", "bytes 7-39998/50000"),
			1, ecrclient.ErrDigestMismatch, 1},
		{"another total", ranged, registrytest.Header("Content-Range", "bytes 7-39999/60000"), 1,
			ecrclient.ErrDigestMismatch, 1},
		{"unknown total", ranged, registrytest.Header("Content-Range", "bytes 7-39999/*"), 1, nil, 1},
		{"no Content-Range", ranged, registrytest.Header("Content-Range", ""), 1, ecrclient.ErrDigestMismatch, 1},
		{"less than asked for", ranged, forceRange("bytes=7-99"), 1, nil, 2},
		{"cannot be satisfied, but as a whole", ranged, forceRange("bytes=60000-60001"), 1, nil, 2},
		{"cannot be satisfied", ranged, forceRange("bytes=60000-60001"), 0, ecrclient.ErrDigestMismatch, 2},
		{"refused with 400", ranged, registrytest.RefuseRange(400), 0, nil, 2},
		{"refused with 416", ranged, registrytest.RefuseRange(416), 0, nil, 2},
		{"refused with 501", ranged, registrytest.RefuseRange(501), 0, nil, 2},
		{"refused, and cut once", ranged,
			registrytest.Both(registrytest.RefuseRange(416), registrytest.Truncate(20_000)),
			2, nil, 3},
		{"refused, the blob is shorter", ranged,
			registrytest.Both(registrytest.RefuseRange(416), forceRange("bytes=0-999")),
			0, ecrclient.ErrDigestMismatch, 2},

		{"cut once", referrers, registrytest.Truncate(20), 1, nil, 2},
		{"cut always", referrers, registrytest.Truncate(20), 0, ecrclient.ErrUnavailable, attempts},
	} {
		t.Run(row.call+"/"+row.name, func(t *testing.T) {
			f := newFixture(t)
			for _, c := range calls {
				if c.name != row.call {
					continue
				}
				f.Add(registrytest.Rule{Method: c.method, Path: c.path, Times: row.times, Fault: row.fault})
				r := openParallel(t, f.Server, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
				err := c.run(t.Context(), r, f)
				if got := f.Count(c.method, c.path); got != row.requests {
					t.Errorf("%d requests, want %d: %+v", got, row.requests, f.Requests())
				}
				if row.class == nil {
					if err != nil {
						t.Fatalf("got %v", err)
					}
					return
				}
				status := 0
				if row.name == "cannot be satisfied" {
					status = http.StatusRequestedRangeNotSatisfiable
				}
				checkError(t, err, row.class, status)
				return
			}
			t.Fatalf("no call %q", row.call)
		})
	}
}

// forceRange makes the registry answer another range than was asked for.
func forceRange(value string) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r = r.Clone(r.Context())
		r.Header.Set("Range", value)
		next.ServeHTTP(w, r)
	}
}

func TestManifestTooLarge(t *testing.T) {
	f := newFixture(t)
	r := open(t, f.Server)
	config := f.img.Config
	big := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"mediaType":"` +
		config.MediaType +
		`","digest":"` + config.Digest.String() + `","size":` + "2" + `},"layers":[],"annotations":{"a":"` +
		strings.Repeat("x", ecrclient.MaxManifestSize) + `"}}`)
	desc := f.PushManifest(t, repository, "big", ocispec.MediaTypeImageManifest, big)
	if got, err := r.Resolve(t.Context(), "big"); err != nil || got.Size != desc.Size {
		t.Fatalf("Resolve: %+v, %v", got, err)
	}
	for name, run := range map[string]func() error{
		"FetchManifest": func() error { _, err := r.FetchManifest(t.Context(), desc); return err },
		"Fetch":         func() error { _, err := r.Fetch(t.Context(), desc); return err },
		"Push":          func() error { return r.Push(t.Context(), desc, bytes.NewReader(big)) },
		"PushTag":       func() error { return r.PushTag(t.Context(), desc, bytes.NewReader(big), "big") },
	} {
		t.Run(name, func(t *testing.T) {
			err := run()
			checkError(t, err, ecrclient.ErrManifestTooLarge, 0)
			if !strings.Contains(err.Error(), "4194304") {
				t.Errorf("%q does not name the limit", err)
			}
		})
	}
	if f.Count("", desc.Digest.String())+f.Count(http.MethodGet, "")+f.Count(http.MethodPut, "") != 0 {
		t.Errorf("requests were made for what is known to be too large: %+v", f.Requests())
	}
	exact := desc
	exact.Size = ecrclient.MaxManifestSize // as large as may be; but it is not
	_, err := r.FetchManifest(t.Context(), exact)
	checkError(t, err, ecrclient.ErrManifestTooLarge, 0)
}

func TestInvalidArguments(t *testing.T) {
	f := newFixture(t)
	r := open(t, f.Server)
	bad := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: "../../other/blobs/x", Size: 5}
	badManifest := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:12", Size: 5}
	for name, run := range map[string]func() error{
		"resolve nothing": func() error { _, err := r.Resolve(t.Context(), ""); return err },
		"resolve a path":  func() error { _, err := r.Resolve(t.Context(), "../v1"); return err },
		"fetch":           func() error { _, err := r.Fetch(t.Context(), bad); return err },
		"fetch range":     func() error { _, err := r.FetchRange(t.Context(), bad, 0, 1); return err },
		"fetch manifest":  func() error { _, err := r.FetchManifest(t.Context(), badManifest); return err },
		"exists":          func() error { _, err := r.Exists(t.Context(), bad); return err },
		"push":            func() error { return r.Push(t.Context(), bad, strings.NewReader("12345")) },
		"push manifest":   func() error { return r.Push(t.Context(), badManifest, strings.NewReader("12345")) },
		"push under no tag": func() error {
			return r.PushTag(t.Context(), f.img.Manifest, strings.NewReader("12345"),
				"a/b")
		},
		"tag a blob": func() error {
			return r.PushTag(t.Context(), f.img.Layers[0], strings.NewReader("12345"),
				"v1")
		},
		"referrers": func() error { _, err := r.Referrers(t.Context(), badManifest, ""); return err },
	} {
		t.Run(name, func(t *testing.T) { checkError(t, run(), ecrclient.ErrInvalidReference, 0) })
	}
	for name, run := range map[string]func() error{
		"negative size": func() error {
			d := f.img.Manifest
			d.Size = -1
			_, err := r.FetchManifest(t.Context(), d)
			return err
		},
		"other manifest": func() error { return r.Push(t.Context(), f.img.Manifest, strings.NewReader("{}")) },
		"same length": func() error {
			return r.Push(t.Context(), f.img.Manifest, bytes.NewReader(make([]byte, f.img.Manifest.Size)))
		},
	} {
		t.Run(name, func(t *testing.T) { checkError(t, run(), ecrclient.ErrDigestMismatch, 0) })
	}
	for _, row := range [][2]int64{{-1, 5}, {0, -1}, {0, 50_001}, {50_001, 0}, {1, 1<<63 - 1}} {
		if _, err := r.FetchRange(t.Context(), f.img.Layers[0], row[0], row[1]); err == nil {
			t.Errorf("FetchRange(%d, %d): no error", row[0], row[1])
		}
	}
	if rc, err := r.FetchRange(t.Context(), f.img.Layers[0], 50_000, 0); err != nil || len(readAll(t, rc)) != 0 {
		t.Errorf("FetchRange of nothing: %v", err)
	}
	if len(f.Requests()) != 0 {
		t.Errorf("requests were made: %+v", f.Requests())
	}
}
