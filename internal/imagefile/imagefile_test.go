package imagefile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// contents are the files of an image file, by name.
type contents map[string][]byte

func (c contents) blob(mediaType string, b []byte) ocispec.Descriptor {
	d := digest.FromBytes(b)
	c["blobs/sha256/"+d.Encoded()] = b
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (c contents) index(t *testing.T, listed ...ocispec.Descriptor) {
	t.Helper()
	c[indexFile] = marshal(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: listed})
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c contents) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range c {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (c contents) archive(t *testing.T, more ...tar.Header) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(c[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(c[name]); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range more {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// layerBlob is a stored gzip layer with several spans.
func layerBlob(t *testing.T) []byte {
	t.Helper()
	all, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Name == "writer/go-6" {
			return l.Blob()
		}
	}
	t.Fatal("no such layer")
	return nil
}

// image is a layout of one image with the tag 1.
func image(t *testing.T) (contents, ocispec.Descriptor) {
	t.Helper()
	c := contents{layoutFile: []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	config := c.blob(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"arm64"}`))
	layer := c.blob(ocispec.MediaTypeImageLayerGzip, layerBlob(t))
	desc := c.blob(ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{layer}}))
	listed := desc
	listed.Annotations = map[string]string{ocispec.AnnotationRefName: "1"}
	c.index(t, listed)
	return c, desc
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// indexed copies the one image of a store to a layout and indexes it there, twice,
// and verifies both SOCI indexes.
func indexed(t *testing.T, s *Store) {
	t.Helper()
	dir := t.TempDir()
	var before []byte
	for range 2 {
		reference, err := s.Only(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		desc, err := s.Resolve(t.Context(), reference)
		if err != nil {
			t.Fatal(err)
		}
		l, err := CreateLayout(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Copy(t.Context(), s, desc, reference, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := soci.IndexImage(t.Context(), l, l, desc, soci.Options{IndexVersion: soci.Both, Tag: reference,
			MinLayerSize: 1, SpanSize: 64 << 10, TagSuffix: soci.DefaultTagSuffix}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Finish(), l.Close()); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir)
		image, err := inspect.LoadVersions(t.Context(), again, desc, reference, soci.DefaultTagSuffix)
		if err != nil {
			t.Fatal(err)
		}
		report, err := verify.New(again, verify.Options{}).Versions(t.Context(), image, soci.Both)
		if err != nil || report.Differences() != 0 || report.Compared == 0 {
			t.Fatalf("%v, %+v", err, report)
		}
		raw, err := os.ReadFile(filepath.Join(dir, indexFile))
		if err != nil || before != nil && !bytes.Equal(raw, before) {
			t.Errorf("%v; index.json was\n%s\nand is\n%s", err, before, raw)
		}
		before = raw
	}
}

func TestForms(t *testing.T) {
	c, _ := image(t)
	t.Run("folder", func(t *testing.T) { indexed(t, open(t, c.folder(t))) })
	t.Run("archive", func(t *testing.T) { indexed(t, open(t, c.archive(t))) })
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprintf("docker save, compressed %t", compressed), func(t *testing.T) {
			indexed(t, open(t, dockerSave(t, compressed, "registry.example:5000/team/app:1.0").archive(t,
				tar.Header{Name: "b/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../a/layer.tar"})))
		})
	}
}

// dockerSave has one layer twice, the second time as a link that is to be added.
func dockerSave(t *testing.T, compressed bool, tags ...string) contents {
	t.Helper()
	blob := layerBlob(t)
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	c := contents{"a/layer.tar": plain}
	if compressed {
		c["a/layer.tar"] = blob
	}
	id := digest.FromBytes(plain)
	c["config.json"] = marshal(t, ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{id, id}}})
	c["manifest.json"] = marshal(t, []savedImage{{"config.json", tags, []string{"a/layer.tar", "b/layer.tar"}}})
	return c
}

func TestNames(t *testing.T) {
	c, desc := image(t)
	other := c.blob(desc.MediaType, append([]byte(" "), c["blobs/sha256/"+desc.Digest.Encoded()]...))
	entry := func(d ocispec.Descriptor, name string) ocispec.Descriptor {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
		return d
	}
	for _, row := range []struct {
		name   string
		listed []ocispec.Descriptor
		tags   string
		only   string
		wrong  error
	}{
		{"without a tag", []ocispec.Descriptor{desc}, "", desc.Digest.String(), nil},
		{"two tags of one image", []ocispec.Descriptor{entry(desc, "b"), entry(desc, "a")}, "a b", "a", nil},
		{"whole name", []ocispec.Descriptor{entry(desc, "docker.io/library/app:1.2")}, "1.2", "1.2", nil},
		{"name that is no tag", []ocispec.Descriptor{entry(desc, "host:5000/app")}, "", desc.Digest.String(), nil},
		{"two images", []ocispec.Descriptor{entry(desc, "a"), entry(other, "b")}, "a b", "", ErrAmbiguous},
		{"two images of one tag", []ocispec.Descriptor{entry(desc, "a"), entry(other, "app:a")}, "a", "", ErrAmbiguous},
		{"nothing", nil, "", "", ErrFormat},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.index(t, row.listed...)
			s := open(t, c.folder(t))
			tags, err := s.Tags(t.Context())
			if got := strings.Join(tags, " "); err != nil || got != row.tags {
				t.Errorf("tags %q, %v, want %q", got, err, row.tags)
			}
			if only, err := s.Only(t.Context()); only != row.only || !errors.Is(err, row.wrong) {
				t.Errorf("%q, %v, want %q, %v", only, err, row.only, row.wrong)
			}
			if _, err := s.Resolve(t.Context(), "nothing"); !errors.Is(err, ecrclient.ErrNotFound) {
				t.Errorf("%v, want ErrNotFound", err)
			}
		})
	}
	c.index(t, entry(desc, "a"), entry(other, "app:a"))
	if _, err := open(t, c.folder(t)).Resolve(t.Context(), "a"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("%v, want ErrAmbiguous", err)
	}
}

func TestSplit(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a:1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := "sha256:" + strings.Repeat("0", 64)
	for name, want := range map[string][2]string{
		"a:1": {"a:1", ""}, "a:1:2": {"a:1", "2"}, "./b": {"./b", ""}, "./b:1.0": {"./b", "1.0"},
		"./b@" + d: {"./b", d},
		"./b:x/y":  {"./b:x/y", ""}, "": {"", ""}, ":1": {":1", ""},
	} {
		if path, reference := Split(name); path != want[0] || reference != want[1] {
			t.Errorf("%q: %q, %q", name, path, reference)
		}
	}
}

// A damaged or hostile file is an error that names the fault, and has no other
// effect.
func TestHostile(t *testing.T) {
	good, desc := image(t)
	with := func(name string, b []byte) contents {
		c := contents{}
		for k, v := range good {
			c[k] = v
		}
		c[name] = b
		return c
	}
	many := func(n int) []byte {
		one := string(marshal(t, desc))
		return []byte(`{"schemaVersion":2,"manifests":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`)
	}
	saved := func(config string, images ...savedImage) contents {
		return contents{"manifest.json": marshal(t, images), "c": []byte(config)}
	}
	for _, row := range []struct {
		name string
		path string
		want string
	}{
		{"empty file", write(t, nil), "not a tar file"},
		{"zeros", write(t, make([]byte, 4096)), "not a tar file"},
		{"noise", write(t, testlayers.Noise(1, 4096)), "not a tar file"},
		{"gzip", write(t, layerBlob(t)), "compressed with gzip"},
		{"empty folder", t.TempDir(), "has neither"},
		{"index.json is no JSON", with(indexFile, []byte("{")).folder(t), "index.json: "},
		{"index.json is large", with(indexFile, make([]byte, maxIndexSize+1)).archive(t),
			"at most 4194304 are allowed"},
		{"too many manifests", with(indexFile, many(maxListed+1)).archive(t), "at most 4096 are allowed"},
		{"a digest that is a path",
			with(indexFile, []byte(`{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`)).
				folder(t), `the digest "sha256:../`},
		{"a negative size", with(indexFile, bytes.ReplaceAll(many(1), []byte(`"size":`), []byte(`"size":-`))).folder(t),
			"-" + fmt.Sprint(desc.Size) + " bytes"},
		{"sparse", write(t, sparse(t)), "x is stored sparse"},
		{"cut short", write(t, cut(t, good.archive(t))), "unexpected EOF"},
		{"saved: what is not there", saved("{}", savedImage{"nothing", nil, nil}).archive(t),
			"names what is not there"},
		{"saved: layers that the config lacks", saved("{}", savedImage{"c", nil, []string{"c"}}).archive(t),
			"names 0 layers, manifest.json names 1"},
		{"saved: a digest that is none",
			saved(`{"rootfs":{"diff_ids":["x"]}}`, savedImage{"c", nil, []string{"c"}}).archive(t),
			`digest "x"`},
		{"saved: out of the folder", saved("{}", savedImage{"../c", nil, nil}).folder(t), "path escapes"},
		{"saved: too many", saved("{}", make([]savedImage, maxSavedImages+1)...).archive(t),
			"at most 1000 are allowed"},
		{"saved: no JSON", contents{"manifest.json": []byte("{}")}.archive(t), "manifest.json: "},
		{"saved: a loop of links", saved("{}", savedImage{"l", nil, nil}).archive(t,
			tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "l"}), "link to a link"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := Open(t.Context(), row.path)
			if s != nil {
				defer s.Close()
			}
			switch {
			case err == nil || !strings.Contains(err.Error(), row.want):
				t.Errorf("%v, want %q", err, row.want)
			case strings.Contains(err.Error(), "\n"):
				t.Errorf("not one line: %q", err)
			}
		})
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
}

// sparse is a tar file whose entry has fewer bytes than its content.
func sparse(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "x", Format: tar.FormatGNU}), w.Close()); err != nil {
		t.Fatal(err)
	}
	header := b.Bytes()[:512]
	header[156] = tar.TypeGNUSparse
	copy(header[148:156], "        ") // the checksum, as it is counted
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b.Bytes()
}

// cut returns a file without the content of its last entry.
func cut(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b[:len(b)-1024-512]
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Content that does not match its digest is never returned as a manifest, nor
// copied; missing content is an error of its own.
func TestDamage(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(t *testing.T, c contents, desc ocispec.Descriptor)
		want   error // nil: any
	}{
		{"manifest", func(_ *testing.T, c contents, d ocispec.Descriptor) {
			c["blobs/sha256/"+d.Digest.Encoded()] = append([]byte(" "),
				c["blobs/sha256/"+d.Digest.Encoded()][:d.Size-1]...)
		}, ecrclient.ErrDigestMismatch},
		{"manifest of another size", func(_ *testing.T, c contents, d ocispec.Descriptor) {
			c["blobs/sha256/"+d.Digest.Encoded()] = append([]byte(" "), c["blobs/sha256/"+d.Digest.Encoded()]...)
		}, ecrclient.ErrDigestMismatch},
		{"no manifest", func(_ *testing.T, c contents, d ocispec.Descriptor) {
			delete(c, "blobs/sha256/"+d.Digest.Encoded())
		}, ecrclient.ErrNotFound},
		{"layer", func(t *testing.T, c contents, _ ocispec.Descriptor) {
			d := digest.FromBytes(layerBlob(t))
			b := bytes.Clone(c["blobs/sha256/"+d.Encoded()])
			b[100] ^= 1
			c["blobs/sha256/"+d.Encoded()] = b
		}, nil},
		{"no layer", func(t *testing.T, c contents, _ ocispec.Descriptor) {
			delete(c, "blobs/sha256/"+digest.FromBytes(layerBlob(t)).Encoded())
		}, ecrclient.ErrNotFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, desc := image(t)
			row.damage(t, c, desc)
			s := open(t, c.folder(t))
			dir := t.TempDir()
			l, err := CreateLayout(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.Copy(t.Context(), s, desc, "1", nil); err == nil ||
				row.want != nil && !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
			if tags, err := l.Tags(t.Context()); err != nil || len(tags) != 0 {
				t.Errorf("the tags are %q, %v", tags, err)
			}
			for name, b := range folderContent(t, filepath.Join(dir, "blobs/sha256")) {
				if got := digest.FromBytes(b).Encoded(); got != name {
					t.Errorf("%s has the digest %s", name, got)
				}
			}
		})
	}
}

func folderContent(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// A reader ends with its context.
func TestContext(t *testing.T) {
	c, _ := image(t)
	s := open(t, c.archive(t))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Fetch(ctx, ocispec.Descriptor{Digest: digest.FromBytes(layerBlob(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzOpen(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range map[string]string{"manifest.json": `[{"Config":"c","RepoTags":["a:1"],"Layers":[]}]`,
		"c": `{"rootfs":{"diff_ids":[]}}`, "x/layer.tar": "x"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content))}); err != nil {
			f.Fatal(err)
		}
		_, _ = io.WriteString(w, content)
	}
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := Open(t.Context(), write(t, content))
		if err != nil {
			return
		}
		defer s.Close()
		reference, err := s.Only(t.Context())
		if err != nil {
			return
		}
		if desc, err := s.Resolve(t.Context(), reference); err == nil {
			_, _ = inspect.Load(t.Context(), s, desc)
		}
	})
}
