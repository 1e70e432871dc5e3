package ecrclient_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// ahead has every large blob read in pieces, however fast it comes.
func ahead(pieceSize int64, window int) ecrclient.Option {
	return ecrclient.WithParallel(ecrclient.Parallel{PieceSize: pieceSize, Window: window, FastStream: math.MaxInt64})
}

// redirecting starts a registry that redirects blobs to signed URLs.
func redirecting(t *testing.T) (*registrytest.Server, *registrytest.SignedURLs) {
	s := registrytest.Start(t)
	signed := registrytest.StartSignedURLs(t, s)
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: signed.Redirect()})
	return s, signed
}

// A blob that is read ahead comes out whole whatever happens to its pieces.
func TestPiecesAnywhere(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	rng := rand.New(rand.NewPCG(3, 4))
	var resumed, inPieces, asStream, reused int
	for round := range 300 {
		size := []int{2, 3, 1000, 4096, 100_000, 1 << 20}[round%6]
		content := noise(uint64(round), size)
		s := registrytest.Start(t)
		desc := s.PushBlob(t, repository, content)
		faults, signed := s.Faults, (*registrytest.SignedURLs)(nil)
		if round%3 == 0 {
			signed = registrytest.StartSignedURLs(t, s)
			faults = signed.Faults
		}
		pieceSize := max(int64(size)/(2+rng.Int64N(20)), 1)
		var story []string
		for i := range rng.IntN(16) {
			n := rng.Int64N(pieceSize + 1)
			rule := registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Skip: i, Times: 1}
			what := ""
			switch rng.IntN(9) {
			case 0:
				rule.Fault, what = registrytest.Status(503, "UNAVAILABLE", ""), "503"
			case 1:
				rule.Fault, what = registrytest.Status(429, "TOOMANYREQUESTS", ""), "429"
			case 2:
				rule.Fault, what = registrytest.Short(n), "short"
			case 3:
				rule.Fault, what = registrytest.Reset(), "reset"
			case 4:
				if signed != nil {
					rule.Fault, what = registrytest.Status(403, "AccessDenied", ""), "403"
					break
				}
				rule.Fault, what = registrytest.Both(registrytest.IgnoreRange(), registrytest.Truncate(n)), "all, cut"
			case 5:
				if signed != nil {
					rule.Fault, what = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						signed.Expire()
						next.ServeHTTP(w, r)
					}, "expired"
					break
				}
				if i > 0 {
					rule.Fault, what = registrytest.IgnoreRange(), "all"
					break
				}
				fallthrough
			default:
				rule.Fault, what = registrytest.Truncate(n), "cut"
			}
			story = append(story, fmt.Sprint(what, " ", n))
			faults.Add(rule)
		}
		if signed != nil {
			s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: signed.Redirect()})
		}
		parallel := ecrclient.Parallel{PieceSize: pieceSize, Window: 2 + rng.IntN(8), FastStream: math.MaxInt64}
		if round%5 == 0 {
			parallel.FastStream = 1
		}
		tell := func() string {
			return fmt.Sprintf("round %d, %d bytes, %+v, redirected: %t, %q", round, size, parallel, signed != nil,
				story)
		}
		r := openParallel(t, s, ecrclient.WithParallel(parallel),
			ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 40}))
		rc, err := r.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatalf("%s: %v", tell(), err)
		}
		var reader io.Reader = rc
		if round%4 == 0 && size <= 4096 {
			reader = iotest.OneByteReader(rc)
		}
		got, err := io.ReadAll(reader)
		if err != nil {
			t.Fatalf("%s: %v", tell(), err)
		}
		if !bytes.Equal(got, content) {
			t.Fatalf("%s: other bytes came", tell())
		}
		if n, err := rc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: Read after the end: %d, %v", tell(), n, err)
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
		if signed != nil && len(signed.Leaked()) > 0 {
			t.Errorf("%s: leaked %+v", tell(), signed.Leaked())
		}
		var starts, more int
		for _, request := range faults.Requests() {
			var first, last int64
			if _, err := fmt.Sscanf(request.Range, "bytes=%d-%d", &first, &last); err != nil {
				continue
			}
			switch {
			case first > 0 && last-first+1 == pieceSize:
				starts++
			case first > 0 && last != int64(size)-1:
				more++
			case first > 0:
				asStream++
			}
		}
		resumed += more
		if starts > 0 {
			inPieces++
		}
		if signed != nil && signed.Issued() < len(signed.Requests()) {
			reused++
		}
	}
	expect.Equal(t, expect.Facts{
		{"resumed < 100", resumed < 100, false},
		{"inPieces < 100", inPieces < 100, false},
		{"asStream < 50", asStream < 50, false},
		{"reused < 30", reused < 30, false},
	}, "%d pieces went on from further on, %d blobs came in pieces, %d requests were for the rest, %d blobs used "+
		"a URL twice: the hard cases hardly occurred",
		resumed, inPieces, asStream, reused)
}

// pieceAt is a rule for the piece at an offset, any attempt or the first.
func pieceAt(off int64, times int, fault registrytest.Fault) func(http.Handler) http.Handler {
	var seen atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Range"), fmt.Sprintf("bytes=%d-", off)) &&
				(seen.Add(1) <= int64(times) || times == 0) {
				fault(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// One piece goes wrong in the middle of others.
func TestFaultsOfOnePiece(t *testing.T) {
	const piece, at = 10_000, 40_000
	content := noise(31, 95_000)
	for _, row := range []struct {
		name   string
		times  int // 0 is always
		fault  registrytest.Fault
		class  error
		status int
		reads  int // bytes before the error
	}{
		{"cut once", 1, registrytest.Truncate(3000), nil, 0, 0},
		{"cut always", 0, registrytest.Truncate(0), ecrclient.ErrUnavailable, 0, at},
		{"reset always", 0, registrytest.Reset(), ecrclient.ErrUnavailable, 0, at},
		{"ends early once", 1, registrytest.Short(3000), nil, 0, 0},
		{"ends at once, always", 0, registrytest.Short(0), ecrclient.ErrUnavailable, 0, at},
		{"longer, announced", 0, registrytest.Lengthen([]byte("+"), true), ecrclient.ErrDigestMismatch, 0, at},
		{"longer, unannounced", 0, registrytest.Lengthen([]byte("+"), false), ecrclient.ErrDigestMismatch, 0,
			at + piece},
		{"less than asked for", 0, forceRange("bytes=40000-40099"), nil, 0, 0},
		{"more than asked for", 0, forceRange("bytes=40000-50000"), ecrclient.ErrDigestMismatch, 0, at},
		{"another range", 0, forceRange("bytes=30000-39999"), ecrclient.ErrDigestMismatch, 0, at},
		{"another Content-Range", 0, registrytest.Header("Content-Range", "bytes 40001-49999/95000"),
			ecrclient.ErrDigestMismatch, 0, at},
		{"another total", 0, registrytest.Header("Content-Range", "bytes 40000-49999/95001"),
			ecrclient.ErrDigestMismatch, 0, at},
		{"no Content-Range", 0, registrytest.Header("Content-Range", ""), ecrclient.ErrDigestMismatch, 0, at},
		{"cannot be satisfied", 0, forceRange("bytes=100000-100001"), nil, 0, 0}, // but the whole blob can be had
		{"range refused with 400", 0, registrytest.RefuseRange(400), nil, 0, 0},
		{"range refused with 501", 0, registrytest.RefuseRange(501), nil, 0, 0},
		{"range ignored", 0, registrytest.IgnoreRange(), nil, 0, 0},
		{"range ignored, and cut", 1, registrytest.Both(registrytest.IgnoreRange(), registrytest.Truncate(5)), nil, 0,
			0},
		{"401", 0, registrytest.Status(401, "UNAUTHORIZED", ""), ecrclient.ErrDenied, 401, at},
		{"403", 0, registrytest.Status(403, "DENIED", ""), ecrclient.ErrDenied, 403, at},
		{"404", 0, registrytest.Status(404, "BLOB_UNKNOWN", ""), ecrclient.ErrNotFound, 404, at},
		{"429 once", 1, registrytest.Status(429, "TOOMANYREQUESTS", ""), nil, 0, 0},
		{"429 always", 0, registrytest.Status(429, "TOOMANYREQUESTS", ""), ecrclient.ErrThrottled, 429, at},
		{"503 twice", 2, registrytest.Status(503, "", ""), nil, 0, 0},
		{"503 always", 0, registrytest.Status(503, "", ""), ecrclient.ErrUnavailable, 503, at},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t, pieceAt(at, row.times, row.fault))
			desc := s.PushBlob(t, repository, content)
			r := open(t, s, ahead(piece, 3), ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
			got, err := fetchAllBy(t.Context(), r, desc, piece)
			if row.class == nil {
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				return
			}
			if !bytes.Equal(got, content[:row.reads]) {
				t.Errorf("%d bytes came, want %d", len(got), row.reads)
			}
			checkError(t, err, row.class, row.status)
			if want := fmt.Sprintf("after %d of %d bytes", at, len(content)); row.class == ecrclient.ErrUnavailable &&
				!strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		})
	}
	t.Run("another byte", func(t *testing.T) { // is for the digest to find
		s := registrytest.Start(t, pieceAt(at, 0, registrytest.Corrupt(7)))
		desc := s.PushBlob(t, repository, content)
		got, err := fetchAll(t.Context(), open(t, s, ahead(piece, 3)), desc)
		if err != nil || len(got) != len(content) || bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("stall", func(t *testing.T) {
		s := registrytest.Start(t)
		desc := s.PushBlob(t, repository, content)
		s.Add(registrytest.Rule{Method: http.MethodGet, Skip: 2, Times: 1, Fault: s.StallAfter(1234)})
		got, err := fetchAll(t.Context(), open(t, s, ahead(piece, 3), ecrclient.WithStallTimeout(200*time.Millisecond)),
			desc)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// Without ranges the first answer is the blob, and nothing of it is wasted.
func TestPiecesWithoutRanges(t *testing.T) {
	content := noise(32, 100_000)
	for name, fault := range map[string]registrytest.Fault{
		"announced":   registrytest.IgnoreRange(),
		"unannounced": registrytest.Both(registrytest.Short(1<<30), registrytest.IgnoreRange()),
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: fault})
			got, err := fetchAll(t.Context(), open(t, s, ahead(10_000, 3)), desc)
			if err != nil || !bytes.Equal(got, content) || s.Count(http.MethodGet, "/blobs/") != 1 {
				t.Errorf("%d bytes, %v: %+v", len(got), err, s.Requests())
			}
		})
	}
	t.Run("another size", func(t *testing.T) {
		s := registrytest.Start(t)
		desc := s.PushBlob(t, repository, content)
		s.Add(registrytest.Rule{Method: http.MethodGet,
			Fault: registrytest.Both(registrytest.IgnoreRange(), registrytest.Lengthen([]byte("+"), true))})
		_, err := open(t, s, ahead(10_000, 3)).Fetch(t.Context(), desc)
		checkError(t, err, ecrclient.ErrDigestMismatch, 0)
	})
}

// A registry that stops serving ranges is not asked for one again, however slow
// the stream is that brings the rest.
func TestPiecesWhenRangesEnd(t *testing.T) {
	content := noise(35, 100_000)
	s := registrytest.Start(t)
	desc := s.PushBlob(t, repository, content)
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Skip: 1, Fault: registrytest.IgnoreRange()})
	var mu sync.Mutex
	var passed time.Duration
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		if s.Count(http.MethodGet, "/blobs/") > 2 {
			passed += time.Second
		}
		return time.Unix(0, 0).Add(passed)
	}
	r := open(t, s, ecrclient.WithClock(clock),
		ecrclient.WithParallel(ecrclient.Parallel{PieceSize: 10_000, Window: 3, FastStream: 1 << 20}))
	got, err := fetchAllBy(t.Context(), r, desc, 512)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var ranges []string
	for _, request := range s.Requests() {
		ranges = append(ranges, request.Range)
	}
	// The last is of the stream that takes the whole blob instead.
	if want := []string{"bytes=0-9999", "bytes=10000-99999", "bytes=10000-99999"}; !slices.Equal(ranges, want) {
		t.Errorf("ranges %q, want %q", ranges, want)
	}
}

// The requests for a blob depend on its size and on the options for pieces.
func TestWhenPiecesAreUsed(t *testing.T) {
	for _, row := range []struct {
		name     string
		size     int
		parallel ecrclient.Parallel
		ranges   []string // in any order
	}{
		{"switched off", 100, ecrclient.Parallel{Window: 1}, []string{""}},
		{"smaller than two pieces", 19, ecrclient.Parallel{PieceSize: 10, FastStream: math.MaxInt64}, []string{""}},
		{"two pieces", 20, ecrclient.Parallel{PieceSize: 10, FastStream: math.MaxInt64},
			[]string{"bytes=0-9", "bytes=10-19"}},
		{"and one byte", 21, ecrclient.Parallel{PieceSize: 10, FastStream: math.MaxInt64},
			[]string{"bytes=0-9", "bytes=10-19", "bytes=20-20"}},
		{"fast enough", 100, ecrclient.Parallel{PieceSize: 10, FastStream: 1}, []string{"bytes=0-9", "bytes=10-99"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			content := noise(33, row.size)
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			rc, err := open(t, s, ecrclient.WithParallel(row.parallel)).Fetch(t.Context(), desc)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(iotest.OneByteReader(rc))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			want := make(map[string]int)
			for _, r := range row.ranges {
				want[r]++
			}
			for _, r := range s.Requests() {
				want[r.Range]--
			}
			for r, n := range want {
				if n != 0 {
					t.Errorf("range %q: %d times too few", r, n)
				}
			}
		})
	}
	t.Run("only the beginning is read", func(t *testing.T) {
		s := registrytest.Start(t)
		desc := s.PushBlob(t, repository, noise(33, 100_000))
		rc, err := open(t, s, ahead(1000, 8)).Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := rc.Read(make([]byte, 512)); n == 0 || err != nil {
			t.Error(n, err)
		}
		rc.Close()
		if n := len(s.Requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
	slow := registrytest.Throttle(1<<20, 0)
	for name, fault := range map[string]registrytest.Fault{
		"a stream that grows slow":                slow,
		"a stream that grows slow, length unsaid": registrytest.Both(slow, registrytest.Short(1<<30)),
	} {
		t.Run(name, func(t *testing.T) {
			content := noise(34, 1<<20)
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			s.Add(registrytest.Rule{Method: http.MethodGet, Skip: 1, Times: 1, Fault: fault})
			r := open(t, s, ecrclient.WithParallel(ecrclient.Parallel{PieceSize: 16 << 10, FastStream: 2 << 20}))
			got, err := fetchAllBy(t.Context(), r, desc, 4096)
			if err != nil || !bytes.Equal(got, content) || len(s.Requests()) < 8 {
				t.Errorf("%d bytes, %d requests, %v", len(got), len(s.Requests()), err)
			}
		})
	}
}

// A reader that stops has no more asked for than the window holds, holds no
// more than FetchMemory, and after Close nothing.
func TestPiecesOfSlowReader(t *testing.T) {
	const piece, window, size = 1 << 20, 4, 24 << 20
	content := noise(35, size)
	s := registrytest.Start(t)
	desc := s.PushBlob(t, repository, content)
	r := open(t, s, ahead(piece, window))
	before := heap()
	rc, err := r.Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	for range 2 {
		if _, err := io.ReadFull(rc, one); err != nil {
			t.Fatal(err)
		}
	}
	for s.Count(http.MethodGet, "") < 1+window {
		runtime.Gosched()
	}
	// To here the window is full; this takes two pieces out of it.
	if _, err := io.CopyN(io.Discard, rc, 2*piece+piece/2); err != nil {
		t.Fatal(err)
	}
	for s.Count(http.MethodGet, "") < 1+window+1 {
		runtime.Gosched()
	}
	if held := heap() - before; held > r.FetchMemory(desc)+piece {
		t.Errorf("%d bytes are held, FetchMemory is %d", held, r.FetchMemory(desc))
	}
	rc.Close()
	if n := s.Count(http.MethodGet, ""); n != 1+window+1 {
		t.Errorf("%d requests, want %d", n, 1+window+1)
	}
	if held := heap() - before; held > piece {
		t.Errorf("%d bytes are held after Close", held)
	}
	runtime.KeepAlive(content)
}

// heap returns the bytes in use when pools are empty.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
