package soci_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// What cannot be read of a platform that is not asked for stays in the
// SOCI-enabled image as it is listed, and costs the others nothing. What may be
// read another time is a failure.
func TestFaultsOfOtherPlatforms(t *testing.T) {
	push := func(t *testing.T, s *registrytest.Server, config string) registrytest.Pushed {
		img := registrytest.Image{Platform: "linux/s390x", Docker: true, Layers: layers(good(t, 1))}
		if config != "" {
			img.Config = []byte(config)
		}
		return s.PushImage(t, repoName, "", img)
	}
	again := func(t *testing.T, s *registrytest.Server, p registrytest.Pushed, from, to string) ocispec.Descriptor {
		d := s.PushManifest(t, repoName, "", p.Manifest.MediaType,
			[]byte(strings.Replace(string(p.Bytes), from, to, 1)))
		d.Platform = p.Manifest.Platform
		return d
	}
	fault := func(s *registrytest.Server, path string, status int, code string) {
		s.Add(registrytest.Rule{Path: path, Fault: registrytest.Status(status, code, "")})
	}
	for _, tt := range []struct {
		name      string
		other     func(t *testing.T, s *registrytest.Server) ocispec.Descriptor
		want      soci.Outcome // of its manifest; "": it is not in the result
		rewritten bool         // the SOCI-enabled image has it with OCI's media types
		err       error        // of an image whose failure stays one
	}{
		{"sound", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return push(t, s, "").Manifest
		}, "", true, nil},
		{"no manifest by its content", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return again(t, s, push(t, s, ""), `"schemaVersion":2`, `"schemaVersion":1`)
		}, soci.OutcomeUnreadable, false, nil},
		{"a layer of negative size", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := push(t, s, "")
			return again(t, s, p, fmt.Sprintf(`"size":%d`, p.Layers[0].Size), `"size":-1`)
		}, soci.OutcomeUnreadable, false, nil},
		{"missing config", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := push(t, s, "")
			fault(s, "/blobs/"+p.Config.Digest.String(), http.StatusNotFound, "BLOB_UNKNOWN")
			return p.Manifest
		}, soci.OutcomeUnreadable, false, nil},
		{"missing manifest", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := push(t, s, "")
			fault(s, "/manifests/"+p.Manifest.Digest.String(), http.StatusNotFound, "MANIFEST_UNKNOWN")
			return p.Manifest
		}, soci.OutcomeMissing, false, nil},
		{"config that is none", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			return push(t, s, `{"config":{"Labels":[]}}`).Manifest
		}, "", true, nil},
		{"config out of order", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := push(t, s, "")
			fault(s, "/blobs/"+p.Config.Digest.String(), http.StatusInternalServerError, "UNKNOWN")
			return p.Manifest
		}, soci.OutcomeFailed, false, ecrclient.ErrUnavailable},
		{"manifest out of order", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := push(t, s, "")
			fault(s, "/manifests/"+p.Manifest.Digest.String(), http.StatusInternalServerError, "UNKNOWN")
			return p.Manifest
		}, soci.OutcomeFailed, false, ecrclient.ErrUnavailable},
		{"other bytes", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			p := push(t, s, "")
			s.Add(registrytest.Rule{Path: "/manifests/" + p.Manifest.Digest.String(), Method: http.MethodGet,
				Fault: registrytest.Corrupt(10)})
			return p.Manifest
		}, soci.OutcomeFailed, false, ecrclient.ErrDigestMismatch},
		{"image index that is none", func(t *testing.T, s *registrytest.Server) ocispec.Descriptor {
			d := s.PushManifest(t, repoName, "", ocispec.MediaTypeImageIndex,
				[]byte(`{"schemaVersion":1,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
			return d // its platforms are not known
		}, soci.OutcomeFailed, false, soci.ErrCorrupt},
	} {
		for _, how := range []string{"choice", "platforms"} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				s := registrytest.Start(t)
				repo := openRepo(t, s)
				amd := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
				other := tt.other(t, s)
				image := s.PushIndex(t, repoName, "v1", false, other, amd)
				o := both("v1")
				if how == "choice" {
					o.Choice = []string{"linux/amd64", "windows"}
				} else {
					o.Platforms = []string{"linux/amd64"}
				}
				for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
					o.IndexVersion = version
					want, wantErr := tt.want, tt.err
					if version == soci.V1 && other.Platform != nil { // it is not read
						want, wantErr = "", nil
					}
					r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
					if r == nil || (err == nil) != (wantErr == nil) || !errors.Is(err, wantErr) {
						t.Fatalf("%s: %v, want %v", version, err, wantErr)
					}
					checkOther(t, r, other.Digest, want)
					if wantErr != nil {
						if tagged(t, s, "v1-soci") != "" {
							t.Errorf("%s: there is a SOCI-enabled image", version)
						}
						continue
					}
					if r.Outcome() != soci.OutcomeIndexed {
						t.Errorf("%s: %+v", version, r)
					}
					if version == soci.V1 {
						continue
					}
					x := readIndex(t, s, "v1-soci")
					if len(x.Manifests) != 3 || x.Manifests[2].ArtifactType != soci.ArtifactTypeV2 {
						t.Fatalf("%s: %+v", version, x.Manifests)
					}
					got := x.Manifests[0]
					as := got.MediaType == ocispec.MediaTypeImageManifest && got.Digest != other.Digest
					is := got.MediaType == other.MediaType && got.Digest == other.Digest && got.Size == other.Size
					if got.Platform.Architecture != "s390x" || as != tt.rewritten || is == tt.rewritten {
						t.Errorf("%s: its entry is %+v", version, got)
					}
					again, err := soci.IndexImage(t.Context(), repo, repo, image, o)
					if err != nil || again.BytesPushed != 0 || again.Enabled.Outcome != soci.OutcomeAlreadyTagged {
						t.Errorf("%s, again: %v %+v", version, err, again)
					}
				}
				// What fails an index run is a failure for status too, also with V1 alone.
				status, err := soci.Examine(t.Context(), repo, image, []string{"v1"},
					soci.Options{IndexVersion: soci.V1, MinLayerSize: 1, Choice: o.Choice, Platforms: o.Platforms}, nil)
				if err != nil || slices.ContainsFunc(status.Manifests, func(m soci.ManifestStatus) bool {
					return m.Failure != nil
				}) != (tt.err != nil && other.Platform == nil) {
					t.Errorf("V1: %v %+v", err, status)
				}
				if tt.err != nil {
					return
				}
				status, err = soci.Examine(t.Context(), repo, image, []string{"v1"},
					soci.Options{MinLayerSize: 1, Choice: o.Choice, Platforms: o.Platforms}, nil)
				if err != nil || status.Enabled[0].State != soci.EnabledMatches ||
					slices.ContainsFunc(status.Manifests,
						func(m soci.ManifestStatus) bool { return m.Failure != nil }) {
					t.Errorf("%v %+v", err, status)
				}
				// As soon as it is asked for it is a failure.
				o.Choice, o.Platforms = nil, nil
				if r, err := soci.IndexImage(t.Context(), repo, repo, image, o); tt.want == soci.OutcomeUnreadable &&
					(err == nil || r.Outcome() != soci.OutcomeFailed) {
					t.Errorf("asked for: %v %+v", err, r)
				}
			})
		}
	}
}

func checkOther(t *testing.T, r *soci.Result, manifest digest.Digest, want soci.Outcome) {
	t.Helper()
	at := slices.IndexFunc(r.Manifests, func(m soci.ManifestResult) bool { return m.Manifest.Digest == manifest })
	if want == "" {
		if at >= 0 {
			t.Errorf("%s: the other platform is in the result: %+v", r.Version, r.Manifests[at])
		}
		return
	}
	if at < 0 || r.Manifests[at].Outcome != want || r.Manifests[at].Reason == "" {
		t.Fatalf("%s: %+v, want %s", r.Version, r.Manifests, want)
	}
	if reason := r.Manifests[at].Reason; want == soci.OutcomeUnreadable &&
		!strings.HasPrefix(reason, "linux/s390x, which is not asked for: ") {
		t.Errorf("the reason is %q", reason)
	}
}

// An image none of whose platforms is chosen is no failure, although one cannot
// be read.
func TestNoneChosenAndUnreadable(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	p := s.PushImage(t, repoName, "", registrytest.Image{Platform: "windows/amd64", Layers: layers(good(t, 1))})
	s.Add(registrytest.Rule{Path: "/blobs/" + p.Config.Digest.String(),
		Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
	image := s.PushIndex(t, repoName, "v1", false, p.Manifest)
	o := both("v1")
	o.Choice = []string{"linux"}
	if r, err := soci.IndexImage(t.Context(), repo, repo, image, o); err != nil ||
		r.Outcome() != soci.OutcomePlatformNotChosen {
		t.Errorf("%v %+v", err, r)
	}
}

// That an image has no layer to index is not said of a platform that could not be
// read: it may be there another time.
func TestVerdictOfUnread(t *testing.T) {
	for _, path := range []string{"/manifests/", "/blobs/"} {
		s := registrytest.Start(t)
		repo := openRepo(t, s)
		amd := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(zstd)}).Manifest
		other := s.PushImage(t, repoName, "", registrytest.Image{Platform: "linux/s390x", Layers: layers(good(t, 1))})
		image := s.PushIndex(t, repoName, "v1", false, amd, other.Manifest)
		gone := other.Manifest.Digest
		if path == "/blobs/" {
			gone = other.Config.Digest
		}
		s.Add(registrytest.Rule{Path: path + gone.String(),
			Fault: registrytest.Status(http.StatusNotFound, "UNKNOWN", "")})
		o := both("v1")
		o.Choice = []string{"linux/amd64"}
		if r, err := soci.IndexImage(t.Context(), repo, repo, image, o); err != nil || !r.Enabled.Unindexed {
			t.Fatalf("%s: %v %+v", path, err, r)
		}
		if got, want := readIndex(t, s, "v1-soci").Annotations[soci.AnnotationVerdict],
			"1,1,"+amd.Digest.String(); got != want {
			t.Errorf("%s: the verdict is %q, want %q", path, got, want)
		}
		s.Clear()
		status := examine(t, s, "v1")
		if e := status.Enabled[0]; e.State != soci.EnabledUnindexed || e.Unindexable(status.Manifests) {
			t.Errorf("%s: when it is there: %+v", path, status)
		}
	}
}

// A manifest that is listed for several platforms is asked for if one of them is,
// in whatever order.
func TestListedForSeveralPlatforms(t *testing.T) {
	for _, sound := range []bool{true, false} {
		for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
			for _, chosen := range []bool{true, false} {
				t.Run(fmt.Sprintf("sound %t, %s, chosen %t", sound, version, chosen), func(t *testing.T) {
					s := registrytest.Start(t)
					repo := openRepo(t, s)
					p := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))})
					asked := p.Manifest
					if !sound {
						asked = s.PushManifest(t, repoName, "", p.Manifest.MediaType,
							[]byte(strings.Replace(string(p.Bytes), `"schemaVersion":2`, `"schemaVersion":1`, 1)))
					}
					other := asked
					asked.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
					other.Platform = &ocispec.Platform{OS: "linux", Architecture: "s390x"}
					image := s.PushIndex(t, repoName, "v1", false, other, asked)
					o := both("v1")
					o.IndexVersion = version
					if chosen {
						o.Choice = []string{"linux/amd64"}
					} else {
						o.Platforms = []string{"linux/amd64"}
					}
					r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
					want := soci.OutcomeIndexed
					if !sound {
						want = soci.OutcomeFailed
					}
					if r == nil || (err == nil) != sound || len(r.Manifests) != 1 {
						t.Fatalf("%v %+v", err, r)
					}
					if r.Manifests[0].Outcome != want || r.Manifests[0].Platform != "linux/amd64" {
						t.Fatalf("%v %+v", err, r)
					}
					if !sound || version == soci.V1 {
						return
					}
					x := readIndex(t, s, "v1-soci")
					last := x.Manifests[len(x.Manifests)-1]
					if last.ArtifactType != soci.ArtifactTypeV2 || last.Platform.Architecture != "amd64" {
						t.Errorf("listed: %+v", x.Manifests)
					}
				})
			}
		}
	}
}
