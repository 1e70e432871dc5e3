package inventory_test

import (
	"errors"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
)

const (
	ociManifest  = ocispec.MediaTypeImageManifest
	ociIndex     = ocispec.MediaTypeImageIndex
	dockerImage  = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList   = "application/vnd.docker.distribution.manifest.list.v2+json"
	someDigest   = `"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"`
	configOf     = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":` + someDigest + `,"size":2}`
	tarLayer     = `"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":` + someDigest + `,"size":2}]`
	emptyConfig  = `"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":` + someDigest + `,"size":2}`
	sociV2Entry  = `{"mediaType":"` + ociManifest + `","artifactType":"application/vnd.amazon.soci.index.v2+json","digest":` + someDigest + `,"size":2}`
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
		want      inventory.Kind
	}{
		{"image", ociManifest, `{` + configOf + `,` + tarLayer + `}`, inventory.KindImage},
		{"image of Docker", dockerImage, `{` + artifactConfig("application/vnd.docker.container.image.v1+json") + `,` + layerOf("application/vnd.docker.image.rootfs.diff.tar.gzip") + `}`, inventory.KindImage},
		{"image without a layer", ociManifest, `{` + configOf + `,"layers":[]}`, inventory.KindImage},
		{"image with another tool's annotation", ociManifest, `{` + configOf + `,` + tarLayer + `,"annotations":{"com.amazon.soci.build-tool-identifier":"x","soci":"true"}}`, inventory.KindImage},
		{"image index", ociIndex, `{"manifests":[{"mediaType":"` + ociManifest + `","digest":` + someDigest + `,"size":2}]}`, inventory.KindImageIndex},
		{"manifest list", dockerList, `{"manifests":[]}`, inventory.KindImageIndex},
		{"image index that only says that it is one with SOCI indexes", ociIndex,
			`{"manifests":[{"mediaType":"` + ociManifest + `","digest":` + someDigest + `,"size":2,"annotations":{"com.amazon.soci.image-manifest-digest":` + someDigest + `}}]}`, inventory.KindImageIndex},
		{"SOCI index v1", ociManifest, `{` + artifactConfig("application/vnd.amazon.soci.index.v1+json") + `,"layers":[],` + subjectOf + `,` + identifierOf + `}`, inventory.KindSOCIIndexV1},
		{"SOCI index v2", ociManifest, `{` + artifactConfig("application/vnd.amazon.soci.index.v2+json") + `,"layers":[],` + identifierOf + `}`, inventory.KindSOCIIndexV2},
		{"SOCI index by its artifact type", ociManifest, `{"artifactType":"application/vnd.amazon.soci.index.v1+json",` + emptyConfig + `,"layers":[],` + identifierOf + `}`, inventory.KindSOCIIndexV1},
		{"SOCI index whose artifact type says something else", ociManifest, `{"artifactType":"application/vnd.example",` + artifactConfig("application/vnd.amazon.soci.index.v2+json") + `,` + identifierOf + `}`, inventory.KindSOCIIndexV2},
		{"SOCI-enabled image", ociIndex, `{"manifests":[{"mediaType":"` + ociManifest + `","digest":` + someDigest + `,"size":2},` + sociV2Entry + `]}`, inventory.KindEnabledImage},
		{"manifest of one", ociManifest, `{` + configOf + `,` + tarLayer + `,"annotations":{"com.amazon.soci.index-digest":` + someDigest + `}}`, inventory.KindEnabledManifest},
		{"unindexed image", ociIndex, `{"manifests":[],"annotations":{"soci-index-builder.unindexed":"true"}}`, inventory.KindUnindexed},
		{"another value of that annotation", ociIndex, `{"manifests":[],"annotations":{"soci-index-builder.unindexed":"no"}}`, inventory.KindImageIndex},
		{"that annotation on an image", ociManifest, `{` + configOf + `,` + tarLayer + `,"annotations":{"soci-index-builder.unindexed":"true"}}`, inventory.KindImage},
		{"attestation", ociManifest, `{` + configOf + `,` + layerOf("application/vnd.in-toto+json") + `}`, inventory.KindAttestation},
		{"signature of cosign", ociManifest, `{` + configOf + `,` + layerOf("application/vnd.dev.cosign.simplesigning.v1+json") + `}`, inventory.KindSignature},
		{"signature of notation", ociManifest, `{` + artifactConfig("application/vnd.cncf.notary.signature") + `,` + layerOf("application/jose+json") + `,` + subjectOf + `}`, inventory.KindSignature},
		{"SBOM", ociManifest, `{"artifactType":"application/spdx+json",` + emptyConfig + `,` + layerOf("application/spdx+json") + `}`, inventory.KindArtifact},
		{"Helm chart", ociManifest, `{` + artifactConfig("application/vnd.cncf.helm.config.v1+json") + `,` + layerOf("application/vnd.cncf.helm.chart.content.v1.tar+gzip") + `}`, inventory.KindArtifact},
		{"image index of an artifact", ociIndex, `{"artifactType":"application/vnd.example","manifests":[]}`, inventory.KindArtifact},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := inventory.Classify(tt.mediaType, []byte(tt.manifest))
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind != tt.want {
				t.Errorf("it is %s, want %s", m.Kind, tt.want)
			}
			isIndex := tt.want == inventory.KindSOCIIndexV1 || tt.want == inventory.KindSOCIIndexV2
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
			if m, err := inventory.Classify(tt.mediaType, []byte(tt.manifest)); !errors.Is(err, inventory.ErrManifest) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}
