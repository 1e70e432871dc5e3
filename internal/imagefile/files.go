package imagefile

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	maxEntries = 100_000 // of a tar file
	maxName    = 512     // bytes of a name in it; longer ones are of no form of images
	maxLinks   = 8       // one after the other
)

// files are those of a folder or a tar file, by slash-separated names.
type files interface {
	// open returns fs.ErrNotExist for what is not there.
	open(name string) (file, error)
	io.Closer
}

// file is one of them, open.
type file struct {
	io.ReaderAt
	size  int64
	close func() error
}

func openFiles(name string) (files, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return folder{root}, nil
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is neither a file nor a folder", ErrFormat, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	archive, err := openTar(f, info.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrFormat, name, err), f.Close())
	}
	return archive, nil
}

func readFile(from files, name string, limit int64) ([]byte, error) {
	f, err := from.open(name)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return readAll(f, name, limit)
}

func readAll(f file, name string, limit int64) ([]byte, error) {
	if f.size > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrFormat, name, f.size, limit)
	}
	b := make([]byte, f.size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.size), b); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// folder is not left by any link in it.
type folder struct{ root *os.Root }

func (d folder) Close() error { return d.root.Close() }

func (d folder) open(name string) (file, error) {
	// Before it is opened: a pipe would wait for its other end.
	info, err := d.root.Stat(name)
	if err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() {
		return file{}, fmt.Errorf("%w: %s is not a file", ErrFormat, name)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return file{}, err
	}
	if info, err = f.Stat(); err != nil {
		return file{}, errors.Join(err, f.Close())
	}
	return file{f, info.Size(), f.Close}, nil
}

// archive is a tar file, whose entries are read where they stand.
type archive struct {
	f       *os.File
	entries map[string]entry
}

type entry struct {
	off, size int64
	link      string // the name of another entry
}

// compressions are told by their first bytes.
var compressions = []struct{ magic, name, undo string }{
	{"\x1f\x8b", "gzip", "gunzip"}, {"\x28\xb5\x2f\xfd", "zstd", "unzstd"}, {"BZh", "bzip2", "bunzip2"},
	{"\xfd7zXZ", "xz", "unxz"},
}

func openTar(f *os.File, size int64) (*archive, error) {
	start := make([]byte, 8)
	n, err := f.ReadAt(start, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, c := range compressions {
		if bytes.HasPrefix(start[:n], []byte(c.magic)) {
			return nil, fmt.Errorf("the file is compressed with %s: decompress it first, with: %s < %s > image.tar",
				c.name, c.undo, f.Name())
		}
	}
	a := &archive{f, map[string]entry{}}
	tr := tar.NewReader(f) // passes over contents by seeking
	for count := 0; ; count++ {
		h, err := tr.Next()
		if err == io.EOF && count > 0 {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar file, or damaged: %w", tarError(err))
		}
		if count == maxEntries {
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
		off, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := a.add(h, off, size); err != nil {
			return nil, err
		}
	}
}

// add takes an entry whose content begins at off. A later one of the same name
// replaces it, as when the file is unpacked.
func (a *archive) add(h *tar.Header, off, size int64) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "/"))
	if len(name) > maxName || len(h.Linkname) > maxName {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return fmt.Errorf("%s is stored sparse", name)
			}
		}
		if h.Size > size-off {
			return fmt.Errorf("%s: %w", name, io.ErrUnexpectedEOF)
		}
		a.entries[name] = entry{off: off, size: h.Size}
	case tar.TypeSymlink:
		a.entries[name] = entry{link: path.Join(path.Dir(name), h.Linkname)}
	case tar.TypeLink:
		a.entries[name] = entry{link: path.Clean(h.Linkname)}
	case tar.TypeGNUSparse:
		return fmt.Errorf("%s is stored sparse", name)
	}
	return nil
}

func (a *archive) Close() error { return a.f.Close() }

func (a *archive) open(name string) (file, error) {
	at := path.Clean(name)
	for range maxLinks {
		e, ok := a.entries[at]
		switch {
		case !ok:
			return file{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case e.link == "":
			return file{io.NewSectionReader(a.f, e.off, e.size), e.size, func() error { return nil }}, nil
		}
		at = e.link
	}
	return file{}, fmt.Errorf("%w: %s is a link to a link, more than %d times", ErrFormat, name, maxLinks)
}

// tarError says in plain words what package tar says.
func tarError(err error) error {
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return errCutShort
	case errors.Is(err, tar.ErrHeader):
		return errNoEntry
	}
	return err
}

var (
	errCutShort = errors.New("it is cut short")
	errNoEntry  = errors.New("there is something else where an entry must begin")
)
