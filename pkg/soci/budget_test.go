package soci_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// buffering is a source whose readers hold much.
type buffering struct {
	*store
	bytes int64
}

func (b buffering) FetchMemory(ocispec.Descriptor) int64 { return b.bytes }

// Layers that do not fit into the budget together are built one after the
// other, with the same result.
func TestLayersShareTheBudget(t *testing.T) {
	s := newStore()
	var layers []ocispec.Descriptor
	for i := range 6 {
		layers = append(layers, s.add(gz,
			testlayers.GoGzip(archive(t, fmt.Sprint("file", i), testlayers.Mixed(uint64(i), 3<<20)), 6, 0)))
	}
	image := s.image("amd64", layers...)
	want, err := soci.IndexImage(context.Background(), s, nil, image,
		soci.Options{MinLayerSize: 1, SpanSize: 64 << 10, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	// A layer takes about 1 MiB of buffers, and 40 checkpoints of twice 32 KiB.
	for _, tt := range []struct {
		name        string
		memory      int64
		buffered    int64
		concurrency int
		want        error
	}{
		{"room for all", 1 << 30, 0, 6, nil},
		{"room for two", 16 << 20, 0, 6, nil},
		{"room for one and the zTOCs", 13 << 20, 0, 6, nil},
		{"room for one with what the source holds", 29 << 20, 16 << 20, 3, nil},
		{"no room for one", 3 << 20, 0, 6, soci.ErrLimit},
		{"no room for what the source holds", 15 << 20, 16 << 20, 2, soci.ErrLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := soci.IndexImage(context.Background(), buffering{s, tt.buffered}, nil, image, soci.Options{
				MinLayerSize: 1, SpanSize: 64 << 10, DryRun: true, Concurrency: tt.concurrency,
				Limits: soci.Limits{MaxMemory: tt.memory},
			})
			if !errors.Is(err, tt.want) {
				t.Fatal(err)
			}
			if tt.want == nil && got.Manifests[0].Index.Digest != want.Manifests[0].Index.Digest {
				t.Error("another SOCI index")
			}
			if s.open != 0 {
				t.Errorf("%d readers left open", s.open)
			}
		})
	}
}
