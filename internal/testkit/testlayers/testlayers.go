// Package testlayers makes the layers that the tests of this module share:
// sound ones, ones that a zTOC cannot describe, and malformed ones.
//
// [Generated] returns every sound layer, made by the compressors that are linked
// in. [Stored] returns those whose bytes are kept under testdata, so that digests
// of their zTOCs can be compared across versions of the compressors.
// [UnsupportedLayers] and [MalformedLayers] return layers that have no zTOC, each
// with the expected verdict.
//
// Everything is deterministic. The package imports no other package of this
// module, so that each of them may import it.
package testlayers

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sync"
)

// Media types of layers.
const (
	MediaTypeGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
	MediaTypeTar  = "application/vnd.oci.image.layer.v1.tar"
	MediaTypeZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
)

// Compression of a layer, as a zTOC names it.
type Compression string

// The compressions of the layers in this package.
const (
	Gzip         Compression = "gzip"
	Uncompressed Compression = "uncompressed"
)

// MediaType of an OCI layer with this compression.
func (c Compression) MediaType() string {
	if c == Uncompressed {
		return MediaTypeTar
	}
	return MediaTypeGzip
}

// Layer is one sound layer.
type Layer struct {
	Name        string // of the form group/what, lower case
	How         string // for people: how the bytes were made
	Compression Compression
	SpanSizes   []int64 // uncompressed bytes; those that are interesting here

	// Blob returns the layer's bytes; the caller must not change them. They are
	// made again by each call for generated layers.
	Blob func() []byte

	// Stored: the bytes are kept under testdata.
	Stored bool

	// Misread is the SkipReason of a layer whose zTOC is right, and which
	// upstream's own client reads wrongly by way of it; otherwise empty.
	Misread string

	// LostTimes: some times are beyond what the zTOC's text form can say, so
	// that it has none for them, and no reader can restore them.
	LostTimes bool
}

// testdata is the folder at the root of the module, which the tests find from
// the folder of their package.
var testdata = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
})

// readTestdata reads a file below testdata.
func readTestdata(name string) ([]byte, error) {
	dir, err := testdata()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
}

// storedPath of a layer in testdata.
func (l Layer) storedPath() string {
	ext := ".tar.gz"
	if l.Compression == Uncompressed {
		ext = ".tar"
	}
	return path.Join("layers", l.Name+ext)
}

// Named returns the bytes of the layer of Generated with that name, and panics
// without one: the name is a literal of a test.
func Named(name string) []byte {
	for _, l := range Generated() {
		if l.Name == name {
			return l.Blob()
		}
	}
	panic("testlayers: no layer " + name)
}

// Generated returns every sound layer, made by this build's writers.
func Generated() []Layer {
	var all []Layer
	all = append(all, writerLayers()...)
	all = append(all, memberLayers()...)
	all = append(all, blockLayers()...)
	all = append(all, boundaryLayers()...)
	all = append(all, headerLayers()...)
	all = append(all, tarLayers()...)
	all = append(all, tarEndLayers()...)
	all = append(all, rawTarLayers()...)
	all = append(all, uncompressedLayers()...)
	all = append(all, bigLayers()...)
	for i := range all {
		all[i].Misread = misread[all[i].Name]
	}
	return all
}

// misread are the layers of Generated that clients misread.
var misread = map[string]string{
	"writer/go-flush-twice":       "empty-span",
	"member/empty-first":          "empty-span",
	"member/empty-first-three":    "empty-span",
	"member/empty-first-many":     "empty-span",
	"block/first-empty-stored":    "empty-span",
	"block/first-empty-fixed":     "empty-span",
	"block/first-empty-all-kinds": "empty-span",
	"header/all-second":           "empty-span",
	"tar/names":                   "parent-not-a-directory",
	"tar/duplicates":              "repeated-directory",
	"tar/times-lost":              "modification-time",
	"tar/numbers":                 "owner",
	"tar/xattrs":                  "empty-xattr",
	"tar/pax-many":                "empty-xattr",
	"tar/header-only-sizes":       "entry-size",
}

// Stored returns the layers whose bytes are kept under testdata. A layer that
// should be there and is not is an error, and so is none at all.
func Stored() ([]Layer, error) {
	var stored []Layer
	for _, l := range Generated() {
		if !l.Stored {
			continue
		}
		blob, err := readTestdata(l.storedPath())
		if err != nil {
			return nil, fmt.Errorf("stored layer %s: %w", l.Name, err)
		}
		l.Blob = func() []byte { return blob }
		stored = append(stored, l)
	}
	if len(stored) == 0 {
		return nil, fmt.Errorf("no stored layer")
	}
	return stored, nil
}

// usualSpans are small enough that small layers have several spans.
var usualSpans = []int64{1, 64 << 10, 100_000, 1 << 20}

// gz is a stored gzip layer.
func gz(name, how string, blob func() []byte) Layer {
	return Layer{Name: name, How: how, Compression: Gzip, SpanSizes: usualSpans, Blob: blob, Stored: true}
}

// plain is a stored uncompressed layer.
func plain(name, how string, blob func() []byte) Layer {
	return Layer{Name: name, How: how, Compression: Uncompressed, SpanSizes: []int64{512, 64 << 10, 100_000, 1 << 20},
		Blob: blob, Stored: true}
}

// baseTar is the archive in most gzip layers: about 130 KiB.
var baseTar = sync.OnceValue(func() []byte {
	t := newTar()
	t.dir("etc/")
	t.file("etc/hostname", []byte("layer\n"))
	t.file("etc/empty", nil)
	t.dir("usr/")
	t.dir("usr/share/")
	t.file("usr/share/words.txt", Text(1, 60_000))
	t.file("usr/share/noise.bin", Noise(2, 5000))
	t.file("usr/share/zeros.bin", make([]byte, 45_000))
	t.file("usr/share/mixed.dat", Mixed(3, 20_001))
	t.symlink("usr/words", "share/words.txt")
	t.file("usr/last", Text(4, 511))
	return t.close()
})
