//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"testing"

	upstream "github.com/awslabs/soci-snapshotter/soci"
	upstreamztoc "github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// checkReadIndex has upstream read a SOCI index and write it again.
func checkReadIndex(t *testing.T, r *repository, d ocispec.Descriptor) *upstream.Index {
	t.Helper()
	var index upstream.Index
	if err := upstream.UnmarshalIndex(r.Blobs[d.Digest], &index); err != nil {
		t.Fatal(err)
	}
	if again, err := upstream.MarshalIndex(&index); err != nil || !bytes.Equal(again, r.Blobs[d.Digest]) {
		t.Errorf("upstream reads SOCI index %s and writes\n%s (%v)", d.Digest, again, err)
	}
	if index.ArtifactType != upstream.SociIndexArtifactTypeV2 || index.Subject != nil {
		t.Errorf("upstream reads %s as %+v", d.Digest, index)
	}
	return &index
}

// readAsSnapshotter does what the snapshotter does with each platform: its
// manifest is the first that fits, the manifest's annotation names the SOCI
// index, and that has the zTOC of a layer by the layer's digest. Upstream
// extracts each file.
func readAsSnapshotter(t *testing.T, r *repository, index ocispec.Index) {
	t.Helper()
	layers := 0
	for _, listed := range index.Manifests {
		if listed.ArtifactType != soci.ArtifactTypeV2 {
			continue
		}
		matcher := platforms.OnlyStrict(*listed.Platform)
		var manifest *ocispec.Manifest
		for _, d := range index.Manifests {
			if d.ArtifactType != soci.ArtifactTypeV2 && d.Platform != nil && matcher.Match(*d.Platform) {
				manifest = new(ocispec.Manifest)
				if err := json.Unmarshal(r.Blobs[d.Digest], manifest); err != nil {
					t.Fatal(err)
				}
				if listed.Annotations[upstream.IndexAnnotationImageManifestDigest] != d.Digest.String() {
					t.Errorf("the SOCI index of %s is said to be that of %v", d.Digest, listed.Annotations)
				}
				break
			}
		}
		if manifest == nil {
			t.Fatalf("no manifest for the SOCI index %s", listed.Digest)
		}
		if manifest.Annotations[upstream.ImageAnnotationSociIndexDigest] != listed.Digest.String() {
			t.Fatalf("the manifest names %v, not %s", manifest.Annotations, listed.Digest)
		}
		byLayer := make(map[string]ocispec.Descriptor)
		for _, z := range checkReadIndex(t, r, listed).Blobs {
			byLayer[z.Annotations[upstream.IndexAnnotationImageLayerDigest]] = z
		}
		for _, l := range manifest.Layers {
			if z, ok := byLayer[l.Digest.String()]; ok {
				layers++
				extractAll(t, r.Blobs[z.Digest], r.Blobs[l.Digest])
			}
		}
	}
	if layers == 0 {
		t.Error("no layer was read")
	}
}

// extractAll compares the files of a layer with what upstream extracts.
func extractAll(t *testing.T, ztoc, blob []byte) {
	t.Helper()
	z, err := upstreamztoc.Unmarshal(bytes.NewReader(ztoc))
	if err != nil {
		t.Fatal(err)
	}
	var archive io.Reader = bytes.NewReader(blob)
	if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		if archive, err = gzip.NewReader(archive); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]bool)
	for tr := tar.NewReader(archive); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		first := !seen[h.Name] // ExtractFile finds a name once
		seen[h.Name] = true
		if h.Typeflag != tar.TypeReg || h.Size == 0 || !first {
			continue
		}
		want, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := z.ExtractFile(io.NewSectionReader(bytes.NewReader(blob), 0, int64(len(blob))), h.Name)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: ExtractFile gives other content (%v)", h.Name, err)
		}
	}
}
