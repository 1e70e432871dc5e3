package corpus

import (
	"archive/tar"
	"errors"
	"io"
	"time"
)

// Tar takes the entries of an archive. They have no owner and all the same
// time: the archive depends only on names, contents and modes.
type Tar struct {
	w       *tar.Writer
	entries int
}

func (t *Tar) entry(h *tar.Header) error {
	h.ModTime = time.Unix(1_000_000_000, 0)
	t.entries++
	return t.w.WriteHeader(h)
}

// Dir adds a directory.
func (t *Tar) Dir(name string, mode int64) error {
	return t.entry(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

// Symlink adds a symbolic link.
func (t *Tar) Symlink(name, target string) error {
	return t.entry(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

// File adds a file of size bytes, zeros where r has fewer.
func (t *Tar) File(name string, mode, size int64, r io.Reader) error {
	if err := t.entry(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size}); err != nil {
		return err
	}
	return fill(t.w, size, r)
}

// fill writes size bytes, zeros where r has fewer: a file can shrink while it
// is read.
func fill(w io.Writer, size int64, r io.Reader) error {
	n, err := io.CopyN(w, r, size)
	if errors.Is(err, io.EOF) {
		_, err = io.CopyN(w, zeros{}, size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
