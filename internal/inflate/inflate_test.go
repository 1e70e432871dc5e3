package inflate_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"testing/iotest"

	kflate "github.com/klauspost/compress/flate"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/testkit/testlayers"
)

// run is all that a decoding shows.
type run struct {
	out        []byte
	consumed   int64
	boundaries []inflate.Boundary
	windows    [][]byte
	err        error
}

func decode(r io.Reader) *run {
	var got run
	d := inflate.NewReader(r, inflate.Events{
		Consumed: func(n int) { got.consumed += int64(n) },
		Boundary: func(b inflate.Boundary, window []byte) error {
			if got.consumed != b.In {
				return errors.New("a boundary out of step with the consumed bytes")
			}
			got.boundaries = append(got.boundaries, b)
			got.windows = append(got.windows, bytes.Clone(window))
			return nil
		},
	})
	for got.err == nil {
		var p []byte
		p, got.err = d.Next()
		got.out = append(got.out, p...)
	}
	if got.err == io.EOF {
		got.err = nil
	}
	return &got
}

func gzipLayers(t testing.TB) []testlayers.Layer {
	var layers []testlayers.Layer
	for _, l := range testlayers.Generated() {
		if l.Compression == testlayers.Gzip {
			layers = append(layers, l)
		}
	}
	if len(layers) == 0 {
		t.Fatal("no layers")
	}
	return layers
}

func TestOutput(t *testing.T) {
	for _, l := range gzipLayers(t) {
		t.Run(l.Name, func(t *testing.T) {
			blob := l.Blob()
			zr, err := gzip.NewReader(bytes.NewReader(blob))
			if err != nil {
				t.Fatal(err)
			}
			want, err := io.ReadAll(zr)
			if err != nil {
				t.Fatal(err)
			}
			whole := decode(bytes.NewReader(blob))
			if whole.err != nil {
				t.Fatal(whole.err)
			}
			if !bytes.Equal(whole.out, want) {
				t.Errorf("%d bytes of output differ from compress/gzip's %d", len(whole.out), len(want))
			}
			if whole.consumed != int64(len(blob)) {
				t.Errorf("%d bytes consumed of %d", whole.consumed, len(blob))
			}
			if len(blob) > 1<<20 || len(whole.boundaries) > 1000 {
				return
			}
			for name, r := range map[string]io.Reader{
				"one byte":   iotest.OneByteReader(bytes.NewReader(blob)),
				"halves":     iotest.HalfReader(bytes.NewReader(blob)),
				"data error": iotest.DataErrReader(bytes.NewReader(blob)),
			} {
				pieces := decode(r)
				if pieces.err != nil || !bytes.Equal(pieces.out, want) ||
					len(pieces.boundaries) != len(whole.boundaries) {
					t.Errorf("%s: %d bytes, %d boundaries, error %v", name, len(pieces.out), len(pieces.boundaries),
						pieces.err)
					continue
				}
				for i, b := range pieces.boundaries {
					if b != whole.boundaries[i] || !bytes.Equal(pieces.windows[i], whole.windows[i]) {
						t.Errorf("%s: boundary %d is %+v, not %+v", name, i, b, whole.boundaries[i])
					}
				}
			}
		})
	}
}

// Every boundary is a place from which another decoder can go on, and the
// window is the output before it.
func TestResume(t *testing.T) {
	var withBits, atZero, later int
	for _, l := range gzipLayers(t) {
		blob := l.Blob()
		got := decode(bytes.NewReader(blob))
		if got.err != nil {
			t.Fatal(l.Name, got.err)
		}
		padded := append(make([]byte, inflate.WindowSize), got.out...)
		step := max(1, len(got.boundaries)/25)
		for i := 0; i < len(got.boundaries); i += step {
			b := got.boundaries[i]
			if want := padded[b.Out : b.Out+inflate.WindowSize]; !bytes.Equal(got.windows[i], want) {
				t.Fatalf("%s: the window of boundary %d is not the output before it", l.Name, i)
			}
			cp := kflate.InflateCheckpoint{CompressedOffset: b.In, UncompressedOffset: b.Out, Window: got.windows[i]}
			if b.Bits != 0 {
				cp.CompressedOffset--
				cp.BitOffset = 8 - b.Bits
				withBits++
			}
			if b.Out == 0 && i > 0 {
				atZero++
			}
			r := kflate.NewReaderOpts(bytes.NewReader(blob[cp.CompressedOffset:]), kflate.WithResumeFrom(cp))
			out, err := io.ReadAll(io.LimitReader(r, 1<<20))
			if err != nil {
				t.Fatalf("%s: from boundary %d %+v: %v", l.Name, i, b, err)
			}
			if rest := got.out[b.Out:]; !bytes.HasPrefix(rest, out) {
				t.Fatalf("%s: from boundary %d %+v: other output", l.Name, i, b)
			}
			if b.In > 18 && b.Bits == 0 && bytes.Equal(blob[b.In-10:b.In-6], []byte{0x1f, 0x8b, 8, 0}) {
				later++
			}
		}
	}
	if withBits == 0 || atZero == 0 || later == 0 {
		t.Errorf("hard cases that occurred: %d inside a byte, %d more at offset 0, %d behind a later member's header",
			withBits, atZero, later)
	}
}

func TestMalformed(t *testing.T) {
	classes := map[testlayers.Verdict]error{
		testlayers.Truncated: inflate.ErrTruncated,
		testlayers.Corrupt:   inflate.ErrCorrupt,
	}
	seen := make(map[testlayers.Verdict]int)
	for _, bad := range testlayers.MalformedLayers() {
		if bad.Compression() != testlayers.Gzip {
			continue
		}
		got := decode(bytes.NewReader(bad.Blob))
		if got.err == nil {
			// Then the fault is in the archive.
			zr, err := gzip.NewReader(bytes.NewReader(bad.Blob))
			if err == nil {
				_, err = io.Copy(io.Discard, zr)
			}
			if err != nil {
				t.Errorf("%s (%s): accepted, by compress/gzip not: %v", bad.Name, bad.How, err)
			}
			continue
		}
		seen[bad.Verdict]++
		var e *inflate.Error
		if !errors.Is(got.err, classes[bad.Verdict]) || !errors.As(got.err, &e) {
			t.Errorf("%s (%s): %v, not %s", bad.Name, bad.How, got.err, bad.Verdict)
			continue
		}
		if e.Offset < 0 || e.Offset > int64(len(bad.Blob)) {
			t.Errorf("%s: offset %d of %d", bad.Name, e.Offset, len(bad.Blob))
		}
		if again := decode(iotest.OneByteReader(bytes.NewReader(bad.Blob))); again.err == nil ||
			again.err.Error() != got.err.Error() {
			t.Errorf("%s: byte by byte %v, at once %v", bad.Name, again.err, got.err)
		}
	}
	if seen[testlayers.Truncated] < 100 || seen[testlayers.Corrupt] < 20 {
		t.Errorf("too few malformed streams: %v", seen)
	}
}

// Whatever bit is flipped, the stream is refused: by its codes, its checksum,
// or its length. Only the header's informative fields may differ.
func TestBitFlips(t *testing.T) {
	data := testlayers.Mixed(5, 2_500)
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	zw.Write(data)
	zw.Close()
	for i := range buf.Len() * 8 {
		blob := bytes.Clone(buf.Bytes())
		blob[i/8] ^= 1 << (i % 8)
		got := decode(bytes.NewReader(blob))
		padding := i/8 == buf.Len()-13      // before the length of the empty stored block that ends the stream
		informative := i/8 >= 4 && i/8 < 10 // MTIME, XFL, OS
		text := i == 3*8                    // FTEXT
		switch {
		case informative || text:
			if got.err != nil || !bytes.Equal(got.out, data) {
				t.Errorf("bit %d of the header: %v", i, got.err)
			}
		case got.err == nil && !padding:
			t.Errorf("bit %d: accepted", i)
		case got.err == nil && !bytes.Equal(got.out, data):
			t.Errorf("bit %d: accepted with other output", i)
		case got.err != nil && !errors.As(got.err, new(*inflate.Error)):
			t.Errorf("bit %d: %v", i, got.err)
		}
	}
}

func TestSourceError(t *testing.T) {
	blob := testlayers.GoGzip(testlayers.Mixed(6, 400_000), 6, 0)
	broken := errors.New("the line broke")
	for _, n := range []int{0, 1, 5, 100, len(blob) / 2, len(blob) - 1, len(blob)} {
		d := inflate.NewReader(io.MultiReader(bytes.NewReader(blob[:n]), iotest.ErrReader(broken)), inflate.Events{})
		var err error
		for err == nil {
			_, err = d.Next()
		}
		if err != broken {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if _, again := d.Next(); again != broken {
			t.Errorf("after %d bytes, again: %v", n, again)
		}
	}
}

func TestBoundaryError(t *testing.T) {
	enough := errors.New("enough")
	calls := 0
	d := inflate.NewReader(bytes.NewReader(testlayers.GoGzip(testlayers.Mixed(7, 1<<20), 6, 0)), inflate.Events{
		Boundary: func(inflate.Boundary, []byte) error {
			if calls++; calls == 3 {
				return enough
			}
			return nil
		},
	})
	var err error
	for err == nil {
		_, err = d.Next()
	}
	if err != enough || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestNoProgress(t *testing.T) {
	if got := decode(stuck{}); got.err != io.ErrNoProgress {
		t.Errorf("%v", got.err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// FuzzDeflate holds the decoder against compress/flate: the input is a deflate
// stream, wrapped so that the checksum does not hide what lies behind it.
func FuzzDeflate(f *testing.F) {
	for _, l := range gzipLayers(f) {
		if blob := l.Blob(); len(blob) < 100_000 {
			f.Add(blob[10:], uint8(0))
		}
	}
	for i, bad := range testlayers.MalformedLayers() {
		if bad.Compression() == testlayers.Gzip && len(bad.Blob) > 18 {
			f.Add(bad.Blob[10:], uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		in := bytes.NewReader(stream)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(in), 64<<20))
		d := &testlayers.Deflate{Out: want}
		blob := append(testlayers.GzipHeader{}.Bytes(), stream...)
		if wantErr == nil {
			blob = blob[:len(blob)-in.Len()]
		}
		blob = append(blob, testlayers.MemberSum(testlayers.GzipHeader{}, d, crc32.ChecksumIEEE(want),
			uint32(len(want)))[10:]...)

		var r io.Reader = bytes.NewReader(blob)
		if piece > 0 {
			r = &pieces{r, int(piece)}
		}
		got := decode(r)
		switch {
		case wantErr == nil && got.err == nil:
			if !bytes.Equal(got.out, want) {
				t.Errorf("%d bytes of output differ from compress/flate's %d", len(got.out), len(want))
			}
		case wantErr != nil && got.err == nil:
			t.Errorf("accepted, by compress/flate not: %v", wantErr)
		case wantErr == nil:
			// zlib refuses an incomplete code of code lengths; compress/flate
			// takes a single code of one bit.
			var e *inflate.Error
			if !errors.As(got.err, &e) || e.What != inflate.IncompletePrecode {
				t.Errorf("refused, by compress/flate not: %v", got.err)
			}
		default:
			var e *inflate.Error
			if !errors.As(got.err, &e) {
				t.Errorf("%v is no *Error", got.err)
			}
		}
	})
}

// pieces reads n bytes at a time.
type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }
