package generator

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/report"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// A second push that changes one layer reads no byte of the others, and its
// SOCI indexes are those of a build that reads all.
func TestHandleReuse(t *testing.T) {
	big := [][]byte{layer(t, 1, 4*minSize), layer(t, 2, 3*minSize)}
	first := registrytest.Image{Layers: []registrytest.Layer{{Content: big[0]}, {Content: layer(t, 3, minSize)},
		{Content: big[1]}}}
	changed := layer(t, 4, minSize)
	next := registrytest.Image{Layers: []registrytest.Layer{{Content: big[0]}, {Content: changed}, {Content: big[1]}}}
	index := func(t *testing.T, s *registrytest.Server, h *Handler, image registrytest.Image,
		tag string) *report.Image {
		t.Helper()
		pushed := s.PushImage(t, repository, tag, image)
		r, err := h.Handle(t.Context(), push(pushed.Manifest.Digest, tag))
		if err != nil || r.Outcome != soci.OutcomeIndexed {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	clean := registrytest.Start(t)
	h, _ := setup(t, clean)
	h.Options.IndexVersion = soci.Both
	want := index(t, clean, h, next, "v2").Manifests[0]

	for _, row := range []struct {
		name string
		tag  string // of the second push
	}{
		{"the next tag", "v2"},
		{"the same tag", "v1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			h, out := setup(t, s)
			h.Options.IndexVersion = soci.Both
			for _, l := range index(t, s, h, first, "v1").Manifests[0].Layers {
				if l.Reused {
					t.Errorf("reused in an empty repository: %+v", l)
				}
			}
			s.Clear()
			out.Reset()
			r := index(t, s, h, next, row.tag)
			for _, b := range big {
				if n := s.Count(http.MethodGet, "/blobs/"+digest.FromBytes(b).String()); n != 0 {
					t.Errorf("an unchanged layer was read in %d requests", n)
				}
			}
			if n := s.Count(http.MethodGet, "/blobs/"+digest.FromBytes(changed).String()); n == 0 {
				t.Error("the changed layer was not read")
			}
			if r.BytesRead != int64(len(changed)) {
				t.Errorf("%d bytes read, want %d", r.BytesRead, len(changed))
			}
			got := r.Manifests[0]
			if *got.Index != *want.Index || *got.IndexV2 != *want.IndexV2 {
				t.Errorf("SOCI indexes %v and %v, want %v and %v", got.Index, got.IndexV2, want.Index, want.IndexV2)
			}
			for i, l := range got.Layers {
				if l.Reused != (i != 1) || *l.Ztoc != *want.Layers[i].Ztoc {
					t.Errorf("layer %d: %+v", i, l)
				}
			}
			if lines := logged(t, out, "manifest finished"); len(lines) != 1 || lines[0]["layersReused"] != 2.0 ||
				lines[0]["layersIndexed"] != 3.0 {
				t.Errorf("log: %s", out)
			}
			if lines := logged(t, out, "reusable zTOCs not all found"); len(lines) != 0 {
				t.Errorf("log: %s", out)
			}
		})
	}
	t.Run("the search fails", func(t *testing.T) {
		s := registrytest.Start(t)
		h, out := setup(t, s)
		h.Options.IndexVersion = soci.Both
		index(t, s, h, first, "v1")
		out.Reset()
		s.Add(registrytest.Rule{Path: "/tags/list", Fault: registrytest.Status(403, "DENIED", "")})
		r := index(t, s, h, next, "v2")
		if got := r.Manifests[0]; *got.Index != *want.Index || got.Layers[0].Reused {
			t.Errorf("%+v", got)
		}
		if lines := logged(t, out, "reusable zTOCs not all found"); len(lines) != 1 || lines[0]["level"] != "WARN" {
			t.Errorf("log: %s", out)
		}
	})
}
