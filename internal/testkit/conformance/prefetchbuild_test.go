//go:build conformance && !fuzzing

package conformance

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/awslabs/soci-snapshotter/config"
	"github.com/awslabs/soci-snapshotter/fs/layer"
	"github.com/awslabs/soci-snapshotter/metadata"
	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"

	"soci-index-builder/internal/testkit/memrepo"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// literalPaths are the names of an image's files that both builders find at the
// same place: no link, no whiteout, and by the name that the archive has.
func literalPaths(t *testing.T, r *memrepo.Repository, m *soci.ManifestResult) []string {
	t.Helper()
	names := make(map[string]bool)
	for _, l := range m.Layers {
		if !l.Indexed() {
			continue
		}
		z, err := soci.ParseZtoc(r.Blobs[l.Ztoc.Digest])
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range z.Entries {
			if strings.Contains(e.Name, "/.wh.") || strings.HasPrefix(e.Name, ".wh.") {
				t.Fatalf("%s: removed files are not for this test", e.Name)
			}
			switch e.Type {
			case "reg", "fifo", "char", "block":
				names[e.Name] = names[e.Name] || path.Clean("/" + e.Name)[1:] == e.Name
			default:
				names[e.Name] = false
			}
		}
	}
	maps.DeleteFunc(names, func(_ string, literal bool) bool { return !literal })
	return slices.Sorted(maps.Keys(names))
}

// For literal paths the SOCI indexes and the prefetch artifacts are upstream's,
// byte for byte.
func TestPrefetchArtifacts(t *testing.T) {
	// Upstream collects the zTOCs of an image's layers without a lock.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	random := rand.New(rand.NewPCG(3, 4))
	artifacts := 0
	for _, layers := range [][]string{
		{"writer/go-6", "plain/base"}, {"writer/go-9", "writer/go-1", "writer/go-9"}, {"tar/types", "member/7k"},
		{"writer/klauspost-1"}, {"plain/base"}, {"block/stored", "writer/go-0"},
		{"tar/many-files", "writer/go-9"}, {"unpacked/tar/many-files", "writer/go-1"},
	} {
		t.Run(strings.Join(layers, " "), func(t *testing.T) {
			r := newRepository(t)
			var descs []ocispec.Descriptor
			for _, name := range layers {
				if packed, ok := strings.CutPrefix(name, "unpacked/"); ok {
					descs = append(descs, r.add(t, tarLayer, archiveOf(t, testlayers.Named(packed))))
				} else if strings.HasPrefix(name, "plain/") {
					descs = append(descs, r.layer(t, name, tarLayer))
				} else {
					descs = append(descs, r.layer(t, name, gzipLayer))
				}
			}
			image := r.image(t, false, amd64, descs...)
			o := soci.Options{SpanSize: testSpanSize, MinLayerSize: testMinSize, BuildToolIdentifier: buildTool}
			index := func(paths ...string) (*memrepo.Repository, *soci.Result) {
				t.Helper()
				ours := memrepo.New()
				maps.Copy(ours.Blobs, r.Blobs)
				o.Prefetch = paths
				result, err := soci.IndexImage(t.Context(), ours, ours, image, o)
				if err != nil {
					t.Fatal(err)
				}
				return ours, result
			}
			ours, plain := index()
			all := literalPaths(t, ours, &plain.Manifests[0])
			if len(all) < 3 {
				t.Fatalf("only the files %q", all)
			}
			if len(all) > 100 { // upstream reads all checkpoints again for each path
				random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				all = all[:40]
			}
			sets := [][]string{all, {all[0]}, {"/" + all[len(all)-1], all[0], all[0]}, {"./" + all[1], "/not/there"}}
			for range 10 {
				set := slices.Clone(all)
				random.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
				sets = append(sets, set[:1+random.IntN(len(set))])
			}
			for _, set := range sets {
				builder, blobs := r.upstreamBuilder(t, buildTool, upstream.WithPrefetchPaths(set))
				theirs, err := builder.Build(t.Context(), images.Image{Name: "image", Target: image},
					upstream.WithPlatform(amd64))
				if err != nil {
					t.Fatal(err)
				}
				want, err := upstream.MarshalIndex(theirs.Index)
				if err != nil {
					t.Fatal(err)
				}
				ours, result := index(set...)
				if got := ours.Blobs[result.Manifests[0].Index.Digest]; !bytes.Equal(got, want) {
					t.Fatalf("%q: the SOCI index is\n%s\nupstream's\n%s", set, got, want)
				}
				for _, desc := range theirs.Index.Blobs {
					b, err := content.FetchAll(t.Context(), blobs, desc)
					if err != nil || !bytes.Equal(b, ours.Blobs[desc.Digest]) {
						t.Fatalf("%v: %s is not upstream's", err, desc.Digest)
					}
					if desc.MediaType == upstream.SociPrefetchMediaType {
						artifacts++
					}
				}
			}
		})
	}
	if artifacts < 50 {
		t.Errorf("only %d prefetch artifacts", artifacts)
	}
}

// The SOCI-enabled image of v2 is the same too, by its digest.
func TestPrefetchConverted(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as above
	r := newRepository(t)
	layers := []ocispec.Descriptor{r.layer(t, "tar/many-files", dockerLayer), r.layer(t, "writer/go-9", dockerLayer)}
	image := r.image(t, true, amd64, layers...)
	paths := append(fewFiles(t, testlayers.Named("tar/many-files")), fewFiles(t, testlayers.Named("writer/go-9"))...)
	builder, _ := r.upstreamBuilder(t, buildTool, upstream.WithPrefetchPaths(paths))
	want, err := builder.Convert(t.Context(), images.Image{Name: "image", Target: image},
		upstream.ConvertWithPlatforms(amd64))
	if err != nil {
		t.Fatal(err)
	}
	r.Tags = map[string]ocispec.Descriptor{"v1": image}
	result, err := soci.IndexImage(t.Context(), r, r, image, soci.Options{SpanSize: testSpanSize,
		MinLayerSize: testMinSize, BuildToolIdentifier: buildTool, IndexVersion: soci.V2, Tag: "v1", Prefetch: paths})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Enabled.Image; got.Digest != want.Digest || len(result.Manifests[0].Prefetch.Artifacts) != 2 {
		t.Errorf("%s, upstream's is %s; %+v, %q", got.Digest, want.Digest, result.Manifests[0].Prefetch,
			result.Warnings)
	}
}

// fewFiles names some files in the midst of a layer.
func fewFiles(t *testing.T, blob []byte) (names []string) {
	t.Helper()
	b, err := buildOurs(blob, testSpanSize, buildTool)
	if err != nil {
		t.Fatal(err)
	}
	z, err := soci.ParseZtoc(b)
	if err != nil {
		t.Fatal(err)
	}
	files := slices.DeleteFunc(z.Entries, func(e soci.Entry) bool { return e.Type != "reg" })
	for _, part := range []int{3, 5, 9} {
		names = append(names, files[len(files)*part/10].Name)
	}
	return names
}

// The snapshotter's own code fetches the spans that a prefetch artifact names,
// and no others, when it mounts a layer.
func TestClientPrefetches(t *testing.T) {
	const team = "team/app"
	s := registrytest.Start(t)
	blob := testlayers.Named("tar/many-files")
	pushed := s.PushImage(t, team, "1", registrytest.Image{Layers: []registrytest.Layer{
		{Content: blob, MediaType: gzipLayer}}})
	repo, err := ecrclient.New(s.Host() + "/" + team)
	if err != nil {
		t.Fatal(err)
	}
	o := soci.Options{SpanSize: testSpanSize, MinLayerSize: testMinSize, Prefetch: fewFiles(t, blob)}
	result, err := soci.IndexImage(t.Context(), repo, repo, pushed.Manifest, o)
	if err != nil {
		t.Fatal(err)
	}
	var index upstream.Index
	if err := upstream.UnmarshalIndex(s.Manifest(t, team, result.Manifests[0].Index.Digest.String()),
		&index); err != nil {
		t.Fatal(err)
	}
	if len(index.Blobs) != 2 {
		t.Fatalf("%+v", index.Blobs)
	}
	artifacts := memory.New()
	var content [2][]byte
	for i, d := range index.Blobs {
		content[i] = s.Blob(t, team, d.Digest)
		if err := artifacts.Push(t.Context(), d, bytes.NewReader(content[i])); err != nil {
			t.Fatal(err)
		}
	}
	z, err := soci.ParseZtoc(content[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := soci.ParsePrefetch(content[1])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"bytes=0-1", "bytes=0-9"} // to find a redirect, and the header of the gzip stream
	for _, r := range p.Ranges {
		for _, span := range z.Spans()[r.First : r.Last+1] {
			want = append(want, fmt.Sprintf("bytes=%d-%d", span.Start, span.End-1))
		}
	}
	if len(want) < 5 || len(want) > len(z.Checkpoints) {
		t.Fatalf("%d of %d spans are no good test", len(want)-2, len(z.Checkpoints))
	}
	resolver, err := layer.NewResolver(scratch(t), config.FSConfig{FSCacheType: "memory",
		PrefetchConfig: config.PrefetchConfig{Enable: true}}, nil, metadata.NewTempDbStore, artifacts,
		layer.OverlayOpaqueAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.Parse(s.Host() + "/" + team + ":1")
	if err != nil {
		t.Fatal(err)
	}
	hosts := []docker.RegistryHost{{Client: registrytest.Client, Host: s.Host(), Scheme: "http", Path: "/v2"}}
	before := len(s.Requests())
	l, err := resolver.Resolve(t.Context(), hosts, ref, pushed.Layers[0], index.Blobs[0], nil, false, &index.Blobs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Done()
	var got []string
	for _, r := range s.Requests()[before:] {
		got = append(got, r.Range)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the client asks for %q, want %q", got, want)
	}
}
