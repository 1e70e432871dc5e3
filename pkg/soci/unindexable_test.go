package soci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// unsupported is the test layer of a name.
func unsupported(t *testing.T, name string) testlayers.Bad {
	t.Helper()
	all := testlayers.UnsupportedLayers()
	i := slices.IndexFunc(all, func(b testlayers.Bad) bool { return b.Name == name })
	if i < 0 {
		t.Fatalf("no layer %s", name)
	}
	return all[i]
}

// tagStore is a store with tags.
type tagStore struct {
	*store
	tags map[string]ocispec.Descriptor
}

type noTag struct{ error }

func (noTag) NotFound() bool { return true }

func (s *tagStore) Resolve(_ context.Context, tag string) (ocispec.Descriptor, error) {
	if d, ok := s.tags[tag]; ok {
		return d, nil
	}
	return ocispec.Descriptor{}, noTag{errNotThere}
}

func (s *tagStore) PushTag(ctx context.Context, d ocispec.Descriptor, r io.Reader, tag string) error {
	s.tags[tag] = d
	return s.Push(ctx, d, r)
}

// A layer that had to be read to find it unindexable is not read again with the
// next push, and the SOCI indexes are the same either way.
func TestUnindexableLayersAreRemembered(t *testing.T) {
	ctx := context.Background()
	s := newStore()
	var layers []ocispec.Descriptor
	for _, name := range []string{"pax-sparse-1.0", "not-a-tar/erofs", "misread/below-symlink", "zstd"} {
		b := unsupported(t, name)
		layers = append(layers, s.add(b.MediaType, b.Blob))
	}
	known, zstd := layers[:3], layers[3]
	sound := s.add(gz, good(t, 0))
	layers = append(layers, sound, layers[0])
	o := everyLayer
	o.IndexVersion, o.Tag = soci.Both, "1"
	image := s.image("amd64", layers...)
	first, err := soci.IndexImage(ctx, s, &tagStore{store: s, tags: map[string]ocispec.Descriptor{"1": image}},
		image, o)
	if err != nil {
		t.Fatal(err)
	}
	m := first.Manifests[0]
	want := "1,4194304," + known[0].Digest.String() + "=sparse-file," + known[1].Digest.String() + "=not-a-tar," +
		known[2].Digest.String() + "=parent-not-a-directory"
	for _, index := range []ocispec.Descriptor{m.Index, m.IndexV2} {
		parsed, err := soci.ParseIndex(s.content[index.Digest])
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Annotations[soci.AnnotationUnindexable]; got != want || len(parsed.Annotations) != 2 {
			t.Errorf("annotations %q, not %q", parsed.Annotations, want)
		}
	}

	for _, tt := range []struct {
		name   string
		index  ocispec.Descriptor
		change func(*ocispec.Manifest, *soci.Options)
		again  bool // the layers are read again
	}{
		{"SOCI index v1", m.Index, nil, false},
		{"SOCI index v2", m.IndexV2, nil, false},
		{"another tool's", m.IndexV2, func(m *ocispec.Manifest, _ *soci.Options) {
			m.Annotations[soci.AnnotationBuildToolIdentifier] = "another"
		}, true},
		{"another span size", m.IndexV2, func(_ *ocispec.Manifest, o *soci.Options) { o.SpanSize = 1 << 20 }, true},
		{"other rules", m.IndexV2, func(m *ocispec.Manifest, _ *soci.Options) {
			m.Annotations[soci.AnnotationUnindexable] = "0" + want[1:]
		}, true},
		{"reasons that need no reading", m.IndexV2, func(m *ocispec.Manifest, _ *soci.Options) {
			m.Annotations[soci.AnnotationUnindexable] = strings.NewReplacer("sparse-file", "zstd", "not-a-tar", "",
				"parent-not-a-directory", "x").Replace(want)
		}, true},
		{"a value out of proportion", m.IndexV2, func(m *ocispec.Manifest, _ *soci.Options) {
			m.Annotations[soci.AnnotationUnindexable] = want + strings.Repeat(",", 256<<10)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := o
			index := tt.index
			if tt.change != nil {
				var m ocispec.Manifest
				if err := json.Unmarshal(s.content[index.Digest], &m); err != nil {
					t.Fatal(err)
				}
				tt.change(&m, &o)
				index = s.addJSON(ocispec.MediaTypeImageManifest, m)
			}
			o.Catalog = &catalog{indexes: []ocispec.Descriptor{index}}
			o.DryRun = true
			clear(s.fetched)
			r, err := soci.IndexImage(ctx, s, s, image, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range known {
				got := r.Manifests[0].Layers[i]
				expect.Equal(t, expect.Facts{
					{"read", s.fetched[l.Digest] > 0, tt.again},
					{"Reused", got.Reused, !tt.again},
					{"Reason", got.Reason, m.Layers[i].Reason},
					{"without a detail", got.Detail == "", false},
				}, "layer %d", i)
			}
			if s.fetched[zstd.Digest] == 0 {
				t.Error("a layer of another compression was not looked at")
			}
			if o.SpanSize == 0 && (r.Manifests[0].Index.Digest != m.Index.Digest ||
				r.Manifests[0].IndexV2.Digest != m.IndexV2.Digest) {
				t.Error("other SOCI indexes than when all was read")
			}
		})
	}
}

// A zTOC larger than its layer is left out, by its windows or by its entries,
// but for small ones; and one that an earlier build left is not used.
func TestZtocTooLarge(t *testing.T) {
	files := testlayers.ManyFiles(20_000)
	windows := testlayers.ZerosInBlocks(40)
	for _, tt := range []struct {
		name string
		blob []byte
		o    soci.Options
		want soci.SkipReason
	}{
		{"windows", windows, soci.Options{MinLayerSize: 1, SpanSize: 1000}, soci.SkipZtocTooLarge},
		{"as many, too far apart", windows, everyLayer, ""},
		{"up to 1 MiB of windows", testlayers.ZerosInBlocks(25), soci.Options{MinLayerSize: 1, SpanSize: 1000}, ""},
		{"entries", files, everyLayer, soci.SkipZtocTooLarge},
		{"up to 1 MiB of entries", testlayers.ManyFiles(1000), everyLayer, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore()
			l := s.add(gz, tt.blob)
			r, err := soci.IndexImage(context.Background(), s, s, s.image("amd64", l, s.add(gz, good(t, 0))), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			span := max(tt.o.SpanSize, 0)
			z, err := soci.BuildZtoc(bytes.NewReader(tt.blob), soci.ZtocOptions{SpanSize: span})
			if err != nil {
				t.Fatal(err)
			}
			b, err := z.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if larger := len(b) > max(len(tt.blob), soci.SmallZtoc); larger != (tt.want != "") {
				t.Fatalf("the zTOC has %d bytes, the layer %d", len(b), len(tt.blob))
			}
			if got := r.Manifests[0].Layers[0]; got.Reason != tt.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Of a layer whose media type and first bytes tell that it is of zstd no more is
// read, nor told. Where the media type does not, it is read to its end: its digest
// shows whether it is so, or arrived so.
func TestBytesReadOfZstd(t *testing.T) {
	for _, mediaType := range []string{testlayers.MediaTypeZstd, gz, tarred, ""} {
		s := newStore()
		l := s.add(mediaType, append(unsupported(t, "zstd").Blob, testlayers.Noise(1, 16<<20)...))
		o := everyLayer
		var most int64
		o.Progress = func(_ ocispec.Descriptor, n int64) { most = max(most, n) }
		out, err := soci.BuildLayer(t.Context(), s, s, l, o)
		if err != nil || out.Result.Reason != soci.SkipZstd {
			t.Fatalf("%q: %v %+v", mediaType, err, out)
		}
		if mediaType == testlayers.MediaTypeZstd && (most == 0 || most > 4<<20) ||
			mediaType != testlayers.MediaTypeZstd && most != l.Size {
			t.Errorf("%q: %d bytes read of %d", mediaType, most, l.Size)
		}
		if mediaType == "" {
			continue
		}
		most = 0
		r, err := soci.IndexImage(t.Context(), s, s, s.image("amd64", l), o)
		if err != nil || r.BytesRead != most {
			t.Errorf("%q: %v, %d bytes read, progress came to %d", mediaType, err, r.BytesRead, most)
		}
	}
}

// An image all of whose layers cannot be indexed has no SOCI index; the image
// index that stands for it remembers.
func TestUnindexedImageRemembers(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	blob := append(make([]byte, 1024), bytes.Repeat([]byte("no tar"), 1000)...)
	image := s.PushImage(t, repoName, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{MediaType: ocispec.MediaTypeImageLayer, Content: blob}}})
	desc := ocispec.Descriptor{MediaType: image.Manifest.MediaType, Digest: image.Manifest.Digest,
		Size: image.Manifest.Size}
	o := both("v1")
	o.Catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: "v1", TagSuffix: "-soci"})
	for round, wantRead := range []int{1, 0, 0} {
		s.Clear()
		r, err := soci.IndexImage(t.Context(), repo, repo, desc, o)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		expect.Equal(t, expect.Facts{
			{"Unindexed", r.Enabled.Unindexed, true},
			{"Reason", r.Manifests[0].Layers[0].Reason, soci.SkipNotTar},
			{"SearchError", r.SearchError, nil},
		}, "round %d", round)
		if n := s.Count(http.MethodGet, image.Layers[0].Digest.String()); n != wantRead {
			t.Errorf("round %d: the layer was read %d times, want %d", round, n, wantRead)
		}
		if round > 0 && (r.Enabled.Outcome != soci.OutcomeAlreadyTagged || r.BytesPushed != 0) {
			t.Errorf("round %d: %+v", round, r.Enabled)
		}
		if status := examine(t, s, "v1"); status.Enabled[0].State != soci.EnabledUnindexed {
			t.Errorf("round %d: %+v", round, status.Enabled)
		}
	}
}
