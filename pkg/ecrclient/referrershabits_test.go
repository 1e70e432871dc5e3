package ecrclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// referrer is a manifest whose subject is another.
func referrer(subject, config ocispec.Descriptor, n int) (ocispec.Descriptor, []byte) {
	m := fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.mine","digest":%q,"size":2},`+
			`"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"n":"%d"}}`,
		ocispec.MediaTypeImageManifest, config.Digest, subject.MediaType, subject.Digest, subject.Size, n)
	return describe(ocispec.MediaTypeImageManifest, m), m
}

// The ways to say that there is no referrers API.
var noReferrersAPI = map[string]registrytest.Fault{
	"400":             registrytest.Status(400, "NAME_INVALID", ""),
	"404":             registrytest.Page(404),
	"405":             registrytest.Status(405, "UNSUPPORTED", ""),
	"406":             registrytest.Page(406),
	"501":             registrytest.Status(501, "", ""),
	"a page":          registrytest.Page(200),
	"an empty answer": registrytest.Text(200, ""),
	"another document": registrytest.Both(registrytest.Header("Content-Type", "application/json"),
		registrytest.Text(200, `{"referrers":[]}`)),
}

// Pushed SOCI indexes are found again, however a registry refuses the API; also
// if it records subjects and refuses only the API.
func TestNoReferrersAPI(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for name, fault := range noReferrersAPI {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closed %t", name, closed), func(t *testing.T) {
				s := registrytest.StartWith(t, localregistry.Config{NoReferrers: !closed})
				s.Add(registrytest.Rule{Path: "/referrers/", Fault: fault})
				img := s.PushImage(t, repository, "v1", registrytest.Image{})
				config := s.PushBlob(t, repository, []byte("{}"))
				var want []string
				for n := range 3 {
					desc, b := referrer(img.Manifest, config, n)
					if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
						t.Fatal(err)
					}
					want = append(want, desc.Digest.String())
				}
				r := open(t, s)
				asked := s.Count("", "/referrers/")
				for range 2 {
					got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine")
					if err != nil || !slices.Equal(digestsOf(got), want) {
						t.Errorf("%v, %v; want %v", digestsOf(got), err, want)
					}
				}
				if n := s.Count("", "/referrers/") - asked; n != 1 {
					t.Errorf("asked %d times what the registry has not got", n)
				}
				if got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.other"); err != nil ||
					len(got) != 0 {
					t.Errorf("of another type: %v, %v", got, err)
				}
				if err := r.DeleteManifest(t.Context(), got(t, r, want[1])); err != nil {
					t.Fatal(err)
				}
				want = slices.Delete(want, 1, 2)
				if got, err := open(t, s).Referrers(t.Context(), img.Manifest, ""); err != nil ||
					!slices.Equal(digestsOf(got), want) {
					t.Errorf("after a deletion %v, %v; want %v", digestsOf(got), err, want)
				}
			})
		}
	}
}

func got(t *testing.T, r *ecrclient.Repository, reference string) ocispec.Descriptor {
	t.Helper()
	desc, err := r.Resolve(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

func digestsOf(list []ocispec.Descriptor) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.Digest.String())
	}
	return out
}

// A digest that is longer than a tag may be is cut, as the specification has it.
func TestReferrersTagOfLongDigest(t *testing.T) {
	s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.SHA512.FromString("{}"),
		Size: 2}
	image := s.PushImage(t, repository, "v1", registrytest.Image{})
	listed := s.PushReferrer(t, repository, image.Manifest, "application/vnd.example", []byte("one"))
	listed.ArtifactType = "application/vnd.example"
	s.PushIndex(t, repository, "sha512-"+subject.Digest.Encoded()[:64], false, listed)
	got, err := open(t, s).Referrers(t.Context(), subject, "")
	if err != nil || len(got) != 1 || got[0].Digest != listed.Digest {
		t.Errorf("the referrers are %v, %v", got, err)
	}
}

// A missing manifest says nothing about the API.
func TestReferrersOfNothing(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t)
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	desc, b := referrer(img.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
	s.Add(registrytest.Rule{Path: "/referrers/" + desc.Digest.String(),
		Fault: registrytest.Status(404, "MANIFEST_UNKNOWN", "")})
	r := open(t, s)
	if got, err := r.Referrers(t.Context(), desc, ""); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	if err := r.Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 1 {
		t.Errorf("of the image: %v, %v", got, err)
	}
	if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 1 {
		t.Errorf("tags %v, %v; a list of referrers was pushed", tags, err)
	}
}

// A registry that tells neither media type nor length of the list that clients
// keep does not keep them from it.
func TestReferrersListUntold(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
	s.Add(registrytest.Rule{Path: "/manifests/",
		Fault: registrytest.Both(registrytest.Header("Content-Type", ""), registrytest.Header("Content-Length", ""))})
	img := s.PushImage(t, repository, "v1", registrytest.Image{})
	config := s.PushBlob(t, repository, []byte("{}"))
	for n := range 3 {
		desc, b := referrer(img.Manifest, config, n)
		if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := open(t, s).Referrers(t.Context(), img.Manifest, ""); err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// The API is there, under a media type that is written in another way.
func TestReferrersMediaType(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, mediaType := range []string{"", "application/json", "application/vnd.oci.image.index.v1+json; charset=utf-8",
		"text/plain"} {
		t.Run(mediaType, func(t *testing.T) {
			s := registrytest.Start(t)
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			desc, b := referrer(img.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Header("Content-Type", mediaType)})
			r := open(t, s)
			if err := r.Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine"); err != nil ||
				len(got) != 1 ||
				s.Count("", "/manifests/sha256-") > 0 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// 403 and 5xx say nothing about referrers: what the tag schema has is read, and
// the error says that there may be more.
func TestReferrersUnknown(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, row := range []struct {
		status   int
		class    error
		requests int // of the first call
	}{
		{403, ecrclient.ErrDenied, 1},
		{500, ecrclient.ErrUnavailable, attempts},
		{503, ecrclient.ErrUnavailable, attempts},
	} {
		t.Run(strconv.Itoa(row.status), func(t *testing.T) {
			s := registrytest.StartWith(t, localregistry.Config{NoReferrers: true})
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			desc, b := referrer(img.Manifest, s.PushBlob(t, repository, []byte("{}")), 1)
			if err := open(t, s).Push(t.Context(), desc, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			s.Clear()
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(row.status, "", "")})
			r := open(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}))
			for call := range 2 {
				got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine")
				checkError(t, err, row.class, row.status)
				e, ok := errors.AsType[*ecrclient.Error](err)
				if !ok || !e.ReferrersUnknown() || !errors.Is(err, ecrclient.ErrReferrersUnknown) {
					t.Errorf("%v, want %v", err, ecrclient.ErrReferrersUnknown)
				}
				if len(got) != 1 {
					t.Errorf("%d referrers, want 1: %v", len(got), got)
				}
				if n := s.Count("", "/referrers/"); n != row.requests+call {
					t.Errorf("%d requests after %d calls, want %d", n, call+1, row.requests+call)
				}
			}
			s.Clear()
			if got, err := r.Referrers(t.Context(), img.Manifest, "application/vnd.mine"); err != nil || len(got) != 1 {
				t.Errorf("once it answers: %v, %v", got, err)
			}
			// Neither is known.
			s.Add(
				registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(row.status, "", "")},
				registrytest.Rule{Path: "/manifests/sha256-", Fault: registrytest.Status(403, "DENIED", "")},
			)
			got, err := open(t, s).Referrers(t.Context(), img.Manifest, "application/vnd.mine")
			if !errors.Is(err, ecrclient.ErrReferrersUnknown) || len(got) != 0 {
				t.Errorf("with the tag schema refused: %v, %v", got, err)
			}
		})
	}
}

// ECR has the API: a refusal is about permissions, and nothing else will do.
func TestReferrersOfECR(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, status := range []int{400, 403, 406, 500, 501} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			s := registrytest.Start(t)
			img := s.PushImage(t, repository, "v1", registrytest.Image{})
			s.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")})
			r, err := ecrclient.New("123456789012.dkr.ecr.eu-west-1.amazonaws.com/"+repository,
				ecrclient.WithEndpoint(s.URL()),
				ecrclient.WithSleep(new(waits).sleep))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Referrers(t.Context(), img.Manifest, "")
			if e, ok := errors.AsType[*ecrclient.Error](err); !ok || e.Status != status || e.ReferrersUnknown() {
				t.Errorf("%v, want status %d, which is no answer to whether there are referrers", err, status)
			}
			if got != nil {
				t.Errorf("referrers %v, want none", got)
			}
			if s.Count("", "/manifests/sha256-") > 0 {
				t.Error("the tag schema was read")
			}
		})
	}
}
