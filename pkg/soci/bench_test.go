package soci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"

	klauspost "github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// benchLayer packs files of one size and kind of content.
func benchLayer(b *testing.B, files, size int, content func(seed uint64, n int) []byte) []byte {
	b.Helper()
	var blob bytes.Buffer
	zw := gzip.NewWriter(&blob)
	tw := tar.NewWriter(zw)
	for i := range files {
		h := &tar.Header{Name: fmt.Sprintf("usr/share/bench/%06d", i), Mode: 0o644, Size: int64(size)}
		if err := tw.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := tw.Write(content(uint64(i), size)); err != nil {
			b.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		b.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		b.Fatal(err)
	}
	return blob.Bytes()
}

// benchLayers are of about as many bytes before compression, all but the last.
var benchLayers = []struct {
	name        string
	files, size int
	content     func(seed uint64, n int) []byte
}{
	{"text", 16, 1 << 20, testlayers.Text},
	{"mixed", 16, 1 << 20, testlayers.Mixed},
	{"noise", 16, 1 << 20, testlayers.Noise},
	{"tiny", 10_000, 100, testlayers.Text},
	{"small", 1, 64 << 10, testlayers.Mixed},
}

// benchBlobs has each layer worked on; the bytes per second are those of the
// compressed layer.
func benchBlobs(b *testing.B, work func(blob []byte, d digest.Digest) error) {
	for _, l := range benchLayers {
		b.Run(l.name, func(b *testing.B) {
			blob := benchLayer(b, l.files, l.size, l.content)
			d := digest.FromBytes(blob)
			b.SetBytes(int64(len(blob)))
			b.ReportAllocs()
			for b.Loop() {
				if err := work(blob, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// plainReader hides what a bytes.Reader can do beside Read.
type plainReader struct{ io.Reader }

// BenchmarkBuildZtoc is the whole job, as for a layer of a registry.
func BenchmarkBuildZtoc(b *testing.B) {
	benchBlobs(b, func(blob []byte, d digest.Digest) error {
		z, err := soci.BuildZtoc(plainReader{bytes.NewReader(blob)},
			soci.ZtocOptions{Size: int64(len(blob)), Digest: d})
		if err != nil {
			return err
		}
		_, err = z.Marshal()
		return err
	})
}

// BenchmarkGo and BenchmarkKlauspost decompress the same layers and do no more.
func BenchmarkGo(b *testing.B) {
	benchBlobs(b, func(blob []byte, _ digest.Digest) error {
		zr, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, zr)
		return err
	})
}

func BenchmarkKlauspost(b *testing.B) {
	benchBlobs(b, func(blob []byte, _ digest.Digest) error {
		zr, err := klauspost.NewReader(bytes.NewReader(blob))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, zr)
		return err
	})
}

func BenchmarkMarshal(b *testing.B) {
	for _, l := range benchLayers {
		b.Run(l.name, func(b *testing.B) {
			z, err := soci.BuildZtoc(bytes.NewReader(benchLayer(b, l.files, l.size, l.content)), soci.ZtocOptions{})
			if err != nil {
				b.Fatal(err)
			}
			ztoc, err := z.Marshal()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(ztoc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := z.Marshal(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
