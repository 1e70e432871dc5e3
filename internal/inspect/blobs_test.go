package inspect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// listed is a blob of a SOCI index that is for a layer.
func listed(mediaType string, blob ocispec.Descriptor, layer digest.Digest) ocispec.Descriptor {
	blob.MediaType = mediaType
	blob.Annotations = map[string]string{soci.AnnotationLayerDigest: layer.String()}
	return blob
}

// Each blob of a SOCI index is shown by its kind, and marked if it is missing or
// is not as listed.
func TestBlobs(t *testing.T) {
	s := registrytest.Start(t)
	repo, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	image := s.PushImage(t, "team/app", "1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: stored(t, "writer/go-6")}}})
	layer := image.Layers[0].Digest
	there := s.PushBlob(t, "team/app", []byte("present"))
	larger := s.PushBlob(t, "team/app", []byte("larger"))
	larger.Size++
	gone := s.PushBlob(t, "team/app", []byte("gone"))
	s.Add(registrytest.Rule{Path: gone.Digest.Encoded(),
		Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
	prefetch := s.PushBlob(t, "team/app", []byte(`{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0}]}`))
	config := s.PushBlob(t, "team/app", []byte("{}"))
	config.MediaType = soci.ArtifactTypeV1
	subject := image.Manifest
	subject.Platform = nil
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Subject: &subject,
		Layers: []ocispec.Descriptor{
			listed(soci.ZtocMediaType, there, layer),
			listed(soci.PrefetchMediaType, prefetch, layer),
			listed(soci.ZtocMediaType, gone, layer),
			listed(soci.ZtocMediaType, larger, layer),
			listed(soci.ZtocMediaType, there, digest.FromString("another image's")),
			listed("text/plain", there, layer),
			listed(soci.PrefetchMediaType, gone, ""),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.PushManifest(t, "team/app", "", ocispec.MediaTypeImageManifest, raw)

	root := load(t, repo, "1")
	if err := inspect.CheckBlobs(t.Context(), repo, root); err != nil {
		t.Fatal(err)
	}
	index := root.SociIndexes[0]
	if a, b, c := len(index.Ztocs), len(index.Prefetch), len(index.Other); a != 4 || b != 2 || c != 1 {
		t.Fatalf("%d zTOCs, %d prefetch artifacts, %d others; want 4, 2, 1", a, b, c)
	}
	var text bytes.Buffer
	if err := inspect.WriteText(&text, root, true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")[3:]
	for i, want := range []struct {
		blob  *inspect.Blob
		begin string
		flags string // at the end of the line
		json  string
	}{
		{index.Ztocs[0], "zTOC  " + there.Digest.String(), "of layer " + layer.String(), ""},
		{index.Ztocs[1], "zTOC  " + gone.Digest.String(), "(not in the repository)", `"missing":true`},
		{index.Ztocs[2], "zTOC  " + larger.Digest.String(), "(size differs: 6 bytes in the repository, not 7)",
			`"storedSize":6`},
		{index.Ztocs[3], "zTOC  " + there.Digest.String(), "(not a layer of this image)", `"foreign":true`},
		{index.Prefetch[0], "prefetch artifact  " + prefetch.Digest.String(), "of layer " + layer.String(), ""},
		{index.Prefetch[1], "prefetch artifact  " + gone.Digest.String(), "(names no layer)  (not in the repository)",
			`"foreign":true,"missing":true`},
		{index.Other[0], "other blob  " + there.Digest.String() + "  7 B  text/plain", "of layer " + layer.String(),
			`"mediaType":"text/plain"`},
	} {
		if !strings.Contains(lines[i], "── "+want.begin) || !strings.HasSuffix(lines[i], want.flags) {
			t.Errorf("%q, want %q ... %q", lines[i], want.begin, want.flags)
		}
		b, err := json.Marshal(want.blob)
		if err != nil || !bytes.Contains(b, []byte(want.json)) {
			t.Errorf("%s has no %s", b, want.json)
		}
		for _, flag := range []string{"missing", "storedSize", "foreign", "mediaType", "invalid"} {
			if strings.Contains(string(b), `"`+flag+`"`) != strings.Contains(want.json, `"`+flag+`"`) {
				t.Errorf("%s, want of the flags %s alone", b, want.json)
			}
		}
	}
	if n := s.Count(http.MethodGet, there.Digest.Encoded()+"|"+gone.Digest.Encoded()); n != 0 {
		t.Errorf("%d blobs were read", n)
	}

	s.Add(registrytest.Rule{Path: there.Digest.Encoded(),
		Fault: registrytest.Status(http.StatusServiceUnavailable, "UNAVAILABLE", "")})
	if err := inspect.CheckBlobs(t.Context(), repo, root); !errors.Is(err, ecrclient.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

// A descriptor that names nothing is no reason not to show the rest.
func TestInvalidBlob(t *testing.T) {
	root := &inspect.Node{Kind: soci.KindImage,
		SociIndexes: []*inspect.SociIndex{{Ztocs: []*inspect.Blob{{Digest: "sha256:7", Size: 5}}}}}
	if err := inspect.CheckBlobs(t.Context(), nil, root); err != nil {
		t.Fatal(err)
	}
	if b := root.SociIndexes[0].Ztocs[0]; b.Invalid == "" || b.Missing {
		t.Errorf("%+v", b)
	}
}

// A manifest that is listed, but was not copied, is neither without an index nor
// without a platform.
func TestMissingManifest(t *testing.T) {
	s, repo := pushTree(t)
	img := s.PushImage(t, "team/app", "",
		registrytest.Image{Layers: []registrytest.Layer{{Content: stored(t, "member/two")}}})
	gone := s.PushImage(t, "team/app", "",
		registrytest.Image{Platform: "linux/arm64/v8",
			Layers: []registrytest.Layer{{Content: stored(t, "writer/go-6")}}})
	s.PushIndex(t, "team/app", "sparse", false, img.Manifest, gone.Manifest)
	s.Add(registrytest.Rule{Path: gone.Manifest.Digest.Encoded(),
		Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
	root := load(t, repo, "sparse")
	if m := root.Manifests[1]; !m.Missing || m.Platform != "linux/arm64" {
		t.Errorf("%+v", m)
	}
}
