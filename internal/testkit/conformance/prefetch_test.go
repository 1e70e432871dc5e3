//go:build conformance && !fuzzing

package conformance

import (
	"testing"

	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// A SOCI index that upstream makes with prefetch artifacts is read as upstream
// means it: zTOCs and prefetch artifacts are told apart, verify finds it sound,
// and its zTOCs are reused.
func TestPrefetch(t *testing.T) {
	const team = "team/app"
	gz, plain := testlayers.Named("writer/go-6"), testlayers.Named("plain/base")
	r := newRepository(t)
	s := registrytest.Start(t)
	pushed := s.PushImage(t, team, "1", registrytest.Image{Layers: []registrytest.Layer{
		{Content: gz, MediaType: gzipLayer}, {Content: plain, MediaType: tarLayer},
	}})
	for _, d := range append([]ocispec.Descriptor{pushed.Config}, pushed.Layers...) {
		r.add(t, d.MediaType, s.Blob(t, team, d.Digest))
	}
	image := r.add(t, pushed.Manifest.MediaType, pushed.Bytes)
	builder, blobs := r.upstreamBuilder(t, buildTool, upstream.WithPrefetchPaths(largeFiles(t, gz, plain)))
	index, err := builder.Build(t.Context(), images.Image{Name: "image", Target: image}, upstream.WithPlatform(amd64))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := upstream.MarshalIndex(index.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, desc := range append(index.Index.Blobs, index.Index.Config) {
		b, err := content.FetchAll(t.Context(), blobs, desc)
		if err != nil {
			t.Fatal(err)
		}
		s.PushBlob(t, team, b)
	}
	s.PushManifest(t, team, "", ocispec.MediaTypeImageManifest, raw)
	compareRead(t, s.Host()+"/"+team, pushed)
}

// largeFiles names the largest file of each layer.
func largeFiles(t *testing.T, layers ...[]byte) (names []string) {
	t.Helper()
	for _, blob := range layers {
		b, err := buildOurs(blob, testSpanSize, buildTool)
		if err != nil {
			t.Fatal(err)
		}
		z, err := soci.ParseZtoc(b)
		if err != nil {
			t.Fatal(err)
		}
		large := z.Entries[0]
		for _, e := range z.Entries {
			if e.Type == "reg" && e.Size > large.Size {
				large = e
			}
		}
		names = append(names, "/"+large.Name)
	}
	return names
}

// compareRead reads upstream's SOCI index of an image of two layers.
func compareRead(t *testing.T, name string, image registrytest.Pushed) {
	t.Helper()
	repo, err := ecrclient.New(name)
	if err != nil {
		t.Fatal(err)
	}
	root, err := inspect.Load(t.Context(), repo, image.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := inspect.CheckBlobs(t.Context(), repo, root); err != nil {
		t.Fatal(err)
	}
	listed := root.SociIndexes[0]
	if a, b, c := len(listed.Ztocs), len(listed.Prefetch), len(listed.Other); a != 2 || b == 0 || c != 0 {
		t.Fatalf("%d zTOCs, %d prefetch artifacts, %d others", a, b, c)
	}
	report, err := verify.Image(t.Context(), repo, image.Manifest, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Indexes[0].Differences {
		t.Error(d)
	}
	if report.Differences() != 0 || len(report.Layers()) != 2 ||
		len(report.Indexes[0].Prefetch) != len(listed.Prefetch) {
		t.Errorf("%d differences, %d layers, prefetch artifacts %+v", report.Differences(), len(report.Layers()),
			report.Indexes[0].Prefetch)
	}
	result, err := soci.IndexImage(t.Context(), repo, repo, image.Manifest, soci.Options{
		SpanSize: testSpanSize, MinLayerSize: testMinSize, BuildToolIdentifier: buildTool, DryRun: true,
		Catalog: repo.Catalog(ecrclient.CatalogOptions{}),
	})
	if err != nil || result.SearchError != nil || result.BytesRead != 0 {
		t.Errorf("%v: %+v", err, result)
	}
}
