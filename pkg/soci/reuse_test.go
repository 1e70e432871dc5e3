package soci_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/soci"
)

// catalog returns what it holds, and counts what was asked for.
type catalog struct {
	indexes []ocispec.Descriptor
	err     error
	images  []ocispec.Descriptor
	given   int
}

func (c *catalog) SOCIIndexes(_ context.Context, images []ocispec.Descriptor,
	found func(ocispec.Descriptor) bool) error {
	c.images = images
	for _, d := range c.indexes {
		c.given++
		if !found(d) {
			break
		}
	}
	return c.err
}

// A second push that changes one layer reads no byte of the others.
func TestReuse(t *testing.T) {
	ctx := context.Background()
	s := newStore()
	a, b, c := s.add(gz, good(t, 0)), s.add(gz, good(t, 1)), s.add(gz, good(t, 2))
	first, err := soci.IndexImage(ctx, s, s, s.image("amd64", a, b), everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	clear(s.fetched)
	s.pushed = nil
	known := &catalog{indexes: []ocispec.Descriptor{first.Manifests[0].Index, first.Manifests[0].Index}}
	o := everyLayer
	o.Catalog = known
	image := s.image("amd64", a, c, b)
	second, err := soci.IndexImage(ctx, s, s, image, o)
	if err != nil || second.SearchError != nil {
		t.Fatal(err, second.SearchError)
	}
	if len(known.images) != 1 || known.images[0].Digest != image.Digest {
		t.Errorf("looked for %v", known.images)
	}
	if s.fetched[a.Digest]+s.fetched[b.Digest] != 0 || second.BytesRead != c.Size {
		t.Errorf("read %d bytes, of the unchanged layers %d and %d times", second.BytesRead, s.fetched[a.Digest],
			s.fetched[b.Digest])
	}
	var reused []bool
	for _, l := range second.Manifests[0].Layers {
		reused = append(reused, l.Reused)
	}
	if !slices.Equal(reused, []bool{true, false, true}) {
		t.Errorf("reused: %v", reused)
	}
	if len(s.left()) != 2 { // the new layer's zTOC and the SOCI index
		t.Errorf("pushed %+v", s.pushed)
	}

	// It is the SOCI index that a build of all layers returns.
	o.Catalog = nil
	again, err := soci.IndexImage(ctx, s, s, image, o)
	if err != nil || again.Manifests[0].Index.Digest != second.Manifests[0].Index.Digest {
		t.Errorf("another SOCI index: %v", err)
	}
	for i, l := range again.Manifests[0].Layers {
		m := second.Manifests[0].Layers[i]
		l.Seconds, m.Seconds, l.Reused, m.Reused = 0, 0, false, false
		expect.Equal(t, expect.Facts{
			{"Ztoc.Digest", l.Ztoc.Digest, m.Ztoc.Digest},
			{"Spans", l.Spans, m.Spans},
			{"Entries", l.Entries, m.Entries},
			{"UncompressedSize", l.UncompressedSize, m.UncompressedSize},
			{"Compression", l.Compression, m.Compression},
		}, "layer %d: %+v, not %+v", i, m, l)
	}

	// Layers that were indexed already are found, and nothing is read.
	clear(s.fetched)
	o.Catalog = &catalog{indexes: []ocispec.Descriptor{again.Manifests[0].Index}}
	s.pushed = nil
	third, err := soci.IndexImage(ctx, s, s, image, o)
	if err != nil || third.BytesRead != 0 || len(s.pushed) != 0 {
		t.Fatalf("%+v %v", third, err)
	}
	if !third.Manifests[0].AlreadyThere {
		t.Errorf("%+v %v", third, err)
	}
}

// A zTOC that does not fit is not used, and costs no more than building the layer.
func TestReuseOnlyWhatFits(t *testing.T) {
	ctx := context.Background()
	broken := errors.New("the line broke")
	little := everyLayer
	little.Limits.MaxMemory = 2 << 20
	for _, tt := range []struct {
		name   string
		change func(s *store, layer ocispec.Descriptor, index *ocispec.Manifest) // of the earlier SOCI index
		o      soci.Options
		err    error // that the search reports
	}{
		{"another tool's", func(_ *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			m.Annotations[soci.AnnotationBuildToolIdentifier] = "another tool"
		}, everyLayer, nil},
		{"another span size", func(*store, ocispec.Descriptor, *ocispec.Manifest) {},
			soci.Options{MinLayerSize: 1, SpanSize: 1 << 20}, nil},
		{"another span size, and a lying annotation", func(_ *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0].Annotations[soci.AnnotationSpanSize] = "1048576"
		}, soci.Options{MinLayerSize: 1, SpanSize: 1 << 20}, soci.ErrCorrupt},
		{"the zTOC is gone", func(s *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			delete(s.content, m.Layers[0].Digest)
		}, everyLayer, errNotThere},
		{"the zTOC cannot be had", func(s *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			s.fetchErr[m.Layers[0].Digest] = broken
		}, everyLayer, broken},
		{"the zTOC is of another layer", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			other, err := soci.IndexImage(ctx, s, s, s.image("arm64", s.add(gz, good(t, 3))), everyLayer)
			if err != nil {
				t.Fatal(err)
			}
			annotations := m.Layers[0].Annotations
			m.Layers[0] = other.Manifests[0].Layers[0].Ztoc
			m.Layers[0].Annotations = annotations
		}, everyLayer, soci.ErrCorrupt},
		{"the zTOC is no zTOC", func(s *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			annotations := m.Layers[0].Annotations
			m.Layers[0] = s.add(soci.ZtocMediaType, make([]byte, 5000))
			m.Layers[0].Annotations = annotations
		}, everyLayer, soci.ErrCorrupt},
		{"the zTOC is other than its digest", func(s *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			s.content[m.Layers[0].Digest] = make([]byte, m.Layers[0].Size)
		}, everyLayer, soci.ErrDigestMismatch},
		{"the zTOC is of another version", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) { z.Version = "0.8" })
		}, everyLayer, soci.ErrCorrupt},
		{"the zTOC is another tool's", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) { z.BuildToolIdentifier = "another tool" })
		}, everyLayer, soci.ErrCorrupt},
		{"the zTOC has no entries", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) { z.Entries = nil })
		}, everyLayer, nil},
		{"the zTOC is one that clients misread", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0],
				func(z *soci.Ztoc) { z.Entries[0].Type, z.Entries[0].Name = "hardlink", "hard" })
		}, everyLayer, nil},
		{"the zTOC has lost a time", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) { z.Entries[0].ModTime = time.Time{} })
		}, everyLayer, nil},
		{"the zTOC is larger than the layer", func(s *store, layer ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) { addEmptyFiles(z, 20_000) })
			if m.Layers[0].Size <= max(layer.Size, soci.SmallZtoc) {
				t.Fatalf("the zTOC has only %d bytes", m.Layers[0].Size)
			}
		}, everyLayer, nil},
		{"the zTOC needs more memory than there is", func(s *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) { addEmptyFiles(z, 7000) })
			if size := m.Layers[0].Size; size > soci.SmallZtoc || 3*size <= little.Limits.MaxMemory {
				t.Fatalf("the zTOC has %d bytes", size)
			}
		}, little, soci.ErrLimit},
		{"the zTOC needs more than its size", func(s *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			m.Layers[0] = s.addZtoc(t, m.Layers[0], func(z *soci.Ztoc) {
				addEmptyFiles(z, 1000)
				for i := range z.Entries {
					z.Entries[i].PAX = make(map[string]string)
					for r := range 9 {
						z.Entries[i].PAX[fmt.Sprint(r)] = ""
					}
				}
			})
			if size := m.Layers[0].Size; 4*size > little.Limits.MaxMemory {
				t.Fatalf("the zTOC has %d bytes", size)
			}
		}, little, soci.ErrLimit},
		{"the SOCI index is none", func(_ *store, _ ocispec.Descriptor, m *ocispec.Manifest) {
			m.Config.MediaType = ocispec.MediaTypeImageConfig
		}, everyLayer, soci.ErrUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore()
			layer := s.add(gz, good(t, 0))
			image := s.image("amd64", layer)
			first, err := soci.IndexImage(ctx, s, s, image, everyLayer)
			if err != nil {
				t.Fatal(err)
			}
			var m ocispec.Manifest
			if err := json.Unmarshal(s.content[first.Manifests[0].Index.Digest], &m); err != nil {
				t.Fatal(err)
			}
			tt.change(s, layer, &m)
			clear(s.fetched)
			tt.o.Catalog = &catalog{indexes: []ocispec.Descriptor{s.addJSON(ocispec.MediaTypeImageManifest, m)}}
			got, err := soci.IndexImage(ctx, s, s, image, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(got.SearchError, tt.err) {
				t.Errorf("the search reports %v", got.SearchError)
			}
			if l := got.Manifests[0].Layers[0]; !l.Indexed() || l.Reused || s.fetched[layer.Digest] != 1 {
				t.Errorf("%+v, fetched %d times", l, s.fetched[layer.Digest])
			}
		})
	}
	t.Run("the search fails", func(t *testing.T) {
		s := newStore()
		o := everyLayer
		o.Catalog = &catalog{err: broken}
		got, err := soci.IndexImage(ctx, s, s, s.image("amd64", s.add(gz, good(t, 0))), o)
		if err != nil || !errors.Is(got.SearchError, broken) || got.Outcome() != soci.OutcomeIndexed {
			t.Errorf("%v %+v", err, got)
		}
	})
}

// addEmptyFiles adds n files to the table of contents.
func addEmptyFiles(z *soci.Ztoc, n int) {
	for i := range n {
		e := z.Entries[len(z.Entries)-1]
		e.Name, e.Type, e.Size, e.Linkname = fmt.Sprintf("empty-%d", i), "reg", 0, ""
		z.Entries = append(z.Entries, e)
	}
}

// addZtoc adds a changed copy of a zTOC, listed as that one is.
func (s *store) addZtoc(t *testing.T, listed ocispec.Descriptor, change func(*soci.Ztoc)) ocispec.Descriptor {
	t.Helper()
	z, err := soci.ParseZtoc(s.content[listed.Digest])
	if err != nil {
		t.Fatal(err)
	}
	change(z)
	b, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	changed := s.add(listed.MediaType, b)
	changed.Annotations = listed.Annotations
	return changed
}

// The search ends when all is found, and after a number of SOCI indexes.
func TestReuseIsBounded(t *testing.T) {
	s := newStore()
	layer := s.add(gz, good(t, 0))
	image := s.image("amd64", layer)
	first, err := soci.IndexImage(context.Background(), s, s, image, everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	o := everyLayer
	found := &catalog{indexes: slices.Repeat([]ocispec.Descriptor{first.Manifests[0].Index}, 100)}
	o.Catalog = found
	if _, err := soci.IndexImage(context.Background(), s, s, image, o); err != nil || found.given != 1 {
		t.Errorf("%d looked into, %v", found.given, err)
	}
	many := new(catalog)
	for i := range 200 {
		many.indexes = append(many.indexes, s.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Config: ocispec.Descriptor{MediaType: soci.ArtifactTypeV2, Size: int64(i)},
		}))
	}
	o.Catalog = many
	if _, err := soci.IndexImage(context.Background(), s, s, image, o); err != nil || many.given > 60 {
		t.Errorf("%d looked into, %v", many.given, err)
	}
}

// hanging answers no request for one content.
type hanging struct {
	*store
	at digest.Digest
}

func (h hanging) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == h.at {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.store.Fetch(ctx, d)
}

// A registry that does not answer costs some time and no more.
func TestReuseTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		layer := s.add(gz, good(t, 0))
		image := s.image("amd64", layer)
		first, err := soci.IndexImage(t.Context(), s, s, image, everyLayer)
		if err != nil {
			t.Fatal(err)
		}
		o := everyLayer
		o.Catalog = &catalog{indexes: []ocispec.Descriptor{first.Manifests[0].Index}}
		start := time.Now()
		got, err := soci.IndexImage(t.Context(), hanging{s, first.Manifests[0].Layers[0].Ztoc.Digest}, s, image, o)
		if err != nil || !errors.Is(got.SearchError, context.DeadlineExceeded) || got.Manifests[0].Layers[0].Reused {
			t.Errorf("%+v %v", got, err)
		}
		if waited := time.Since(start); waited > 2*time.Minute { // of the bubble's clock
			t.Errorf("waited %v", waited)
		}
	})
}

// Force reads and pushes what is there, and moves no tag that another image
// has.
func TestForce(t *testing.T) {
	ctx := context.Background()
	s := newStore()
	layer := s.add(gz, good(t, 0))
	image := s.image("amd64", layer)
	first, err := soci.IndexImage(ctx, s, s, image, everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	pushed := len(s.pushed)
	clear(s.fetched)
	s.pushed = nil
	o := everyLayer
	o.Catalog = &catalog{indexes: []ocispec.Descriptor{first.Manifests[0].Index}}
	o.Force = true
	again, err := soci.IndexImage(ctx, s, s, image, o)
	if err != nil {
		t.Fatal(err)
	}
	m := again.Manifests[0]
	if m.Layers[0].Reused || s.fetched[layer.Digest] != 1 || again.BytesRead != layer.Size {
		t.Errorf("the layer was not read: %+v", again)
	}
	if len(s.pushed) != pushed {
		t.Fatalf("pushed %d contents, not %d: %+v", len(s.pushed), pushed, again)
	}
	if again.BytesPushed == 0 || m.AlreadyThere || m.Index.Digest != first.Manifests[0].Index.Digest {
		t.Errorf("pushed %d contents, not %d: %+v", len(s.pushed), pushed, again)
	}
}

// A zTOC of an earlier build does not make up for manifests that contradict each
// other: it would be named beside a layer of another size.
func TestReuseOfContradictedLayer(t *testing.T) {
	s := newStore()
	a, b := s.add(gz, good(t, 0)), s.add(gz, good(t, 1))
	first, err := soci.IndexImage(t.Context(), s, s, s.image("amd64", a, b), everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	o := everyLayer
	o.Catalog = &catalog{indexes: []ocispec.Descriptor{first.Manifests[0].Index}}
	other := a
	other.Size++
	r, err := soci.IndexImage(t.Context(), s, s,
		s.index(s.image("amd64", a), s.image("arm64", other), s.image("s390x", b)), o)
	if failed, ok := errors.AsType[soci.ManifestErrors](err); !ok || len(failed) != 2 ||
		!errors.Is(err, soci.ErrCorrupt) {
		t.Fatal(err)
	}
	for i, want := range []soci.Outcome{soci.OutcomeFailed, soci.OutcomeFailed, soci.OutcomeIndexed} {
		if m := r.Manifests[i]; m.Outcome != want {
			t.Errorf("%s: %s, %q", m.Platform, m.Outcome, m.Reason)
		}
	}
}
