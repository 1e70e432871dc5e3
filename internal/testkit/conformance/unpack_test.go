//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strings"
	"time"
)

// file is a file as unpacking a layer leaves it.
type file struct {
	mode         os.FileMode
	uid, gid     int
	modTime      time.Time
	linkname     string
	major, minor int64
	xattrs       map[string]string
	content      []byte
	files        map[string]*file // of a directory
}

// unpack does in memory what containerd's archive.Apply does on a disk: parents
// that are not there are made, symbolic links among them followed, all but
// directories replaced. What the client sees as an ordinary file, a whiteout,
// stays one. The attributes with which a hard link is listed are left out,
// which containerd gives to the file and GNU tar does not.
func unpack(archive []byte) (*file, error) {
	root := newDir()
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		if err := root.apply(h, content); err != nil {
			return nil, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func newDir() *file {
	return &file{mode: os.ModeDir | 0o755, files: make(map[string]*file)}
}

func (root *file) apply(h *tar.Header, content []byte) error {
	name := path.Clean("/" + h.Name)
	if name == "/" {
		return nil // left out by containerd
	}
	dir, base := path.Split(name)
	parent, err := root.resolve(dir, true, 0)
	if err != nil {
		return err
	}
	perm := h.FileInfo().Mode() & (os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky)
	if h.Typeflag == tar.TypeLink {
		dir, base := path.Split(h.Linkname)
		in, err := root.resolve(dir, false, 0)
		if err != nil {
			return err
		}
		target := in.files[base]
		if target == nil || target.mode.IsDir() {
			return errors.New("no such file to link to")
		}
		parent.files[path.Base(name)] = target
		return nil
	}
	f := parent.files[base]
	if f == nil || h.Typeflag != tar.TypeDir || !f.mode.IsDir() {
		f = newDir()
		parent.files[base] = f
	}
	if f.xattrs == nil {
		f.xattrs = make(map[string]string)
	}
	maps.Copy(f.xattrs, xattrsOf(h))
	types := map[byte]os.FileMode{
		tar.TypeReg: 0, tar.TypeDir: os.ModeDir, tar.TypeSymlink: os.ModeSymlink, tar.TypeFifo: os.ModeNamedPipe,
		tar.TypeBlock: os.ModeDevice, tar.TypeChar: os.ModeDevice | os.ModeCharDevice,
	}
	f.mode = types[h.Typeflag] | perm
	f.uid, f.gid, f.modTime = h.Uid, h.Gid, h.ModTime
	f.linkname, f.major, f.minor, f.content = h.Linkname, h.Devmajor, h.Devminor, content
	return nil
}

// resolve finds a directory, as a root of its own.
func (root *file) resolve(dir string, create bool, links int) (*file, error) {
	at, way := root, []*file{root}
	rest := strings.Split(dir, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(len(way)-1, 1)]
			at = way[len(way)-1]
			continue
		}
		next := at.files[name]
		switch {
		case next == nil && !create:
			next = newDir() // nothing is in it, but ".." leads back
		case next == nil:
			next = newDir()
			at.files[name] = next
		case next.mode&os.ModeSymlink != 0:
			if links++; links > 100 {
				return nil, errors.New("too many links")
			}
			if strings.HasPrefix(next.linkname, "/") {
				at, way = root, []*file{root}
			}
			rest = append(strings.Split(next.linkname, "/"), rest...)
			continue
		case !next.mode.IsDir():
			return nil, errors.New("not a directory")
		}
		at = next
		way = append(way, at)
	}
	return at, nil
}

func gunzip(blob []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
