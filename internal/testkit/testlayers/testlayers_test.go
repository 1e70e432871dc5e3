package testlayers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the stored layers again; their golden digests must be renewed then, too")

// content of a layer, its tar archive.
func content(t *testing.T, c Compression, blob []byte) []byte {
	t.Helper()
	if c == Uncompressed {
		return blob
	}
	r, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestGeneratedAreSound(t *testing.T) {
	seen := make(map[string]bool)
	for _, l := range Generated() {
		t.Run(l.Name, func(t *testing.T) {
			if seen[l.Name] {
				t.Fatalf("two layers of this name")
			}
			seen[l.Name] = true
			blob := l.Blob()
			if !bytes.Equal(blob, l.Blob()) {
				t.Fatal("two calls give different bytes")
			}
			r := tar.NewReader(bytes.NewReader(content(t, l.Compression, blob)))
			for {
				_, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestStored checks that the stored layers stand for the same archives as the
// generated ones. Their compressed bytes may differ once a writer changes;
// that is what they are stored for.
func TestStored(t *testing.T) {
	if *update {
		writeStored(t)
		t.Skip("written; run again without -update")
	}
	stored, err := Stored()
	if err != nil {
		t.Fatal(err)
	}
	generated := make(map[string]Layer)
	for _, l := range Generated() {
		generated[l.Name] = l
	}
	known := make(map[string]bool)
	for _, l := range stored {
		known[l.storedPath()] = true
		t.Run(l.Name, func(t *testing.T) {
			want := content(t, l.Compression, generated[l.Name].Blob())
			if !bytes.Equal(content(t, l.Compression, l.Blob()), want) {
				t.Error("the stored archive is not the generated one")
			}
		})
	}
	total := 0
	dir, err := testdata()
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(os.DirFS(dir), "layers", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !known[path] {
			t.Errorf("%s belongs to no layer", path)
		}
		info, err := d.Info()
		total += int(info.Size())
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if total > 3<<20 {
		t.Errorf("the stored layers take %d bytes, more than 3 MiB", total)
	}
	if readme, err := readTestdata("README.md"); err != nil || string(readme) != readmeText() {
		t.Errorf("testdata/README.md does not describe the layers (%v); run with -update", err)
	}
}

func writeStored(t *testing.T) {
	t.Helper()
	dir, err := testdata()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "layers")); err != nil {
		t.Fatal(err)
	}
	for _, l := range Generated() {
		if !l.Stored {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(l.storedPath()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, l.Blob(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(readmeText()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readmeText() string {
	var b strings.Builder
	b.WriteString(`# Stored layers

Small layers whose bytes are kept, since gzip writers change with their
versions, and in golden.json what upstream's builder made of them. This file and
the layers are written by

    go test ./internal/testkit/testlayers -run TestStored -update

and golden.json, which must be renewed whenever they are, by

    go test -tags conformance ./internal/testkit/conformance -run TestGolden -update

| layer | how it was made |
|---|---|
`)
	for _, l := range Generated() {
		if l.Stored {
			fmt.Fprintf(&b, "| %s | %s |\n", l.Name, l.How)
		}
	}
	return b.String()
}

// TestBad checks that what claims to be malformed gzip or an unsound archive
// is refused by an independent reader as well, where that reader checks it.
func TestBad(t *testing.T) {
	seen := make(map[string]bool)
	for _, b := range append(MalformedLayers(), UnsupportedLayers()...) {
		if seen[b.Name] {
			t.Errorf("two layers of the name %s", b.Name)
		}
		seen[b.Name] = true
		if (b.Verdict == Unsupported) != (b.Reason != "") {
			t.Errorf("%s: a reason belongs to ErrUnsupported alone", b.Name)
		}
		if b.Verdict == Unsupported {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			if err := readAll(b); err == nil {
				t.Errorf("%s: the standard library finds nothing wrong", b.How)
			}
		})
	}
}

// readAll reads the whole blob, and the archive in it, with the standard
// library.
func readAll(b Bad) error {
	var r io.Reader = bytes.NewReader(b.Blob)
	if b.Compression() == Gzip {
		var err error
		if r, err = gzip.NewReader(r); err != nil {
			return err
		}
	}
	tr := tar.NewReader(r)
	for {
		_, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, r)
	return err
}
