// Package corpus makes the layers to measure, from real and generated files,
// and keeps them between runs. Begin with Cache.
package corpus

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// revision changes when a recipe makes other bytes than before.
const revision = 1

// Archive is what is packed into a layer.
type Archive interface {
	// Identify writes all that decides about the archive's bytes, and takes
	// note of it: WriteTar is called afterwards.
	Identify(w io.Writer) error

	// WriteTar writes the archive's entries.
	WriteTar(ctx context.Context, t *Tar) error
}

// Recipe of one layer.
type Recipe struct {
	Name    string // of the file to keep it in; one version of each name is kept
	Archive Archive
	Packer  Packer
}

// Layer is a finished one.
type Layer struct {
	Name         string
	Path         string `json:"-"`
	Packer       string
	Size         int64 // compressed bytes
	Digest       digest.Digest
	Uncompressed int64 // bytes of the tar stream
	Entries      int
}

// Cache keeps layers in a directory.
type Cache struct {
	Dir string

	// Log gets a line about each layer that has to be made.
	Log func(format string, args ...any)
}

// Layer returns the layer of a recipe; it makes it unless it is there already.
func (c *Cache) Layer(ctx context.Context, r Recipe) (_ *Layer, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("making layer %s: %w", r.Name, err)
		}
	}()
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n", revision, r.Packer.identity())
	id := bufio.NewWriter(h)
	if err := r.Archive.Identify(id); err != nil {
		return nil, err
	}
	id.Flush() // to a hash, which takes everything
	base := filepath.Join(c.Dir, r.Name+"-"+hex.EncodeToString(h.Sum(nil))[:16])
	if l, ok := c.stored(base); ok {
		return l, nil
	}
	if err := c.prune(r.Name); err != nil {
		return nil, err
	}
	if c.Log != nil {
		c.Log("making layer %s with %s", r.Name, r.Packer.Name)
	}
	return c.pack(ctx, base, r)
}

// stored reads a layer back. Its digest is verified where it is used.
func (c *Cache) stored(base string) (*Layer, bool) {
	b, err := os.ReadFile(base + ".json")
	if err != nil {
		return nil, false
	}
	l := &Layer{Path: base + ".layer"}
	if json.Unmarshal(b, l) != nil {
		return nil, false
	}
	info, err := os.Stat(l.Path)
	return l, err == nil && info.Size() == l.Size
}

// prune removes what was kept under a name, so that files that change from run
// to run do not fill the disk.
func (c *Cache) prune(name string) error {
	const idLen = 16
	entries, err := os.ReadDir(c.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), name+"-")
		if stem, _, _ := strings.Cut(id, "."); !ok || len(stem) != idLen ||
			strings.Trim(stem, "0123456789abcdef") != "" {
			continue
		}
		if err := os.Remove(filepath.Join(c.Dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// pack makes the layer under another name first: what is there is whole.
func (c *Cache) pack(ctx context.Context, base string, r Recipe) (_ *Layer, err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(c.Dir, "making-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	defer f.Close()
	sum := sha256.New()
	out := &counter{w: bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)}
	packed, err := r.Packer.open(ctx, out)
	if err != nil {
		return nil, err
	}
	archive := &counter{w: bufio.NewWriterSize(packed, 1<<20)}
	t := &Tar{w: tar.NewWriter(archive)}
	if err = r.Archive.WriteTar(ctx, t); err == nil {
		err = errors.Join(t.w.Close(), archive.flush())
	}
	if err = errors.Join(err, packed.Close()); err != nil {
		return nil, err
	}
	if err := errors.Join(out.flush(), f.Close()); err != nil {
		return nil, err
	}
	l := &Layer{
		Name: r.Name, Path: base + ".layer", Packer: r.Packer.Name, Size: out.n,
		Digest: digest.NewDigestFromBytes(digest.SHA256, sum.Sum(nil)), Uncompressed: archive.n,
		Entries: t.entries,
	}
	b, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), l.Path); err != nil {
		return nil, err
	}
	return l, os.WriteFile(base+".json", append(b, '\n'), 0o600)
}

// counter is a buffered writer that counts what is written to it.
type counter struct {
	w *bufio.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) flush() error { return c.w.Flush() }
