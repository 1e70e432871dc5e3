package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, c := range []struct {
		content string
		mode    fs.FileMode
		want    fs.FileMode
	}{
		{"first", 0o640, 0o640},
		{"second, which is longer", 0o604, 0o604},
		{"", 0o600, 0o600},
	} {
		if err := Write(name, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != c.content {
			t.Errorf("the file has %q, %v, want %q", b, err, c.content)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != c.want {
			t.Errorf("the file has the mode %v, %v, want %v", info.Mode(), err, c.want)
		}
	}
	alone(t, dir, "file")
}

func TestWriteModeOfNewFiles(t *testing.T) {
	dir := t.TempDir()
	usual := filepath.Join(dir, "usual")
	if f, err := os.Create(usual); err != nil {
		t.Fatal(err)
	} else if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(usual)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "file")
	if err := Write(name, nil, 0); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != want.Mode() {
		t.Errorf("the file has the mode %v, %v, want %v", info.Mode(), err, want.Mode())
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{filepath.Join(dir, "none", "file"), "open NAME: no such file or directory", fs.ErrNotExist},
		{folder, "writing NAME: file exists", fs.ErrExist},
	} {
		err := Write(c.name, []byte("content"), 0)
		if !errors.Is(err, c.want) || err.Error() != strings.ReplaceAll(c.text, "NAME", c.name) {
			t.Errorf("%s: %v, want %s", c.name, err, c.text)
		}
	}
	alone(t, dir, "folder") // no temporary file is left
}

// alone fails the test unless the folder has nothing but the one entry.
func alone(t *testing.T, dir, name string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 1 || all[0].Name() != name {
		t.Errorf("the folder has %v, %v, want %s alone", all, err, name)
	}
}
