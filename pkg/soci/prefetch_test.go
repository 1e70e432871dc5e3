package soci_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

func TestParsePrefetch(t *testing.T) {
	// As upstream's documentation has it, and with a field of a later release.
	const sound = `{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0},{"start_span":3,"end_span":5,"priority":2,"later":true}]}`
	p, err := soci.ParsePrefetch([]byte(sound))
	if err != nil || len(p.Ranges) != 2 || p.Ranges[1] != (soci.PrefetchRange{First: 3, Last: 5, Priority: 2}) {
		t.Fatalf("%+v %v", p, err)
	}
	if err := p.Check(6); err != nil {
		t.Error(err)
	}
	if err := p.Check(5); !errors.Is(err, soci.ErrCorrupt) ||
		!strings.Contains(err.Error(), "range 1 ends at span 5, the last span of the layer is 4") {
		t.Error(err)
	}
	ranges := func(s string) string { return fmt.Sprintf(`{"version":"1.0","prefetch_spans":%s}`, s) }
	for _, row := range []struct {
		name, content string
		want          error
	}{
		{"empty", "", soci.ErrCorrupt},
		{"no JSON", "\x04zTOC", soci.ErrCorrupt},
		{"cut", sound[:len(sound)-3], soci.ErrCorrupt},
		{"more behind it", sound + "{}", soci.ErrCorrupt},
		{"a list", "[]", soci.ErrCorrupt},
		{"no version", `{"prefetch_spans":[{"start_span":0,"end_span":0}]}`, soci.ErrUnsupported},
		{"version 2", `{"version":"2.0","prefetch_spans":[{"start_span":0,"end_span":0}]}`, soci.ErrUnsupported},
		{"no ranges", `{"version":"1.0"}`, soci.ErrCorrupt},
		{"empty ranges", ranges("[]"), soci.ErrCorrupt},
		{"ends before it begins", ranges(`[{"start_span":2,"end_span":1}]`), soci.ErrCorrupt},
		{"before span 0", ranges(`[{"start_span":-1,"end_span":1}]`), soci.ErrCorrupt},
		{"half a span", ranges(`[{"start_span":0.5,"end_span":1}]`), soci.ErrCorrupt},
		{"beyond 64 bits", ranges(`[{"start_span":0,"end_span":99999999999999999999}]`), soci.ErrCorrupt},
		{"a word", ranges(`[{"start_span":"0","end_span":1}]`), soci.ErrCorrupt},
		{"too large", sound + strings.Repeat(" ", soci.MaxPrefetchSize), soci.ErrLimit},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := soci.ParsePrefetch([]byte(row.content)); !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
		})
	}
}

// Clients take for a zTOC only what has its media type.
func TestContentOf(t *testing.T) {
	blob := func(mediaType string, size int64) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Size: size}
	}
	c := soci.ContentOf(&ocispec.Manifest{Layers: []ocispec.Descriptor{
		blob(soci.PrefetchMediaType, 1), blob(soci.ZtocMediaType, 2), blob("", 3), blob(soci.ZtocMediaType, 4),
		blob(gz, 5),
	}})
	sizes := func(all []ocispec.Descriptor) (out []int64) {
		for _, d := range all {
			out = append(out, d.Size)
		}
		return out
	}
	if got, want := fmt.Sprint(sizes(c.Ztocs), sizes(c.Prefetch), sizes(c.Other)), "[2 4] [1] [3 5]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A prefetch artifact names the layer, as its zTOC does, and is not taken for
// one, wherever it stands.
func TestReuseBesidePrefetch(t *testing.T) {
	for _, first := range []bool{false, true} {
		s := newStore()
		layer := s.add(gz, good(t, 0))
		image := s.image("amd64", layer)
		indexed, err := soci.IndexImage(t.Context(), s, s, image, everyLayer)
		if err != nil {
			t.Fatal(err)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(s.content[indexed.Manifests[0].Index.Digest], &m); err != nil {
			t.Fatal(err)
		}
		prefetch := s.add(soci.PrefetchMediaType,
			[]byte(`{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0}]}`))
		prefetch.Annotations = m.Layers[0].Annotations
		if first {
			m.Layers = append([]ocispec.Descriptor{prefetch}, m.Layers...)
		} else {
			m.Layers = append(m.Layers, prefetch)
		}
		clear(s.fetched)
		o := everyLayer
		o.Catalog = &catalog{indexes: []ocispec.Descriptor{s.addJSON(ocispec.MediaTypeImageManifest, m)}}
		again, err := soci.IndexImage(t.Context(), s, s, image, o)
		if err != nil || again.SearchError != nil {
			t.Fatal(err, again.SearchError)
		}
		if !again.Manifests[0].Layers[0].Reused || s.fetched[layer.Digest] != 0 || s.fetched[prefetch.Digest] != 0 {
			t.Errorf("%+v; the prefetch artifact was read %d times", again.Manifests[0].Layers[0],
				s.fetched[prefetch.Digest])
		}
		if again.Manifests[0].Index.Digest != indexed.Manifests[0].Index.Digest {
			t.Error("another SOCI index")
		}
	}
}
