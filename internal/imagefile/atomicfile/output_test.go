//go:build unix

package atomicfile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What is no regular file is written to, and stays what it is.
func TestOutputInto(t *testing.T) {
	content := []byte("content")
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan []byte, 1)
	go func() {
		b, _ := os.ReadFile(pipe) // what is missing is seen below
		read <- b
	}()
	if err := Output(pipe, content); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Fatalf("the pipe is %v, %v", info, err)
	}
	if got := <-read; !bytes.Equal(got, content) {
		t.Errorf("the pipe has %q", got)
	}
}

// A link stays one, and the file that it names gets the content.
func TestOutputLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if err := Output(link, []byte("content")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "file" {
		t.Errorf("the link names %q, %v", to, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "content" {
		t.Errorf("the file has %q, %v", b, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if err := Output(dir, nil); err == nil {
		t.Error("a folder was written")
	}
}
