package soci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"testing"

	"soci-index-builder/pkg/soci"
)

// gzipWithExtra is an archive of one file, compressed, with an extra field in
// the gzip header: the field begins at byte 12.
func gzipWithExtra(t *testing.T, level int, extra []byte) []byte {
	t.Helper()
	var blob bytes.Buffer
	zw, err := gzip.NewWriterLevel(&blob, level)
	if err != nil {
		t.Fatal(err)
	}
	zw.Extra = extra
	w := tar.NewWriter(zw)
	content := bytes.Repeat([]byte("content "), 500)
	err = w.WriteHeader(&tar.Header{Name: "file", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))})
	_, werr := w.Write(content)
	if err := errors.Join(err, werr, w.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return blob.Bytes()
}

// What stands in a gzip stream where an archive has its magic says nothing
// about the layer.
func TestGzipWithMagicOfTar(t *testing.T) {
	extra := make([]byte, 600)
	copy(extra[257-12:], "ustar\x0000")
	for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
		z, err := soci.BuildZtoc(bytes.NewReader(gzipWithExtra(t, level, extra)), soci.ZtocOptions{})
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if z.Compression != soci.Gzip || len(z.Entries) != 1 || z.Entries[0].Name != "file" {
			t.Errorf("level %d: %s with %d entries", level, z.Compression, len(z.Entries))
		}
	}
}

// A gzip stream that begins with a sound header of an archive would be unpacked
// as the one and could be mounted as the other.
func TestGzipAndTarInOne(t *testing.T) {
	extra := make([]byte, 600)
	head := gzipWithExtra(t, 6, extra)[:512]
	sum := 8 * int(' ')
	for _, c := range head {
		sum += int(c)
	}
	copy(extra[148-12:], fmt.Sprintf("%06o\x00 ", sum))
	_, err := soci.BuildZtoc(bytes.NewReader(gzipWithExtra(t, 6, extra)), soci.ZtocOptions{})
	if e, ok := errors.AsType[*soci.UnsupportedError](err); !ok || e.Reason != soci.SkipEntryName {
		t.Errorf("%v, not an *UnsupportedError with the reason %q", err, soci.SkipEntryName)
	}
}
