package verify

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/testlayers"
)

// textLayer has files of many sizes that compress well, so that spans depend
// on their windows, and one entry of every kind of metadata.
func textLayer(t *testing.T) []byte {
	return compressed(t, gzip.BestCompression, archive(t, 1))
}

// archive is different for each seed, its length is not.
func archive(t *testing.T, seed uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, content []byte) {
		h.Size, h.ModTime = int64(len(content)), time.Unix(1_700_000_000, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	add(&tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	for i, size := range []int{0, 1, 511, 512, 513, 40_000, 300_000, 7, 65_536} {
		add(&tar.Header{Name: fmt.Sprintf("etc/file-%d", i), Typeflag: tar.TypeReg, Mode: 0o644, Uid: 1000, Gid: 100,
			Uname: "user", Gname: "group"},
			testlayers.Text(seed*100+uint64(i), size))
	}
	add(&tar.Header{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "file-1", Mode: 0o777}, nil)
	add(&tar.Header{Name: "etc/hard", Typeflag: tar.TypeLink, Linkname: "etc/file-2", Mode: 0o644}, nil)
	add(&tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, nil)
	add(&tar.Header{Name: "etc/xattr", Typeflag: tar.TypeReg, Mode: 0o600,
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}, testlayers.Text(seed*100+50, 20_000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(t *testing.T, level int, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zw.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gunzip(t *testing.T, blob []byte) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func descriptorOf(blob []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(blob),
		Size: int64(len(blob))}
}

func isDifference(err error) bool { return errors.Is(err, ErrDifference) }
