package cleanup_test

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// mistake gives an image the SOCI index that earlier releases made of a layer
// that is no tar archive but begins like an empty one.
func (a *account) mistake(tag string) (index digest.Digest) {
	a.t.Helper()
	layer := append(make([]byte, 1024), testlayers.Noise(3, 4096)...)
	image := a.image("team/app:"+tag, tag,
		registrytest.Image{Layers: []registrytest.Layer{{MediaType: ocispec.MediaTypeImageLayer, Content: layer}}})
	z, err := soci.BuildZtoc(bytes.NewReader(layer[:1024]), soci.ZtocOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	z.CompressedSize = int64(len(layer))
	b, err := z.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	ztoc := a.registry.PushBlob(a.t, repository, b)
	ztoc.MediaType = soci.ZtocMediaType
	ztoc.Annotations = map[string]string{soci.AnnotationLayerDigest: digest.FromBytes(layer).String(),
		soci.AnnotationSpanSize: "4194304"}
	subject := ocispec.Descriptor{MediaType: image.Manifest.MediaType, Digest: image.Manifest.Digest,
		Size: image.Manifest.Size}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{ztoc},
		Subject:     &subject,
		Annotations: map[string]string{soci.AnnotationBuildToolIdentifier: ours}}
	m.SchemaVersion = 2
	m.Config = a.registry.PushBlob(a.t, repository, []byte("{}"))
	m.Config.MediaType = soci.ArtifactTypeV1
	return a.registry.PushManifest(a.t, repository, "", ocispec.MediaTypeImageManifest, encode(a.t, m)).Digest
}

// With Broken what clients cannot use goes, with all that belongs to it, and
// what is sound stays.
func TestBroken(t *testing.T) {
	for _, plain := range []bool{false, true} {
		a := newAccount(t)
		a.image("team/app:sound", "sound", registrytest.Image{})
		a.index("team/app:sound", ours, soci.Both)
		a.image("team/app:empty", "empty",
			registrytest.Image{Layers: []registrytest.Layer{{Content: testlayers.GoGzip(make([]byte, 1024), 9, 0)}}})
		a.index("team/app:empty", ours, soci.Both)
		stored, err := testlayers.Stored()
		if err != nil {
			t.Fatal(err)
		}
		other := stored[slices.IndexFunc(stored,
			func(l testlayers.Layer) bool { return l.Name == "writer/go-6" })].Blob()
		a.image("team/app:damaged", "damaged",
			registrytest.Image{Layers: []registrytest.Layer{{Content: a.gzip}, {Content: other}}})
		damaged := a.index("team/app:damaged", ours, soci.Both)
		m := damaged.Manifests[0]
		wrong := a.mistake("mistake")
		a.settle()
		ztoc := m.Layers[1].Ztoc.Digest
		a.registry.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/" + ztoc.String() + "$",
			Fault: registrytest.Corrupt(50)})

		repo := a.repo(repository)
		if plain {
			repo = a.plain(repository)
		}
		o := options()
		o.Broken = true
		var mu sync.Mutex
		var progress cleanup.Progress
		o.Progress = func(now cleanup.Progress) {
			mu.Lock()
			defer mu.Unlock()
			if now.Checked >= progress.Checked {
				progress = now
			}
		}
		plan := look(t, repo, o)
		if progress.Checked != progress.ToCheck || progress.Checked < 5 || progress.Manifests <= progress.Checked {
			t.Errorf("the progress was %+v at last", progress)
		}
		o.Progress = nil
		trouble := map[digest.Digest]string{}
		for _, i := range plan.Items {
			trouble[i.Digest] = i.Trouble
		}
		want := map[digest.Digest]string{
			m.Index.Digest: ztoc.String(), damaged.Enabled.Image.Digest: ztoc.String(), wrong: "no empty archive",
			m.Enabled.Digest: "", m.IndexV2.Digest: "",
		}
		if len(trouble) != len(want) {
			t.Errorf("would go: %s", kinds(plan))
		}
		for d, text := range want {
			got, ok := trouble[d]
			if !ok || !strings.Contains(got, text) || (got == "") != (text == "") {
				t.Errorf("%s: %t, %q, want %q", d, ok, got, text)
			}
		}
		sound := 0
		for _, k := range plan.Kept {
			if k.Reason == cleanup.KeptSound {
				sound++
			}
		}
		if sound != 4 {
			t.Errorf("%d are kept as sound", sound)
		}
		before := a.stored(repository)
		for d := range carryOut(t, plan) {
			delete(before, d)
		}
		if left := a.stored(repository); !maps.Equal(left, before) {
			t.Errorf("left are %v, want %v", left, before)
		}
		if again := look(t, repo, o); len(again.Items) > 0 {
			t.Errorf("a second run would have %s go", kinds(again))
		}
	}
}

// A SOCI-enabled image without one of its SOCI indexes is broken; that the
// registry does not say is an error, and nothing goes.
func TestBrokenEnabled(t *testing.T) {
	a := newAccount(t)
	amd := a.image("team/app:", "amd", registrytest.Image{})
	arm := a.image("team/app:", "arm",
		registrytest.Image{Platform: "linux/arm64",
			Layers: []registrytest.Layer{{Content: testlayers.GoGzip(make([]byte, 1024), 9, 0)}}})
	a.registry.PushIndex(t, repository, "1", false, amd.Manifest, arm.Manifest)
	r := a.index("team/app:1", ours, soci.V2)
	o := options()
	o.Broken = true
	a.settle()
	if plan := look(t, a.repo(repository), o); len(plan.Items) > 0 {
		t.Errorf("would go: %s", kinds(plan))
	}
	a.registry.Add(registrytest.Rule{Path: "/blobs/" + r.Manifests[0].Layers[0].Ztoc.Digest.String() + "$",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
	if _, err := cleanup.Look(t.Context(), a.repo(repository), o); err == nil ||
		!strings.Contains(err.Error(), "SOCI index ") {
		t.Errorf("the error is %v", err)
	}
	a.registry.Clear()
	a.deleteManifest(r.Manifests[0].IndexV2.Digest)
	if plan := look(t, a.repo(repository), o); len(plan.Items) > 0 || plan.Kept[0].Reason != cleanup.KeptOtherTool {
		t.Errorf("whose SOCI index it was, nobody knows, but would go: %s", kinds(plan))
	}
	o.AllTools = true
	plan := look(t, a.repo(repository), o)
	if got, want := kinds(plan), "1 soci-enabled-image, 1 soci-index-v2, 2 soci-enabled-manifest"; got != want {
		t.Errorf("would go: %s; want %s", got, want)
	}
	if root := of(t, plan, soci.KindEnabledImage); root.Trouble != "SOCI index "+r.Manifests[0].IndexV2.Digest.String()+
		" is not in the repository" {
		t.Errorf("trouble: %q", root.Trouble)
	}
}
