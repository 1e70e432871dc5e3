package report

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

func desc(name string, size int64) ocispec.Descriptor {
	const mediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	return ocispec.Descriptor{Digest: digest.FromString(name), Size: size, MediaType: mediaType}
}

// Lambda hands on no larger result of an asynchronous invocation.
func TestBound(t *testing.T) {
	const manifests, layers = 256, 1024 // the most that the engine takes of manifests
	large := desc("x", 1<<40)
	detail := strings.Repeat("name", 1000)
	r := &soci.Result{Image: large, Version: soci.Both, SearchError: errors.New(strings.Repeat("e", 1<<20)),
		Warnings: slices.Repeat([]string{detail}, 10_000),
		Enabled:  soci.EnabledResult{Outcome: soci.OutcomeTagged, Tag: strings.Repeat("t", 128), Image: large}}
	for range manifests {
		m := soci.ManifestResult{
			Manifest: large, Platform: "linux/arm64/v8", Outcome: soci.OutcomeIndexed, AlreadyThere: true,
			Index: large, IndexV2: large, Enabled: large,
			Prefetch: &soci.PrefetchResult{Files: 100_000, Artifacts: []soci.PrefetchArtifact{{
				Layer: large.Digest, Blob: large, Spans: 16_384}}},
		}
		for j := range layers {
			l := soci.LayerResult{
				Layer: large, Ztoc: large, Compression: soci.Gzip, UncompressedSize: 1 << 50,
				Spans: 1 << 20, Entries: 1 << 24, Seconds: 123.456789012345, Reused: true,
			}
			if j%2 == 0 {
				l = soci.LayerResult{Layer: large, Reason: soci.SkipEntryType, Detail: detail}
				l.Layer.MediaType = detail
			}
			m.Layers = append(m.Layers, l)
		}
		r.Manifests = append(r.Manifests, m)
	}
	for _, n := range []int{1, 2, manifests} {
		r := *r
		r.Manifests = r.Manifests[:n]
		image := New(&r)
		image.Repository = strings.Repeat("a", 256)
		image.Bound()
		b, err := json.Marshal(image)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 256<<10 {
			t.Errorf("the report of %d manifests has %d bytes", n, len(b))
		}
		if want := n*layers - (MaxListed - n); len(image.Manifests) != n || image.LayersOmitted != want {
			t.Errorf("%d manifests and %d layers omitted, want %d and %d", len(image.Manifests), image.LayersOmitted, n,
				want)
		}
	}
	whole := New(&soci.Result{Manifests: []soci.ManifestResult{{Layers: []soci.LayerResult{{Layer: large}}}}})
	if whole.Bound(); whole.LayersOmitted != 0 || len(whole.Manifests[0].Layers) != 1 {
		t.Errorf("of a small image: %+v", whole)
	}
}

// Every fact of the engine's result is in the report, under its documented name.
func TestNew(t *testing.T) {
	image := New(&soci.Result{
		Image: desc("image", 1), Version: soci.Both, BytesRead: 2, BytesPushed: 3, Seconds: 4.5,
		SearchError: errors.New("no list"), Warnings: []string{"linux/arm64: no file"},
		Enabled: soci.EnabledResult{Outcome: soci.OutcomeTagged, Tag: "v1-soci", Image: desc("enabled", 5)},
		Manifests: []soci.ManifestResult{{
			Manifest: desc("m", 6), Platform: "linux/arm64", Outcome: soci.OutcomeIndexed,
			Index: desc("v1", 7), IndexV2: desc("v2", 8), Enabled: desc("em", 9), AlreadyThere: true,
			Prefetch: &soci.PrefetchResult{Files: 17, Artifacts: []soci.PrefetchArtifact{
				{Layer: desc("a", 10).Digest, Blob: desc("pa", 18), Ranges: 2, Spans: 19}}},
			Layers: []soci.LayerResult{
				{Layer: desc("a", 10), Ztoc: desc("za", 11), Compression: soci.Gzip, UncompressedSize: 12,
					Spans: 13, Entries: 14, Seconds: 15.5, Reused: true},
				{Layer: desc("b", 16), Reason: soci.SkipZstd, Detail: "frame"},
			},
		}},
	})
	got, err := json.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	content := func(name string, size float64) map[string]any {
		return map[string]any{"digest": digest.FromString(name).String(), "size": size}
	}
	with := func(m map[string]any, more map[string]any) map[string]any {
		maps.Copy(m, more)
		return m
	}
	mediaType := desc("", 0).MediaType
	want := map[string]any{
		"digest": digest.FromString("image").String(), "outcome": "indexed", "version": "Both",
		"bytesRead": 2.0, "bytesPushed": 3.0, "seconds": 4.5, "searchError": "no list",
		"warnings": []any{"linux/arm64: no file"},
		"sociTag":  "v1-soci", "sociDigest": content("enabled", 5)["digest"],
		"enabled": map[string]any{"outcome": "tagged"},
		"manifests": []any{map[string]any{
			"digest": digest.FromString("m").String(), "platform": "linux/arm64", "outcome": "indexed",
			"index": content("v1", 7), "indexV2": content("v2", 8), "enabledManifest": content("em", 9),
			"alreadyThere": true,
			"prefetch":     map[string]any{"fileCount": 17.0, "layerCount": 1.0, "spanCount": 19.0},
			"layers": []any{
				with(content("a", 10), map[string]any{"mediaType": mediaType, "compression": "gzip",
					"uncompressedSize": 12.0, "spanCount": 13.0, "entryCount": 14.0, "seconds": 15.5, "reused": true,
					"ztoc": content("za", 11), "prefetchArtifact": content("pa", 18)}),
				with(content("b", 16), map[string]any{"mediaType": mediaType, "skipped": "zstd", "detail": "frame"}),
			},
		}},
	}
	var object map[string]any
	if err := json.Unmarshal(got, &object); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(object, want) {
		t.Errorf("the report is\n%s, want\n%v", got, want)
	}
}

func TestCountLayers(t *testing.T) {
	built := soci.LayerResult{Layer: desc("built", 100), Ztoc: desc("z", 1), Seconds: 1}
	reused := soci.LayerResult{Layer: desc("reused", 20), Ztoc: desc("z", 1), Reused: true}
	known := soci.LayerResult{Layer: desc("known", 3), Reason: soci.SkipEntryType, Reused: true}
	zstd := soci.LayerResult{Layer: desc("zstd", 4), Reason: soci.SkipZstd}
	got := CountLayers(
		soci.ManifestResult{Layers: []soci.LayerResult{built, zstd, built, known}},
		soci.ManifestResult{Layers: []soci.LayerResult{reused, built, zstd}},
	)
	skipped := map[soci.SkipReason]int{soci.SkipEntryType: 1, soci.SkipZstd: 1}
	want := Layers{Built: 1, Reused: 1, Skipped: skipped, Bytes: 120, Seconds: 1}
	if !reflect.DeepEqual(got, want) || got.Indexed() != 2 || got.WithoutZtoc() != 2 {
		t.Errorf("CountLayers = %+v, %d indexed, %d without, want %+v", got, got.Indexed(), got.WithoutZtoc(), want)
	}
}
