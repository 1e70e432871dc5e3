package soci_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// fuzzLimits are small enough that an input which takes more than its share
// of memory meets them.
var fuzzLimits = soci.Limits{MaxMemory: 4 << 20, MaxEntries: 2000}

// FuzzBuildZtoc builds the zTOC of any bytes, or of the layer that they are a
// recipe of.
func FuzzBuildZtoc(f *testing.F) {
	for _, b := range testlayers.Recipes() {
		f.Add(true, b, int64(0))
	}
	for _, b := range smallLayers(f) {
		f.Add(false, b, int64(4096))
	}
	for i, b := range append(testlayers.MalformedLayers(), testlayers.UnsupportedLayers()...) {
		if i%7 == 0 && len(b.Blob) < 8<<10 {
			f.Add(false, b.Blob, int64(1))
		}
	}
	f.Fuzz(func(t *testing.T, recipe bool, data []byte, span int64) {
		blob := data
		if recipe {
			blob, span = testlayers.FromRecipe(data)
		}
		z, err := soci.BuildZtoc(bytes.NewReader(blob),
			soci.ZtocOptions{SpanSize: span, Limits: fuzzLimits, AllowMisread: true})
		if err != nil {
			oneClass(t, err, soci.ErrTruncated, soci.ErrCorrupt, soci.ErrUnsupported, soci.ErrLimit,
				soci.ErrInvalidOption)
			if z != nil {
				t.Error("a zTOC beside the error")
			}
			return
		}
		sound(t, z, blob)
	})
}

// smallLayers are seeds that the fuzzer can change quickly.
func smallLayers(tb testing.TB) [][]byte {
	tb.Helper()
	stored, err := testlayers.Stored()
	if err != nil {
		tb.Fatal(err)
	}
	var small [][]byte
	for _, l := range stored {
		if b := l.Blob(); len(b) < 8<<10 {
			small = append(small, b)
		}
	}
	if len(small) < 10 {
		tb.Fatalf("only %d small layers are stored", len(small))
	}
	return small
}

// oneClass checks that err is of exactly one of the classes.
func oneClass(t *testing.T, err error, classes ...error) {
	t.Helper()
	n := 0
	for _, class := range classes {
		if errors.Is(err, class) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the error is of %d classes: %v", n, err)
	}
}

// sound checks what holds for the zTOC of every layer: that it stays within
// its limits, that its spans cover the blob and have its digests, and that it
// can be written, read, and written again.
func sound(t *testing.T, z *soci.Ztoc, blob []byte) {
	t.Helper()
	if z.CompressedSize != int64(len(blob)) {
		t.Errorf("the zTOC is of a layer of %d bytes, not %d", z.CompressedSize, len(blob))
	}
	windows := 0
	for _, c := range z.Checkpoints {
		windows += len(c.Window)
	}
	if int64(windows) > fuzzLimits.MaxMemory || len(z.Entries) > fuzzLimits.MaxEntries {
		t.Errorf("%d bytes of windows and %d entries are beyond the limits", windows, len(z.Entries))
	}
	spans := z.Spans()
	if len(spans) == 0 {
		t.Fatal("no span")
	}
	for i, s := range spans {
		if s.Start < 0 || s.End < s.Start || s.End > z.CompressedSize {
			t.Fatalf("span %d goes from %d to %d of %d", i, s.Start, s.End, z.CompressedSize)
		}
		if i > 0 && (s.Start > spans[i-1].End || s.Start < spans[i-1].End-1 || s.OutStart != spans[i-1].OutEnd) {
			t.Errorf("span %d, %+v, does not join %+v", i, s, spans[i-1])
		}
		if d := digest.FromBytes(blob[s.Start:s.End]); s.Digest != d {
			t.Errorf("span %d has the digest %s, not %s", i, s.Digest, d)
		}
	}
	if last := spans[len(spans)-1]; last.End != z.CompressedSize {
		t.Errorf("the last span ends at %d of %d", last.End, z.CompressedSize)
	}

	b, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// Offsets can run backwards where a header gives a size to an entry that
	// has no content, and upstream's reader refuses that. Times outside the
	// years 0 to 9999 have no text form.
	parsed, err := soci.ParseZtoc(b)
	if err != nil {
		t.Fatalf("reading what was written: %v", err)
	}
	again, err := parsed.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, b) && textTimes(z) {
		t.Error("written, read and written again: other bytes")
	}
}

// textTimes reports whether all times have a text form.
func textTimes(z *soci.Ztoc) bool {
	for _, e := range z.Entries {
		if _, err := e.ModTime.MarshalText(); err != nil {
			return false
		}
	}
	return true
}

// FuzzParseZtoc reads any bytes as a zTOC. What can be read can be written,
// and is then the same.
func FuzzParseZtoc(f *testing.F) {
	for i, blob := range smallLayers(f) {
		z, err := soci.BuildZtoc(bytes.NewReader(blob),
			soci.ZtocOptions{SpanSize: int64(1000 + 5000*(i%3)), AllowMisread: true})
		if err != nil {
			f.Fatal(err)
		}
		if b, err := z.Marshal(); err != nil {
			f.Fatal(err)
		} else if len(b) < 200<<10 {
			f.Add(b)
			f.Add(b[:len(b)/2])
		}
	}
	f.Add([]byte(nil))
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		z, err := soci.ParseZtoc(b)
		if err != nil {
			oneClass(t, err, soci.ErrTruncated, soci.ErrCorrupt, soci.ErrLimit)
			return
		}
		_ = z.Spans()
		written, err := z.Marshal()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := soci.ParseZtoc(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !reflect.DeepEqual(z, again) {
			t.Error("read, written and read again: another zTOC")
		}
	})
}
