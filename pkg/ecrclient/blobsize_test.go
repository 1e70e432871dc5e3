package ecrclient_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

func TestBlobSize(t *testing.T) {
	nowhere := ocispec.Descriptor{Digest: digest.FromString("nowhere"), Size: 7}
	refused := func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodHead, Fault: registrytest.Status(status, "UNSUPPORTED", "")}
	}
	for _, tt := range []struct {
		name  string
		rules []registrytest.Rule
		desc  ocispec.Descriptor // instead of the blob of ten bytes
		want  int64
		err   error
		gets  int
	}{
		{name: "HEAD", want: 10},
		{name: "not there", desc: nowhere, err: ecrclient.ErrNotFound},
		{name: "no digest", desc: ocispec.Descriptor{Digest: "sha256:7"}, err: ecrclient.ErrInvalidReference},
		{name: "HEAD refused with 405", rules: []registrytest.Rule{refused(405)}, want: 10, gets: 1},
		{name: "HEAD refused with 501", rules: []registrytest.Rule{refused(501)}, want: 10, gets: 1},
		{name: "HEAD refused with 400", rules: []registrytest.Rule{refused(400)}, want: 10, gets: 1},
		{name: "HEAD refused, not there", rules: []registrytest.Rule{refused(405)}, desc: nowhere,
			err:  ecrclient.ErrNotFound,
			gets: 1},
		{name: "denied", rules: []registrytest.Rule{{Fault: registrytest.Status(403, "DENIED", "")}},
			err: ecrclient.ErrDenied, gets: 1},
		{name: "unavailable", rules: []registrytest.Rule{refused(503)}, err: ecrclient.ErrUnavailable},
		{name: "no size", rules: []registrytest.Rule{{Method: http.MethodHead,
			Fault: registrytest.Header("Content-Length", "")}}, want: 10, gets: 1},
		{name: "no size, GET without one", rules: []registrytest.Rule{
			refused(405), {Method: http.MethodGet, Fault: registrytest.Short(6)},
		}, want: 6, gets: 1},
		{name: "no size, GET without end", rules: []registrytest.Rule{
			refused(405), {Method: http.MethodGet, Fault: registrytest.Lengthen(make([]byte, 1<<20), false)},
		}, want: 11, gets: 1},
		{name: "another digest", rules: []registrytest.Rule{
			{Fault: registrytest.Header("Docker-Content-Digest", digest.FromString("other").String())},
		}, err: ecrclient.ErrDigestMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, "team/app", []byte("ten bytes."))
			if tt.desc.Digest != "" {
				desc = tt.desc
			}
			s.Add(tt.rules...)
			r, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.BlobSize(t.Context(), desc)
			if !errors.Is(err, tt.err) || got != tt.want && tt.err == nil {
				t.Errorf("%d, %v; want %d, %v", got, err, tt.want, tt.err)
			}
			if n := s.Count(http.MethodGet, "/blobs/"); n != tt.gets {
				t.Errorf("%d GETs, want %d", n, tt.gets)
			}
			if e, ok := errors.AsType[*ecrclient.Error](err); err != nil &&
				(!ok || e.NotFound() != (tt.err == ecrclient.ErrNotFound)) {
				t.Errorf("%v", err)
			}
		})
	}
}
