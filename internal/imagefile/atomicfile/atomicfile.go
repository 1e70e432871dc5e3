// Package atomicfile writes files so that a reader sees either the old content
// or the new, and never a part of it. Start with [Write].
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write makes name a file with the content. The content goes to a file beside
// it first, which then takes its place, so name keeps what it had if anything
// fails. A mode of 0 is that of any new file: 0666 less the umask. A symbolic link
// is replaced, not what it leads to. Errors name the file and match those of
// package fs.
func Write(name string, content []byte, mode fs.FileMode) (err error) {
	temp, err := createBeside(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", name, cause(err))
			_ = os.Remove(temp.Name())
		}
	}()
	if mode != 0 {
		err = temp.Chmod(mode)
	}
	if err == nil {
		_, err = temp.Write(content)
	}
	if err == nil {
		err = temp.Sync()
	}
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}

// Output is Write for a name that a user gave for an output. A file that is there
// keeps its permissions: others may not be meant to read it. A link stays one, and
// the file that it leads to is replaced. A device or a pipe, such as /dev/null, is
// written to: nothing may take its place.
func Output(name string, content []byte) error {
	var mode fs.FileMode
	if info, err := os.Stat(name); err == nil {
		if !info.Mode().IsRegular() {
			return writeInto(name, content)
		}
		mode = info.Mode().Perm()
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	return Write(name, content, mode)
}

// writeInto writes to what is no regular file.
func writeInto(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, cause(err))
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, cause(err))
	}
	return nil
}

// createBeside is os.CreateTemp, which makes files that only their owner can
// read, with the permissions of any new file. Its errors name the file that was
// asked for: the temporary one means nothing to anybody.
func createBeside(name string) (*os.File, error) {
	dir, base := filepath.Split(name)
	for range 1000 {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf(".%s.%08x", base, rand.Uint32())),
			os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			path.Path = name
		}
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("writing %s: no free name for a temporary file", name)
}

// cause returns err without the name of the temporary file.
func cause(err error) error {
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
