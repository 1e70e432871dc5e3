package ecrclient_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// The end of the caller's own deadline is not told as the registry's fault.
func TestDeadlineOfTheCaller(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t)
	desc := s.PushBlob(t, repository, make([]byte, 1<<20))
	silent := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
	for _, tt := range []struct {
		name  string
		fault registrytest.Fault
		call  func(context.Context, *ecrclient.Repository) error
	}{
		{"no answer", silent, func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := r.Resolve(ctx, "v1")
			return err
		}},
		{"half a blob", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(make([]byte, 1000))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := fetchAll(ctx, r, desc)
			return err
		}},
		{"the time was up before", silent, func(ctx context.Context, r *ecrclient.Repository) error {
			<-ctx.Done()
			_, err := r.Tags(ctx)
			return err
		}},
		{"tokens", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Path, "/token") {
				silent(w, r, next)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := r.Resolve(ctx, "v1")
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Clear()
			s.Add(registrytest.Rule{Fault: tt.fault})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err := tt.call(ctx, open(t, s))
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ecrclient.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			if text := err.Error(); !strings.HasSuffix(text, ": the time that the caller allowed is up") ||
				strings.Contains(text, "answer") {
				t.Errorf("it is told as %q", text)
			}
		})
	}
}
