package testlayers

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestKept: what is kept is what was written, and a file that was damaged is made
// again.
func TestKept(t *testing.T) {
	folder := t.TempDir()
	before := keptFolder
	keptFolder = func() string { return folder }
	defer func() { keptFolder = before }()

	data := Mixed(12, keepFrom)
	want := goGzip(data, 1, 0)
	written := 0
	get := func(level, step int) []byte {
		return kept(data, level, step, func() []byte { written++; return goGzip(data, level, step) })
	}
	for range 2 {
		if !bytes.Equal(get(1, 0), want) || written != 1 {
			t.Fatalf("not the bytes that were kept, written %d times", written)
		}
	}
	get(6, 0)
	get(1, 1000)
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(names) != 3 || written != 3 {
		t.Fatalf("%d files for 3 ways to compress, written %d times, %v", len(names), written, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(get(1, 0), want) || written != 4 {
		t.Error("a damaged file was taken")
	}
	kept(data[1:], 1, 0, func() []byte { written++; return nil })
	if names, _ = filepath.Glob(filepath.Join(folder, "*")); len(names) != 3 {
		t.Error("little data was kept")
	}
}
