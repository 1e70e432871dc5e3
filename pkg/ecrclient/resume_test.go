package ecrclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// A blob comes out whole whatever happens to its connections, and the ranges
// asked for follow each other.
func TestResumeAnywhere(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	rng := rand.New(rand.NewPCG(1, 2))
	resumed := 0
	for round := range 150 {
		size := []int{0, 1, 2, 100, 4096, 100_000, 1 << 20}[round%7]
		content := noise(uint64(round), size)
		s := registrytest.Start(t)
		desc := s.PushBlob(t, repository, content)
		var story []string
		for i := range rng.IntN(12) {
			n := rng.Int64N(int64(size)/3 + 1)
			rule := registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Skip: i, Times: 1}
			switch rng.IntN(6) {
			case 0:
				rule.Fault, n = registrytest.Status(503, "UNAVAILABLE", ""), 0
				story = append(story, "503")
			case 1:
				rule.Fault = registrytest.Short(n)
				story = append(story, fmt.Sprint("short ", n))
			case 2:
				rule.Fault = registrytest.Both(registrytest.IgnoreRange(), registrytest.Truncate(n))
				story = append(story, fmt.Sprint("all, cut ", n))
			case 3:
				rule.Fault = registrytest.Both(registrytest.IgnoreRange(), registrytest.Truncate(int64(size)*3/4))
				story = append(story, "all, cut at 3/4")
			default:
				rule.Fault = registrytest.Truncate(n)
				story = append(story, fmt.Sprint("cut ", n))
			}
			s.Add(rule)
		}
		r := openParallel(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 20}))
		off, end := int64(0), int64(size)
		fetch := r.Fetch
		if round%2 == 1 && size > 0 {
			off = rng.Int64N(int64(size))
			end = off + 1 + rng.Int64N(int64(size)-off)
			fetch = func(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
				return r.FetchRange(ctx, d, off, end-off)
			}
			for i := range story {
				if strings.HasPrefix(story[i], "all") {
					fetch = nil // a range cannot be had then
				}
			}
		}
		if fetch == nil {
			continue
		}
		rc, err := fetch(t.Context(), desc)
		if err != nil {
			t.Fatalf("round %d, %q: %v", round, story, err)
		}
		var reader io.Reader = rc
		if round%3 == 0 && size <= 4096 {
			reader = iotest.OneByteReader(rc)
		}
		got, err := io.ReadAll(reader)
		if err != nil {
			t.Fatalf("round %d, %d bytes, %q: %v", round, size, story, err)
		}
		if !bytes.Equal(got, content[off:end]) {
			t.Fatalf("round %d, %d bytes from %d to %d, %q: other bytes came", round, size, off, end, story)
		}
		if n, err := rc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read after the end: %d, %v", n, err)
		}
		rc.Close()
		last := int64(-1)
		for _, request := range s.Requests() {
			if request.Range == "" {
				continue
			}
			var first, end int64
			if _, err := fmt.Sscanf(request.Range, "bytes=%d-%d", &first, &end); err != nil || first < last ||
				end < first {
				t.Errorf("round %d: range %q after %d", round, request.Range, last)
			}
			if first > last && last >= 0 {
				resumed++
			}
			last = first
		}
	}
	if resumed < 50 {
		t.Errorf("only %d requests went on from further on: the hard case hardly occurred", resumed)
	}
}

// Tries are counted from the last byte that came.
func TestResumeTries(t *testing.T) {
	content := noise(9, 10_000)
	const tries = 4
	for _, row := range []struct {
		name  string
		rules []registrytest.Rule
		reads int64 // bytes before the error; -1 for none
		asks  int
		class error
	}{
		{"progress every time", []registrytest.Rule{{Times: 40, Fault: registrytest.Truncate(100)}}, -1, 41, nil},
		{"a byte every time", []registrytest.Rule{{Fault: registrytest.Truncate(1)}}, 1001, 1001,
			ecrclient.ErrUnavailable},
		{"no progress at first", []registrytest.Rule{{Times: tries - 1, Fault: registrytest.Truncate(0)}}, -1, tries,
			nil},
		{"no progress at all", []registrytest.Rule{{Fault: registrytest.Truncate(0)}}, 0, tries,
			ecrclient.ErrUnavailable},
		{"none after some", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)}, {Fault: registrytest.Truncate(0)},
		}, 3000, tries, ecrclient.ErrUnavailable},
		{"throttled after some", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)}, {Fault: registrytest.Status(429, "TOOMANYREQUESTS", "")},
		}, 3000, tries, ecrclient.ErrThrottled},
		{"denied after some", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)}, {Fault: registrytest.Status(403, "DENIED", "")},
		}, 3000, 2, ecrclient.ErrDenied},
		{"gone after some", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)}, {Fault: registrytest.Status(404, "BLOB_UNKNOWN", "")},
		}, 3000, 2, ecrclient.ErrNotFound},
		{"ranges ignored, and cut before news", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)},
			{Fault: registrytest.Both(registrytest.IgnoreRange(), registrytest.Truncate(3000))},
		}, 3000, tries, ecrclient.ErrUnavailable},
		{"another range after some", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)}, {Fault: forceRange("bytes=2999-9999")},
		}, 3000, 2, ecrclient.ErrDigestMismatch},
		{"another size after some", []registrytest.Rule{
			{Times: 1, Fault: registrytest.Truncate(3000)},
			{Fault: registrytest.Both(registrytest.IgnoreRange(), registrytest.Lengthen([]byte("+"), true))},
		}, 3000, 2, ecrclient.ErrDigestMismatch},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			s.Add(row.rules...)
			r := open(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: tries}))
			got, err := fetchAll(t.Context(), r, desc)
			want := content
			if row.reads >= 0 {
				want = content[:row.reads]
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, want the first %d of the content", len(got), len(want))
			}
			if n := s.Count(http.MethodGet, "/blobs/"); n != row.asks {
				t.Errorf("%d requests, want %d", n, row.asks)
			}
			if row.class == nil {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			status := 0
			if e, ok := errors.AsType[*ecrclient.Error](err); ok && !errors.Is(err, ecrclient.ErrUnavailable) {
				status = e.Status
			}
			checkError(t, err, row.class, status)
			if row.class == ecrclient.ErrUnavailable && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v does not lead to its cause", err)
			}
		})
	}
}

func fetchAll(ctx context.Context, r *ecrclient.Repository, desc ocispec.Descriptor) ([]byte, error) {
	return fetchAllBy(ctx, r, desc, 64<<10)
}

// fetchAllBy is fetchAll in reads of up to n bytes.
func fetchAllBy(ctx context.Context, r *ecrclient.Repository, desc ocispec.Descriptor, n int) ([]byte, error) {
	rc, err := r.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	var all bytes.Buffer
	_, err = io.CopyBuffer(struct{ io.Writer }{&all}, struct{ io.Reader }{rc}, make([]byte, n))
	got := all.Bytes()
	if err != nil {
		if _, again := rc.Read(make([]byte, 1)); again != err {
			err = fmt.Errorf("the error is not sticky: %w, then %v", err, again)
		}
	}
	return got, err
}

func TestResumeAfterStall(t *testing.T) {
	content := noise(10, 5000)
	s := registrytest.Start(t)
	desc := s.PushBlob(t, repository, content)
	s.Add(registrytest.Rule{Path: "/blobs/", Times: 1, Fault: s.StallAfter(1234)})
	got, err := fetchAll(t.Context(), open(t, s, ecrclient.WithStallTimeout(200*time.Millisecond)), desc)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if range2 := s.Requests()[1].Range; range2 != "bytes=1234-4999" {
		t.Errorf("asked for %q", range2)
	}
	s.Add(registrytest.Rule{Path: "/blobs/", Fault: s.StallAfter(0)})
	_, err = fetchAll(t.Context(), open(t, s, ecrclient.WithStallTimeout(50*time.Millisecond),
		ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 2})), desc)
	checkError(t, err, ecrclient.ErrUnavailable, 0)
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
}

// The end of the context ends a transfer, whatever it is waiting for.
func TestCancel(t *testing.T) {
	content := noise(11, 5000)
	reason := errors.New("reason")
	for _, row := range []struct {
		name  string
		fault func(*registrytest.Server) registrytest.Fault
		reads int64
	}{
		{"before the answer", func(s *registrytest.Server) registrytest.Fault { return s.Stall() }, 0},
		{"in the body", func(s *registrytest.Server) registrytest.Fault { return s.StallAfter(1000) }, 1000},
		{"between attempts", func(*registrytest.Server) registrytest.Fault { return registrytest.Truncate(1000) },
			1000},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			ctx, cancel := context.WithCancelCause(t.Context())
			arrived := make(chan struct{})
			var once sync.Once
			fault := row.fault(s)
			s.Add(registrytest.Rule{Path: "/blobs/",
				Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					once.Do(func() { close(arrived) })
					fault(w, r, next)
				}})
			r := open(t, s, ecrclient.WithSleep(func(ctx context.Context, _ time.Duration) error {
				<-ctx.Done()
				return ctx.Err()
			}))
			go func() {
				<-arrived
				if row.reads == 0 {
					cancel(reason)
				}
			}()
			rc, err := r.Fetch(ctx, desc)
			if err == nil {
				if _, err := io.CopyN(io.Discard, rc, row.reads); err != nil {
					t.Fatal(err)
				}
				go cancel(reason)
				_, err = rc.Read(make([]byte, 10))
				if err == nil {
					t.Fatal("more bytes than were sent")
				}
				if !errors.Is(err, context.Canceled) || errors.Is(err, ecrclient.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				rc.Close()
				return
			}
			if row.reads > 0 || !errors.Is(err, context.Canceled) || errors.Is(err, ecrclient.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("deadline leaves no time for another attempt", func(t *testing.T) {
		s := registrytest.Start(t)
		s.Add(registrytest.Rule{Fault: registrytest.Status(503, "", "", "Retry-After", "15")})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := open(t, s, ecrclient.WithSleep(func(context.Context, time.Duration) error {
			return errors.New("slept, for nothing")
		})).Resolve(ctx, "v1")
		checkError(t, err, ecrclient.ErrUnavailable, 503)
	})
	t.Run("Close", func(t *testing.T) {
		s := registrytest.Start(t)
		desc := s.PushBlob(t, repository, content)
		s.Add(registrytest.Rule{Path: "/blobs/", Fault: s.StallAfter(1000)})
		rc, err := open(t, s).Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := rc.Close(); err != nil {
				t.Error(err)
			}
		}
		if n, err := rc.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("Read after Close: %d, %v", n, err)
		}
	})
}

// One Repository serves many goroutines, each with its own troubles.
func TestConcurrentFetches(t *testing.T) {
	s := registrytest.Start(t)
	const n = 8
	var descs []ocispec.Descriptor
	for i := range n {
		descs = append(descs, s.PushBlob(t, repository, noise(uint64(20+i), 200_000)))
	}
	s.Add(registrytest.Rule{Method: http.MethodGet, Times: 3 * n, Fault: registrytest.Truncate(10_000)})
	r := open(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 50}))
	var wg sync.WaitGroup
	for i, desc := range descs {
		wg.Go(func() {
			got, err := fetchAll(t.Context(), r, desc)
			if err != nil || !bytes.Equal(got, noise(uint64(20+i), 200_000)) {
				t.Errorf("blob %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestLogOfResume(t *testing.T) {
	s := registrytest.Start(t)
	desc := s.PushBlob(t, repository, noise(12, 5000))
	s.Add(
		registrytest.Rule{Method: http.MethodGet, Times: 1, Fault: registrytest.Truncate(1000)},
		registrytest.Rule{Method: http.MethodGet, Skip: 1, Times: 1,
			Fault: registrytest.Status(503, "UNAVAILABLE", "later")},
	)
	var log bytes.Buffer
	r := open(t, s, ecrclient.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if _, err := fetchAll(t.Context(), r, desc); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), log.String())
	}
	for i, want := range [][]string{
		{"attempt=1", "offset=1000", "unexpected EOF"},
		{"attempt=2", "offset=1000", "status=503", "UNAVAILABLE"},
	} {
		for _, part := range append(want, "level=INFO", `op="fetch blob"`, "repository="+repository+" ",
			"digest="+desc.Digest.String(), "wait=") {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d has no %s: %s", i, part, lines[i])
			}
		}
	}
}

func TestWait(t *testing.T) {
	p := ecrclient.RetryPolicy{MinWait: time.Second, MaxWait: 10 * time.Second}
	for _, row := range []struct {
		n        int
		asked    time.Duration
		min, max time.Duration
	}{
		{1, 0, 500 * time.Millisecond, time.Second},
		{2, 0, time.Second, 2 * time.Second},
		{3, 0, 2 * time.Second, 4 * time.Second},
		{5, 0, 5 * time.Second, 10 * time.Second},
		{1000, 0, 5 * time.Second, 10 * time.Second},
		{1, 3 * time.Second, 3 * time.Second, 3 * time.Second},
		{1, time.Hour, 10 * time.Second, 10 * time.Second},
	} {
		seen := make(map[time.Duration]bool)
		for range 100 {
			d := p.Wait(row.n, row.asked)
			if d < row.min || d > row.max {
				t.Fatalf("after attempt %d, asked for %v: %v", row.n, row.asked, d)
			}
			seen[d] = true
		}
		if row.min != row.max && len(seen) < 10 {
			t.Errorf("after attempt %d: only %d different pauses", row.n, len(seen))
		}
	}
}
