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

// oldHeader is a header without the magic of any format, whose checksum counts
// bytes as signed numbers, as some of the first archivers did.
func oldHeader(name string, size int) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x0000000000001\x00        0", size))
	sum := 0
	for _, c := range b {
		sum += int(int8(c))
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// A header is one by either way to count, so that it is neither taken for no
// archive nor for a compressed stream.
func TestChecksumOfSignedBytes(t *testing.T) {
	archive := func(name string) []byte {
		return append(append(oldHeader(name, 512), bytes.Repeat([]byte{'x'}, 512)...), make([]byte, 1024)...)
	}
	// The second begins as no gzip stream does that clients know: theirs have an 8 there.
	for _, name := range []string{"gr\xf6\xdfe", "\x1f\x8b\x09name"} {
		z, err := soci.BuildZtoc(bytes.NewReader(archive(name)), soci.ZtocOptions{AllowMisread: true})
		if err != nil || z.Compression != soci.Uncompressed || len(z.Entries) != 1 {
			t.Fatalf("%q: %+v, %v", name, z, err)
		}
		if z.Entries[0].Name != name {
			t.Errorf("%q: %+v, %v", name, z, err)
		}
	}
	_, err := soci.BuildZtoc(bytes.NewReader(archive("\x1f\x8b\x08name")), soci.ZtocOptions{})
	if e, ok := errors.AsType[*soci.UnsupportedError](err); !ok || e.Reason != soci.SkipEntryName {
		t.Errorf("%v, not an *UnsupportedError with the reason %q", err, soci.SkipEntryName)
	}
}
