package corpus

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is a choice among the files of a tree.
type Kind string

// The kinds of files, by their names.
const (
	Everything Kind = ""
	Text       Kind = "text"   // source code and documents
	Binaries   Kind = "binary" // libraries, and executables from 64 KiB on
)

var textSuffixes = []string{
	".c", ".cc", ".cpp", ".css", ".csv", ".go", ".h", ".hpp", ".html", ".js", ".json", ".md",
	".pl", ".pm", ".po", ".py", ".pyi", ".rst", ".s", ".svg", ".txt", ".ts", ".xml", ".yaml", ".yml",
}

func (k Kind) has(path string, info fs.FileInfo) bool {
	base := filepath.Base(path)
	suffix := filepath.Ext(base)
	switch k {
	case Text:
		return info.Mode().IsRegular() && slices.Contains(textSuffixes, suffix)
	case Binaries:
		return info.Mode().IsRegular() && (suffix == ".a" || suffix == ".so" || strings.Contains(base, ".so.") ||
			suffix == "" && info.Mode()&0o111 != 0 && info.Size() >= 64<<10)
	}
	return true
}

// Tree is an archive of the files below some directories. What cannot be read
// is left out, and so is what has no place in an image, such as sockets. A link
// among the directories is followed, one below them is not.
type Tree struct {
	Roots []string
	Kind  Kind

	// Size bounds the bytes in the archive; the files are then a sample of
	// all. The default is to take everything.
	Size int64

	// Repeat is how many times everything is in the archive, under several
	// names. The default is once.
	Repeat int

	// OneFile makes one file of all.
	OneFile bool

	files []treeFile
}

type treeFile struct {
	path, name string
	link       string // where a symbolic link leads
	mode       fs.FileMode
	size       int64
	rank       uint64 // decides what is in a sample
}

const tarBlock = 512

// cost is the room that a file takes in an archive.
func (f treeFile) cost() int64 { return tarBlock + (f.size+tarBlock-1)/tarBlock*tarBlock }

// Identify looks through the directories.
func (t *Tree) Identify(w io.Writer) error {
	if t.files == nil {
		for _, root := range t.Roots {
			if err := t.walk(root); err != nil {
				return err
			}
		}
		if len(t.files) == 0 {
			return fmt.Errorf("no file to pack in %s", strings.Join(t.Roots, ", "))
		}
		t.sample()
	}
	fmt.Fprintf(w, "tree %d %t\n", t.Repeat, t.OneFile)
	for _, f := range t.files {
		fmt.Fprintf(w, "%q %q %v %d\n", f.name, f.link, f.mode, f.size)
	}
	return nil
}

func (t *Tree) walk(root string) error {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read is left out
		}
		info, err := d.Info()
		if err != nil || !t.Kind.has(path, info) {
			return nil
		}
		f := treeFile{path: path, name: strings.TrimPrefix(filepath.ToSlash(path), "/"), mode: info.Mode()}
		h := fnv.New64a()
		io.WriteString(h, f.name)
		f.rank = h.Sum64()
		switch {
		case f.mode.IsRegular():
			f.size = info.Size()
		case f.mode&fs.ModeSymlink != 0:
			if f.link, err = os.Readlink(path); err != nil {
				return nil
			}
		case !f.mode.IsDir():
			return nil
		}
		t.files = append(t.files, f)
		return nil
	})
}

// sample takes files in the order of their ranks, as long as there is room, so
// that the choice is stable and is spread over the whole tree. The last 2 % are
// left empty: only the smallest files would fit there.
func (t *Tree) sample() {
	if t.Size > 0 {
		slices.SortStableFunc(t.files, func(a, b treeFile) int { return cmp.Compare(a.rank, b.rank) })
		room := t.Size
		t.files = slices.DeleteFunc(t.files, func(f treeFile) bool {
			if f.cost() > room || room < t.Size/50 {
				return true
			}
			room -= f.cost()
			return false
		})
	}
	slices.SortStableFunc(t.files, func(a, b treeFile) int { return strings.Compare(a.name, b.name) })
}

// WriteTar writes the files in the order of their names.
func (t *Tree) WriteTar(ctx context.Context, out *Tar) error {
	if t.OneFile {
		return t.writeOne(ctx, out)
	}
	for i := range max(t.Repeat, 1) {
		prefix := ""
		if i > 0 {
			prefix = fmt.Sprintf("copy-%d/", i)
		}
		for _, f := range t.files {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f.write(out, prefix+f.name); err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
			}
		}
	}
	return nil
}

func (f treeFile) write(out *Tar, name string) error {
	mode := int64(f.mode.Perm())
	switch {
	case f.mode.IsDir():
		return out.Dir(name, mode)
	case f.link != "":
		return out.Symlink(name, f.link)
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil // what cannot be read is left out
	}
	defer r.Close()
	return out.File(name, mode, f.size, r)
}

// writeOne writes one file of all contents.
func (t *Tree) writeOne(ctx context.Context, out *Tar) error {
	var size int64
	for _, f := range t.files {
		size += f.size
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(t.concatenate(ctx, w))
	}()
	defer r.Close()
	return out.File("all", 0o644, size, r)
}

func (t *Tree) concatenate(ctx context.Context, w io.Writer) error {
	for _, f := range t.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := os.Open(f.path)
		if err != nil {
			continue
		}
		err = fill(w, f.size, r)
		r.Close()
		if err != nil && f.size > 0 {
			return err
		}
	}
	return nil
}
