package soci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
)

// pieces is a chunker of n bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Next() ([]byte, error) {
	if len(p.b) == 0 {
		return nil, io.EOF
	}
	n := min(p.n, len(p.b))
	chunk := p.b[:n]
	p.b = p.b[n:]
	return chunk, nil
}

// counter tells how much of an archive has been read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// reference lists an archive by archive/tar alone, as upstream does.
func reference(archive []byte) (entries []Entry, size int64, err error) {
	r := &counter{r: bytes.NewReader(archive)}
	t := &tocScanner{archive: &archiveReader{}, maxEntries: 1 << 20, memory: newMemory(1<<30).enter(0, nil),
		names: make(map[string]string)}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return t.all(), r.n, nil
		}
		if err != nil {
			return nil, 0, err
		}
		t.archive.pos = r.n
		if err := t.add(h); err != nil {
			return nil, 0, err
		}
	}
}

func checkTOC(t *testing.T, archive []byte, piece int) (plain bool) {
	t.Helper()
	want, wantSize, wantErr := reference(archive)
	defaults, err := Limits{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s := &tocScanner{archive: &archiveReader{chunks: &pieces{archive, piece}, blob: &blobReader{taken: 1 << 40},
		limits: defaults}, maxEntries: 1 << 20, memory: newMemory(1<<30).enter(0, nil)}
	err = s.scan()
	if unsupported, ok := errors.AsType[*UnsupportedError](err); ok && unsupported.Reason == SkipNotTar {
		// No archive: archive/tar refuses it, or finds nothing in it.
		if len(want) > 0 || wantErr != nil && !errors.Is(wantErr, tar.ErrHeader) {
			t.Fatalf("%v, by archive/tar alone %d entries, %v", err, len(want), wantErr)
		}
		return false
	}
	if (err == nil) != (wantErr == nil) || errors.Is(err, ErrUnsupported) != errors.Is(wantErr, ErrUnsupported) {
		t.Fatalf("%v, by archive/tar alone %v", err, wantErr)
	}
	if err != nil {
		return false
	}
	got := s.all()
	if s.archive.pos != wantSize || len(got) != len(want) {
		t.Fatalf("%d entries up to %d, by archive/tar alone %d up to %d", len(got), s.archive.pos, len(want), wantSize)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("entry %d: %+v, by archive/tar alone %+v", i, got[i], want[i])
		}
	}
	return true
}

// archives are those of all test layers, as far as they can be unpacked.
func archives(t testing.TB) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	add := func(name string, blob []byte) {
		if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
			zr, err := gzip.NewReader(bytes.NewReader(blob))
			if err != nil {
				return
			}
			if blob, _ = io.ReadAll(zr); len(blob) == 0 {
				return
			}
		}
		out[name] = blob
	}
	for _, l := range testlayers.Generated() {
		if strings.HasPrefix(l.Name, "tar") || l.Compression == testlayers.Uncompressed {
			add(l.Name, l.Blob())
		}
	}
	for _, b := range append(testlayers.MalformedLayers(), testlayers.UnsupportedLayers()...) {
		if !strings.HasPrefix(b.Name, "truncated") {
			add(b.Name, b.Blob)
		}
	}
	return out
}

// Plain headers are read as archive/tar reads them, wherever a chunk ends.
func TestTOCAgreesWithArchiveTar(t *testing.T) {
	sound := 0
	for name, archive := range archives(t) {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1 << 20, 1000, 512} {
				if len(archive)/piece > 10_000 {
					continue
				}
				if checkTOC(t, archive, piece) {
					sound++
				}
			}
		})
	}
	if sound < 50 {
		t.Errorf("only %d archives were sound", sound)
	}
}

// Most headers are plain; one byte changed may make them odd, or wrong.
func TestTOCOfChangedHeaders(t *testing.T) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: strings.Repeat("d/", 60) + "file", Typeflag: tar.TypeReg, Size: 3, Mode: 0o644, Uid: 12, Gid: 13,
			Uname: "u",
			Gname: "g", Format: tar.FormatUSTAR},
		{Name: "gnu", Typeflag: tar.TypeReg, Size: 3, Mode: 0o755, Format: tar.FormatGNU},
		{Name: "device", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 1, Format: tar.FormatUSTAR},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(tw, "abc")
		}
	}
	tw.Close()
	for _, header := range []int{0, 1024, 2048} {
		var h tar.Header
		if !plainHeader((*[tarBlock]byte)(buf.Bytes()[header:]), &h) {
			t.Errorf("the header at %d is not read as a plain one", header)
		}
		for i := range tarBlock {
			for _, c := range []byte{0, ' ', '0', '7', '8', 'a', '/', 0x80, 0xff} {
				b := bytes.Clone(buf.Bytes())
				b[header+i] = c
				if i < 148 || i >= 156 { // the sum is put right, or all would end there
					block := b[header : header+tarBlock]
					sum := headerSum((*[tarBlock]byte)(block))
					for j := range 6 {
						block[148+5-j] = byte('0' + sum&7)
						sum >>= 3
					}
				}
				checkTOC(t, b, 1<<20)
			}
		}
	}
}

// FuzzTOC holds the scanner against archive/tar.
func FuzzTOC(f *testing.F) {
	for _, archive := range archives(f) {
		if len(archive) < 20_000 {
			f.Add(archive)
		}
	}
	f.Fuzz(func(t *testing.T, archive []byte) { checkTOC(t, archive, 1<<20) })
}
