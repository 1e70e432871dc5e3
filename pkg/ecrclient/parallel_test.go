package ecrclient_test

import (
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
)

func TestFetchMemory(t *testing.T) {
	const mib = 1 << 20
	blob, manifest := "application/octet-stream", ocispec.MediaTypeImageManifest
	for _, row := range []struct {
		name      string
		parallel  ecrclient.Parallel
		mediaType string
		size      int64
		want      int64
	}{
		{"default, small", ecrclient.Parallel{}, blob, 8*mib - 1, 0},
		{"default, two pieces", ecrclient.Parallel{}, blob, 8 * mib, 8 * mib},
		{"default, three pieces", ecrclient.Parallel{}, blob, 8*mib + 1, 12 * mib},
		{"default, large", ecrclient.Parallel{}, blob, 50 << 30, 32 * mib},
		{"default, as large as a number can be", ecrclient.Parallel{}, blob, 1<<63 - 1, 32 * mib},
		{"default, no such size", ecrclient.Parallel{}, blob, -1, 0},
		{"other pieces", ecrclient.Parallel{PieceSize: mib, Window: 3}, blob, 50 << 30, 3 * mib},
		{"switched off", ecrclient.Parallel{Window: 1}, blob, 50 << 30, 0},
		{"manifest", ecrclient.Parallel{}, manifest, 5000, 5000},
		{"manifest over the limit", ecrclient.Parallel{}, manifest, 50 << 30, ecrclient.MaxManifestSize},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := ecrclient.New("registry.example/app", ecrclient.WithParallel(row.parallel))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.FetchMemory(ocispec.Descriptor{MediaType: row.mediaType, Size: row.size}); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestWithParallelRefuses(t *testing.T) {
	for _, row := range []struct {
		parallel ecrclient.Parallel
		names    []string
	}{
		{ecrclient.Parallel{PieceSize: -1}, []string{"PieceSize", "-1", "1073741824"}},
		{ecrclient.Parallel{PieceSize: 1<<30 + 1}, []string{"PieceSize", "1073741825", "1073741824"}},
		{ecrclient.Parallel{Window: -2}, []string{"Window", "-2", "1024"}},
		{ecrclient.Parallel{Window: 1025}, []string{"Window", "1025", "1024"}},
		{ecrclient.Parallel{MaxConnections: -3}, []string{"MaxConnections", "-3", "32"}},
		{ecrclient.Parallel{MaxConnections: 33}, []string{"MaxConnections", "33", "32"}},
		{ecrclient.Parallel{FastStream: -4}, []string{"FastStream", "-4"}},
		{ecrclient.Parallel{Window: 1, PieceSize: 5}, []string{"Window", "contradicts", "PieceSize 5"}},
		{ecrclient.Parallel{Window: 1, MaxConnections: 6}, []string{"Window", "contradicts", "MaxConnections 6"}},
		{ecrclient.Parallel{Window: 1, FastStream: 7}, []string{"Window", "contradicts", "FastStream 7"}},
	} {
		_, err := ecrclient.New("registry.example/app", ecrclient.WithParallel(row.parallel))
		if err == nil {
			t.Errorf("%+v: no error", row.parallel)
			continue
		}
		for _, name := range row.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%+v: %q does not name %q", row.parallel, err, name)
			}
		}
	}
}
