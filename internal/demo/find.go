package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// files are what an image is made of: entries of a directory.
type files struct {
	dir     string
	entries []string // all of them if nil
	what    string   // for people
}

// finder finds real files on any machine.
type finder struct {
	goRoot  func(context.Context) (string, error)
	folders []string               // of the system, the best first
	program func() (string, error) // path of the running program

	// The least and the most of a system's folder that are taken, in bytes: enough
	// for a layer of 10 MiB when it is compressed, and a demo of seconds.
	least, most int64

	// The largest file that is taken, in bytes: to read one lazily is to leave the
	// most of a layer alone.
	file int64
}

var defaultFinder = finder{
	goRoot:  goInstallation,
	folders: []string{"/usr/share", "/usr/lib", "/usr/bin", "/usr/local", "/opt"},
	program: os.Executable,
	least:   40 << 20,
	most:    96 << 20,
	file:    8 << 20,
}

// find returns the Go installation; where there is none, part of a folder of the
// system; in a container that has little, the program itself.
func (f finder) find(ctx context.Context) (files, error) {
	if dir, err := f.goRoot(ctx); err == nil {
		return files{dir, nil, "an image of the Go installation in " + dir}, nil
	}
	for _, dir := range f.folders {
		entries, err := f.pick(ctx, dir)
		if err != nil {
			return files{}, err
		}
		if entries != nil {
			return files{dir, entries, "an image of files in " + dir}, nil
		}
	}
	program, err := f.program()
	if err != nil {
		return files{}, fmt.Errorf("looking for files to make an image of: %w", err)
	}
	dir, name := filepath.Split(program)
	return files{dir, []string{name}, "an image of this program"}, nil
}

// pick chooses the largest entries of a folder that can be read and fit; none if
// these are too small together. The error is that of ctx.
func (f finder) pick(ctx context.Context, dir string) ([]string, error) {
	listed, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil
	}
	type sized struct {
		name  string
		bytes int64
	}
	var all []sized
	for _, entry := range listed {
		if n, largest, err := size(ctx, dir, entry.Name()); err == nil && n <= f.most && largest <= f.file {
			all = append(all, sized{entry.Name(), n})
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	slices.SortStableFunc(all, func(a, b sized) int { return int(b.bytes - a.bytes) })
	var entries []string
	var total int64
	for _, one := range all {
		if total+one.bytes > f.most || !readable(ctx, dir, one.name) {
			continue
		}
		total += one.bytes
		entries = append(entries, one.name)
	}
	if total < f.least || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return entries, nil
}

// size returns how many bytes the regular files of a top-level entry have
// together, and the largest of them.
func size(ctx context.Context, dir, top string) (total, largest int64, err error) {
	err = walk(dir, top, func(_ string, info fs.FileInfo, _ string) error {
		if info.Mode().IsRegular() {
			total += info.Size()
			largest = max(largest, info.Size())
		}
		return ctx.Err()
	})
	return total, largest, err
}

// readable reports whether everything in a top-level entry can be read.
func readable(ctx context.Context, dir, top string) bool {
	return walk(dir, top, func(path string, info fs.FileInfo, _ string) error {
		if !info.Mode().IsRegular() {
			return ctx.Err()
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(file.Close(), ctx.Err())
	}) == nil
}

// goInstallation finds the Go installation, by the go command.
func goInstallation(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	dir := strings.TrimSpace(string(out))
	if err == nil && dir == "" {
		err = errors.New("go env GOROOT is empty")
	}
	return dir, err
}
