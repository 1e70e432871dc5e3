//go:build conformance

package demo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"

	"github.com/awslabs/soci-snapshotter/cache"
	spanmanager "github.com/awslabs/soci-snapshotter/fs/span-manager"
	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// TestSnapshotterReadsTheDemo reads every file of the demo's image through the
// snapshotter's own code: the SOCI indexes v1 and v2 parsed by its package, the
// spans fetched by Range requests, checked and decoded by its span manager.
func TestSnapshotterReadsTheDemo(t *testing.T) {
	ctx := t.Context()
	d := demoImage(t)
	repo, desc := d.repo, d.desc
	r := &run{w: io.Discard, registry: d.registry, logger: slog.New(slog.DiscardHandler)}
	if _, err := r.handleEvent(ctx, desc); err != nil {
		t.Fatal(err)
	}

	// v1 as the snapshotter finds it: the referrers of the image manifest.
	referrers, err := repo.Referrers(ctx, desc, soci.ArtifactTypeV1)
	if err != nil || len(referrers) != 1 {
		t.Fatalf("referrers: %v %v", referrers, err)
	}
	v1 := sociIndex(t, repo, referrers[0])
	if v1.Subject == nil || v1.Subject.Digest != desc.Digest {
		t.Errorf("the subject is %v", v1.Subject)
	}

	// v2: the annotation of the image manifest in the SOCI-enabled image.
	enabled, err := repo.Resolve(ctx, tag+soci.DefaultTagSuffix)
	if err != nil {
		t.Fatal(err)
	}
	var list ocispec.Index
	fetchJSON(t, repo, enabled, &list)
	var v2 *upstream.Index
	var manifest ocispec.Manifest
	for _, d := range list.Manifests {
		if d.ArtifactType != "" {
			continue
		}
		fetchJSON(t, repo, d, &manifest)
		for _, x := range list.Manifests {
			if x.Digest.String() == manifest.Annotations[upstream.ImageAnnotationSociIndexDigest] {
				v2 = sociIndex(t, repo, x)
			}
		}
	}
	if v2 == nil || len(v2.Blobs) != len(v1.Blobs) || len(v1.Blobs) < 2 {
		t.Fatalf("v1 %+v, v2 %+v", v1, v2)
	}
	layers := make(map[string]ocispec.Descriptor)
	for _, l := range manifest.Layers {
		layers[l.Digest.String()] = l
	}
	files := 0
	for i, blob := range v2.Blobs {
		if blob.Digest != v1.Blobs[i].Digest {
			t.Errorf("zTOC %d is %s in v1, %s in v2", i, v1.Blobs[i].Digest, blob.Digest)
		}
		layer, ok := layers[blob.Annotations[upstream.IndexAnnotationImageLayerDigest]]
		if !ok {
			t.Fatalf("zTOC %d is of no layer of the image", i)
		}
		files += readLayer(t, repo, blob, layer)
	}
	if files < 1000 {
		t.Errorf("only %d files", files)
	}
	t.Logf("%d files read", files)
}

func fetchJSON(t *testing.T, repo *ecrclient.Repository, desc ocispec.Descriptor, v any) {
	t.Helper()
	b, err := repo.FetchManifest(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// sociIndex parses a SOCI index as the snapshotter does, which writes it again
// and goes by the digest.
func sociIndex(t *testing.T, repo *ecrclient.Repository, desc ocispec.Descriptor) *upstream.Index {
	t.Helper()
	b, err := repo.FetchManifest(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	var index upstream.Index
	if err := upstream.UnmarshalIndex(b, &index); err != nil {
		t.Fatal(err)
	}
	again, err := upstream.MarshalIndex(&index)
	if err != nil || digest.FromBytes(again) != desc.Digest {
		t.Errorf("written again, the SOCI index is another: %v", err)
	}
	return &index
}

// ranged reads a layer by Range requests.
type ranged struct {
	ctx   context.Context
	repo  *ecrclient.Repository
	layer ocispec.Descriptor
}

func (r ranged) ReadAt(p []byte, off int64) (int, error) {
	rc, err := r.repo.FetchRange(r.ctx, r.layer, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer rc.Close()
	return io.ReadFull(rc, p)
}

// readLayer compares every file of a layer with a plain read of it.
func readLayer(t *testing.T, repo *ecrclient.Repository, blob, layer ocispec.Descriptor) int {
	t.Helper()
	rc, err := repo.Fetch(t.Context(), blob)
	if err != nil {
		t.Fatal(err)
	}
	toc, err := ztoc.Unmarshal(rc)
	rc.Close()
	if err != nil {
		t.Fatal(err)
	}
	section := io.NewSectionReader(ranged{t.Context(), repo, layer}, 0, layer.Size)
	spans, err := spanmanager.New(toc, section, cache.NewMemoryCache(), 0, layer.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer spans.Close()
	plain, err := repo.Fetch(t.Context(), layer)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	zr, err := gzip.NewReader(plain)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	files := 0
	for _, f := range toc.FileMetadata {
		h, err := tr.Next()
		if err != nil || h.Name != f.Name {
			t.Fatalf("%s in the zTOC, %v in the layer: %v", f.Name, h, err)
		}
		if f.Type != "reg" || f.UncompressedSize == 0 {
			continue
		}
		want, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		content, err := spans.GetContents(f.UncompressedOffset, f.UncompressedOffset+compression.Offset(len(want)))
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		got, err := io.ReadAll(content)
		content.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, not %d, or other ones: %v", f.Name, len(got), len(want), err)
		}
		files++
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("more in the layer than in the zTOC: %v", err)
	}
	return files
}
