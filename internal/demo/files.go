package demo

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// group is the content of one layer: top-level entries of the directory.
type group []string

// plan parts the files in up to three: the largest entries up to three
// quarters of the bytes, the smallest ones up to 1 MiB, and what is between.
// Empty groups are left out.
func plan(ctx context.Context, f files) ([]group, error) {
	type sized struct {
		name  string
		bytes int64
	}
	names := f.entries
	if names == nil {
		listed, err := os.ReadDir(f.dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range listed {
			names = append(names, entry.Name())
		}
	}
	var all []sized
	var total int64
	for _, name := range names {
		n, _, err := size(ctx, f.dir, name)
		if err != nil {
			return nil, err
		}
		total += n
		all = append(all, sized{name, n})
	}
	if total == 0 {
		return nil, fmt.Errorf("%s has no file with content", f.dir)
	}
	slices.SortStableFunc(all, func(a, b sized) int {
		switch {
		case a.bytes > b.bytes:
			return -1
		case a.bytes < b.bytes:
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	var big, middle, small group
	var inBig, inSmall int64
	for len(all) > 0 && inBig < total*3/4 {
		inBig += all[0].bytes
		big = append(big, all[0].name)
		all = all[1:]
	}
	for len(all) > 0 && inSmall+all[len(all)-1].bytes <= 1<<20 {
		inSmall += all[len(all)-1].bytes
		small = append(small, all[len(all)-1].name)
		all = all[:len(all)-1]
	}
	for _, one := range all {
		middle = append(middle, one.name)
	}
	groups := slices.DeleteFunc([]group{big, middle, small}, func(g group) bool { return len(g) == 0 })
	for _, g := range groups {
		slices.Sort(g)
	}
	return groups, nil
}

// walk visits one top-level entry of dir and all below it in lexical order,
// with the path to open and the name in the image. A link at the top is
// followed: distributions make the parts of Go's installation links.
func walk(dir, top string, visit func(path string, info fs.FileInfo, name string) error) error {
	root, err := filepath.EvalSymlinks(filepath.Join(dir, top))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a link that leads nowhere
	}
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return visit(path, info, filepath.ToSlash(filepath.Join(top, below)))
	})
}

// writeTar writes a group as an archive that depends on names, contents and
// only the permission to execute.
func writeTar(ctx context.Context, w io.Writer, dir string, g group) error {
	t := tar.NewWriter(w)
	for _, top := range g {
		err := walk(dir, top, func(path string, info fs.FileInfo, name string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return writeEntry(t, path, info, name)
		})
		if err != nil {
			return err
		}
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, path string, info fs.FileInfo, name string) error {
	h := &tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(0, 0)}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, name+"/", 0o755
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, target, 0o777
	case mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if mode&0o111 != 0 {
			h.Mode = 0o755
		}
	default:
		return nil // sockets and the like have no place in an image
	}
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(t, f, h.Size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
