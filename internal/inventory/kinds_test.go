package inventory_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

// plain is the repository of an account by the distribution API alone.
func (a *account) plain(repository string) *inventory.RegistrySource {
	return inventory.Registry(a.registry.Host(), []string{repository},
		ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
}

// early pushes an image as Docker before 1.10 did.
func (a *account) early(tag string, layer int) {
	a.t.Helper()
	var m ocispec.Manifest
	p := a.registry.PushImage(a.t, "app", "",
		registrytest.Image{Docker: true, Layers: []registrytest.Layer{{Content: a.layers[layer]}}})
	if err := json.Unmarshal(p.Bytes, &m); err != nil {
		a.t.Fatal(err)
	}
	m.Config.MediaType = "application/octet-stream"
	b, err := json.Marshal(m)
	if err != nil {
		a.t.Fatal(err)
	}
	a.registry.PushManifest(a.t, "app", tag, m.MediaType, b)
}

// Every kind of image is listed, with the reason why it has no SOCI index; what
// is no image is not.
func TestSurveyKinds(t *testing.T) {
	a := newAccount(t)
	of := func(tag string, types ...string) {
		img := registrytest.Image{}
		for _, mediaType := range types {
			img.Layers = append(img.Layers,
				registrytest.Layer{MediaType: mediaType, Content: []byte(strings.Repeat(tag, 100))})
		}
		a.registry.PushImage(t, "app", tag, img)
	}
	a.early("early", 0)
	of("encrypted", ocispec.MediaTypeImageLayerGzip+"+encrypted")
	of("erofs", "application/vnd.erofs.layer.v1", "application/vnd.oci.image.layer.v1.erofs")
	of("foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
	of("nydus", "application/vnd.oci.image.layer.nydus.blob.v1")
	of("signature", "application/vnd.dev.cosign.simplesigning.v1+json")
	of("squashfs", "application/vnd.stacker.image.layer.squashfs+zstd+verity")
	of("wasm", "application/vnd.wasm.content.layer.v1+wasm")
	of("zstd", ocispec.MediaTypeImageLayerZstd, ocispec.MediaTypeImageLayerZstd)
	a.registry.PushImage(t, "app", "small",
		registrytest.Image{Layers: []registrytest.Layer{{Content: []byte("tiny")},
			{MediaType: "application/vnd.erofs.layer.v1", Content: []byte("tiny")}}})
	a.registry.PushImage(t, "app", "empty", registrytest.Image{})
	want := []string{
		"app:early missing no SOCI index",
		"app:empty nothing-to-index no layer to index",
		"app:encrypted unindexable no layer can be indexed: 1 encrypted",
		"app:erofs unindexable no layer can be indexed: 2 of a media type that is not a tar layer's",
		"app:foreign unindexable no layer can be indexed: 1 of a kind that may not be distributed",
		"app:nydus unindexable no layer can be indexed: 1 of a media type that is not a tar layer's",
		"app:small nothing-to-index no layer to index: 1 smaller than the minimum layer size, 1 of a media type that " +
			"is not a tar layer's",
		"app:squashfs unindexable no layer can be indexed: 1 of a media type that is not a tar layer's",
		"app:wasm unindexable no layer can be indexed: 1 of a media type that is not a tar layer's",
		"app:zstd unindexable no layer can be indexed: 2 compressed with zstd",
	}
	old := "app:old fails unsupported: sha256:itself is a manifest of Docker schema 1, which " +
		"cannot have a SOCI index; push the image again with a current builder"
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 100}
	compare(t, lines(t, inventory.Survey(t.Context(), a.plain("app"), o)), want...)

	for state, lacking := range map[inventory.State]bool{
		inventory.StateFails: true, inventory.StateUnindexable: true, inventory.StateBroken: true,
		inventory.StatePartial: true, inventory.StateMissing: true,
		inventory.StateNothing: false, inventory.StateOptedOut: false, inventory.StateNoImage: false,
		inventory.StateIndexed: false,
	} {
		if state.Lacking() != lacking {
			t.Errorf("%s: --check counts it: %t", state, !lacking)
		}
	}

	// ECR lists an image of schema 1, and a registry tells of one by its type.
	a.ecr.Images("app", awstest.Image{Tags: []string{"old"}, MediaType: schema1})
	want = append(want[:6:6], append([]string{old}, want[6:]...)...)
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(inventory.WithRepositories("app")), o)), want...)
	a.registry.Add(registrytest.Rule{Path: "/manifests/old$",
		Fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", schema1)
			w.Header().Set("Content-Length", "43")
			w.Header().Set("Docker-Content-Digest", digest.FromString("its payload").String())
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `{"schemaVersion":1,"name":"app","tag":"old"}`)
			}
		}}, registrytest.Rule{Path: "/tags/list$", Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		fmt.Fprint(w, `{"name":"app","tags":["old"]}`)
	}})
	compare(t, lines(t, inventory.Survey(t.Context(), a.plain("app"), o)), old)
}

// A SOCI index that clients cannot use does not count, and is reported if there
// is also one that they can use.
func TestSurveyTrouble(t *testing.T) {
	a := newAccount(t)
	d := a.image("app", "1", 0, 1)
	r := a.index("app", "1", nil).Manifests[0]
	ztoc := r.Layers[1].Ztoc.Digest
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	run := func(t *testing.T, o inventory.Options, want ...string) {
		t.Helper()
		compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), want...)
	}
	deep := o
	deep.Deep = true
	run(t, o, "app:1 indexed")
	run(t, deep, "app:1 indexed")
	text := func(index ocispec.Descriptor, what string) string {
		return fmt.Sprintf("SOCI index %s: zTOC %s of layer %s %s", index.Digest, ztoc, r.Layers[1].Layer.Digest, what)
	}

	gone := registrytest.Rule{Path: "/blobs/" + ztoc.String() + "$",
		Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")}
	a.registry.Add(gone)
	const what = "is not in the repository"
	run(t, o, "app:1 incomplete "+text(r.Index, what)+"; "+text(r.IndexV2, what))
	v1, v2 := o, o
	v1.IndexVersion, v2.IndexVersion = soci.V1, soci.V2
	run(t, v1, "app:1 incomplete "+text(r.Index, what))
	run(t, v2, "app:1 incomplete "+text(r.IndexV2, what)+"; "+text(r.Index, what)+
		": delete what is wrong (cleanup --broken)")
	a.registry.Clear()

	// Only reading it shows that it is damaged.
	a.registry.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/" + ztoc.String() + "$",
		Fault: registrytest.Corrupt(100)})
	run(t, o, "app:1 indexed")
	got := lines(t, inventory.Survey(t.Context(), a.source(), deep))
	if len(got) != 1 || !strings.HasPrefix(got[0], "app:1 incomplete "+text(r.Index, "is damaged: ")) {
		t.Errorf("%q", got)
	}
	a.registry.Clear()

	// Another tool's, beside ours, of which a zTOC is gone: an index run leaves it.
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Subject: &d,
		Annotations: map[string]string{soci.AnnotationBuildToolIdentifier: "another tool"}}
	m.SchemaVersion = 2
	m.Config = a.registry.PushBlob(t, "app", []byte("{}"))
	m.Config.MediaType = soci.ArtifactTypeV1
	z := a.registry.PushBlob(t, "app", []byte("no zTOC"))
	z.MediaType = soci.ZtocMediaType
	z.Annotations = map[string]string{soci.AnnotationLayerDigest: r.Layers[1].Layer.Digest.String()}
	m.Layers = []ocispec.Descriptor{z}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	other := a.registry.PushManifest(t, "app", "", ocispec.MediaTypeImageManifest, b)
	run(t, o, "app:1 indexed")
	got = lines(t, inventory.Survey(t.Context(), a.source(), deep))
	if len(got) != 1 || !strings.HasPrefix(got[0],
		fmt.Sprintf("app:1 broken SOCI index %s: zTOC %s of layer %s is no zTOC", other.Digest, z.Digest,
			r.Layers[1].Layer.Digest)) ||
		!strings.HasSuffix(got[0], ": delete what is wrong (cleanup --broken)") {
		t.Errorf("%q", got)
	}
	if inventory.StateBroken.ToIndex() {
		t.Error("an index run would not help")
	}
}

// Blobs that several images of a repository share are asked for once.
func TestSurveyAsksOnce(t *testing.T) {
	a := newAccount(t)
	for i := range 4 {
		tag := fmt.Sprint(i)
		a.image("app", tag, 0)
		a.index("app", tag, nil)
	}
	a.registry.Clear()
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, Deep: true}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), "app:0 indexed", "app:1 indexed",
		"app:2 indexed",
		"app:3 indexed")
	if heads := a.registry.Count(http.MethodHead, "/blobs/"); heads != 1 {
		t.Errorf("%d blobs were asked for", heads)
	}
}

// A suffixed tag that was made of this image says so, and one by another tool
// is no stale one.
func TestSurveyDiffers(t *testing.T) {
	a := newAccount(t)
	rewrite := func(tag string) {
		var x ocispec.Index
		if err := json.Unmarshal(a.registry.Manifest(t, "app", tag), &x); err != nil {
			t.Fatal(err)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(a.registry.Manifest(t, "app", x.Manifests[0].Digest.String()), &m); err != nil {
			t.Fatal(err)
		}
		m.Annotations["written"] = "otherwise"
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		d := a.registry.PushManifest(t, "app", "", m.MediaType, b)
		x.Manifests[0].Digest, x.Manifests[0].Size = d.Digest, d.Size
		x.Manifests[1].Annotations[soci.AnnotationImageManifestDigest] = d.Digest.String()
		if b, err = json.Marshal(x); err != nil {
			t.Fatal(err)
		}
		a.registry.PushManifest(t, "app", tag, x.MediaType, b)
	}
	a.image("app", "other", 0)
	a.index("app", "other", func(o *soci.Options) { o.BuildToolIdentifier = "another tool" })
	rewrite("other-soci")
	a.image("app", "own", 1)
	a.index("app", "own", nil)
	rewrite("own-soci")
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), `app:other other-tool only by "another tool"`,
		"app:own stale own-soci is of this image, but not as an index run writes it")
	o.AnyTool = true
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), "app:other indexed", "app:own indexed")
}

// An image that inherited the annotation of the SOCI-enabled one that it was
// built from is an image like any other, as it is to an index run; a
// SOCI-enabled image that lacks a platform is reported.
func TestSurveyDerived(t *testing.T) {
	a := newAccount(t)
	a.image("app", "base", 0)
	enabled := a.index("app", "base", nil).Manifests[0].Enabled
	derived := func(tag string, layer int) ocispec.Descriptor {
		return a.registry.PushImage(t, "app", tag,
			registrytest.Image{Annotations: enabled.Annotations,
				Layers: []registrytest.Layer{{Content: a.layers[0]}, {Content: a.layers[layer]}}}).Manifest
	}
	derived("kaniko", 1)
	derived("", 2)
	child := derived("", 3)
	child.Annotations = enabled.Annotations
	a.registry.PushIndex(t, "app", "ko", false, child)
	a.registry.PushManifest(t, "app", "copied", enabled.MediaType,
		a.registry.Manifest(t, "app", enabled.Digest.String()))
	amd := a.registry.PushImage(t, "app", "",
		registrytest.Image{Layers: []registrytest.Layer{{Content: a.layers[4]}}}).Manifest
	arm := a.registry.PushImage(t, "app", "",
		registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{{Content: a.layers[5]}}}).Manifest
	a.registry.PushIndex(t, "app", "part", false, amd, arm)
	a.index("app", "part", func(o *soci.Options) { o.Platforms = []string{"linux/amd64"} })
	a.registry.PushManifest(t, "app", "promoted", ocispec.MediaTypeImageIndex,
		a.registry.Manifest(t, "app", "part-soci"))
	part := "app:promoted partly-enabled image index sha256:itself lists SOCI indexes, but none for linux/arm64; " +
		"index the original image again, or delete this one"
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), "app:base indexed",
		"app:copied missing no SOCI index",
		"app:kaniko missing no SOCI index", "app:ko missing no SOCI index",
		"app:part incomplete linux/arm64 has no SOCI index v1; linux/arm64 has no SOCI index v2 in part-soci", part)

	// Without a tag it may be a part of what this tool made.
	o.Rules.Untagged = true
	for _, line := range lines(t, inventory.Survey(t.Context(), a.source(), o)) {
		if strings.HasPrefix(line, "app: ") {
			t.Errorf("listed: %s", line)
		}
	}
	for _, tag := range []string{"kaniko", "ko", "copied"} {
		a.index("app", tag, nil)
	}
	o.Rules.Untagged, o.Deep = false, true
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), "app:base indexed", "app:copied indexed",
		"app:kaniko indexed", "app:ko indexed",
		"app:part incomplete linux/arm64 has no SOCI index v1; linux/arm64 has no SOCI index v2 in part-soci", part)
}
