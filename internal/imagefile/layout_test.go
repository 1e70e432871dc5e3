package imagefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// No link in a folder leads out of it, neither for reading nor for writing.
func TestLinks(t *testing.T) {
	c, desc := image(t)
	outside := t.TempDir()
	blob := filepath.Join("blobs", "sha256", desc.Digest.Encoded())
	secret := filepath.Join(outside, "manifest")
	if err := os.WriteFile(secret, c[filepath.ToSlash(blob)], 0o600); err != nil {
		t.Fatal(err)
	}
	dir := c.folder(t)
	if err := errors.Join(os.Remove(filepath.Join(dir, blob)),
		os.Symlink(secret, filepath.Join(dir, blob))); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).FetchManifest(t.Context(), desc); err == nil ||
		!strings.Contains(err.Error(), "escapes") {
		t.Errorf("%v, want that the link leads out", err)
	}
	for _, name := range []string{"blobs/sha256", "blobs", "ingest"} {
		dir := contents{indexFile: []byte("{}")}.folder(t)
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.Symlink(outside, at)); err != nil {
			t.Fatal(err)
		}
		if l, err := CreateLayout(dir); err == nil {
			_ = l.Close()
			t.Errorf("%s leads out of the folder, and is written to", name)
		}
	}
}

// The next run removes what an interrupted one left.
func TestFinish(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l, err := CreateLayout(dir)
		if err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(dir, "ingest", "left")
		if err := errors.Join(os.MkdirAll(filepath.Dir(left), 0o700), os.WriteFile(left, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Finish(), l.Close()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Dir(left)); !os.IsNotExist(err) {
			t.Errorf("the folder of unfinished content is still there: %v", err)
		}
	}
}

// What cannot be written is told without the name of the temporary file that it
// was to be in.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	l, err := CreateLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink("/proc/self", filepath.Join(dir, "ingest")); err != nil { // where nobody can make a file
		t.Fatal(err)
	}
	b := []byte("content")
	desc := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
	err = l.Push(t.Context(), desc, bytes.NewReader(b))
	prefix := fmt.Sprintf("writing %s to %s: ", desc.Digest, dir)
	if err == nil || !strings.HasPrefix(err.Error(), prefix) || strings.Contains(err.Error(), "ingest") {
		t.Errorf("%v, want %q and why", err, prefix)
	}
}

// A manifest is read as far as ECR takes one, whatever its file has.
func TestManifestTooLarge(t *testing.T) {
	c, desc := image(t)
	name := "blobs/sha256/" + desc.Digest.Encoded()
	for _, size := range []int64{ecrclient.MaxManifestSize, ecrclient.MaxManifestSize + 1} {
		raw := append(bytes.Clone(c[name]), bytes.Repeat([]byte(" "), int(size)-len(c[name]))...)
		d := digest.FromBytes(raw)
		c["blobs/sha256/"+d.Encoded()] = raw
		_, err := open(t, c.folder(t)).FetchManifest(t.Context(),
			ocispec.Descriptor{MediaType: desc.MediaType, Digest: d, Size: size})
		if tooLarge := size > ecrclient.MaxManifestSize; errors.Is(err, ErrFormat) != tooLarge {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// A run that was interrupted after it wrote a SOCI index v1 has not listed it yet,
// where clients look for it: the next run does.
func TestWrittenAndNotListed(t *testing.T) {
	c, desc := image(t)
	l, err := CreateLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Copy(t.Context(), open(t, c.folder(t)), desc, "1", nil); err != nil {
		t.Fatal(err)
	}
	for run := range 3 {
		r, err := soci.IndexImage(t.Context(), l, l, desc,
			soci.Options{IndexVersion: soci.V1, MinLayerSize: 1, SpanSize: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		built := r.Manifests[0]
		if built.AlreadyThere != (run == 2) {
			t.Errorf("run %d: already there: %t", run, built.AlreadyThere)
		}
		if found, err := l.Referrers(t.Context(), desc, soci.ArtifactTypeV1); err != nil || len(found) != 1 {
			t.Errorf("run %d: referrers %v, %v", run, found, err)
		}
		if run == 0 {
			l.index = slices.DeleteFunc(l.index,
				func(d ocispec.Descriptor) bool { return d.Digest == built.Index.Digest })
			if err := l.save(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// told keeps what a Copy tells.
type told struct {
	layers []ocispec.Descriptor
	read   map[digest.Digest]int64
}

func (c *told) Begin(layers []ocispec.Descriptor)       { c.layers = layers }
func (c *told) Layer(layer ocispec.Descriptor, n int64) { c.read[layer.Digest] = n }

// Copy tells which layers it writes before it does, each once, and how much of
// each has been read. Those that are there are left out.
func TestCopying(t *testing.T) {
	c, desc := image(t)
	s := open(t, c.folder(t))
	l, err := CreateLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, want := range []int{1, 0} {
		copying := &told{read: map[digest.Digest]int64{}}
		if err := l.Copy(t.Context(), s, desc, "1", copying); err != nil {
			t.Fatal(err)
		}
		if len(copying.layers) != want || len(copying.read) != want {
			t.Errorf("%d layers to write, %d read, want %d", len(copying.layers), len(copying.read), want)
		}
		for _, layer := range copying.layers {
			if copying.read[layer.Digest] != layer.Size {
				t.Errorf("%d bytes were read of %d", copying.read[layer.Digest], layer.Size)
			}
		}
	}
}

// halves is a source that lacks what is not in it.
type halves struct {
	manifests map[digest.Digest][]byte
	asked     int
}

func (h *halves) FetchManifest(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	h.asked++
	if raw := h.manifests[desc.Digest]; raw != nil {
		return raw, nil
	}
	return nil, ecrclient.ErrNotFound
}

func (h *halves) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return nil, ecrclient.ErrNotFound
}

// add returns the descriptor of a manifest that is there from now on.
func (h *halves) add(t *testing.T, mediaType string, m any) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	h.manifests[desc.Digest] = raw
	return desc
}

// A list of manifests of which none is there asks for no more than any other.
func TestCopyManyMissing(t *testing.T) {
	h := &halves{manifests: map[digest.Digest][]byte{}}
	var index ocispec.Index
	for n := range maxCopied + 10 {
		index.Manifests = append(index.Manifests, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest,
			Digest: digest.FromString(fmt.Sprint(n)), Size: 1})
	}
	l, err := CreateLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = l.Copy(t.Context(), h, h.add(t, ocispec.MediaTypeImageIndex, index), "1", nil)
	if !errors.Is(err, ErrFormat) || h.asked > maxCopied {
		t.Errorf("%v, after %d requests", err, h.asked)
	}
}

// A layer that is not to be distributed is left out where it is not there; another is
// missed.
func TestCopyForeignLayer(t *testing.T) {
	for mediaType, want := range map[string]error{
		images.MediaTypeDockerSchema2LayerForeignGzip: nil,
		ocispec.MediaTypeImageLayerGzip:               ecrclient.ErrNotFound,
	} {
		h := &halves{manifests: map[digest.Digest][]byte{}}
		layer := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString("layer"), Size: 5}
		desc := h.add(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Layers: []ocispec.Descriptor{layer}})
		l, err := CreateLayout(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Copy(t.Context(), h, desc, "1", nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", mediaType, err, want)
		}
		l.Close()
	}
}
