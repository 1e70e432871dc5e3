package ecrclient_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// The registry is asked for a blob once, as long as what it redirected to
// serves; what storage gets and what the log shows is as for one stream.
func TestPiecesOfRedirectedBlob(t *testing.T) {
	const piece = 5000
	content := noise(37, 100_000)
	once := func(status int) func(*registrytest.SignedURLs) registrytest.Fault { // a URL that serves once
		return func(*registrytest.SignedURLs) registrytest.Fault {
			var mu sync.Mutex
			seen := make(map[string]bool)
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				mu.Lock()
				again := seen[r.URL.RawQuery]
				seen[r.URL.RawQuery] = true
				mu.Unlock()
				if again {
					registrytest.Status(status, "AccessDenied", "")(w, r, next)
					return
				}
				next.ServeHTTP(w, r)
			}
		}
	}
	for _, row := range []struct {
		name   string
		fault  func(*registrytest.SignedURLs) registrytest.Fault
		times  int
		skip   int
		issued [2]int // least and most
		pauses int
	}{
		{"nothing happens", nil, 0, 0, [2]int{1, 1}, 0},
		{"expires on the way", func(s *registrytest.SignedURLs) registrytest.Fault {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				s.Expire()
				next.ServeHTTP(w, r)
			}
		}, 1, 8, [2]int{2, 2 + 3}, 0}, // each piece of the window may ask
		{"expires with another status", once(400), 0, 0, [2]int{20, 20}, 0},
		{"serves once", once(403), 0, 0, [2]int{20, 20}, 0},
		{"cut", func(*registrytest.SignedURLs) registrytest.Fault { return registrytest.Truncate(100) }, 1, 8,
			[2]int{2, 2 + 3}, 1},
		{"slow down", func(*registrytest.SignedURLs) registrytest.Fault {
			return registrytest.Status(503, "SlowDown",
				"")
		},
			1, 8, [2]int{2, 2 + 3}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
			signed := registrytest.StartSignedURLs(t, s)
			s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/",
				Fault: signed.RedirectBasic()})
			dockerConfig(t, s.Host())
			desc := s.PushBlob(t, repository, content)
			if row.fault != nil {
				signed.Add(registrytest.Rule{Skip: row.skip, Times: row.times, Fault: row.fault(signed)})
			}
			log, paused := new(bytes.Buffer), new(waits)
			r := openParallel(t, s, ahead(piece, 3), ecrclient.WithSleep(paused.sleep),
				ecrclient.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
			got, err := fetchAllBy(t.Context(), r, desc, piece/2)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if n := signed.Issued(); n < row.issued[0] || n > row.issued[1] {
				t.Errorf("%d URLs were issued, want %v", n, row.issued)
			}
			// Each piece, and what the window has asked in vain before that is known.
			if n := len(signed.Requests()); n > 20+6 {
				t.Errorf("storage was asked %d times for 20 pieces", n)
			}
			if n := len(paused.list()); n != row.pauses {
				t.Errorf("%d pauses, want %d", n, row.pauses)
			}
			if leaked := signed.Leaked(); len(leaked) > 0 {
				t.Errorf("the signed URLs' server was shown %+v", leaked)
			}
			for _, secret := range []string{registrytest.Signature, "X-Amz", password,
				base64.StdEncoding.EncodeToString([]byte(user + ":" + password))} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log holds %q", secret)
				}
			}
			if strings.Count(log.String(), `"redirected_to":"`+strings.TrimPrefix(signed.URL, "http://")+`"`) < 20 {
				t.Errorf("the log does not tell where the pieces came from: %s", log)
			}
		})
	}
	t.Run("refused at both places", func(t *testing.T) {
		s, signed := redirecting(t)
		desc := s.PushBlob(t, repository, content)
		signed.Add(registrytest.Rule{Skip: 4, Fault: registrytest.Status(403, "AccessDenied", registrytest.Signature)})
		_, err := fetchAllBy(t.Context(),
			open(t, s, ahead(piece, 3), ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts})), desc, piece)
		checkError(t, err, ecrclient.ErrDenied, 403)
		if strings.Contains(err.Error(), "X-Amz") {
			t.Errorf("%v", err)
		}
	})
}

// The token of AWS, which goes with every request to the registry, is not
// shown to storage when that is asked in place of the registry.
func TestECRRedirectOfPieces(t *testing.T) {
	f := newFakeAWS(t)
	content := noise(38, 50_000)
	desc := f.PushBlob(t, repository, content)
	signed := registrytest.StartSignedURLs(t, f.Server).Elsewhere()
	f.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: signed.Redirect()})
	r := f.open(t, ecrHost, ecrclient.WithOwnTokens(), ahead(10_000, 3))
	got, err := fetchAll(t.Context(), r, desc)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n, asked := signed.Issued(), len(signed.Requests()); n != 1 || asked < 2 {
		t.Errorf("%d requests with %d URLs", asked, n)
	}
	for _, request := range signed.Requests() {
		if request.Authorization != "" {
			t.Errorf("Authorization in %+v", request)
		}
	}
}
