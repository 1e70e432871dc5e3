package cleanup_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// plain is the repository of an account's registry by the distribution API
// alone.
func (a *account) plain(name string) cleanup.Repository {
	a.t.Helper()
	source := inventory.Registry(a.registry.Host(), []string{name},
		ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	repo, err := cleanup.Registry(source, name)
	if err != nil {
		a.t.Fatal(err)
	}
	return repo
}

// stored returns the manifests of a repository that are there, found or not.
func (a *account) stored(name string) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, s := range a.registry.Stored() {
		if s.Repository == name && a.registry.Manifest(a.t, name, s.Digest.String()) != nil {
			out[s.Digest] = true
		}
	}
	return out
}

// If the registry does not tell which manifests refer to an image, nobody knows
// what would be left without its subject: nothing is deleted.
func TestRegistryReferrersUnknown(t *testing.T) {
	for _, status := range []int{403, 500, 503} {
		a := newAccount(t)
		a.image("team/app:one", "one", registrytest.Image{})
		a.index("team/app:one", ours, soci.Both)
		before := a.stored(repository)
		a.registry.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")})
		_, err := cleanup.Look(t.Context(), a.plain(repository), options())
		if !errors.Is(err, ecrclient.ErrReferrersUnknown) {
			t.Errorf("%d: %v", status, err)
		}
		if left := a.stored(repository); !maps.Equal(left, before) || a.registry.Count(http.MethodDelete, "") > 0 {
			t.Errorf("%d: left are %d manifests of %d", status, len(left), len(before))
		}
		// Between the look and the deletion.
		a.registry.Clear()
		plain := a.plain(repository)
		plan := look(t, plain, options())
		a.registry.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")})
		err = plan.Delete(t.Context(), func(r cleanup.Result) { t.Errorf("%d: %s is %s", status, r.Digest, r.Outcome) })
		if !errors.Is(err, ecrclient.ErrReferrersUnknown) {
			t.Errorf("%d, later: %v", status, err)
		}
		if left := a.stored(repository); !maps.Equal(left, before) {
			t.Errorf("%d, later: left are %d manifests of %d", status, len(left), len(before))
		}
	}
}

// A registry that is not ECR loses its SOCI artifacts and nothing else, though
// parts cannot be found any more once their image index is gone.
func TestRegistry(t *testing.T) {
	for _, tt := range []struct {
		name        string
		noReferrers bool
	}{{"with referrers", false}, {"without referrers", true}} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			a.registry = registrytest.StartWith(t, localregistry.Config{NoReferrers: tt.noReferrers})
			a.lookAlikes(repository)
			a.image("team/app:one", "one", registrytest.Image{})
			amd := a.image("team/app:", "amd", registrytest.Image{Docker: true})
			arm := a.image("team/app:", "arm",
				registrytest.Image{Docker: true, Platform: "linux/arm64", Layers: unindexable("arm")})
			a.registry.PushIndex(t, repository, "multi", true, amd.Manifest, arm.Manifest)
			a.image("team/app:small", "small", registrytest.Image{Layers: unindexable("small")})
			originals := a.stored(repository)
			for _, tag := range []string{"one", "multi", "small"} {
				a.index("team/app:"+tag, ours, soci.Both)
			}
			if results := clean(t, a.plain(repository), options()); len(results) != 10 {
				t.Errorf("%d went, want 2 SOCI indexes v1, 2 SOCI-enabled images of 2 and 3 parts, and an "+
					"unindexed image",
					len(results))
			}
			left := a.stored(repository)
			if tt.noReferrers { // the lists of referrers stay, and list nothing of ours
				for d := range left {
					if !originals[d] && a.empty(d) {
						delete(left, d)
					}
				}
			}
			if !maps.Equal(left, originals) {
				t.Errorf("left are %d manifests, want %d\n%v\n%v", len(left), len(originals),
					slices.Sorted(maps.Keys(left)),
					slices.Sorted(maps.Keys(originals)))
			}
			if again := look(t, a.plain(repository), options()); len(again.Items) > 0 {
				t.Errorf("a second run would have %s go", kinds(again))
			}
		})
	}
}

func (a *account) empty(d digest.Digest) bool {
	return len(imageIndexOf(a.t, a.registry.Manifest(a.t, repository, d.String())).Manifests) == 0
}

// A tag that is formed like the list of an image's referrers, but is not one, is
// that of an original.
func TestRegistryTagWithDigest(t *testing.T) {
	a := newAccount(t)
	tag := "build-" + digest.FromString("sources").Encoded()
	one := a.image("team/app:", "one", registrytest.Image{})
	a.registry.PushIndex(t, repository, tag, false, one.Manifest)
	a.index("team/app:"+tag, ours, soci.Both)
	o := options()
	o.Orphaned = true
	if plan := look(t, a.plain(repository), o); len(plan.Items) > 0 || len(plan.Kept) == 0 {
		t.Errorf("would go: %s; %d are kept", kinds(plan), len(plan.Kept))
	}
}

func TestRegistryRefuses(t *testing.T) {
	tests := []struct {
		name   string
		status int
		code   string
		want   error // nil: each of them is reported
	}{
		{"405", http.StatusMethodNotAllowed, "", cleanup.ErrDisabled},
		{"unsupported", http.StatusBadRequest, "UNSUPPORTED", cleanup.ErrDisabled},
		{"denied", http.StatusForbidden, "DENIED", ecrclient.ErrDenied},
		{"unavailable", http.StatusServiceUnavailable, "UNAVAILABLE", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := indexed(t)
			plan := look(t, a.plain(repository), options())
			a.registry.Add(registrytest.Rule{Method: http.MethodDelete,
				Fault: registrytest.Status(tt.status, tt.code, "no")})
			failed := 0
			err := plan.Delete(t.Context(), func(r cleanup.Result) {
				if failed++; r.Outcome != cleanup.Failed {
					t.Errorf("%s is %s: %s", r.Kind, r.Outcome, r.Reason)
				}
			})
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) ||
				(failed == len(plan.Items)) != (tt.want == nil) {
				t.Errorf("the error is %v, %d of %d failed; want %v", err, failed, len(plan.Items), tt.want)
			}
		})
	}
}

func TestRegistryChangesMeanwhile(t *testing.T) {
	a := indexed(t)
	m := &meddler{Repository: a.plain(repository)}
	plan := look(t, m, options())
	item := of(t, plan, soci.KindEnabledImage)
	var another registrytest.Pushed
	m.before = func([]inventory.Image) {
		m.before = nil
		another = a.image("team/app:1-soci", "another", registrytest.Image{})
	}
	got := carryOut(t, plan)[item.Digest]
	if tagged := a.registry.Manifest(t, repository, "1-soci"); digest.FromBytes(tagged) != another.Manifest.Digest {
		t.Errorf("the tag that was moved is gone; the item is %s: %s", got.Outcome, got.Reason)
	}
	if got.Outcome != cleanup.Deleted || a.stored(repository)[item.Digest] {
		t.Errorf("the item is %s: %s; it has no tag any more", got.Outcome, got.Reason)
	}
}

// Without times, what a tag was moved away from a moment ago cannot be told from
// what was left behind long ago: a build of the other image may be under way.
func TestRegistryOrphaned(t *testing.T) {
	a := newAccount(t)
	one := a.image("team/app:1", "one", registrytest.Image{})
	a.registry.PushManifest(t, repository, "kept", one.Manifest.MediaType, one.Bytes)
	a.index("team/app:1", ours, soci.V2)
	o := options()
	o.Orphaned = true
	want := func(what, items string, reason cleanup.Reason) {
		t.Helper()
		plan := look(t, a.plain(repository), o)
		if kinds(plan) != items {
			t.Errorf("%s: %q would go, want %q", what, kinds(plan), items)
		}
		for _, k := range plan.Kept {
			if k.Kind == soci.KindEnabledImage && k.Reason != reason {
				t.Errorf("%s: kept: %s, want %s", what, k.Reason, reason)
			}
		}
	}
	want("in use", "", cleanup.KeptInUse)
	two := a.image("team/app:1", "two", registrytest.Image{})
	want("another image", "", cleanup.KeptUndated)
	a.deleteManifest(two.Manifest.Digest)
	want("none", "1 soci-enabled-image, 1 soci-enabled-manifest, 1 soci-index-v2", "")
}
