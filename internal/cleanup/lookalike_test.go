package cleanup_test

import (
	"maps"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// lookAlikes fills a repository with everything that somebody could take for a
// SOCI artifact by its tag, its annotations, its type or what it lists.
func (a *account) lookAlikes(name string) {
	a.t.Helper()
	t, r := a.t, a.registry
	artifact := func(tag, artifactType string, annotations map[string]string,
		subject *ocispec.Descriptor) ocispec.Descriptor {
		config := r.PushBlob(t, name, []byte("{}"))
		config.MediaType = artifactType
		layer := r.PushBlob(t, name, []byte(tag+artifactType))
		return r.PushManifest(t, name, tag, ocispec.MediaTypeImageManifest, encode(t, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: config, Layers: []ocispec.Descriptor{layer}, Annotations: annotations, Subject: subject,
		}))
	}
	tool := map[string]string{soci.AnnotationBuildToolIdentifier: soci.BuildToolIdentifier}

	// Tags.
	plain := a.image(name+":look-soci", "tag", registrytest.Image{})
	a.image(name+":_-soci-soci", "tags", registrytest.Image{})
	a.image(name+":soci", "soci", registrytest.Image{})
	a.image(name+":", "untagged", registrytest.Image{})
	r.PushIndex(t, name, "index-soci", false, plain.Manifest)
	r.PushIndex(t, name, "docker-soci", true, a.image(name+":", "docker", registrytest.Image{Docker: true}).Manifest)

	// Annotations, on images and image indexes.
	a.image(name+":annotated-soci", "annotated", registrytest.Image{Annotations: tool})
	bogus := a.image(name+":", "names an index that is none", registrytest.Image{Annotations: map[string]string{
		soci.AnnotationIndexDigest: plain.Manifest.Digest.String(),
	}})
	listed := plain.Manifest
	listed.Annotations = map[string]string{soci.AnnotationImageManifestDigest: bogus.Manifest.Digest.String()}
	listed.ArtifactType = "application/vnd.amazon.soci.index.v3+json"
	for tag, annotations := range map[string]map[string]string{
		"unindexed-no-soci":    {soci.AnnotationUnindexed: "false"},
		"unindexed-like-soci":  {soci.AnnotationUnindexed + ".x": "true"},
		"unindexed-other-soci": {"com.example." + soci.AnnotationUnindexed: "true"},
	} {
		r.PushManifest(t, name, tag, ocispec.MediaTypeImageIndex,
			encode(t, imageIndex([]ocispec.Descriptor{listed}, annotations)))
	}

	// An image index that says of an image that it is a SOCI index v2.
	liar := plain.Manifest
	liar.ArtifactType = soci.ArtifactTypeV2
	liar.Annotations = map[string]string{soci.AnnotationImageManifestDigest: plain.Manifest.Digest.String()}
	r.PushManifest(t, name, "liar-soci", ocispec.MediaTypeImageIndex,
		encode(t, imageIndex([]ocispec.Descriptor{plain.Manifest, liar}, nil)))

	// Types near to SOCI's, with and without a subject, and signatures.
	for _, artifactType := range []string{
		"application/vnd.amazon.soci.index.v1", "application/vnd.amazon.soci.index.v3+json",
		"application/vnd.amazon.soci.index.v2+json.sig",
		"application/vnd.amazon.soci.ztoc.v1+json", "application/vnd.dev.cosign.artifact.sig.v1+json",
		"application/vnd.cncf.notary.signature",
	} {
		artifact("", artifactType, tool, &plain.Manifest)
		artifact("type-"+artifactType[len(artifactType)-8:len(artifactType)-5]+"-soci", artifactType, tool, nil)
	}
	signature := r.PushBlob(t, name, []byte(`{"critical":{"type":"cosign container image signature"}}`))
	signature.MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	config := r.PushBlob(t, name, []byte(`{"architecture":"","os":""}`))
	config.MediaType = ocispec.MediaTypeImageConfig
	r.PushManifest(t, name, "sha256-"+plain.Manifest.Digest.Encoded()+".sig", ocispec.MediaTypeImageManifest,
		encode(t, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
			Layers: []ocispec.Descriptor{signature},
		}))
	r.PushIndex(t, name, "attested-soci", false, plain.Manifest, r.PushAttestation(t, name, plain.Manifest).Manifest)
}

// Nothing but SOCI artifacts goes, whatever else is called, and whichever
// options are given.
func TestLookAlikesStay(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    func(*cleanup.Options)
	}{
		{"default", func(*cleanup.Options) {}},
		{"all tools", func(o *cleanup.Options) { o.AllTools = true }},
		{"all tools, any tag", func(o *cleanup.Options) { o.AllTools, o.AnyTag = true, true }},
		{"orphaned", func(o *cleanup.Options) { o.AllTools, o.AnyTag, o.Orphaned = true, true, true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{repository, "soci", "library/app-soci", "soci-index-builder"} {
				a := newAccount(t)
				a.lookAlikes(name)
				before := a.content(name)
				// Real ones among them, of every kind.
				a.image(name+":one", "one", registrytest.Image{})
				amd := a.image(name+":", "amd", registrytest.Image{Docker: true})
				arm := a.image(name+":", "arm",
					registrytest.Image{Docker: true, Platform: "linux/arm64", Layers: unindexable("arm")})
				attestation := a.registry.PushAttestation(t, name, amd.Manifest)
				a.registry.PushIndex(t, name, "multi", true, amd.Manifest, arm.Manifest, attestation.Manifest)
				a.image(name+":small", "small", registrytest.Image{Layers: unindexable("small")})
				originals := a.content(name)
				for _, tag := range []string{"one", "multi", "small"} {
					a.index(name+":"+tag, soci.BuildToolIdentifier, soci.Both)
				}
				a.settle()
				if len(originals) <= len(before) || len(a.content(name)) <= len(originals) {
					t.Fatal("the test has nothing to clean up")
				}
				o := options()
				tt.o(&o)
				results := clean(t, a.repo(name), o)
				if left := a.content(name); !o.Orphaned && !maps.Equal(left, originals) {
					t.Errorf("%s: left are\n%v, want\n%v", name, left, originals)
				}
				if o.Orphaned && len(results) > 0 {
					t.Errorf("%s: nothing is orphaned, but %d went", name, len(results))
				}
			}
		})
	}
}

// The look-alike is reported, since it looks so much like a SOCI-enabled image.
func TestUnproven(t *testing.T) {
	a := newAccount(t)
	a.lookAlikes(repository)
	a.settle()
	o := options()
	o.AllTools, o.AnyTag = true, true
	plan := look(t, a.repo(repository), o)
	if len(plan.Items) > 0 {
		t.Errorf("%s would go", kinds(plan))
	}
	var unproven []soci.Kind
	for _, k := range plan.Kept {
		if k.Reason != cleanup.KeptUnproven {
			t.Errorf("%s %s is %s: %s", k.Kind, k.Digest, k.Reason, k.Detail)
		}
		unproven = append(unproven, k.Kind)
	}
	if len(unproven) != 2 {
		t.Errorf("unproven are %v, want the image index that lies and the image that names no SOCI index", unproven)
	}
}
