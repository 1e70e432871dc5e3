package corpus

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// makeTree makes a few files, among them some that have no place in an image.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	for name, size := range map[string]int{
		"a/code.go": 5000, "a/read.txt": 100, "b/libx.so.1": 9000, "b/tool": 70 << 10, "b/small-tool": 10, "c/empty": 0,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(name+"\n"), size/len(name)+1)[:size], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("unix", filepath.Join(dir, "s")); err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return dir
}

// unpack reads a layer's archive, and checks what is said of it.
func unpack(t *testing.T, l *Layer) map[string][]byte {
	t.Helper()
	blob, err := os.ReadFile(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	if l.Size != int64(len(blob)) || l.Digest != digest.FromBytes(blob) {
		t.Errorf("the layer is said to be %d bytes, %s, and is %d, %s", l.Size, l.Digest, len(blob),
			digest.FromBytes(blob))
	}
	archive := blob
	if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		if archive, err = io.ReadAll(zr); err != nil {
			t.Fatal(err)
		}
	}
	if l.Uncompressed != int64(len(archive)) {
		t.Errorf("the archive is said to be %d bytes and is %d", l.Uncompressed, len(archive))
	}
	files := make(map[string][]byte)
	n := 0
	for r := tar.NewReader(bytes.NewReader(archive)); ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	if l.Entries != n {
		t.Errorf("the archive is said to have %d entries and has %d", l.Entries, n)
	}
	return files
}

func build(t *testing.T, c *Cache, r Recipe) *Layer {
	t.Helper()
	l, err := c.Layer(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPackers(t *testing.T) {
	dir := makeTree(t)
	packers := []Packer{Go(1), Go(9), Klauspost(5), Stored(), None(), Members(), OneBlock(), OneBlockMembers(),
		FixedBlocks(), Pigz(t.Context(), 6)}
	t.Setenv("PATH", t.TempDir()) // where there is no pigz
	fallback := Pigz(t.Context(), 6)
	if fallback.HasPigz() {
		t.Error("there is a pigz in an empty directory")
	}
	if _, ok := Gzip(t.Context(), 6); ok {
		t.Error("there is a gzip in an empty directory")
	}
	packers = append(packers, fallback)
	for _, p := range packers {
		t.Run(p.Name, func(t *testing.T) {
			if p.command != nil {
				path, err := filepath.Abs("/usr/bin/" + p.command[0])
				if err != nil {
					t.Fatal(err)
				}
				p.command = append([]string{path}, p.command[1:]...)
				if _, err := os.Stat(path); err != nil {
					t.Skip(err)
				}
			}
			r := Recipe{"layer", &Tree{Roots: []string{dir}, Repeat: 5}, p}
			l := build(t, &Cache{Dir: t.TempDir()}, r)
			files := unpack(t, l)
			name := strings.TrimPrefix(filepath.ToSlash(dir), "/") + "/b/tool"
			for _, name := range []string{name, "copy-4/" + name} {
				if want, _ := os.ReadFile(filepath.Join(dir, "b/tool")); !bytes.Equal(files[name], want) {
					t.Errorf("%s has %d bytes, not the %d of the file", name, len(files[name]), len(want))
				}
			}
			again := build(t, &Cache{Dir: t.TempDir()}, Recipe{"layer", &Tree{Roots: []string{dir}, Repeat: 5}, p})
			if again.Digest != l.Digest {
				t.Errorf("made again, %s is %s", l.Digest, again.Digest)
			}
		})
	}
}

func TestTree(t *testing.T) {
	dir := makeTree(t)
	all := []string{"a/", "a/code.go", "a/read.txt", "b/", "b/libx.so.1", "b/small-tool", "b/tool", "c/", "c/empty",
		"link"}
	for _, row := range []struct {
		name string
		tree Tree
		want []string
	}{
		{"everything", Tree{}, append([]string{"/"}, all...)},
		{"text", Tree{Kind: Text}, []string{"a/code.go", "a/read.txt"}},
		{"binaries", Tree{Kind: Binaries}, []string{"b/libx.so.1", "b/tool"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.tree.Roots = []string{dir}
			var got []string
			prefix := strings.TrimPrefix(filepath.ToSlash(dir), "/")
			for name := range unpack(t, build(t, &Cache{Dir: t.TempDir()}, Recipe{"layer", &row.tree, Go(1)})) {
				got = append(got, strings.TrimPrefix(strings.TrimPrefix(name, prefix), "/"))
			}
			for i := range row.want {
				row.want[i] = strings.TrimPrefix(row.want[i], "/")
			}
			slices.Sort(got)
			slices.Sort(row.want)
			if !slices.Equal(got, row.want) {
				t.Errorf("there are %q, not %q", got, row.want)
			}
		})
	}
	one := unpack(t, build(t, &Cache{Dir: t.TempDir()},
		Recipe{"layer", &Tree{Roots: []string{dir}, OneFile: true, Kind: Text}, Go(1)}))
	if len(one) != 1 || len(one["all"]) != 5100 {
		t.Errorf("as one file there are %d of %d bytes", len(one), len(one["all"]))
	}
	const size = 20 << 10
	sample := build(t, &Cache{Dir: t.TempDir()}, Recipe{"layer", &Tree{Roots: []string{dir}, Size: size}, Go(1)})
	if sample.Uncompressed > size+1024 || len(unpack(t, sample)) < 5 {
		t.Errorf("a sample of %d bytes has %d and %d entries", size, sample.Uncompressed, sample.Entries)
	}
	if _, err := (&Cache{Dir: t.TempDir()}).Layer(t.Context(),
		Recipe{"layer", &Tree{Roots: []string{filepath.Join(dir, "none")}}, Go(1)}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestGenerated(t *testing.T) {
	for _, row := range []struct {
		name    string
		archive Archive
		entries int
		sizes   int64 // of all files, 0 for whatever
		ratio   [2]float64
	}{
		{"noise", Noise{3, 100_000}, 3, 300_000, [2]float64{0.9, 1.05}},
		{"log", Log{Size: 1 << 20, Seed: 1}, 1, 1 << 20, [2]float64{4, 20}},
		{"log with noise", Log{Size: 100_000, Noise: 100_000}, 2, 200_000, [2]float64{1, 3}},
		{"tiny", Tiny{1234}, 1234, 0, [2]float64{4, 50}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := build(t, &Cache{Dir: t.TempDir()}, Recipe{"layer", row.archive, Go(6)})
			files := unpack(t, l)
			var sum int64
			for _, b := range files {
				sum += int64(len(b))
			}
			if len(files) != row.entries || row.sizes != 0 && sum != row.sizes {
				t.Errorf("there are %d files of %d bytes", len(files), sum)
			}
			if ratio := float64(l.Uncompressed) / float64(l.Size); ratio < row.ratio[0] || ratio > row.ratio[1] {
				t.Errorf("it compresses %.2f to 1", ratio)
			}
			again := build(t, &Cache{Dir: t.TempDir()}, Recipe{"layer", row.archive, Go(6)})
			if again.Digest != l.Digest {
				t.Errorf("made again, %s is %s", l.Digest, again.Digest)
			}
		})
	}
}

func TestCache(t *testing.T) {
	var made []string
	c := &Cache{Dir: filepath.Join(t.TempDir(), "new"),
		Log: func(_ string, args ...any) { made = append(made, args[0].(string)) }}
	recipe := func(name string, n int) Recipe { return Recipe{name, Noise{1, int64(n)}, Go(1)} }
	one := build(t, c, recipe("one", 1000))
	if again := build(t, c, recipe("one", 1000)); *again != *one {
		t.Errorf("kept is %+v, made was %+v", again, one)
	}
	build(t, c, recipe("one-more", 1000))
	if !slices.Equal(made, []string{"one", "one-more"}) {
		t.Errorf("made were %q", made)
	}
	// Another layer of the name takes its place; one with a longer name stays.
	build(t, c, recipe("one", 2000))
	build(t, c, recipe("one-more", 1000))
	if _, err := os.Stat(one.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old layer: %v", err)
	}
	if len(made) != 3 {
		t.Errorf("made were %q", made)
	}
	// One that was cut short is made again.
	if err := os.Truncate(build(t, c, recipe("one", 2000)).Path, 10); err != nil {
		t.Fatal(err)
	}
	unpack(t, build(t, c, recipe("one", 2000)))
	if len(made) != 4 {
		t.Errorf("made were %q", made)
	}
	// A failure leaves nothing behind.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before, _ := os.ReadDir(c.Dir)
	if _, err := c.Layer(ctx, recipe("cancelled", 1000)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, the error is %v", err)
	}
	if after, _ := os.ReadDir(c.Dir); len(after) != len(before) {
		t.Errorf("%v became %v", before, after)
	}
}
