package cleanup_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// meddler does something before a batch is deleted, and can refuse.
type meddler struct {
	cleanup.Repository
	batches [][]inventory.Image
	before  func(batch []inventory.Image) // may be nil
	refuse  func(batch []inventory.Image) map[digest.Digest]error
}

func (m *meddler) Delete(ctx context.Context, images []inventory.Image) (map[digest.Digest]error, error) {
	if m.before != nil {
		m.before(images)
	}
	m.batches = append(m.batches, slices.Clone(images))
	var refused map[digest.Digest]error
	if m.refuse != nil {
		refused = m.refuse(images)
	}
	rest := slices.DeleteFunc(slices.Clone(images), func(i inventory.Image) bool { return refused[i.Digest] != nil })
	if len(rest) == 0 {
		return refused, nil
	}
	more, err := m.Repository.Delete(ctx, rest)
	for d, err := range refused {
		more[d] = err
	}
	return more, err
}

// indexed is an account with one image that ours indexed.
func indexed(t *testing.T) *account {
	a := newAccount(t)
	a.image("team/app:1", "1", registrytest.Image{})
	a.image("team/app:other", "other", registrytest.Image{})
	a.index("team/app:1", ours, soci.Both)
	a.settle()
	return a
}

// of returns the item of a kind.
func of(t *testing.T, plan *cleanup.Plan, kind soci.Kind) cleanup.Item {
	t.Helper()
	i := slices.IndexFunc(plan.Items, func(i cleanup.Item) bool { return i.Kind == kind })
	if i < 0 {
		t.Fatalf("no %s would go", kind)
	}
	return plan.Items[i]
}

// Image indexes go before what they list, manifests before the SOCI index that
// they name.
func TestOrder(t *testing.T) {
	a := newAccount(t)
	for i := range 3 {
		text := fmt.Sprint(i)
		amd := a.image("team/app:", text, registrytest.Image{Docker: true})
		arm := a.image("team/app:", text, registrytest.Image{Docker: true, Platform: "linux/arm64"})
		inner := a.registry.PushIndex(t, repository, "", true, arm.Manifest)
		a.registry.PushIndex(t, repository, text, true, amd.Manifest, inner)
		a.index("team/app:"+text, ours, soci.V2)
	}
	before := a.content(repository)
	a.settle()
	m := &meddler{Repository: a.repo(repository)}
	m.before = func(batch []inventory.Image) {
		left := a.content(repository)
		for _, image := range batch {
			for d := range left {
				content := string(a.registry.Manifest(t, repository, d.String()))
				if d != image.Digest && strings.Contains(content, image.Digest.String()) {
					t.Errorf("%s goes before %s that leads to it", image.Digest, d)
				}
			}
		}
	}
	results := carryOut(t, look(t, m, options()))
	nested := 0
	for _, r := range results {
		if r.Outcome != cleanup.Deleted {
			t.Errorf("%s is %s: %s", r.Kind, r.Outcome, r.Reason)
		}
		if r.Kind == soci.KindImageIndex {
			nested++
		}
	}
	if nested != 3 {
		t.Errorf("%d nested image indexes went, want 3", nested)
	}
	if after := a.content(repository); len(after) != len(before)-len(results) || len(after) != 12 {
		t.Errorf("%d of %d manifests are left, %d were deleted, want the 12 of the originals", len(after), len(before),
			len(results))
	}
}

// Changes between looking and deleting are noticed.
func TestChangesMeanwhile(t *testing.T) {
	push := func(a *account, tag string, d digest.Digest, mediaType string) {
		a.registry.PushManifest(a.t, repository, tag, mediaType, a.registry.Manifest(a.t, repository, d.String()))
	}
	tests := []struct {
		name    string
		kind    soci.Kind // of what is meant
		change  func(a *account, i cleanup.Item)
		late    bool // even after the last look
		outcome cleanup.Outcome
		reason  string
	}{
		{"another tag", soci.KindEnabledImage,
			func(a *account, i cleanup.Item) { push(a, "prod", i.Digest, ocispec.MediaTypeImageIndex) }, false,
			cleanup.Stayed, "has another tag: prod"},
		{"another tag on a part", soci.KindEnabledManifest,
			func(a *account, i cleanup.Item) { push(a, "prod", i.Digest, ocispec.MediaTypeImageManifest) }, false,
			cleanup.Stayed, "something has come to need it"},
		{"an image index that lists it", soci.KindSOCIIndexV2, func(a *account, i cleanup.Item) {
			a.registry.PushIndex(a.t, repository, "mine", false,
				ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: i.Digest,
					Size: int64(len(a.registry.Manifest(a.t, repository, i.Digest.String())))})
		}, false, cleanup.Stayed, "listed by an image index that stays"},
		{"the suffixed tag moves on", soci.KindEnabledImage, func(a *account, _ cleanup.Item) {
			a.image("team/app:1-soci", "another", registrytest.Image{})
		}, false, cleanup.Deleted, ""},
		{"somebody else deletes it", soci.KindSOCIIndexV1, func(a *account, i cleanup.Item) {
			request, _ := http.NewRequestWithContext(a.t.Context(), http.MethodDelete,
				a.registry.URL()+"/v2/"+repository+"/manifests/"+i.Digest.String(), http.NoBody)
			answer, err := registrytest.Client.Do(request)
			if err != nil {
				a.t.Fatal(err)
			}
			answer.Body.Close()
		}, false, cleanup.Gone, ""},
		{"the suffixed tag moves on at the last moment", soci.KindEnabledImage, func(a *account, _ cleanup.Item) {
			a.image("team/app:1-soci", "another", registrytest.Image{})
		}, true, cleanup.Deleted, ""},
		{"another tag on a part when its image has gone", soci.KindEnabledManifest,
			func(a *account, i cleanup.Item) { push(a, "prod", i.Digest, ocispec.MediaTypeImageManifest) }, true,
			cleanup.Stayed, "something has come to need it"},
		{"an image index that lists a part when its image has gone", soci.KindSOCIIndexV2,
			func(a *account, i cleanup.Item) {
				a.registry.PushIndex(a.t, repository, "mine", false,
					ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: i.Digest,
						Size: int64(len(a.registry.Manifest(a.t, repository, i.Digest.String())))})
			}, true, cleanup.Stayed, "something has come to need it"},
		{"an image index that cannot be read, when the image of a part has gone", soci.KindEnabledManifest,
			func(a *account, _ cleanup.Item) {
				a.ecr.Images(repository,
					awstest.Image{MediaType: ocispec.MediaTypeImageIndex, Archived: true, PushedAt: now})
			}, true, cleanup.Stayed, "may be listed by an image index that cannot be read"},
		{"another tag at the last moment", soci.KindEnabledImage,
			func(a *account, i cleanup.Item) { push(a, "prod", i.Digest, ocispec.MediaTypeImageIndex) }, true,
			cleanup.Stayed, "has another tag: prod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := indexed(t)
			m := &meddler{Repository: a.repo(repository)}
			plan := look(t, m, options())
			item := of(t, plan, tt.kind)
			if tt.late {
				m.before = func([]inventory.Image) {
					m.before = nil
					tt.change(a, item)
				}
			} else {
				tt.change(a, item)
			}
			got := carryOut(t, plan)[item.Digest]
			if got.Outcome != tt.outcome || !strings.HasPrefix(got.Reason, tt.reason) {
				t.Errorf("it is %s: %s; want %s: %s", got.Outcome, got.Reason, tt.outcome, tt.reason)
			}
			_, there := a.content(repository)[item.Digest]
			if there != (tt.outcome == cleanup.Stayed) {
				t.Errorf("it is there: %t", there)
			}
			for tag, moved := range map[string]bool{"1-soci": strings.Contains(tt.name, "moves on"),
				"prod": strings.Contains(tt.name, "another tag"), "1": true, "other": true} {
				if moved && a.registry.Manifest(t, repository, tag) == nil {
					t.Errorf("the tag %s is gone", tag)
				}
			}
		})
	}
}

// Refused deletions are tried again as often as is sensible, and reported at the end.
func TestRefusals(t *testing.T) {
	kms := "KmsError: the key is disabled"
	tests := []struct {
		name   string
		kind   soci.Kind
		code   types.ImageFailureCode
		times  int // 0: for ever
		failed map[soci.Kind]string
	}{
		{"listed for some seconds after the image index went", soci.KindEnabledManifest,
			types.ImageFailureCodeImageReferencedByManifestList, 4, nil},
		{"listed by what cannot be seen", soci.KindSOCIIndexV2, types.ImageFailureCodeImageReferencedByManifestList, 0,
			map[soci.Kind]string{
				soci.KindSOCIIndexV2: cleanup.ErrListed.Error(),
			}},
		{"tags that go on changing", soci.KindEnabledImage, types.ImageFailureCodeImageTagDoesNotMatchDigest, 0,
			map[soci.Kind]string{
				soci.KindEnabledImage:    cleanup.ErrChanged.Error(),
				soci.KindEnabledManifest: "its SOCI-enabled image could not be deleted",
				soci.KindSOCIIndexV2:     "its SOCI-enabled image could not be deleted",
			}},
		{"for good", soci.KindSOCIIndexV1, types.ImageFailureCodeKmsError,
			0, map[soci.Kind]string{soci.KindSOCIIndexV1: kms}},
		{"a manifest, which keeps its SOCI index", soci.KindEnabledManifest, types.ImageFailureCodeKmsError, 0,
			map[soci.Kind]string{
				soci.KindEnabledManifest: kms,
				soci.KindSOCIIndexV2:     "what lists it, or names it, could not be deleted",
			}},
		{"no such image", soci.KindSOCIIndexV1, types.ImageFailureCodeImageNotFound, 2, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := indexed(t)
			o := options()
			item := of(t, look(t, a.repo(repository), o), tt.kind)
			a.ecr.Undeletable(repository, item.Digest, string(tt.code), "the key is disabled")
			var waited []time.Duration
			o.Pause = func(ctx context.Context, d time.Duration) error {
				waited = append(waited, d)
				if len(waited) == tt.times {
					a.ecr.Undeletable(repository, item.Digest, "", "")
				}
				return ctx.Err()
			}
			got := map[soci.Kind]string{}
			for _, r := range carryOut(t, look(t, a.repo(repository), o)) {
				switch {
				case r.Outcome == cleanup.Failed:
					got[r.Kind] = r.Reason
				case r.Outcome != cleanup.Deleted && !(r.Outcome == cleanup.Stayed && tt.failed[r.Kind] != ""):
					t.Errorf("%s is %s: %s", r.Kind, r.Outcome, r.Reason)
				case r.Outcome == cleanup.Stayed:
					got[r.Kind] = tt.failed[r.Kind]
				}
			}
			for kind, reason := range tt.failed {
				if got[kind] != reason {
					t.Errorf("%s failed: %q, want %q", kind, got[kind], reason)
				}
			}
			if len(got) != len(tt.failed) {
				t.Errorf("failed are %v, want %v", got, tt.failed)
			}
			if tt.times > 0 && len(waited) != tt.times {
				t.Errorf("it waited %v, want %d times", waited, tt.times)
			}
			if !slices.IsSorted(waited) && tt.times == 0 {
				t.Errorf("the pauses %v do not grow", waited)
			}
			var sum time.Duration
			for _, d := range waited {
				sum += d
			}
			if sum > 2*time.Minute {
				t.Errorf("it waited %v in all", sum)
			}
		})
	}
}

// 5,000 images and their artifacts, in pages; throttling on the way; batches
// of at most 100; one that fails.
func TestManyImages(t *testing.T) {
	a := newAccount(t)
	const sociIndexes = 350
	for i := range 5000 {
		a.ecr.Images(repository,
			awstest.Image{Tags: []string{fmt.Sprintf("v%d-soci", i)}, PushedAt: now, Size: 1 << 30})
	}
	for i := range sociIndexes {
		index := fmt.Sprintf(
			`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q},"layers":[],"subject":{"digest":%q},"annotations":{%q:%q}}`,
			ocispec.MediaTypeImageManifest, soci.ArtifactTypeV1, digest.FromString(fmt.Sprint("gone", i)),
			soci.AnnotationBuildToolIdentifier, ours)
		a.ecr.Images(repository,
			awstest.Image{ArtifactMediaType: soci.ArtifactTypeV1, Manifest: index, PushedAt: now.Add(-time.Hour),
				Subject: digest.FromString("gone")})
	}
	a.aws.Fail("ecr", "DescribeImages", 3, awstest.Throttled)
	a.aws.Fail("ecr", "BatchGetImage", 2, awstest.Throttled)
	a.aws.Fail("ecr", "BatchDeleteImage", 4, awstest.Throttled)
	m := &meddler{Repository: a.repo(repository)}
	o := options()
	o.Orphaned = true
	plan := look(t, m, o)
	if kinds(plan) != fmt.Sprintf("%d soci-index-v1", sociIndexes) {
		t.Fatalf("would go: %s", kinds(plan))
	}
	if n := a.aws.Count("ecr", "DescribeImages"); n != 6+3 {
		t.Errorf("%d requests for lists, want 6 pages and 3 more attempts", n)
	}
	refused := plan.Items[42].Digest
	a.ecr.Undeletable(repository, refused, "KmsError", "the key is disabled")
	results := carryOut(t, plan)
	for d, r := range results {
		if want := d == refused; (r.Outcome == cleanup.Failed) != want || (r.Outcome == cleanup.Deleted) == want {
			t.Errorf("%s is %s: %s", d, r.Outcome, r.Reason)
		}
	}
	if len(m.batches) != 4 {
		t.Errorf("%d batches, want 4", len(m.batches))
	}
	for _, b := range m.batches {
		if len(b) > 100 {
			t.Errorf("a batch of %d", len(b))
		}
	}
	if left := a.content(repository); len(left) != 5001 {
		t.Errorf("%d manifests are left, want 5000 images and the SOCI index that could not be deleted", len(left))
	}
}

// Tags count in a batch as images do, since each has a place of its own in the
// request.
func TestManyTags(t *testing.T) {
	a := indexed(t)
	b := a.registry.Manifest(t, repository, "1-soci")
	for i := range 250 {
		a.registry.PushManifest(t, repository, fmt.Sprintf("v%d-soci", i), ocispec.MediaTypeImageIndex, b)
	}
	clean(t, a.repo(repository), options())
	if a.registry.Manifest(t, repository, "1-soci") != nil || a.registry.Manifest(t, repository, "1") == nil {
		t.Error("the SOCI-enabled image is there, or the original is not")
	}
}

// A request that fails ends it; what was deleted before has been told, and the
// next run goes on from there.
func TestRequestFails(t *testing.T) {
	a := indexed(t)
	denied := &awstest.Error{Status: 400, Code: "AccessDeniedException",
		Message: "User is not authorized to perform: ecr:BatchDeleteImage"}
	m := &meddler{Repository: a.repo(repository)}
	m.before = func([]inventory.Image) {
		if len(m.batches) == 1 {
			a.aws.Fail("ecr", "BatchDeleteImage", 100, denied)
		}
	}
	plan := look(t, m, options())
	deleted := 0
	err := plan.Delete(t.Context(), func(r cleanup.Result) {
		if r.Outcome != cleanup.Deleted {
			t.Errorf("%s is %s: %s", r.Kind, r.Outcome, r.Reason)
		}
		deleted++
	})
	if err == nil || !strings.Contains(err.Error(), "deleting from team/app: ") ||
		!strings.Contains(err.Error(), "ecr:BatchDeleteImage") {
		t.Errorf("the error is %v", err)
	}
	if deleted != 2 {
		t.Errorf("%d were told of, want the SOCI-enabled image and the SOCI index v1", deleted)
	}
	a.aws.Fail("ecr", "BatchDeleteImage", 0, denied)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := plan.Delete(ctx, func(cleanup.Result) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
