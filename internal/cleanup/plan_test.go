package cleanup_test

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

const ours, upstream = soci.BuildToolIdentifier, "AWS SOCI CLI v0.2"

func TestSelection(t *testing.T) {
	day := 24 * time.Hour
	pushed := func(a *account, tag string, ago time.Duration) {
		a.ecr.PushedAt(repository, digest.FromBytes(a.registry.Manifest(a.t, repository, tag)), now.Add(-ago))
	}
	retag := func(a *account, from, to string) {
		b := a.registry.Manifest(a.t, repository, from)
		mediaType := ocispec.MediaTypeImageManifest
		if bytes.Contains(b, []byte(`"manifests"`)) {
			mediaType = ocispec.MediaTypeImageIndex
		}
		a.registry.PushManifest(a.t, repository, to, mediaType, b)
	}
	deleteImage := func(a *account, reference string) {
		a.t.Helper()
		request, err := http.NewRequestWithContext(a.t.Context(), http.MethodDelete,
			a.registry.URL()+"/v2/"+repository+"/manifests/"+reference, http.NoBody)
		if err != nil {
			a.t.Fatal(err)
		}
		answer, err := registrytest.Client.Do(request)
		if err != nil {
			a.t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusAccepted {
			a.t.Fatalf("deleting %s: %s", reference, answer.Status)
		}
	}
	const all = "1 soci-enabled-image, 1 soci-enabled-manifest, 1 soci-index-v1, 1 soci-index-v2"
	tests := []struct {
		name   string
		given  func(a *account) // beside app:1, which ours indexed
		o      func(*cleanup.Options)
		want   string
		reason cleanup.Reason // of what stays, if anything
	}{
		{name: "all of ours", want: all},
		{name: "another tool", want: all, reason: cleanup.KeptOtherTool, given: func(a *account) {
			a.image("team/app:2", "2", registrytest.Image{})
			a.index("team/app:2", upstream, soci.Both)
		}},
		{
			name: "all tools", want: "2 soci-enabled-image, 2 soci-enabled-manifest, 2 soci-index-v1, 2 soci-index-v2",
			o: func(o *cleanup.Options) { o.AllTools = true },
			given: func(a *account) {
				a.image("team/app:2", "2", registrytest.Image{})
				a.index("team/app:2", upstream, soci.Both)
			},
		},
		{name: "older than", want: "1 soci-index-v1", reason: cleanup.KeptRecent,
			o: func(o *cleanup.Options) { o.OlderThan = 30 * day }, given: func(a *account) {
				pushed(a, "1-soci", 30*day-time.Second)
			}},
		{name: "exactly that old", want: all, o: func(o *cleanup.Options) { o.OlderThan = 30 * day },
			given: func(a *account) {
				pushed(a, "1-soci", 30*day)
			}},
		{name: "orphaned, and nothing is", reason: cleanup.KeptInUse,
			o: func(o *cleanup.Options) { o.Orphaned = true }},
		{name: "orphaned, the tag is gone but the image is there",
			want: "1 soci-enabled-image, 1 soci-enabled-manifest, 1 soci-index-v2", reason: cleanup.KeptInUse,
			o: func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				retag(a, "1", "other")
				deleteImage(a, "1")
			}},
		{name: "orphaned, the image is gone, so nothing proves its manifest a copy", want: "1 soci-index-v1",
			reason: cleanup.KeptUnproven, o: func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				deleteImage(a, digest.FromBytes(a.registry.Manifest(a.t, repository, "1")).String())
			}},
		{name: "orphaned, the tag has moved", want: "1 soci-enabled-image, 1 soci-enabled-manifest, 1 soci-index-v2",
			reason: cleanup.KeptInUse,
			o:      func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				a.image("team/app:1", "moved", registrytest.Image{})
				pushed(a, "1", 2*time.Hour)
			}},
		{name: "orphaned, the tag has moved a moment ago", reason: cleanup.KeptInUse,
			o: func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				a.image("team/app:1", "moved", registrytest.Image{})
				pushed(a, "1", 59*time.Minute)
			}},
		{name: "orphaned, the suffixed tag has moved", want: "1 soci-enabled-image, 1 soci-enabled-manifest",
			reason: cleanup.KeptInUse,
			o:      func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				a.image("team/app:1", "moved", registrytest.Image{}) // the same layers, so the same SOCI index v2
				a.index("team/app:1", ours, soci.Both)
			}},
		{name: "orphaned, the suffix ends like that of another stack", reason: cleanup.KeptInUse,
			o: func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				retag(a, "1-soci", "1-v2-soci")
				deleteImage(a, "1-soci")
			}},
		{name: "orphaned, a shorter tag names another image",
			want: "1 soci-enabled-image, 1 soci-enabled-manifest, 1 soci-index-v2", reason: cleanup.KeptInUse,
			o: func(o *cleanup.Options) { o.Orphaned = true }, given: func(a *account) {
				retag(a, "1-soci", "1.0-soci")
				deleteImage(a, "1-soci")
				retag(a, "1", "other")
				a.image("team/app:1", "moved", registrytest.Image{})
				pushed(a, "1", 2*time.Hour)
			}},
		{name: "an archived image index may list parts", want: "1 soci-enabled-image, 1 soci-index-v1",
			reason: cleanup.KeptHidden, given: func(a *account) {
				a.ecr.Images(repository,
					awstest.Image{MediaType: ocispec.MediaTypeImageIndex, Archived: true, PushedAt: now.Add(-99 * day)})
			}},
		{name: "an image index that cannot be read may list parts", want: "1 soci-enabled-image, 1 soci-index-v1",
			given: func(a *account) {
				a.ecr.Images(repository,
					awstest.Image{MediaType: ocispec.MediaTypeImageIndex, PushedAt: now.Add(-99 * day)})
			}},
		{name: "an archived image index from before the parts", want: all, given: func(a *account) {
			a.ecr.Images(repository,
				awstest.Image{MediaType: ocispec.MediaTypeImageIndex, Archived: true, PushedAt: now.Add(-101 * day)})
		}},
		{name: "under another tag too", want: "1 soci-index-v1", reason: cleanup.KeptTagged,
			given: func(a *account) { retag(a, "1-soci", "prod") }},
		{name: "any tag", want: all, o: func(o *cleanup.Options) { o.AnyTag = true },
			given: func(a *account) { retag(a, "1-soci", "prod") }},
		{name: "another suffix", want: "1 soci-index-v1", reason: cleanup.KeptTagged,
			o: func(o *cleanup.Options) { o.TagSuffix = "_lazy" }},
		{name: "the suffix alone", want: all, reason: "", given: func(a *account) { retag(a, "1-soci", "2-soci") }},
		{name: "a part has a tag", want: "1 soci-enabled-image, 1 soci-index-v1", reason: "", given: func(a *account) {
			index := imageIndexOf(a.t, a.registry.Manifest(a.t, repository, "1-soci"))
			retag(a, index.Manifests[0].Digest.String(), "pinned")
		}},
		{name: "listed by somebody's image index", want: "1 soci-index-v1", reason: cleanup.KeptListed,
			given: func(a *account) {
				b := a.registry.Manifest(a.t, repository, "1-soci")
				a.registry.PushIndex(a.t, repository, "mine", false,
					ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(b),
						Size: int64(len(b))})
			}},
		{name: "a part is listed by somebody's image index", want: "1 soci-enabled-image, 1 soci-index-v1",
			given: func(a *account) {
				a.registry.PushIndex(a.t, repository, "mine", false,
					imageIndexOf(a.t, a.registry.Manifest(a.t, repository, "1-soci")).Manifests[0])
			}},
		{name: "a SOCI index v2 that two images share",
			want: "1 soci-enabled-image, 1 soci-enabled-manifest, 1 soci-index-v1", reason: cleanup.KeptTagged,
			given: func(a *account) {
				a.image("team/app:2", "2", registrytest.Image{})
				a.index("team/app:2", ours, soci.V2)
				retag(a, "2-soci", "prod")
			}},
		{name: "archived", reason: cleanup.KeptArchived, want: all, given: func(a *account) {
			a.ecr.Images(repository, awstest.Image{ArtifactMediaType: soci.ArtifactTypeV1, Archived: true})
		}},
		{name: "pulled", want: all, o: func(o *cleanup.Options) { o.UnusedFor = 30 * day }, reason: cleanup.KeptPulled,
			given: func(a *account) {
				index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"` +
					soci.ArtifactTypeV2 +
					`"},"layers":[],"annotations":{"` + soci.AnnotationBuildToolIdentifier + `":"` + ours + `"}}`
				a.ecr.Images(repository,
					awstest.Image{ArtifactMediaType: soci.ArtifactTypeV2, Manifest: index,
						PushedAt: now.Add(-200 * day),
						PulledAt: now.Add(-31*day + time.Second)})
			}},
		{name: "a build under way", want: all, reason: cleanup.KeptUnfinished, given: func(a *account) {
			index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"` +
				soci.ArtifactTypeV2 +
				`"},"layers":[],"annotations":{"` + soci.AnnotationBuildToolIdentifier + `":"` + ours + `"}}`
			a.ecr.Images(repository,
				awstest.Image{ArtifactMediaType: soci.ArtifactTypeV2, Manifest: index, PushedAt: now.Add(-time.Minute)})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			a.image("team/app:1", "1", registrytest.Image{})
			a.index("team/app:1", ours, soci.Both)
			a.settle()
			o := options()
			if tt.o != nil {
				tt.o(&o)
			}
			if tt.given != nil {
				tt.given(a)
			}
			plan := look(t, a.repo(repository), o)
			if got := kinds(plan); got != tt.want {
				t.Errorf("would go: %s; want %s", got, tt.want)
			}
			reasons := map[cleanup.Reason]bool{}
			for _, k := range plan.Kept {
				reasons[k.Reason] = true
				if !k.Kind.SOCI() {
					t.Errorf("%s is told of as kept", k.Kind)
				}
			}
			if tt.reason != "" && !reasons[tt.reason] {
				t.Errorf("kept are %v, want one that is %q", plan.Kept, tt.reason)
			}
			// Everything that was not planned for deletion is left.
			before := a.content(repository)
			for _, r := range carryOut(t, plan) {
				if r.Outcome != cleanup.Deleted {
					t.Errorf("%s is %s: %s", r.Kind, r.Outcome, r.Reason)
				}
				delete(before, r.Digest)
			}
			if after := a.content(repository); !maps.Equal(after, before) {
				t.Errorf("left are %v, want %v", after, before)
			}
			if again := look(t, a.repo(repository), o); len(again.Items) > 0 {
				t.Errorf("a second run would have %s go", kinds(again))
			}
		})
	}
}

func imageIndexOf(t *testing.T, b []byte) ocispec.Index {
	t.Helper()
	var index ocispec.Index
	decode(t, b, &index)
	return index
}

// An image manifest that needs no rewriting is the original itself, in the
// SOCI-enabled image as well: it stays, also when nothing else leads to it.
func TestOriginalWithinSOCIEnabledImage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		docker bool
		gone   bool // the original image index
		stays  bool
	}{
		{"OCI", false, false, true},
		{"OCI, the original image index is gone", false, true, true},
		{"Docker, so it is rewritten", true, false, false},
		{"Docker, nothing left to tell the copy by", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			a.image("team/app:other", "other", registrytest.Image{}) // the registry forgets what is left without any
			amd := a.image("team/app:", "amd", registrytest.Image{Docker: tt.docker})
			arm := a.image("team/app:", "arm",
				registrytest.Image{Docker: tt.docker, Platform: "linux/arm64", Layers: unindexable("arm")})
			original := a.registry.PushIndex(t, repository, "1", tt.docker, amd.Manifest, arm.Manifest)
			a.index("team/app:1", ours, soci.V2)
			a.settle()
			inEnabled := imageIndexOf(t, a.registry.Manifest(t, repository, "1-soci")).Manifests[1].Digest
			if (inEnabled == arm.Manifest.Digest) == tt.docker {
				t.Fatalf("the manifest without a SOCI index is %s, the original's is %s", inEnabled,
					arm.Manifest.Digest)
			}
			if tt.gone {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete,
					a.registry.URL()+"/v2/"+repository+"/manifests/"+original.Digest.String(), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := registrytest.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
			}
			clean(t, a.repo(repository), options())
			left := a.content(repository)
			if _, stays := left[inEnabled]; stays != tt.stays {
				t.Errorf("the manifest without a SOCI index stays: %t, want %t", stays, tt.stays)
			}
			for _, d := range []digest.Digest{amd.Manifest.Digest, arm.Manifest.Digest} {
				if _, ok := left[d]; !ok {
					t.Errorf("the original's manifest %s is gone", d)
				}
			}
		})
	}
}

// A SOCI-enabled image has its original also when it leaves out a platform, or
// when a part of the original cannot be read.
func TestInPartOfOriginal(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost []soci.Kind
		do   func(a *account, amd ocispec.Descriptor)
	}{
		{"a platform was left out", []soci.Kind{soci.KindEnabledImage, soci.KindEnabledManifest},
			func(a *account, _ ocispec.Descriptor) {
				index := imageIndexOf(a.t, a.registry.Manifest(a.t, repository, "1-soci"))
				of := index.Manifests[0].Digest.String()
				index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
					return d.Digest.String() != of && d.Annotations["com.amazon.soci.image-manifest-digest"] != of
				})
				a.registry.PushManifest(a.t, repository, "1-soci", ocispec.MediaTypeImageIndex, encode(a.t, index))
			}},
		{"a part of the original is archived", nil, func(a *account, amd ocispec.Descriptor) {
			archived := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest,
				Digest: digest.FromString("archived"),
				Size:   8}
			original := string(encode(a.t, imageIndex([]ocispec.Descriptor{amd, archived}, nil)))
			a.ecr.Images(repository, awstest.Image{Digest: archived.Digest, Archived: true},
				awstest.Image{Tags: []string{"2"}, MediaType: ocispec.MediaTypeImageIndex, Manifest: original,
					PushedAt: now.Add(-99 * 24 * time.Hour)})
			a.registry.PushManifest(a.t, repository, "2-soci", ocispec.MediaTypeImageIndex,
				a.registry.Manifest(a.t, repository, "1-soci"))
			a.image("team/app:1", "moved", registrytest.Image{})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			amd := a.image("team/app:", "amd", registrytest.Image{})
			arm := a.image("team/app:", "arm",
				registrytest.Image{Platform: "linux/arm64",
					Layers: []registrytest.Layer{{Content: a.gzip}, unindexable("arm")[0]}})
			a.registry.PushIndex(t, repository, "1", false, amd.Manifest, arm.Manifest)
			a.index("team/app:1", upstream, soci.V2)
			tt.do(a, amd.Manifest)
			a.settle()
			o := options()
			o.Orphaned, o.AllTools = true, true
			var lost []soci.Kind
			for _, i := range look(t, a.repo(repository), o).Items {
				lost = append(lost, i.Kind)
				if len(i.Tags) > 0 {
					t.Errorf("%s with the tags %v would go", i.Kind, i.Tags)
				}
			}
			slices.Sort(lost)
			if !slices.Equal(lost, slices.Sorted(slices.Values(tt.lost))) {
				t.Errorf("would go: %v, want %v", lost, tt.lost)
			}
		})
	}
}

// A SOCI-enabled image may list manifests that were not made for it: one that was
// names one of its SOCI indexes, or is a copy of the original's. A copy that
// something else lists stays, and is not reported as a SOCI artifact.
func TestForeignParts(t *testing.T) {
	a := newAccount(t)
	amd := a.image("team/app:", "amd", registrytest.Image{Docker: true})
	arm := a.image("team/app:", "arm",
		registrytest.Image{Docker: true, Platform: "linux/arm64", Layers: unindexable("arm")})
	a.registry.PushIndex(t, repository, "1", true, amd.Manifest, arm.Manifest)
	a.index("team/app:1", ours, soci.V2)
	enabled := imageIndexOf(t, a.registry.Manifest(t, repository, "1-soci"))
	foreign := a.image("team/app:", "foreign",
		registrytest.Image{Annotations: map[string]string{soci.AnnotationIndexDigest: amd.Manifest.Digest.String()}})
	built := a.image("team/app:", "built", registrytest.Image{Platform: "linux/s390x"})
	stays := map[digest.Digest]string{
		foreign.Manifest.Digest:     "names another SOCI index",
		built.Manifest.Digest:       "is no copy",
		enabled.Manifests[1].Digest: "is a copy, but listed by another image index",
	}
	a.registry.PushIndex(t, repository, "mine", false, enabled.Manifests[1])
	enabled.Manifests = append(enabled.Manifests, foreign.Manifest, built.Manifest)
	a.registry.PushManifest(t, repository, "1-soci", ocispec.MediaTypeImageIndex, encode(t, enabled))
	a.settle()
	plan := look(t, a.repo(repository), options())
	for _, k := range plan.Kept {
		if !k.Kind.SOCI() || k.Digest == enabled.Manifests[1].Digest {
			t.Errorf("%s %s is told of as kept", k.Kind, k.Digest)
		}
	}
	carryOut(t, plan)
	left := a.content(repository)
	for d, why := range stays {
		if _, ok := left[d]; !ok {
			t.Errorf("the manifest that %s is gone", why)
		}
	}
	if a.registry.Manifest(t, repository, "1-soci") != nil {
		t.Error("the SOCI-enabled image is there")
	}
}

// The image index that stands for an image without a layer to index lists the
// original's manifests.
func TestUnindexedImage(t *testing.T) {
	a := newAccount(t)
	one := a.image("team/app:1", "one", registrytest.Image{Layers: unindexable("one")})
	two := a.image("team/app:", "two", registrytest.Image{Platform: "linux/arm64", Layers: unindexable("two")})
	a.registry.PushIndex(t, repository, "2", false, one.Manifest, two.Manifest)
	before := a.content(repository)
	a.index("team/app:1", ours, soci.Both)
	a.index("team/app:2", ours, soci.Both)
	a.settle()
	results := clean(t, a.repo(repository), options())
	if len(results) != 2 {
		t.Errorf("%d went, want the two image indexes", len(results))
	}
	for _, r := range results {
		if r.Kind != soci.KindUnindexed {
			t.Errorf("%s went", r.Kind)
		}
	}
	if after := a.content(repository); !maps.Equal(after, before) {
		t.Errorf("left are %v, want %v", after, before)
	}
}

// Size counts what the artifacts add, and each zTOC once.
func TestSize(t *testing.T) {
	a := newAccount(t)
	a.image("team/app:1", "1", registrytest.Image{})
	v1 := a.index("team/app:1", ours, soci.Both)
	a.settle()
	plan := look(t, a.repo(repository), options())
	var manifests int64
	for _, i := range plan.Items {
		manifests += int64(len(a.registry.Manifest(t, repository, i.Digest.String())))
	}
	ztoc := v1.Manifests[0].Layers[0].Ztoc.Size
	if got := cleanup.Size(plan.Items); got != manifests+ztoc || ztoc == 0 {
		t.Errorf("the size is %d, want %d of manifests and %d of one zTOC", got, manifests, ztoc)
	}
	if i := slices.IndexFunc(plan.Items,
		func(i cleanup.Item) bool { return i.Kind == soci.KindSOCIIndexV1 }); plan.Items[i].Size <= ztoc {
		t.Errorf("the SOCI index has a size of %d", plan.Items[i].Size)
	}
}

// A zTOC that a SOCI index of an image that is kept names does not go with those
// of another one.
func TestSizeShared(t *testing.T) {
	a := newAccount(t)
	a.image("team/app:1", "1", registrytest.Image{})
	a.image("team/app:2", "2", registrytest.Image{})
	a.index("team/app:1", ours, soci.V1)
	second := a.index("team/app:2", ours, soci.V1)
	a.settle()
	index := second.Manifests[0].Index
	a.ecr.PushedAt(repository, index.Digest, now)
	o := options()
	o.OlderThan = 24 * time.Hour
	plan := look(t, a.repo(repository), o)
	if len(plan.Items) != 1 {
		t.Fatalf("%d would go, want 1", len(plan.Items))
	}
	ztoc := second.Manifests[0].Layers[0].Ztoc.Size
	if got := cleanup.Size(plan.Items); got <= 0 || got != plan.Items[0].Size-ztoc {
		t.Errorf("the size is %d, want %d without the zTOC of %d", got, plan.Items[0].Size-ztoc, ztoc)
	}
	o.OlderThan = 0
	both := look(t, a.repo(repository), o).Items
	if got, want := cleanup.Size(both), both[0].Size+both[1].Size-ztoc; got != want {
		t.Errorf("the size of both is %d, want %d", got, want)
	}
	// One of them could not be deleted.
	if got, want := cleanup.Size(both[:1], both[1]), both[0].Size-ztoc; got != want {
		t.Errorf("the size of one is %d, want %d", got, want)
	}
	// Another registry has a repository of the same name.
	both[1].Reference = "registry.example/" + repository + "@" + both[1].Digest.String()
	if got, want := cleanup.Size(both), both[0].Size+both[1].Size; got != want {
		t.Errorf("the size in two registries is %d, want %d", got, want)
	}
}
