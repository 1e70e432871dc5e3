package soci_test

import (
	"errors"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

const (
	ociManifest = ocispec.MediaTypeImageManifest
	ociIndex    = ocispec.MediaTypeImageIndex
	dockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	someDigest  = `"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"`
	configOf    = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":` + someDigest +
		`,"size":2}`
	tarLayer = `"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":` + someDigest +
		`,"size":2}]`
	emptyConfig = `"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":` + someDigest + `,"size":2}`
	sociV2Entry = `{"mediaType":"` + ociManifest +
		`","artifactType":"application/vnd.amazon.soci.index.v2+json","digest":` + someDigest + `,"size":2}`
	subjectOf    = `"subject":{"mediaType":"` + ociManifest + `","digest":` + someDigest + `,"size":2}`
	identifierOf = `"annotations":{"com.amazon.soci.build-tool-identifier":"a tool"}`
)

func layerOf(mediaType string) string {
	return `"layers":[{"mediaType":"` + mediaType + `","digest":` + someDigest + `,"size":2}]`
}

func artifactConfig(mediaType string) string {
	return `"config":{"mediaType":"` + mediaType + `","digest":` + someDigest + `,"size":2}`
}

func TestClassify(t *testing.T) {
	tests := []struct {
		name      string
		mediaType string
		manifest  string
		want      soci.Kind
	}{
		{"image", ociManifest, `{` + configOf + `,` + tarLayer + `}`, soci.KindImage},
		{"image of Docker", dockerImage, `{` + artifactConfig("application/vnd.docker.container.image.v1+json") + `,` +
			layerOf("application/vnd.docker.image.rootfs.diff.tar.gzip") + `}`, soci.KindImage},
		{"image without a layer", ociManifest, `{` + configOf + `,"layers":[]}`, soci.KindImage},
		{"image with another tool's annotation", ociManifest,
			`{` + configOf + `,` + tarLayer +
				`,"annotations":{"com.amazon.soci.build-tool-identifier":"x","soci":"true"}}`,
			soci.KindImage},
		{"image index", ociIndex, `{"manifests":[{"mediaType":"` + ociManifest + `","digest":` + someDigest +
			`,"size":2}]}`,
			soci.KindImageIndex},
		{"manifest list", dockerList, `{"manifests":[]}`, soci.KindImageIndex},
		{"image index that only says that it is one with SOCI indexes", ociIndex,
			`{"manifests":[{"mediaType":"` + ociManifest + `","digest":` + someDigest +
				`,"size":2,"annotations":{"com.amazon.soci.image-manifest-digest":` + someDigest + `}}]}`,
			soci.KindImageIndex},
		{"SOCI index v1", ociManifest, `{` + artifactConfig("application/vnd.amazon.soci.index.v1+json") +
			`,"layers":[],` +
			subjectOf + `,` + identifierOf + `}`, soci.KindSOCIIndexV1},
		{"SOCI index v2", ociManifest, `{` + artifactConfig("application/vnd.amazon.soci.index.v2+json") +
			`,"layers":[],` +
			identifierOf + `}`, soci.KindSOCIIndexV2},
		{"SOCI index by its artifact type", ociManifest,
			`{"artifactType":"application/vnd.amazon.soci.index.v1+json",` +
				emptyConfig + `,"layers":[],` + identifierOf + `}`, soci.KindSOCIIndexV1},
		{"SOCI index whose artifact type says something else", ociManifest,
			`{"artifactType":"application/vnd.example",` + artifactConfig("application/vnd.amazon.soci.index.v2+json") +
				`,` +
				identifierOf + `}`, soci.KindSOCIIndexV2},
		{"SOCI-enabled image", ociIndex, `{"manifests":[{"mediaType":"` + ociManifest + `","digest":` + someDigest +
			`,"size":2},` + sociV2Entry + `]}`, soci.KindEnabledImage},
		{"manifest of one", ociManifest,
			`{` + configOf + `,` + tarLayer + `,"annotations":{"com.amazon.soci.index-digest":` +
				someDigest + `}}`, soci.KindEnabledManifest},
		{"unindexed image", ociIndex, `{"manifests":[],"annotations":{"soci-index-builder.unindexed":"true"}}`,
			soci.KindUnindexed},
		{"another value of that annotation", ociIndex,
			`{"manifests":[],"annotations":{"soci-index-builder.unindexed":"no"}}`,
			soci.KindImageIndex},
		{"that annotation on an image", ociManifest,
			`{` + configOf + `,` + tarLayer + `,"annotations":{"soci-index-builder.unindexed":"true"}}`,
			soci.KindEnabledManifest},
		{"attestation", ociManifest, `{` + configOf + `,` + layerOf("application/vnd.in-toto+json") + `}`,
			soci.KindAttestation},
		{"signature of cosign", ociManifest,
			`{` + configOf + `,` + layerOf("application/vnd.dev.cosign.simplesigning.v1+json") + `}`,
			soci.KindSignature},
		{"signature of notation", ociManifest, `{` + artifactConfig("application/vnd.cncf.notary.signature") + `,` +
			layerOf("application/jose+json") + `,` + subjectOf + `}`, soci.KindSignature},
		{"SBOM", ociManifest, `{"artifactType":"application/spdx+json",` + emptyConfig + `,` +
			layerOf("application/spdx+json") + `}`, soci.KindArtifact},
		{"Helm chart", ociManifest, `{` + artifactConfig("application/vnd.cncf.helm.config.v1+json") + `,` +
			layerOf("application/vnd.cncf.helm.chart.content.v1.tar+gzip") + `}`, soci.KindArtifact},
		{"image with layers that are no tar", ociManifest,
			`{` + configOf + `,` + layerOf("application/vnd.erofs.layer.v1") +
				`}`, soci.KindImage},
		{"image with layers that containerd does not know", ociManifest,
			`{` + configOf + `,` + layerOf("application/vnd.stacker.image.layer.squashfs+zstd+verity") + `}`,
			soci.KindImage},
		{"image with WebAssembly", ociManifest,
			`{` + configOf + `,` + layerOf("application/vnd.wasm.content.layer.v1+wasm") +
				`}`, soci.KindImage},
		{"WebAssembly that is no image", ociManifest, `{` + artifactConfig("application/vnd.wasm.config.v1+json") +
			`,` +
			layerOf("application/vnd.wasm.content.layer.v1+wasm") + `}`, soci.KindArtifact},
		{"image of early Docker", dockerImage, `{` + artifactConfig("application/octet-stream") + `,` +
			layerOf("application/vnd.docker.image.rootfs.diff.tar.gzip") + `}`, soci.KindImage},
		{"what is none of early Docker", ociManifest, `{` + artifactConfig("application/octet-stream") + `,` +
			tarLayer + `}`,
			soci.KindArtifact},
		{"image of schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`,
			soci.KindImage},
		{"unsigned image of schema 1", "application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1}`,
			soci.KindImage},
		{"list of referrers", ociIndex,
			`{"manifests":[{"mediaType":"` + ociManifest + `","artifactType":"application/spdx+json","digest":` +
				someDigest +
				`,"size":2}]}`, soci.KindArtifactList},
		{"list of SOCI indexes v1", ociIndex,
			`{"manifests":[{"mediaType":"` + ociManifest +
				`","artifactType":"application/vnd.amazon.soci.index.v1+json","digest":` + someDigest +
				`,"size":2},{"mediaType":"` + ociManifest + `","digest":` + someDigest + `,"size":2}]}`,
			soci.KindArtifactList},
		{"image index with an artifact type that lists a platform", ociIndex,
			`{"artifactType":"application/vnd.example","manifests":[{"mediaType":"` + ociManifest + `","digest":` +
				someDigest +
				`,"size":2,"platform":{"os":"linux","architecture":"amd64"}}]}`, soci.KindImageIndex},
		{"image index of an artifact", ociIndex, `{"artifactType":"application/vnd.example","manifests":[]}`,
			soci.KindArtifact},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := soci.Classify(tt.mediaType, []byte(tt.manifest))
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind != tt.want {
				t.Errorf("it is %s, want %s", m.Kind, tt.want)
			}
			isIndex := tt.want == soci.KindSOCIIndexV1 || tt.want == soci.KindSOCIIndexV2
			if (m.BuildTool == "a tool") != isIndex {
				t.Errorf("build tool %q", m.BuildTool)
			}
		})
	}
	for _, tt := range []struct{ name, mediaType, manifest string }{
		{"no JSON", ociManifest, "{"},
		{"a blob", "application/octet-stream", "{}"},
		{"no media type", "", "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := soci.Classify(tt.mediaType, []byte(tt.manifest)); !errors.Is(err, soci.ErrManifest) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

// An entry of an image index is classified the same by its descriptor and by its
// content.
func TestClassifyListed(t *testing.T) {
	for _, tt := range []struct {
		name string
		desc ocispec.Descriptor
		want soci.Kind
	}{
		{"image", ocispec.Descriptor{MediaType: ociManifest}, soci.KindImage},
		{"image with its config's type as artifact type",
			ocispec.Descriptor{MediaType: ociManifest, ArtifactType: ocispec.MediaTypeImageConfig}, soci.KindImage},
		{"image index", ocispec.Descriptor{MediaType: dockerList}, soci.KindImageIndex},
		{"schema 1", ocispec.Descriptor{MediaType: "application/vnd.docker.distribution.manifest.v1+json"},
			soci.KindImage},
		{"SOCI index v1", ocispec.Descriptor{MediaType: ociManifest, ArtifactType: soci.ArtifactTypeV1},
			soci.KindSOCIIndexV1},
		{"SOCI index v2", ocispec.Descriptor{MediaType: ociManifest, ArtifactType: soci.ArtifactTypeV2},
			soci.KindSOCIIndexV2},
		{"attestation", ocispec.Descriptor{MediaType: ociManifest,
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}, soci.KindAttestation},
		{"platform unknown", ocispec.Descriptor{MediaType: ociManifest,
			Platform: &ocispec.Platform{OS: "unknown", Architecture: "unknown"}}, soci.KindAttestation},
		{"in-toto", ocispec.Descriptor{MediaType: ociManifest, ArtifactType: "application/vnd.in-toto+json"},
			soci.KindAttestation},
		{"notation", ocispec.Descriptor{MediaType: ociManifest, ArtifactType: "application/vnd.cncf.notary.signature"},
			soci.KindSignature},
		{"cosign bundle", ocispec.Descriptor{MediaType: ociManifest,
			ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json"}, soci.KindSignature},
		{"SBOM", ocispec.Descriptor{MediaType: ociManifest, ArtifactType: "application/spdx+json"}, soci.KindArtifact},
		{"blob", ocispec.Descriptor{MediaType: "application/octet-stream"}, soci.KindArtifact},
	} {
		if got := soci.ClassifyListed(tt.desc); got != tt.want || got.Text() == "" {
			t.Errorf("%s: it is %s, want %s", tt.name, got, tt.want)
		}
	}
}
