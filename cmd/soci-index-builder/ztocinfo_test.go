package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/pkg/soci"
)

// What can be no zTOC is not read to its end, however large it is.
func TestNoZtoc(t *testing.T) {
	tar := strings.Repeat("usr/", 64) + "\x00ustar" + strings.Repeat("\x00", 512)
	for what, tt := range map[string]struct {
		begin string
		size  int64
		want  string // empty: it is read
	}{
		"gzip":         {"\x1f\x8b\x08\x00", 1 << 30, "but compressed with gzip"},
		"zstd":         {"\x28\xb5\x2f\xfd", 1 << 20, "but compressed with zstd"},
		"tar":          {tar, 1 << 20, "but a tar archive"},
		"large":        {"", soci.MaxZtocSize + 1, "it has more than 2.0 GiB"},
		"ustar inside": {"\x10\x00\x00\x00" + tar[4:], 1 << 20, ""},
		"short":        {"\x10\x00\x00", 3, ""},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := errors.Join(os.WriteFile(path, []byte(tt.begin), 0o600), os.Truncate(path, tt.size)); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := readZtoc(f, soci.MaxZtocSize)
		if tt.want == "" {
			if err != nil || int64(len(b)) != tt.size {
				t.Errorf("%s: %d bytes, %v", what, len(b), err)
			}
			continue
		}
		at, _ := f.Seek(0, 1)
		if !errors.Is(err, errNoZtoc) || !strings.Contains(err.Error(), tt.want) || at > 512 {
			t.Errorf("%s: %v after %d bytes, want %q", what, err, at, tt.want)
		}
	}
	for size, want := range map[int]bool{100: true, 101: false} { // of what has no size before it is read
		if b, err := readZtoc(strings.NewReader(strings.Repeat("x", size)), 100); (err == nil) != want ||
			want && len(b) != size {
			t.Errorf("%d bytes: %d, %v", size, len(b), err)
		}
	}
}
