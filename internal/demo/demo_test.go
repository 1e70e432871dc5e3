package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/imagefile"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
)

// filesDir has top-level entries of three sizes; the largest is over 10 MiB
// when it is compressed.
func filesDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("big/noise", testlayers.Noise(1, 11<<20))
	write("big/text", testlayers.Text(2, 1<<20))
	write("middle/mixed", testlayers.Mixed(3, 2<<20))
	write("small", []byte("small\n"))
	if err := os.Symlink("noise", filepath.Join(dir, "big/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runDemo runs the demo, and fails if it leaves anything behind.
func runDemo(t *testing.T, ctx context.Context, o Options) (string, error) {
	t.Helper()
	o.TempDir = t.TempDir()
	var out bytes.Buffer
	err := Run(ctx, &out, o)
	if left, rerr := os.ReadDir(o.TempDir); rerr != nil || len(left) != 0 {
		t.Errorf("%v was left behind, %v", left, rerr)
	}
	return out.String(), err
}

var fixedTime = time.Unix(1_000_000_000, 0)

var manifestDigest = regexp.MustCompile(`(?m)^   (sha256:[0-9a-f]{12})$`)

func TestFiles(t *testing.T) {
	dir := filesDir(t)
	out, err := runDemo(t, context.Background(), Options{Files: dir, Clone: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`1\. Push an image of the files in `,
		`matched by the filter demo/\*:\*`,
		`indexed: 1[0-9]\.[0-9] MiB of layers read`,
		`SOCI index v1 sha256:[0-9a-f]{12}\b`,
		`SOCI index v2 sha256:[0-9a-f]{12}\b`,
		`demo/app:1\.0-soci is the SOCI-enabled image sha256:[0-9a-f]{12}\b`,
		`name the suffixed tag in the task definition\s+\(Fargate and\s+ECS\), .*\n?.*REPOSITORY:TAG-soci\s+instead\s+of\s+REPOSITORY:TAG\.`,
		`make install && soci-index-builder deploy\n`,
		`make demo DEMO_FLAGS=--keep\n$`,
		`1 layer, [0-9]+ spans, 2 files, .* no difference`,
		`PLATFORM +LAYER +SIZE`,
		`not indexed: smaller than the minimum layer size`,
		`"big/(noise|text)", .*: fetched .* of 1[0-9]\.[0-9] MiB`,
		`7\. Compare a pull of the whole image with a container start that reads only this file\n` +
			`   full pull: +1[0-9]\.[0-9] MiB  100\.0 %   0\.[23][0-9] s\n` +
			`   lazy start: +[0-9.]+ MiB  +[0-9.]+ %   0\.[34][0-9] s\n` +
			`   The seconds are estimated for 64\.0 MiB/s and 50ms a request`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// The same files, at another time, are the same image.
	if err := os.Chtimes(filepath.Join(dir, "small"), fixedTime, fixedTime); err != nil {
		t.Fatal(err)
	}
	again, err := runDemo(t, context.Background(), Options{Files: dir})
	if err != nil {
		t.Fatal(err)
	}
	one, two := manifestDigest.FindString(out), manifestDigest.FindString(again)
	if one == "" || one != two {
		t.Errorf("the image is %q and then %q", one, two)
	}
}

// testImage has one layer that is large enough.
func testImage(t *testing.T) v1.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layer")
	l, err := makeLayer(context.Background(), path, filesDir(t), group{"big", "small"})
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "arm64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImages(t *testing.T) {
	img := testImage(t)
	registry := registrytest.Start(t)
	ref := func(tag string) name.Reference {
		t.Helper()
		r, err := name.ParseReference(registry.Host() + "/team/app:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := remote.Write(ref("single"), img); err != nil {
		t.Fatal(err)
	}
	single, err := remote.Head(ref("single"))
	if err != nil {
		t.Fatal(err)
	}
	registry.PushIndex(t, "team/app", "index", false, ocispec.Descriptor{
		MediaType: string(single.MediaType), Digest: digest.Digest(single.Digest.String()), Size: single.Size,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"},
	})
	for _, row := range []struct {
		name string
		make func(t *testing.T) string // a path, or a reference
	}{
		{"OCI layout", func(t *testing.T) string {
			dir := t.TempDir()
			p, err := layout.Write(dir, empty.Index)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.AppendImage(img); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"OCI layout of an image index", func(t *testing.T) string {
			dir := t.TempDir()
			p, err := layout.Write(dir, empty.Index)
			if err != nil {
				t.Fatal(err)
			}
			index, err := remote.Index(ref("index"))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.AppendIndex(index); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"docker-save tar", func(t *testing.T) string {
			file := filepath.Join(t.TempDir(), "image.tar")
			tag, err := name.NewTag("team/app:1")
			if err != nil {
				t.Fatal(err)
			}
			if err := tarball.WriteToFile(file, tag, img); err != nil {
				t.Fatal(err)
			}
			return file
		}},
		{"registry", func(*testing.T) string { return ref("single").Name() }},
		{"registry, an image index", func(*testing.T) string { return ref("index").Name() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, err := runDemo(t, context.Background(), Options{Image: named(t, row.make(t))})
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(out, "linux/arm64: SOCI index v1 sha256:") || !strings.Contains(out, "no difference") {
				t.Errorf("%s", out)
			}
			if !strings.Contains(out, "   soci-index-builder deploy\n") ||
				!strings.HasSuffix(out, "soci-index-builder demo --keep\n") {
				t.Errorf("what to do next is not there: %s", out)
			}
		})
	}
}

// named opens an image as the command line does.
func named(t *testing.T, what string) *Image {
	t.Helper()
	if filepath.IsAbs(what) {
		s, err := imagefile.Open(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		only, err := s.Only(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		desc, err := s.Resolve(t.Context(), only)
		if err != nil {
			t.Fatal(err)
		}
		return &Image{what, s, desc}
	}
	r, err := ecrclient.New(what)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := r.Resolve(t.Context(), r.Reference())
	if err != nil {
		t.Fatal(err)
	}
	return &Image{what, r, desc}
}

// layoutOf is an OCI layout with an image index, and nothing of what that lists.
func layoutOf(t *testing.T, listed ocispec.Descriptor) string {
	t.Helper()
	dir := t.TempDir()
	write := func(path string, list ocispec.Descriptor) ocispec.Descriptor {
		raw, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{list}})
		if err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(raw)
		path = filepath.Join(dir, cmp.Or(path, filepath.Join("blobs", "sha256", d.Encoded())))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d, Size: int64(len(raw))}
	}
	write("index.json", write("", listed))
	return dir
}

func TestRefuses(t *testing.T) {
	small := t.TempDir()
	if err := os.WriteFile(filepath.Join(small, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	repo, err := ecrclient.New(registrytest.Start(t).Host() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4}
	for _, row := range []struct {
		name    string
		options Options
		want    error  // nil: any
		text    string // in the error
	}{
		{"nothing large enough", Options{Files: small}, ErrNoLayer, "below 10.0 MiB"},
		{"no such directory", Options{Files: filepath.Join(small, "nothing")}, fs.ErrNotExist, "nothing"},
		{"empty directory", Options{Files: t.TempDir()}, nil, ""},
		{"both", Options{Files: small, Image: &Image{"app", repo, gone}}, nil, "files or an image, not both"},
		{"not in the registry", Options{Image: &Image{"app", repo, gone}}, ecrclient.ErrNotFound,
			"pushing app: fetch manifest " + repo.Name()},
		{"an image index whose images are not there", Options{Image: named(t, layoutOf(t, gone))},
			ecrclient.ErrNotFound,
			": its image index lists manifests that are not there: name one of its images by the digest"},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, err := runDemo(t, context.Background(), row.options)
			if err == nil || row.want != nil && !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) {
				t.Errorf("%v, want %v with %q\n%s", err, row.want, row.text, out)
			}
		})
	}
}

// cancelAt cancels when a text is written.
type cancelAt struct {
	text   string
	cancel context.CancelFunc
}

func (c cancelAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.text) {
		c.cancel()
	}
	return len(p), nil
}

// Wherever it is interrupted it leaves nothing behind.
func TestInterrupted(t *testing.T) {
	dir := filesDir(t)
	for _, step := range []string{"1. ", "2. ", "3. ", "4. ", "5. ", "6. ", "7. "} {
		t.Run("at "+step, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			temp := t.TempDir()
			err := Run(ctx, cancelAt{step, cancel}, Options{Files: dir, TempDir: temp})
			// The generator has finished when the third step is shown.
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want context.Canceled", err)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
				t.Errorf("%v was left behind, %v", left, err)
			}
		})
	}
}
