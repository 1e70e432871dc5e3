package soci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// heapWatch is a Destination that looks at the heap whenever a zTOC has been pushed.
type heapWatch struct {
	soci.Destination         // nil: content is thrown away
	collect          bool    // the heap before it is looked at
	heap             []int64 // bytes
	largest          int64   // zTOC, bytes
}

func (w *heapWatch) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if w.Destination == nil {
		return false, nil
	}
	return w.Destination.Exists(ctx, desc)
}

func (w *heapWatch) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	var err error
	if w.Destination == nil {
		_, err = io.Copy(io.Discard, content)
	} else {
		err = w.Destination.Push(ctx, desc, content)
	}
	if err != nil || desc.MediaType != soci.ZtocMediaType {
		return err
	}
	if w.collect {
		runtime.GC()
		runtime.GC() // the first leaves what is in pools
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.largest = max(w.largest, desc.Size)
	w.heap = append(w.heap, int64(m.HeapAlloc))
	return nil
}

// growth returns by how much the heap was larger at most than after one of the first
// n zTOCs.
func (w *heapWatch) growth(n int) int64 { return slices.Max(w.heap[n:]) - slices.Max(w.heap[:n]) }

// manyLayers is a Source of an image whose layers have a first member of their own
// and the rest in common, so that they take no memory.
type manyLayers struct {
	*store
	parts map[digest.Digest][2][]byte
}

func (m *manyLayers) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if p, ok := m.parts[desc.Digest]; ok {
		return io.NopCloser(io.MultiReader(bytes.NewReader(p[0]), bytes.NewReader(p[1]))), nil
	}
	return m.store.Fetch(ctx, desc)
}

func newManyLayers(t *testing.T, n int) (*manyLayers, ocispec.Descriptor) {
	t.Helper()
	m := &manyLayers{store: newStore(), parts: make(map[digest.Digest][2][]byte)}
	rest := testlayers.GoGzip(archive(t, "rest", testlayers.Mixed(1, 3<<20)), 6, 0)
	var layers []ocispec.Descriptor
	for i := range n {
		var first bytes.Buffer
		if err := tar.NewWriter(&first).WriteHeader(&tar.Header{Name: fmt.Sprint("file", i), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		p := [2][]byte{testlayers.GoGzip(first.Bytes(), 6, 0), rest}
		h := digest.SHA256.Hash()
		h.Write(p[0])
		h.Write(p[1])
		d := ocispec.Descriptor{MediaType: gz, Digest: digest.NewDigest(digest.SHA256, h),
			Size: int64(len(p[0]) + len(p[1]))}
		m.parts[d.Digest] = p
		layers = append(layers, d)
	}
	return m, m.image("amd64", layers...)
}

// manyLayersCount zTOCs of 512 KiB or more are built, of which the first settled let
// caches, connections and goroutines come into being.
const (
	manyLayersCount = 64
	settled         = 16
)

// indexWatched indexes an image of many layers, one after the other.
func indexWatched(t *testing.T, w *heapWatch, src soci.Source, image ocispec.Descriptor, workers int) {
	t.Helper()
	_, err := soci.IndexImage(t.Context(), src, w, image,
		soci.Options{MinLayerSize: 1, SpanSize: 128 << 10, Concurrency: 1, LayerWorkers: workers,
			IndexVersion: soci.V1})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.heap) != manyLayersCount || w.largest < 512<<10 {
		t.Fatalf("%d zTOCs, the largest of %d bytes", len(w.heap), w.largest)
	}
}

// A finished layer leaves no part of its zTOC in memory, neither the bytes nor the
// checkpoints: only its result, a fraction of what is allowed here.
func TestFinishedLayersLeaveMemory(t *testing.T) {
	const kept = 8 << 10 // bytes, of a zTOC of more than 512 KiB
	for _, name := range []string{"thrown away", "registry"} {
		t.Run(name, func(t *testing.T) {
			m, image := newManyLayers(t, manyLayersCount)
			w := &heapWatch{collect: true}
			var src soci.Source = m
			if name == "registry" {
				repo := m.serve(t, image)
				src, w.Destination = repo, repo
			}
			indexWatched(t, w, src, image, 0)
			if n := w.growth(settled) / (manyLayersCount - settled); n > kept {
				t.Errorf("each layer leaves %d bytes in use, of a zTOC of %d", n, w.largest)
			}
		})
	}
}

// The collector is not waited for: without it the heap grows by what is allowed to be
// left behind, whatever the number of layers.
func TestFinishedLayersAreCollected(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const most = 8<<20 + 8<<20 // bytes: of finished zTOCs, and of the one in work and the rest
	m, image := newManyLayers(t, manyLayersCount)
	runtime.GC()
	w := &heapWatch{}
	indexWatched(t, w, m, image, 1) // the buffers of others are garbage too
	if n := slices.Max(w.heap) - slices.Min(w.heap); n > most {
		t.Errorf("the heap grows by %d bytes, and %d zTOCs have at most %d each", n, len(w.heap), w.largest)
	}
}

// serve has the image in a registry over HTTP, which stores what is pushed in files.
func (m *manyLayers) serve(t *testing.T, image ocispec.Descriptor) *ecrclient.Repository {
	dir := t.TempDir()
	s := registrytest.StartWith(t, localregistry.Config{Dir: dir}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d := digest.Digest(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
			p, ok := m.parts[d]
			if !ok {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Docker-Content-Digest", d.String())
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(slices.Concat(p[0], p[1])))
		})
	})
	var manifest ocispec.Manifest
	if err := json.Unmarshal(m.content[image.Digest], &manifest); err != nil {
		t.Fatal(err)
	}
	s.PushBlob(t, repoName, m.content[manifest.Config.Digest])
	for _, l := range manifest.Layers { // the registry looks only whether the file is there
		if err := os.WriteFile(filepath.Join(dir, repoName, "blobs", "sha256", l.Digest.Encoded()), nil,
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.PushManifest(t, repoName, "v1", image.MediaType, m.content[image.Digest])
	return openRepo(t, s)
}
