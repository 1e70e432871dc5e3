package soci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// store is a repository in memory, which records what happens to it.
type store struct {
	mu      sync.Mutex
	content map[digest.Digest][]byte
	pushed  []ocispec.Descriptor
	fetched map[digest.Digest]int
	open    int

	fetchErr map[digest.Digest]error
	pushErr  error
}

func newStore() *store {
	return &store{content: make(map[digest.Digest][]byte), fetched: make(map[digest.Digest]int),
		fetchErr: make(map[digest.Digest]error)}
}

func (s *store) add(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	s.content[d.Digest] = b
	return d
}

func (s *store) addJSON(mediaType string, v any) ocispec.Descriptor {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return s.add(mediaType, b)
}

func (s *store) image(platform string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	config := s.addJSON(ocispec.MediaTypeImageConfig, map[string]string{"os": "linux", "architecture": platform})
	return s.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: layers,
	})
}

func (s *store) index(manifests ...ocispec.Descriptor) ocispec.Descriptor {
	return s.addJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
}

type closer struct {
	io.Reader
	s *store
}

func (c closer) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.open--
	return nil
}

func (s *store) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fetchErr[d.Digest]; err != nil {
		return nil, err
	}
	b, ok := s.content[d.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", d.Digest, errNotThere)
	}
	s.fetched[d.Digest]++
	s.open++
	return closer{bytes.NewReader(b), s}, nil
}

var errNotThere = errors.New("not there")

func (s *store) Exists(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.content[d.Digest]
	return ok, nil
}

func (s *store) Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pushErr != nil {
		return s.pushErr
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if digest.FromBytes(b) != d.Digest || int64(len(b)) != d.Size {
		return fmt.Errorf("content of %s does not fit", d.Digest)
	}
	// As a registry does, refuse a manifest whose blobs are not there yet.
	if d.MediaType == ocispec.MediaTypeImageManifest {
		var m ocispec.Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		for _, l := range append(m.Layers, m.Config) {
			if _, ok := s.content[l.Digest]; !ok {
				return fmt.Errorf("manifest before its blob %s", l.Digest)
			}
		}
	}
	s.content[d.Digest] = b
	s.pushed = append(s.pushed, d)
	return nil
}

const (
	gz     = ocispec.MediaTypeImageLayerGzip
	tarred = ocispec.MediaTypeImageLayer
)

var everyLayer = soci.Options{MinLayerSize: 1}

// good returns some sound gzip layer; other n, other layer.
func good(t testing.TB, n int) []byte {
	t.Helper()
	layers, err := storedGzip()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(layers[n])
}

// storedGzip are the stored gzip layers, read once.
var storedGzip = sync.OnceValues(func() (blobs [][]byte, err error) {
	layers, err := testlayers.Stored()
	for _, l := range layers {
		if l.Compression == testlayers.Gzip {
			blobs = append(blobs, l.Blob())
		}
	}
	return blobs, err
})

func TestIndexImage(t *testing.T) {
	ctx := context.Background()
	s := newStore()
	a, b := s.add(gz, good(t, 0)), s.add(gz, good(t, 1))
	small := s.add(gz, testlayers.GoGzip(make([]byte, 1024), 9, 0))
	image := s.image("amd64", a, small, b, a)
	o := soci.Options{MinLayerSize: min(a.Size, b.Size)}

	dry := o
	dry.DryRun = true
	r, err := soci.IndexImage(ctx, s, nil, image, dry)
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome() != soci.OutcomeIndexed || len(s.pushed) != 0 {
		t.Fatalf("dry run: %s, pushed %v", r.Outcome(), s.pushed)
	}

	var progress sync.Map
	o.Progress = func(l ocispec.Descriptor, n int64) { progress.Store(l.Digest, n) }
	r, err = soci.IndexImage(ctx, s, s, image, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Manifests) != 1 || r.Manifests[0].Platform != "linux/amd64" {
		t.Fatalf("%+v", r.Manifests)
	}
	m := r.Manifests[0]
	if m.Layers[0].Ztoc.Digest != m.Layers[3].Ztoc.Digest || m.Layers[1].Reason != soci.SkipTooSmall ||
		!m.Layers[2].Indexed() {
		t.Errorf("layers: %+v", m.Layers)
	}
	if s.fetched[a.Digest] != 2 || s.fetched[small.Digest] != 0 { // once in each run
		t.Errorf("fetched: %v", s.fetched)
	}
	if s.open != 0 {
		t.Errorf("%d readers left open", s.open)
	}
	for _, l := range []ocispec.Descriptor{a, b} {
		if n, _ := progress.Load(l.Digest); n != l.Size {
			t.Errorf("progress of %s ended at %v of %d", l.Digest, n, l.Size)
		}
	}
	// Two zTOCs, the config, the SOCI index, which comes last.
	if len(s.pushed) != 4 || s.pushed[3].Digest != m.Index.Digest || s.pushed[3].ArtifactType != soci.ArtifactTypeV1 {
		t.Fatalf("pushed: %+v", s.pushed)
	}
	var sum int64
	for _, p := range s.left() { // the config is not counted
		sum += p.Size
	}
	if r.BytesPushed != sum || r.BytesRead != a.Size+b.Size {
		t.Errorf("pushed %d of %d, read %d of %d bytes", r.BytesPushed, sum, r.BytesRead, a.Size+b.Size)
	}

	index, err := soci.ParseIndex(s.content[m.Index.Digest])
	if err != nil {
		t.Fatal(err)
	}
	if index.Subject.Digest != image.Digest || len(index.Layers) != 3 {
		t.Errorf("%+v", index)
	}
	for i, want := range []ocispec.Descriptor{a, b, a} {
		l := index.Layers[i]
		expect.Equal(t, expect.Facts{
			{"MediaType", l.MediaType, soci.ZtocMediaType},
			{"l.Annotations[soci.AnnotationLayerDigest]", l.Annotations[soci.AnnotationLayerDigest],
				want.Digest.String()},
			{"l.Annotations[soci.AnnotationLayerMediaType]", l.Annotations[soci.AnnotationLayerMediaType],
				want.MediaType},
			{"l.Annotations[soci.AnnotationSpanSize]", l.Annotations[soci.AnnotationSpanSize], "4194304"},
		}, "zTOC %d: %+v", i, l)
		z, err := soci.ParseZtoc(s.content[l.Digest])
		if err != nil || z.CompressedSize != want.Size || z.BuildToolIdentifier != soci.BuildToolIdentifier {
			t.Errorf("zTOC %d: %v", i, err)
		}
	}

	// Running again changes nothing.
	s.pushed = nil
	again, err := soci.IndexImage(ctx, s, s, image, o)
	if err != nil || len(s.left()) != 0 {
		t.Fatalf("again: %v, pushed %v", err, s.pushed)
	}
	if again.BytesPushed != 0 || again.Manifests[0].Index.Digest != m.Index.Digest {
		t.Errorf("again: %v, pushed %v", err, s.pushed)
	}
}

func TestIndexImageOfPlatforms(t *testing.T) {
	s := newStore()
	shared, arm := s.add(gz, good(t, 0)), s.add(gz, good(t, 1))
	onAMD, onARM := s.image("amd64", shared), s.image("arm64", shared, arm)
	onAMD.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	onARM.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	attestation := s.image("unknown", s.add("application/vnd.in-toto+json", []byte("{}")))
	attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	helm := s.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.add("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"chart"}`)),
		Layers: []ocispec.Descriptor{s.add("application/vnd.cncf.helm.chart.content.v1.tar+gzip", good(t, 2))},
	})
	nested := s.index(onARM)
	image := s.index(onAMD, attestation, nested, helm, onAMD)

	r, err := soci.IndexImage(context.Background(), s, s, image, everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range r.Manifests {
		got = append(got, fmt.Sprintf("%s %s %s %d", m.Platform, m.Outcome, m.Reason, len(m.Layers)))
	}
	want := []string{
		"linux/amd64 indexed  1",
		" passed-over attestation-manifest 0",
		"linux/arm64 indexed  2",
		` passed-over artifact of type "application/vnd.cncf.helm.config.v1+json" 0`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if s.fetched[shared.Digest] != 1 {
		t.Errorf("the shared layer was fetched %d times", s.fetched[shared.Digest])
	}

	only := everyLayer
	only.Platforms = []string{"linux/arm64"}
	r, err = soci.IndexImage(context.Background(), s, s, image, only)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Manifests {
		if m.Platform != "" && m.Platform != "linux/arm64" {
			t.Errorf("unwanted platform %s", m.Platform)
		}
	}
	only.Platforms = []string{"linux/riscv64"}
	if _, err := soci.IndexImage(context.Background(), s, s, image, only); !errors.Is(err, soci.ErrInvalidOption) {
		t.Errorf("a platform that the image has not: %v", err)
	}
}

// Layers that no zTOC can describe are skipped; the others are indexed.
func TestSkippedLayers(t *testing.T) {
	s := newStore()
	sound := s.add(gz, good(t, 0))
	layers := []ocispec.Descriptor{sound}
	want := []soci.SkipReason{""}
	for _, u := range testlayers.UnsupportedLayers() {
		layers = append(layers, s.add(u.MediaType, u.Blob))
		want = append(want, soci.SkipReason(u.Reason))
	}
	foreign := s.add("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", good(t, 1))
	encrypted := s.add(gz+"+encrypted", []byte("cipher text"))
	other := s.add("application/wasm", []byte("\x00asm"))
	layers = append(layers, foreign, encrypted, other)
	want = append(want, soci.SkipForeign, soci.SkipEncrypted, soci.SkipNotALayer)
	// Types of the layer kind that containerd does not unpack as tar, over
	// content that would pass for an archive, and an empty blob.
	for _, mediaType := range []string{
		"application/vnd.erofs.layer.v1", "application/vnd.oci.image.layer.v1.erofs",
		"application/vnd.oci.image.layer.squashfs",
		"application/vnd.oci.image.layer.nydus.blob.v1", "application/vnd.oci.image.layer.v1.tar+bzip2",
		"application/vnd.oci.image.layer.v1.tar+gzip+gzip", "application/vnd.docker.image.rootfs.diff.tar.bzip2",
		"application/vnd.wasm.content.layer.v1+wasm", "application/vnd.containers.overlaybd.layer", "",
	} {
		l := sound
		l.MediaType = mediaType
		layers = append(layers, l)
		want = append(want, soci.SkipNotALayer)
	}
	for _, mediaType := range []string{"application/vnd.oci.image.layer.v1.tar+zstd+encrypted", tarred + "+encrypted"} {
		layers = append(layers, s.add(mediaType, []byte("cipher text")))
		want = append(want, soci.SkipEncrypted)
	}
	layers = append(layers, s.add(gz, nil))
	want = append(want, soci.SkipTooSmall)

	r, err := soci.IndexImage(context.Background(), s, s, s.image("amd64", layers...), everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range r.Manifests[0].Layers {
		if l.Reason != want[i] || (l.Detail == "") != l.Indexed() {
			t.Errorf("layer %d, %s: %q (%s), not %q", i, l.Layer.MediaType, l.Reason, l.Detail, want[i])
		}
	}
	index, err := soci.ParseIndex(s.content[r.Manifests[0].Index.Digest])
	if err != nil || len(index.Layers) != 1 {
		t.Errorf("%v %+v", err, index)
	}

	// An image with no layer to index is a normal outcome.
	s.pushed = nil
	layers = slices.DeleteFunc(layers, func(l ocispec.Descriptor) bool { return l.Digest == sound.Digest })
	r, err = soci.IndexImage(context.Background(), s, s, s.image("arm64", layers...), everyLayer)
	if err != nil || r.Outcome() != soci.OutcomeNoLayer || len(s.left()) != 0 {
		t.Errorf("%v %v %v", r, err, s.pushed)
	}
}

// A layer of exactly the minimum size is indexed.
func TestMinLayerSize(t *testing.T) {
	for _, tt := range []struct {
		name string
		more int64
		want soci.Outcome
	}{
		{"one byte less than the layer", -1, soci.OutcomeIndexed},
		{"the layer's size", 0, soci.OutcomeIndexed},
		{"one byte more than the layer", 1, soci.OutcomeNoLayer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore()
			l := s.add(gz, good(t, 0))
			r, err := soci.IndexImage(context.Background(), s, s, s.image("amd64", l),
				soci.Options{MinLayerSize: l.Size + tt.more})
			if err != nil || r.Outcome() != tt.want {
				t.Errorf("%v %v", r, err)
			}
		})
	}
}

func TestUncompressedLayer(t *testing.T) {
	layers, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(layers, func(l testlayers.Layer) bool { return l.Compression == testlayers.Uncompressed })
	s := newStore()
	l := s.add(tarred, layers[i].Blob())
	r, err := soci.IndexImage(context.Background(), s, s, s.image("amd64", l), everyLayer)
	if err != nil || r.Manifests[0].Layers[0].Compression != soci.Uncompressed {
		t.Errorf("%+v %v", r, err)
	}
}
