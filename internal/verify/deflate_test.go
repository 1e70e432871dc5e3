package verify

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"soci-index-builder/internal/testkit/testlayers"
)

// Blocks of every kind begin at every bit of a byte, whose low bits belong to
// something else.
func TestInflaterStartsAtEveryBit(t *testing.T) {
	window := testlayers.Text(1, 32<<10)
	more := testlayers.Text(2, 5000)
	begin := map[string]func(*testlayers.Deflate){
		"fixed":         func(d *testlayers.Deflate) { d.Fixed(false); d.Compress(more); d.End() },
		"empty fixed":   func(d *testlayers.Deflate) { d.Fixed(false); d.End() },
		"stored":        func(d *testlayers.Deflate) { d.Stored(false, more) },
		"empty stored":  func(d *testlayers.Deflate) { d.Stored(false, nil) },
		"reaching back": func(d *testlayers.Deflate) { d.Fixed(false); d.Match(258, 32<<10); d.End() },
	}
	for unused := range uint8(8) {
		for _, low := range []uint64{0, 0x55, 0xff} {
			for name, block := range begin {
				t.Run(fmt.Sprintf("unused=%d/low=%#x/%s", unused, low, name), func(t *testing.T) {
					d := testlayers.Deflate{Out: bytes.Clone(window)}
					if unused > 0 {
						used := 8 - uint(unused)
						d.Bits(low&(1<<used-1), used)
					}
					block(&d)
					d.Fixed(true)
					d.Compress(more)
					d.End()
					want := d.Out[len(window):]

					stream := append(d.Bytes(), make([]byte, gzipTrailerSize)...)
					f, err := newInflater(bufio.NewReader(bytes.NewReader(stream)), unused, window)
					if err != nil {
						t.Fatal(err)
					}
					if err := iotest.TestReader(f, want); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// The prefix stands for nothing, whatever it has to fill up.
func TestAlignmentHasNoOutput(t *testing.T) {
	for unused := uint8(1); unused < 8; unused++ {
		prefix := alignment(0, unused)
		var w bitWriter
		w.bytes, w.n = prefix, len(prefix)*8-int(unused)
		w.write(1, 1) // a final, empty block behind it
		w.write(1, 2)
		w.write(0, 7)
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(w.bytes)))
		if err != nil || len(got) != 0 {
			t.Errorf("unused=%d: %d bytes, %v", unused, len(got), err)
		}
	}
}

func TestInflaterNeedsTheWindow(t *testing.T) {
	window := testlayers.Mixed(2, 32<<10)
	var deflated bytes.Buffer
	fw, _ := flate.NewWriterDict(&deflated, flate.BestCompression, window)
	fw.Write(window)
	fw.Close()
	deflated.Write(make([]byte, gzipTrailerSize))

	tampered := bytes.Clone(window)
	tampered[1234] ^= 1
	f, err := newInflater(bufio.NewReader(&deflated), 0, tampered)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, window) || !bytes.Equal(got, tampered) {
		t.Fatal("the window did not decide the output")
	}
}

func TestInflaterGoesAcrossMembers(t *testing.T) {
	parts := [][]byte{testlayers.Mixed(3, 50_000), nil, []byte("third"), []byte{4}}
	var stream bytes.Buffer
	for i, part := range parts {
		zw := gzip.NewWriter(&stream)
		if i > 0 {
			zw.Name, zw.Comment, zw.Extra = "a name", "a comment", []byte("extra")
		}
		zw.Write(part)
		zw.Close()
	}
	body := stream.Bytes()[10:] // the first member's header is 10 bytes

	f, err := newInflater(bufio.NewReader(bytes.NewReader(body)), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(f, bytes.Join(parts, nil)); err != nil {
		t.Fatal(err)
	}
}

func TestInflaterRefuses(t *testing.T) {
	var one bytes.Buffer
	zw := gzip.NewWriter(&one)
	zw.Write(testlayers.Noise(5, 10_000))
	zw.Close()
	member := one.Bytes()

	damaged := bytes.Clone(member)
	damaged[len(damaged)-1] ^= 1 // ISIZE
	for _, row := range []struct {
		name string
		body []byte
	}{
		{"empty", nil},
		{"cut inside a block", member[10:5000]},
		{"cut inside the trailer", member[10 : len(member)-3]},
		{"garbage behind the trailer", append(bytes.Clone(member[10:]), "garbage, not a header"...)},
		{"zeros behind the trailer", append(bytes.Clone(member[10:]), make([]byte, 512)...)},
		{"checksum of the second member", append(bytes.Clone(member[10:]), damaged...)},
		{"second member cut", append(bytes.Clone(member[10:]), member[:200]...)},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := newInflater(bufio.NewReader(bytes.NewReader(row.body)), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, f); err == nil {
				t.Fatal("no error")
			}
		})
	}
}
