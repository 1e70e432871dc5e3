package cleanup_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// base pushes an image and indexes it. It returns the image manifest that its
// SOCI-enabled image lists, with the annotation that builders inherit.
func (a *account) base(tag string) (enabled ocispec.Descriptor, annotations map[string]string, index digest.Digest) {
	a.t.Helper()
	a.image("team/app:"+tag, tag, registrytest.Image{})
	m := a.index("team/app:"+tag, ours, soci.Both).Manifests[0]
	return m.Enabled, map[string]string{soci.AnnotationIndexDigest: m.IndexV2.Digest.String()}, m.IndexV2.Digest
}

var everything = []struct {
	name string
	o    func(*cleanup.Options)
}{
	{"default", func(*cleanup.Options) {}},
	{"all tools, any tag", func(o *cleanup.Options) { o.AllTools, o.AnyTag = true, true }},
	{"orphaned", func(o *cleanup.Options) { o.AllTools, o.AnyTag, o.Orphaned = true, true, true }},
}

// Images that were built from a SOCI-enabled one, or copied out of one, inherit
// its annotation. They stay, whatever their form and however they are listed;
// what was made for them in turn goes.
func TestDerivedImagesStay(t *testing.T) {
	for _, tt := range everything {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			a.image("team/app:base", "base", registrytest.Image{})
			before := a.content(repository)
			enabled, inherited, index := a.base("base")
			ofBase := a.content(repository)
			maps.DeleteFunc(ofBase, func(d digest.Digest, _ string) bool { _, ok := before[d]; return ok })

			derived := func(reference, text string, layers []registrytest.Layer) ocispec.Descriptor {
				return a.image(reference, text,
					registrytest.Image{Annotations: maps.Clone(inherited), Layers: layers}).Manifest
			}
			derived("team/app:kaniko", "kaniko", nil)
			derived("team/app:", "built, and its tag was moved", nil)
			derived("team/app:own-soci", "under a tag with the suffix", nil)
			child := derived("team/app:", "ko", nil)
			child.Annotations = maps.Clone(inherited)
			a.registry.PushIndex(t, repository, "ko", false, child)
			a.registry.PushIndex(t, repository, "buildah", true, derived("team/app:", "buildah", nil))
			a.registry.PushIndex(t, repository, "", false, derived("team/app:", "an index without a tag", nil))
			derived("team/app:small", "small", unindexable("small"))
			b := a.registry.Manifest(t, repository, enabled.Digest.String())
			a.registry.PushManifest(t, repository, "copied", enabled.MediaType, b)
			originals := a.content(repository)
			maps.DeleteFunc(originals,
				func(d digest.Digest, _ string) bool { _, ok := ofBase[d]; return ok && d != enabled.Digest })
			originals[index] = "" // which the derived images name
			for _, tag := range []string{"kaniko", "ko", "buildah", "small", "copied"} {
				a.index("team/app:"+tag, ours, soci.Both)
			}
			a.settle()
			o := options()
			tt.o(&o)
			clean(t, a.repo(repository), o)
			left := a.content(repository)
			if !o.Orphaned && !maps.Equal(left, originals) {
				t.Errorf("left are\n%v, want\n%v", left, originals)
			}
			for d := range originals {
				if _, ok := left[d]; !ok {
					t.Errorf("%s is gone", d)
				}
			}
		})
	}
}

// The image index that stands for a derived image without a layer to index lists
// a copy of its manifest, which is deleted with it.
func TestUnindexedCopyGoes(t *testing.T) {
	a := newAccount(t)
	_, inherited, index := a.base("base")
	small := a.image("team/app:small", "small",
		registrytest.Image{Layers: unindexable("small"), Annotations: inherited})
	other := a.image("team/app:", "other", registrytest.Image{Layers: unindexable("other"), Platform: "linux/arm64"})
	nested := a.registry.PushIndex(t, repository, "", false, small.Manifest)
	a.registry.PushIndex(t, repository, "list", false, small.Manifest, other.Manifest)
	a.registry.PushIndex(t, repository, "nested", false, nested)
	before := a.content(repository)
	for _, tag := range []string{"small", "list", "nested"} {
		if r := a.index("team/app:"+tag, ours, soci.Both); !r.Enabled.Unindexed {
			t.Fatalf("%+v", r)
		}
	}
	if n := len(a.content(repository)) - len(before); n != 5 { // three roots, the copy, and the nested image index
		t.Fatalf("%d manifests were pushed", n)
	}
	a.settle()
	clean(t, a.repo(repository), options())
	left := a.content(repository)
	for d, tags := range before {
		kept := d == index || tags != "base-soci"
		if _, ok := left[d]; !ok && kept &&
			(tags != "" || d == small.Manifest.Digest || d == other.Manifest.Digest || d == nested.Digest) {
			t.Errorf("%s (%s) is gone", d, tags)
		}
	}
	for d := range left {
		if _, ok := before[d]; !ok {
			t.Errorf("%s is left", d)
		}
	}
}

// A SOCI-enabled image that was copied to a repository without its original is
// all that there is of that image.
func TestOnlyCopyStays(t *testing.T) {
	for _, tt := range everything {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			enabled, _, index := a.base("1")
			const elsewhere = "team/prod"
			for _, d := range []digest.Digest{index, enabled.Digest} {
				b := a.registry.Manifest(t, repository, d.String())
				var m ocispec.Manifest
				decode(t, b, &m)
				for _, blob := range append(m.Layers, m.Config) {
					a.registry.PushBlob(t, elsewhere, a.registry.Blob(t, repository, blob.Digest))
				}
				a.registry.PushManifest(t, elsewhere, "", ocispec.MediaTypeImageManifest, b)
			}
			a.registry.PushManifest(t, elsewhere, "1-soci", ocispec.MediaTypeImageIndex,
				a.registry.Manifest(t, repository, "1-soci"))
			a.settle()
			o := options()
			tt.o(&o)
			for range 2 {
				plan := look(t, a.repo(elsewhere), o)
				if !slices.ContainsFunc(plan.Kept, func(k cleanup.Kept) bool {
					return slices.Equal(k.Tags, []string{"1-soci"}) && k.Reason == cleanup.KeptUnproven &&
						k.Detail != ""
				}) {
					t.Errorf("kept are %+v", plan.Kept)
				}
				if len(plan.Items) > 0 {
					t.Errorf("would go: %s", kinds(plan))
				}
			}
		})
	}
}

// An original that goes while the SOCI-enabled image is being deleted leaves the
// copy.
func TestOriginalGoesMeanwhile(t *testing.T) {
	a := newAccount(t)
	enabled, _, _ := a.base("1")
	a.settle()
	original := digest.FromBytes(a.registry.Manifest(t, repository, "1"))
	m := &meddler{Repository: a.plain(repository)}
	plan := look(t, m, options())
	m.before = func(batch []inventory.Image) {
		if slices.ContainsFunc(batch, func(i inventory.Image) bool { return slices.Contains(i.Tags, "1-soci") }) {
			m.before = nil
			a.deleteManifest(original)
		}
	}
	got := carryOut(t, plan)[enabled.Digest]
	if got.Outcome != cleanup.Stayed || !a.stored(repository)[enabled.Digest] {
		t.Errorf("the copy is %s: %s", got.Outcome, got.Reason)
	}
}

func (a *account) deleteManifest(d digest.Digest) {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), http.MethodDelete,
		a.registry.URL()+"/v2/"+repository+"/manifests/"+d.String(), http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	answer, err := registrytest.Client.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		a.t.Fatalf("deleting %s: %s", d, answer.Status)
	}
}
