package soci_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// world is a repository in which a tag moves from the image old to the image
// new while old is indexed.
type world struct {
	t        *testing.T
	s        *registrytest.Server
	old, new registrytest.Pushed
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, s: registrytest.Start(t)}
	w.old = w.s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0))})
	w.new = w.s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 1))})
	return w
}

// placeholder moves the tag to an image index that stands for an image without a
// layer to index.
func (w *world) placeholder(tag string) ocispec.Descriptor {
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{%q:"true"}}`,
		ocispec.MediaTypeImageIndex, soci.AnnotationUnindexed)
	return w.s.PushManifest(w.t, repoName, tag, ocispec.MediaTypeImageIndex, index)
}

// take moves the tag to an image.
func (w *world) take(p registrytest.Pushed) {
	w.s.PushManifest(w.t, repoName, "v1", p.Manifest.MediaType, p.Bytes)
}

// untag removes a tag.
func (w *world) untag(tag string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete,
		w.s.Registry.URL()+"/v2/"+repoName+"/manifests/"+tag, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := registrytest.Client.Do(req)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		w.t.Fatal(resp, err)
	}
	resp.Body.Close()
}

// index works on the event of an image.
func (w *world) index(p registrytest.Pushed) (*soci.Result, error) {
	repo := openRepo(w.t, w.s)
	image := p.Manifest
	image.Platform = nil
	return soci.IndexImage(w.t.Context(), repo, repo, image, both("v1"))
}

// enabledOf returns the digest that the SOCI-enabled image of an image has.
func (w *world) enabledOf(p registrytest.Pushed) digest.Digest {
	w.t.Helper()
	o := both("v1")
	o.DryRun = true
	r, err := soci.IndexImage(w.t.Context(), openRepo(w.t, w.s), nil,
		ocispec.Descriptor{MediaType: p.Manifest.MediaType, Digest: p.Manifest.Digest, Size: p.Manifest.Size}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Enabled.Image.Digest
}

// during has something happen at a request, before or after it is answered.
func during(before, after func()) registrytest.Fault {
	return func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if before != nil {
			before()
		}
		next.ServeHTTP(rw, r)
		if after != nil {
			after()
		}
	}
}

const (
	imageTag   = "/manifests/v1$"
	enabledTag = "/manifests/v1-soci$"
)

// The image loses its tag before anything is pushed under the suffixed one:
// that is not touched, and nothing is pushed that only it would name.
func TestSupersededBefore(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule func(w *world) registrytest.Rule
		left bool // manifests that no tag names
	}{
		{"from the start",
			func(w *world) registrytest.Rule { w.take(w.new); return registrytest.Rule{Times: 1, Path: "^$"} },
			false},
		{"during the build", func(w *world) registrytest.Rule {
			return registrytest.Rule{Path: w.old.Layers[0].Digest.String(), Times: 1,
				Fault: during(func() { w.take(w.new) }, nil)}
		}, false},
		{"during the push", func(w *world) registrytest.Rule {
			return registrytest.Rule{Method: http.MethodHead, Path: imageTag, Times: 1,
				Fault: during(nil, func() { w.take(w.new) })}
		}, true},
		{"removed", func(w *world) registrytest.Rule { w.untag("v1"); return registrytest.Rule{Times: 1, Path: "^$"} },
			false},
	} {
		for _, there := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				w := newWorld(t)
				before := digest.Digest("")
				if there { // by another image still
					before = w.s.PushIndex(t, repoName, "v1-soci", false, w.new.Manifest).Digest
				}
				w.s.Add(tt.rule(w))
				r, err := w.index(w.old)
				if err != nil {
					t.Fatalf("%v %+v", err, r)
				}
				if r.Outcome() != soci.OutcomeSuperseded || r.Enabled.Outcome != soci.OutcomeSuperseded ||
					r.Enabled.Reason == "" {
					t.Fatalf("%v %+v", err, r)
				}
				if got := tagged(t, w.s, "v1-soci"); got != before {
					t.Errorf("the suffixed tag went from %q to %q", before, got)
				}
				if n := w.s.Count(http.MethodPut, enabledTag); n != 0 {
					t.Errorf("the suffixed tag was written %d times", n)
				}
				if m := r.Manifests[0]; m.Index.Digest == "" ||
					w.s.Manifest(t, repoName, m.Index.Digest.String()) == nil {
					t.Errorf("no v1 index: %+v", m)
				} else if !tt.left {
					expect.Equal(t, expect.Facts{{"IndexV2", m.IndexV2.Digest, ""}, {"Enabled", m.Enabled.Digest, ""},
						{"written manifests", w.s.Count(http.MethodPut, "/manifests/"), 1}}, "left behind")
				}
			})
		}
	}
}

// The image loses its tag too late to be seen before the suffixed tag is
// written, which in the end names the other image's, in whatever order they came.
func TestSupersededAfter(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule func(w *world) registrytest.Fault
	}{
		{"between the look and the PUT",
			func(w *world) registrytest.Fault { return during(func() { w.take(w.new) }, nil) }},
		{"just after the PUT", func(w *world) registrytest.Fault { return during(nil, func() { w.take(w.new) }) }},
		{"and the other image is indexed meanwhile", func(w *world) registrytest.Fault {
			return during(func() {
				w.take(w.new)
				if r, err := w.index(w.new); err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
					w.t.Errorf("%v %+v", err, r)
				}
			}, nil)
		}},
		{"and the other image is indexed after that", func(w *world) registrytest.Fault {
			return during(nil, func() {
				w.take(w.new)
				if r, err := w.index(w.new); err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
					w.t.Errorf("%v %+v", err, r)
				}
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.s.Add(registrytest.Rule{Method: http.MethodPut, Path: enabledTag, Times: 1, Fault: tt.rule(w)})
			r, err := w.index(w.old)
			if err != nil || r.Outcome() != soci.OutcomeSuperseded {
				t.Fatalf("%v %+v", err, r)
			}
			if got, want := tagged(t, w.s, "v1-soci"), w.enabledOf(w.new); got != want {
				t.Errorf("the suffixed tag names %s, not %s; %s", got, want, r.Enabled.Reason)
			}
			// Late and doubled events change nothing.
			for _, p := range []registrytest.Pushed{w.old, w.new, w.old} {
				if _, err := w.index(p); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := tagged(t, w.s, "v1-soci"), w.enabledOf(w.new); got != want {
				t.Errorf("after more events the suffixed tag names %s, not %s", got, want)
			}
		})
	}
}

// A run that dies after it had moved the suffixed tag too late, before it could
// put it right: its retry does.
func TestPutRightByRetry(t *testing.T) {
	w := newWorld(t)
	layer := w.new.Layers[0].Digest.String()
	w.s.Add(
		registrytest.Rule{Method: http.MethodPut, Path: enabledTag, Times: 1, Fault: during(func() {
			w.take(w.new)
			if _, err := w.index(w.new); err != nil {
				t.Error(err)
			}
			w.s.Add(registrytest.Rule{Method: http.MethodGet, Path: layer, Times: 1,
				Fault: registrytest.Status(503, "UNAVAILABLE", "")})
		}, nil)})
	if r, err := w.index(w.old); !errors.Is(err, ecrclient.ErrUnavailable) || r != nil {
		t.Fatalf("%v %+v", err, r)
	}
	if tagged(t, w.s, "v1-soci") != w.enabledOf(w.old) {
		t.Fatal("this is not the case that was meant")
	}
	r, err := w.index(w.old)
	if err != nil || r.Outcome() != soci.OutcomeSuperseded || tagged(t, w.s, "v1-soci") != w.enabledOf(w.new) {
		t.Errorf("%v %+v", err, r)
	}
}

// The image that took the tag cannot be indexed: the suffixed tag stays, as if
// that image had been pushed after all was done.
func TestSupersededByNoImage(t *testing.T) {
	broken := bytes.Clone(good(t, 1))
	broken[len(broken)-1] ^= 0xff
	for _, tt := range []struct {
		name   string
		take   func(w *world)
		reason string
	}{
		{"removed", func(w *world) { w.untag("v1") }, "no tag"},
		{"opted out", func(w *world) {
			w.take(w.s.PushImage(t, repoName, "",
				registrytest.Image{Config: []byte(`{"config":{"Labels":{"soci-index-builder.skip":"true"}}}`),
					Layers: layers(good(t, 1))}))
		}, soci.OutcomeOptedOut.Text()},
		{"SOCI-enabled image", func(w *world) {
			w.s.PushManifest(t, repoName, "v1", ocispec.MediaTypeImageIndex, w.s.Manifest(t, repoName, "v1-soci"))
		}, soci.OutcomeOwnArtifact.Text()},
		{"corrupt", func(w *world) {
			w.take(w.s.PushImage(t, repoName, "",
				registrytest.Image{Layers: layers(broken)}))
		},
			"cannot be indexed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.s.Add(registrytest.Rule{Method: http.MethodPut, Path: enabledTag, Times: 1,
				Fault: during(nil, func() { tt.take(w) })})
			r, err := w.index(w.old)
			if err != nil || r.Outcome() != soci.OutcomeSuperseded || !strings.Contains(r.Enabled.Reason, tt.reason) {
				t.Fatalf("%v %+v", err, r)
			}
			if tagged(t, w.s, "v1-soci") != w.enabledOf(w.old) {
				t.Error("the suffixed tag moved")
			}
		})
	}
}

func TestTagKeepsMoving(t *testing.T) {
	w := newWorld(t)
	now, other := w.old, w.new
	w.s.Add(registrytest.Rule{Method: http.MethodPut, Path: enabledTag, Fault: during(nil, func() {
		now, other = other, now
		w.take(now)
	})})
	if _, err := w.index(w.old); !errors.Is(err, soci.ErrTagMoving) {
		t.Errorf("%v", err)
	}
}

// Another digest under the suffixed tag is replaced where the registry allows
// it.
func TestImmutableTag(t *testing.T) {
	refuse := func(status int, code string) registrytest.Fault {
		return registrytest.Status(status, code, "immutable")
	}
	for _, tt := range []struct {
		name  string
		under string // what the suffixed tag names: other, same (by the time of the PUT) or nothing
		fault registrytest.Fault
		want  error
		out   soci.Outcome
	}{
		{"mutable", "other", during(nil, nil), nil, soci.OutcomeTagged},
		{"ECR", "other", refuse(400, "TAG_INVALID"), soci.ErrTagImmutable, soci.OutcomeTagImmutable},
		{"ECR's API", "other", refuse(400, "ImageTagAlreadyExistsException"), soci.ErrTagImmutable,
			soci.OutcomeTagImmutable},
		{"conflict", "other", refuse(409, "CONFLICT"), soci.ErrTagImmutable, soci.OutcomeTagImmutable},
		{"precondition", "other", refuse(412, "PRECONDITION"), soci.ErrTagImmutable, soci.OutcomeTagImmutable},
		{"same digest", "same", refuse(400, "TAG_INVALID"), nil, soci.OutcomeTagged},
		{"nothing there", "", refuse(409, "CONFLICT"), nil, ""},
		{"manifest refused", "other", refuse(400, "MANIFEST_INVALID"), nil, ""},
		{"forbidden", "other", refuse(403, "DENIED"), soci.ErrTagImmutable, soci.OutcomeTagImmutable},
		{"not allowed", "other", refuse(405, "UNSUPPORTED"), soci.ErrTagImmutable, soci.OutcomeTagImmutable},
		{"forbidden, same digest", "same", refuse(403, "DENIED"), nil, soci.OutcomeTagged},
		{"denied", "", refuse(403, "DENIED"), ecrclient.ErrDenied, ""}, // not because of the tag
		{"no login", "other", refuse(401, "UNAUTHORIZED"), ecrclient.ErrDenied, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var other digest.Digest
			if tt.under == "other" {
				other = w.placeholder("v1-soci").Digest
			}
			fault := tt.fault
			if tt.under == "same" {
				fault = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if _, err := w.index(w.old); err != nil {
						t.Error(err)
					}
					tt.fault(rw, r, next)
				}
			}
			w.s.Add(registrytest.Rule{Method: http.MethodPut, Path: enabledTag, Times: 1, Fault: fault})
			r, err := w.index(w.old)
			if tt.out == "" {
				if err == nil || errors.Is(err, soci.ErrTagImmutable) || r != nil {
					t.Fatalf("%v %+v, want an error other than %v, and no result", err, r, soci.ErrTagImmutable)
				}
				if tt.want != nil && !errors.Is(err, tt.want) {
					t.Fatalf("%v, want %v", err, tt.want)
				}
				return
			}
			if !errors.Is(err, tt.want) || r == nil || r.Enabled.Outcome != tt.out {
				t.Fatalf("%v %+v", err, r)
			}
			if tt.want == nil {
				if tagged(t, w.s, "v1-soci") != r.Enabled.Image.Digest {
					t.Error("the suffixed tag is not on the image")
				}
				return
			}
			expect.Equal(t, expect.Facts{
				{"strings.Contains(err.Error(), other.String())", strings.Contains(err.Error(), other.String()), true},
				{`strings.Contains(err.Error(), "v1-soci")`, strings.Contains(err.Error(), "v1-soci"), true},
				{`strings.Contains(err.Error(), "immutable)")`, strings.Contains(err.Error(), "immutable)"), true},
				{"Outcome", r.Outcome(), soci.OutcomeTagImmutable},
			}, "%v", err)
			if w.s.Manifest(t, repoName, r.Manifests[0].Index.Digest.String()) == nil {
				t.Error("the v1 index is not there")
			}
			if tagged(t, w.s, "v1-soci") != other {
				t.Error("the suffixed tag moved")
			}
		})
	}
}

// Somebody's own image keeps the suffixed tag.
func TestTakenTag(t *testing.T) {
	for _, tt := range []struct {
		name  string
		under func(w *world) digest.Digest
		why   string
	}{
		{"an image", func(w *world) digest.Digest {
			return w.s.PushImage(t, repoName, "v1-soci", registrytest.Image{Layers: layers(good(t, 2))}).Manifest.Digest
		}, "media type"},
		{"the image itself", func(w *world) digest.Digest {
			w.s.PushManifest(t, repoName, "v1-soci", w.old.Manifest.MediaType, w.old.Bytes)
			return w.old.Manifest.Digest
		}, "media type"},
		{"an image index", func(w *world) digest.Digest {
			return w.s.PushIndex(t, repoName, "v1-soci", false, w.new.Manifest).Digest
		}, "without a SOCI index"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			own := tt.under(w)
			r, err := w.index(w.old)
			if !errors.Is(err, soci.ErrTagTaken) || errors.Is(err, soci.ErrTagImmutable) || r == nil {
				t.Fatalf("%v %+v", err, r)
			}
			if r.Outcome() != soci.OutcomeTagTaken {
				t.Fatalf("%v %+v", err, r)
			}
			for _, part := range []string{own.String(), "v1-soci", tt.why} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not tell %q", err, part)
				}
			}
			if got := tagged(t, w.s, "v1-soci"); got != own {
				t.Errorf("the suffixed tag names %s now", got)
			}
			if w.s.Manifest(t, repoName, r.Manifests[0].Index.Digest.String()) == nil {
				t.Error("the v1 index is not there")
			}
			w.untag("v1-soci")
			if r, err = w.index(w.old); err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
				t.Errorf("when the tag is free again: %v %+v", err, r)
			}
		})
	}
}

// The same digest under the tag: no PUT at all, so an immutable tag does not
// matter.
func TestImmutableTagAgain(t *testing.T) {
	w := newWorld(t)
	if _, err := w.index(w.old); err != nil {
		t.Fatal(err)
	}
	w.s.Clear()
	w.s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.Status(400, "TAG_INVALID", "immutable")})
	if r, err := w.index(w.old); err != nil || r.Enabled.Outcome != soci.OutcomeAlreadyTagged {
		t.Errorf("%v %+v", err, r)
	}
}

// The registry's failure at any step is the error, and a second run ends well.
func TestTagFailures(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		skip               int
	}{
		{"first look", http.MethodHead, imageTag, 0},
		{"look before the PUT", http.MethodHead, imageTag, 1},
		{"look after the PUT", http.MethodHead, imageTag, 2},
		{"look at the suffixed tag", http.MethodHead, enabledTag, 0},
		{"PUT", http.MethodPut, enabledTag, 0},
		{"manifest", http.MethodPut, "/manifests/sha256:", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.s.Add(registrytest.Rule{Method: tt.method, Path: tt.path, Skip: tt.skip, Times: 1,
				Fault: registrytest.Status(500, "UNKNOWN", "")})
			if r, err := w.index(w.old); !errors.Is(err, ecrclient.ErrUnavailable) || r != nil {
				t.Fatalf("%v %+v", err, r)
			}
			r, err := w.index(w.old)
			if err != nil || r.Outcome() != soci.OutcomeIndexed || tagged(t, w.s, "v1-soci") != r.Enabled.Image.Digest {
				t.Errorf("%v %+v", err, r)
			}
		})
	}
}

// Force puts the tag again where it is, and not where it is not to be.
func TestForcedTag(t *testing.T) {
	w := newWorld(t)
	if _, err := w.index(w.old); err != nil {
		t.Fatal(err)
	}
	forced := func() *soci.Result {
		w.s.Clear()
		o := both("v1")
		o.Force = true
		repo := openRepo(t, w.s)
		image := w.old.Manifest
		image.Platform = nil
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := forced(); r.Enabled.Outcome != soci.OutcomeTagged || w.s.Count(http.MethodPut, enabledTag) != 1 {
		t.Errorf("%d PUT, %+v", w.s.Count(http.MethodPut, enabledTag), r.Enabled)
	}
	w.take(w.new)
	if r := forced(); r.Enabled.Outcome != soci.OutcomeSuperseded {
		t.Errorf("%+v", r.Enabled)
	}
}

func TestTagTooLongUnderBoth(t *testing.T) {
	s := newStore()
	o := everyLayer
	o.IndexVersion, o.Tag = soci.Both, strings.Repeat("t", 128)
	r, err := soci.IndexImage(t.Context(), s, s, s.image("amd64", s.add(gz, good(t, 0))), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Enabled.Outcome != soci.OutcomeUntagged || !strings.Contains(r.Enabled.Reason, "133 characters") ||
		r.Manifests[0].Index.Digest == "" {
		t.Errorf("%+v", r)
	}
}
