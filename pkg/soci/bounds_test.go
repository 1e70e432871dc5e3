package soci_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// repeated is a layer of one gzip member, another n times, and a last one.
func repeated(first, again []byte, n int, last []byte) io.Reader {
	readers := []io.Reader{bytes.NewReader(first)}
	for range n {
		readers = append(readers, bytes.NewReader(again))
	}
	return io.MultiReader(append(readers, bytes.NewReader(last))...)
}

func tarHeader(t *testing.T, h tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := tar.NewWriter(&buf).WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// allocated runs f and tells how much it allocated in all, an upper bound of
// what it held at once.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A bomb of 1,000:1 takes memory for its checkpoints alone.
func TestBomb(t *testing.T) {
	const chunk, n = 16 << 20, 64
	zeros := testlayers.GoGzip(make([]byte, chunk), 9, 0)
	head := testlayers.GoGzip(tarHeader(t, tar.Header{Name: "bomb", Typeflag: tar.TypeReg, Size: chunk * n}), 9, 0)
	end := testlayers.GoGzip(make([]byte, 1024), 9, 0)

	var z *soci.Ztoc
	var err error
	got := allocated(func() { z, err = soci.BuildZtoc(repeated(head, zeros, n, end), soci.ZtocOptions{}) })
	if err != nil {
		t.Fatal(err)
	}
	if ratio := z.UncompressedSize / z.CompressedSize; ratio < 900 {
		t.Fatalf("the bomb expands %d:1 only", ratio)
	}
	if want := uint64(len(z.Checkpoints)*40_000+2<<20) + soci.ParallelAllocs; got > want || len(z.Checkpoints) > 256 {
		t.Errorf("%d bytes allocated for %d checkpoints, not at most %d", got, len(z.Checkpoints), want)
	}

	_, err = soci.BuildZtoc(repeated(head, zeros, n, end), soci.ZtocOptions{Limits: soci.Limits{MaxMemory: 4 << 20}})
	if !errors.Is(err, soci.ErrLimit) {
		t.Errorf("%v", err)
	}
}

// Tiny entries without end take no more memory than the limit.
func TestManyEntries(t *testing.T) {
	const limit = 32 << 20
	heads := bytes.Repeat(tarHeader(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}), 4096)
	member := testlayers.GoGzip(heads, 9, 0)
	end := testlayers.GoGzip(make([]byte, 1024), 9, 0)
	var err error
	got := allocated(func() {
		_, err = soci.BuildZtoc(repeated(member, member, 10_000_000/4096, end),
			soci.ZtocOptions{Limits: soci.Limits{MaxMemory: limit}})
	})
	if !errors.Is(err, soci.ErrLimit) {
		t.Fatalf("%v", err)
	}
	// archive/tar allocates and drops each header; what is held is less.
	if got > 6*limit {
		t.Errorf("%d bytes allocated under a limit of %d", got, limit)
	}
}

// A tar header can claim any size; it is believed only as far as bytes come.
func TestLyingSize(t *testing.T) {
	head := tarHeader(t, tar.Header{Name: "liar", Typeflag: tar.TypeReg, Size: 1 << 60})
	for name, blob := range map[string][]byte{
		"gzip": testlayers.GoGzip(append(head, make([]byte, 4096)...), 6, 0),
		"tar":  append(bytes.Clone(head), make([]byte, 4096)...),
	} {
		var err error
		got := allocated(func() { _, err = soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{}) })
		if !errors.Is(err, soci.ErrTruncated) || got > 2<<20 {
			t.Errorf("%s: %v, %d bytes allocated", name, err, got)
		}
	}
}

func TestZtocOptions(t *testing.T) {
	for name, o := range map[string]soci.ZtocOptions{
		"span size":  {SpanSize: -1},
		"size":       {Size: -1},
		"digest":     {Digest: "sha256:12"},
		"algorithm":  {Digest: "md5:d41d8cd98f00b204e9800998ecf8427e"},
		"max memory": {Limits: soci.Limits{MaxMemory: -1}},
	} {
		if _, err := soci.BuildZtoc(bytes.NewReader(good(t, 0)), o); !errors.Is(err, soci.ErrInvalidOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func archive(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
