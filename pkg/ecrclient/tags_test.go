package ecrclient_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// Registries answer the PUT of a tag in different ways.
func TestTagAnswers(t *testing.T) {
	for _, tt := range []struct {
		name                string
		status              int
		code                string
		immutable, notFound bool
	}{
		{"ECR", 400, "TAG_INVALID", true, false},
		{"ECR's API", 400, "ImageTagAlreadyExistsException", true, false},
		{"conflict", 409, "CONFLICT", true, false},
		{"precondition", 412, "PRECONDITION", true, false},
		{"bad manifest", 400, "MANIFEST_INVALID", false, false},
		{"no repository", 404, "NAME_UNKNOWN", false, true},
		{"forbidden", 403, "DENIED", true, false},
		{"not allowed", 405, "UNSUPPORTED", true, false},
		{"no login", 401, "UNAUTHORIZED", false, false},
		{"unavailable", 503, "UNAVAILABLE", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			s.Add(registrytest.Rule{Method: http.MethodPut, Fault: registrytest.Status(tt.status, tt.code, "")})
			r, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			if err != nil {
				t.Fatal(err)
			}
			content := []byte(`{"schemaVersion":2,"manifests":[]}`)
			err = r.PushTag(t.Context(),
				ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(content),
					Size: int64(len(content))}, bytes.NewReader(content), "v1")
			e, ok := errors.AsType[*ecrclient.Error](err)
			if !ok || e.TagImmutable() != tt.immutable || e.NotFound() != tt.notFound {
				t.Errorf("%v: immutable %t, not found %t", err, e.TagImmutable(), e.NotFound())
			}
			// By digest there is no tag that could be in the way.
			if tt.status != http.StatusForbidden && tt.status != http.StatusMethodNotAllowed {
				return
			}
			err = r.Push(t.Context(),
				ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(content),
					Size: int64(len(content))}, bytes.NewReader(content))
			if e, ok := errors.AsType[*ecrclient.Error](err); !ok || e.TagImmutable() {
				t.Errorf("by digest: %v", err)
			}
			ecr := &ecrclient.Error{Op: "push manifest", Repository: ecrHost + "/app", Reference: "v1",
				Status: tt.status}
			if ecr.TagImmutable() {
				t.Errorf("ECR says %d of a right", tt.status)
			}
		})
	}
}
