//go:build conformance

package demo

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/awslabs/soci-snapshotter/cache"
	"github.com/awslabs/soci-snapshotter/config"
	"github.com/awslabs/soci-snapshotter/fs/layer"
	"github.com/awslabs/soci-snapshotter/fs/reader"
	spanmanager "github.com/awslabs/soci-snapshotter/fs/span-manager"
	"github.com/awslabs/soci-snapshotter/metadata"
	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/memory"

	"soci-index-builder/internal/estimate"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// TestSnapshotterPrefetchesTheDemo has the snapshotter's own code mount each layer
// of the demo's image: it fetches the spans that our prefetch artifact names, and
// no others. Then its reader reads each of the files: beyond what was prefetched
// it fetches the spans that the estimate names, and no others.
func TestSnapshotterPrefetchesTheDemo(t *testing.T) {
	d := demoImage(t)
	paths := d.files(t)
	result, err := soci.IndexImage(t.Context(), d.repo, d.repo, d.desc,
		soci.Options{IndexVersion: soci.Both, Tag: tag, Prefetch: paths})
	if err != nil || len(result.Warnings) > 0 {
		t.Fatalf("%v, warnings %q", err, result.Warnings)
	}
	found, err := inspect.LoadVersions(t.Context(), d.repo, d.desc, tag, soci.DefaultTagSuffix)
	if err != nil {
		t.Fatal(err)
	}
	images, err := estimate.Run(t.Context(), d.repo, found, estimate.Options{Files: paths})
	if err != nil || images[0].Source != estimate.SourceV2 || images[0].Files.Different != len(paths) {
		t.Fatalf("%v, %+v", err, images)
	}
	index := found.Suffixed.Image.Images()[0].SociIndexes[0]
	blobs := sociIndex(t, d.repo, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: index.Digest,
		Size: index.Size}).Blobs
	mounted, spans := 0, 0
	for _, l := range images[0].Layers {
		one := snapshotterLayer{demoStore: d, layer: ocispec.Descriptor{Digest: l.Layer, Size: l.Size}}
		for _, b := range blobs {
			switch {
			case b.Annotations[upstream.IndexAnnotationImageLayerDigest] != l.Layer.String():
			case b.MediaType == upstream.SociPrefetchMediaType:
				one.prefetch = b
			default:
				one.ztoc = b
			}
		}
		if l.Ztoc == nil {
			if one.ztoc.Digest != "" {
				t.Errorf("layer %s has a zTOC", l.Layer)
			}
			continue
		}
		mounted++
		spans += one.mount(t, l)
		one.read(t, paths)
	}
	if mounted < 2 || spans < 5 {
		t.Errorf("%d layers mounted, %d spans prefetched", mounted, spans)
	}
	t.Logf("%d layers, %d spans", mounted, spans)
}

// demoStore is the demo's image in its registry.
type demoStore struct {
	registry *localRegistry
	repo     *ecrclient.Repository
	desc     ocispec.Descriptor
}

func demoImage(t *testing.T) *demoStore {
	t.Helper()
	registry, err := startRegistry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.close() })
	image, err := imageOfFiles(t.Context(), os.Getenv("DEMO_FILES"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &demoStore{registry: registry}
	ref := registry.host() + "/" + repository + ":" + tag
	if err := image.push(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if d.repo, err = ecrclient.New(ref); err != nil {
		t.Fatal(err)
	}
	if d.desc, err = d.repo.Resolve(t.Context(), tag); err != nil {
		t.Fatal(err)
	}
	return d
}

// files are paths of files of each large layer, which lie apart.
func (d *demoStore) files(t *testing.T) (paths []string) {
	t.Helper()
	_, err := soci.IndexImage(t.Context(), d.repo, nil, d.desc,
		soci.Options{DryRun: true, LayerWorkers: 1, Concurrency: 1,
			Built: func(_ ocispec.Descriptor, z *soci.Ztoc) error {
				files := slices.DeleteFunc(slices.Clone(z.Entries),
					func(e soci.Entry) bool { return e.Type != "reg" || e.Size == 0 })
				for _, part := range []int{1, 4, 6, 8} {
					paths = append(paths, path.Join("/", files[len(files)*part/10].Name))
				}
				return nil
			}})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// ranges records which bytes are asked for.
type ranges struct {
	mu  sync.Mutex
	all []string
}

func (r *ranges) RoundTrip(request *http.Request) (*http.Response, error) {
	r.add(request.Header.Get("Range"))
	return registrytest.Client.Transport.RoundTrip(request)
}

func (r *ranges) add(one string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

// take returns what was recorded, sorted, and begins again.
func (r *ranges) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	slices.Sort(all)
	r.all = nil
	return all
}

func byteRange(offset, size int64) string { return fmt.Sprintf("bytes=%d-%d", offset, offset+size-1) }

// snapshotterLayer is a layer that the snapshotter reads.
type snapshotterLayer struct {
	*demoStore
	layer, ztoc, prefetch ocispec.Descriptor
}

// mount has the snapshotter resolve the layer, and returns how many spans it
// prefetches.
func (s *snapshotterLayer) mount(t *testing.T, estimated estimate.Layer) int {
	t.Helper()
	artifacts := memory.New()
	for _, desc := range []ocispec.Descriptor{s.ztoc, s.prefetch} {
		rc, err := s.repo.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		err = artifacts.Push(t.Context(), desc, rc)
		rc.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	rc, err := artifacts.Fetch(t.Context(), s.prefetch)
	if err != nil {
		t.Fatal(err)
	}
	named, err := upstream.UnmarshalPrefetchArtifact(rc)
	rc.Close()
	if err != nil {
		t.Fatal(err)
	}
	z, err := verify.FetchZtoc(t.Context(), s.repo, s.ztoc)
	if err != nil {
		t.Fatal(err)
	}
	opening := []string{"bytes=0-1", "bytes=0-9"} // to find a redirect, and the header of the gzip stream
	want := slices.Clone(opening)
	for _, r := range named.PrefetchSpans {
		for _, span := range z.Spans()[r.StartSpan : r.EndSpan+1] {
			want = append(want, byteRange(span.Start, span.End-span.Start))
		}
	}
	foreseen := slices.Clone(opening)
	for _, span := range estimated.Spans {
		if span.Prefetch {
			foreseen = append(foreseen, byteRange(span.Offset, span.Size))
		}
	}
	slices.Sort(want)
	slices.Sort(foreseen)
	if n := len(want) - len(opening); !slices.Equal(want, foreseen) || n == 0 || n >= len(z.Checkpoints) {
		t.Errorf("layer %s: the artifact names %d of %d spans, %q, the estimate %q", s.layer.Digest,
			n, len(z.Checkpoints),
			want, foreseen)
	}
	asked := &ranges{}
	resolver, err := layer.NewResolver(t.TempDir(), config.FSConfig{FSCacheType: "memory",
		PrefetchConfig: config.PrefetchConfig{Enable: true}}, nil, metadata.NewTempDbStore, artifacts,
		layer.OverlayOpaqueAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.Parse(s.registry.host() + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []docker.RegistryHost{{Client: &http.Client{Transport: asked}, Host: s.registry.host(), Scheme: "http",
		Path: "/v2"}}
	l, err := resolver.Resolve(t.Context(), hosts, ref, s.layer, s.ztoc, nil, false, &s.prefetch)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Done()
	if got := asked.take(); !slices.Equal(got, want) {
		t.Errorf("layer %s: the client asks for %q, want %q", s.layer.Digest, got, want)
	}
	return len(want) - len(opening)
}

// read has the snapshotter's reader read each of the files that the layer has,
// and compares what it fetches with the estimate for this file.
func (s *snapshotterLayer) read(t *testing.T, paths []string) {
	t.Helper()
	found, err := inspect.LoadVersions(t.Context(), s.repo, s.desc, tag, soci.DefaultTagSuffix)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, p := range paths {
		images, err := estimate.Run(t.Context(), s.repo, found, estimate.Options{Files: []string{p}})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(images[0].Layers, func(l estimate.Layer) bool { return l.Layer == s.layer.Digest })
		estimated := images[0].Layers[at]
		if estimated.Files == 0 {
			continue
		}
		files++
		var want []string
		for _, span := range estimated.Spans {
			if span.Read {
				want = append(want, byteRange(span.Offset, span.Size))
			}
		}
		slices.Sort(want)
		if got := s.readFile(t, p); !slices.Equal(got, want) {
			t.Errorf("%s: the client fetches %q, the estimate is %q", p, got, want)
		}
	}
	if files != 4 {
		t.Errorf("%d files of layer %s were read", files, s.layer.Digest)
	}
}

// readFile returns what is fetched of the layer to read one file, after it was
// mounted.
func (s *snapshotterLayer) readFile(t *testing.T, name string) []string {
	t.Helper()
	rc, err := s.repo.Fetch(t.Context(), s.ztoc)
	if err != nil {
		t.Fatal(err)
	}
	toc, err := ztoc.Unmarshal(rc)
	rc.Close()
	if err != nil {
		t.Fatal(err)
	}
	asked := &ranges{}
	section := io.NewSectionReader(recorded{ranged{t.Context(), s.repo, s.layer}, asked}, 0, s.layer.Size)
	meta, err := metadata.NewTempDbStore(section, toc.TOC)
	if err != nil {
		t.Fatal(err)
	}
	spans, err := spanmanager.New(toc, section, cache.NewMemoryCache(), 0, s.layer.Digest)
	if err != nil {
		t.Fatal(err)
	}
	r, err := reader.NewReader(meta, s.layer.Digest, spans, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	id, size := r.Metadata().RootID(), int64(0)
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
		var attr metadata.Attr
		if id, attr, err = r.Metadata().GetChild(id, part); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		size = attr.Size
	}
	f, err := r.OpenFile(id)
	if err != nil {
		t.Fatal(err)
	}
	asked.take() // the header of the gzip stream
	if n, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, size)); err != nil || n != size {
		t.Fatalf("%s: %d of %d bytes: %v", name, n, size, err)
	}
	return asked.take()
}

// recorded is a reader whose ranges are recorded.
type recorded struct {
	io.ReaderAt
	asked *ranges
}

func (r recorded) ReadAt(p []byte, off int64) (int, error) {
	r.asked.add(byteRange(off, int64(len(p))))
	return r.ReaderAt.ReadAt(p, off)
}
