package soci_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// plainBody is a repository one of whose blobs is read as net/http returns it.
type plainBody struct {
	*ecrclient.Repository
	blob digest.Digest
	url  string
}

func (p plainBody) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if desc.Digest != p.blob {
		return p.Repository.Fetch(ctx, desc)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := registrytest.Client.Do(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// A connection that is cut while a zTOC is read back is the registry's failure, and
// no damage of the zTOC, whose image would be indexed without prefetch artifacts. A
// body that ends too early, or does not end, is damage.
func TestPrefetchReadBackCut(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault registrytest.Fault // nil: none
		cut   bool
		lost  int // warnings
	}{
		{"whole", nil, false, 0},
		{"cut", registrytest.Truncate(100), true, 0},
		{"short", registrytest.Short(100), false, 2},
		{"long", registrytest.Lengthen([]byte("more"), false), false, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(rootFS()[0])}).Manifest
			o := smallSpans("/usr/lib/libc.so.6")
			w, err := soci.Plan(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatal(err)
			}
			out, err := soci.BuildLayer(t.Context(), repo, repo, w.Layers()[0], o)
			if err != nil {
				t.Fatal(err)
			}
			path := "/v2/" + repoName + "/blobs/" + out.Result.Ztoc.Digest.String()
			if row.fault != nil {
				s.Add(registrytest.Rule{Method: http.MethodGet, Path: path, Fault: row.fault})
			}
			src := plainBody{repo, out.Result.Ztoc.Digest, s.URL() + path}
			r, err := soci.Publish(t.Context(), src, repo, image, o, []soci.LayerOutcome{out})
			if s.Count(http.MethodGet, path) != 1 {
				t.Errorf("the zTOC was read %d times", s.Count(http.MethodGet, path))
			}
			if row.cut {
				if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, soci.ErrDigestMismatch) || r != nil {
					t.Errorf("%v %+v", err, r)
				}
				return
			}
			if err != nil || len(r.Warnings) != row.lost || (r.Manifests[0].Prefetch == nil) != (row.lost > 0) {
				t.Errorf("%v %+v", err, r)
			}
		})
	}
}
