package dist

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// entry is a file in an archive: a file of this machine.
type entry struct {
	name string // within the archive, with slashes
	from string
	mode int64 // 0644 or 0755
}

// archive packs entries into a gzip-compressed tar archive at path, below one
// folder. Order, owners and times do not depend on the machine.
func archive(path, folder string, entries []entry) error {
	return replace(path, func(partial string) error {
		if err := writeArchive(partial, folder, entries); err != nil {
			return fmt.Errorf("packing %s: %w", path, err)
		}
		return nil
	})
}

func writeArchive(path, folder string, entries []entry) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression) // without name and time
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for _, e := range sorted {
		if err := add(t, folder+"/"+e.name, e); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

func add(t *tar.Writer, name string, e entry) error {
	in, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: e.mode,
		ModTime: modified, Format: tar.FormatUSTAR,
	}
	if err := t.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(t, in)
	return err
}
