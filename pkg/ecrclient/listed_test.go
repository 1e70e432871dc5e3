package ecrclient_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

const referrersTag = "/manifests/sha256-"

// unlisted is a registry without the referrers API with an image and a referrer
// of it that is yet to be pushed.
func unlisted(t *testing.T) (s *registrytest.Server, image, desc ocispec.Descriptor, manifest []byte) {
	t.Helper()
	s = registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	image = s.PushImage(t, repository, "v1", registrytest.Image{}).Manifest
	desc, manifest = referrer(image, s.PushBlob(t, repository, []byte("{}")), 1)
	return s, image, desc, manifest
}

// lists checks what a client finds that looks for the referrers of an image.
func lists(t *testing.T, s *registrytest.Server, image, desc ocispec.Descriptor, manifest []byte, want bool) {
	t.Helper()
	found, err := open(t, s).Referrers(t.Context(), image, "")
	if err != nil || (len(found) == 1 && found[0].Digest == desc.Digest) != want {
		t.Errorf("referrers %v, %v; listed: want %t", digestsOf(found), err, want)
	}
	if got, err := open(t, s).Listed(t.Context(), desc, manifest); err != nil || got != want {
		t.Errorf("listed: %t, %v; want %t", got, err, want)
	}
}

// A push may store a manifest without listing it. That is told, and mended by
// another push.
func TestPushStoredAndNotListed(t *testing.T) {
	for _, fault := range []registrytest.Fault{
		registrytest.Status(http.StatusForbidden, "DENIED", ""),
		registrytest.Status(http.StatusConflict, "TAG_INVALID", ""),
		registrytest.Status(http.StatusServiceUnavailable, "", ""),
	} {
		s, image, desc, manifest := unlisted(t)
		s.Add(registrytest.Rule{Method: http.MethodPut, Path: referrersTag, Fault: fault})
		if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(manifest)); err == nil {
			t.Fatal("the list was not written, and Push has no error")
		}
		if there, err := open(t, s).Exists(t.Context(), desc); err != nil || !there {
			t.Fatalf("there: %t, %v", there, err)
		}
		lists(t, s, image, desc, manifest, false)
		s.Clear()
		if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(manifest)); err != nil {
			t.Fatal(err)
		}
		lists(t, s, image, desc, manifest, true)
	}
}

// Another client that read the list before this one wrote it overwrites it.
func TestPushOverwritten(t *testing.T) {
	others := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, ocispec.MediaTypeImageIndex)
	for _, times := range []int{1, attempts - 1, 0} {
		s, image, desc, manifest := unlisted(t)
		s.Add(registrytest.Rule{Method: http.MethodPut, Path: referrersTag, Times: times,
			Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r)
				s.PushManifest(t, repository, "sha256-"+image.Digest.Encoded(), ocispec.MediaTypeImageIndex, others)
			}})
		r := open(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
		err := r.Push(t.Context(), desc, bytes.NewReader(manifest))
		if times == 0 {
			checkError(t, err, ecrclient.ErrUnavailable, 0)
		} else if err != nil {
			t.Errorf("overwritten %d times: %v", times, err)
		}
		lists(t, s, image, desc, manifest, times > 0)
	}
}

// A registry with the referrers API lists what it has, and is not asked; nor is
// any where there is no subject.
func TestListedByAPI(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{})
	desc, manifest := referrer(image.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
	asked := open(t, s)
	if _, err := asked.Referrers(t.Context(), image.Manifest, ""); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	ofECR, err := ecrclient.New("123456789012.dkr.ecr.eu-west-1.amazonaws.com/"+repository,
		ecrclient.WithEndpoint(s.URL()))
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.Requests())
	for name, row := range map[string]struct {
		r        *ecrclient.Repository
		desc     ocispec.Descriptor
		manifest []byte
	}{
		"a registry that has served it": {asked, desc, manifest},
		"ECR":                           {ofECR, desc, manifest},
		"without a subject":             {open(t, s), image.Manifest, image.Bytes},
		"of Docker": {open(t, s), ocispec.Descriptor{MediaType: registrytest.DockerManifest,
			Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}, manifest},
	} {
		if listed, err := row.r.Listed(t.Context(), row.desc, row.manifest); err != nil || !listed {
			t.Errorf("%s: %t, %v", name, listed, err)
		}
	}
	if n := len(s.Requests()) - before; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// What is not known is not listed: whoever asks may push once more. An entry that
// somebody else spoiled is no reason to fail.
func TestListedUnknown(t *testing.T) {
	for name, row := range map[string]struct {
		fault  registrytest.Fault
		failed bool
	}{
		"too many requests": {registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", ""), true},
		"no such subject":   {registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", ""), false},
		"another bad entry": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, image, desc, manifest := unlisted(t)
			s.PushManifest(t, repository, desc.Digest.String(), desc.MediaType, manifest)
			list := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":-1}]}`,
				ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, image.Digest)
			s.PushManifest(t, repository, "sha256-"+image.Digest.Encoded(), ocispec.MediaTypeImageIndex, list)
			if row.fault != nil {
				s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/referrers/", Fault: row.fault})
			}
			r := open(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
			listed, err := r.Listed(t.Context(), desc, manifest)
			if listed || (err != nil) != row.failed {
				t.Errorf("%t, %v", listed, err)
			}
		})
	}
}
