package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// writeFile makes name a file with content b, or leaves what was there: b goes
// to a file beside it first, which then takes its place. A device or a pipe, such
// as /dev/null, is written to: nothing may take its place.
func writeFile(name string, b []byte) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return writeInto(name, b)
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target // a link stays one
	}
	temp, err := createBeside(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", name, withoutName(err))
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(b)
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

// writeInto writes to what is no regular file.
func writeInto(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, withoutName(err))
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, withoutName(err))
	}
	return nil
}

// createBeside is os.CreateTemp, but the file gets the rights that any new one
// would.
func createBeside(name string) (*os.File, error) {
	dir, base := filepath.Split(name)
	for range 1000 {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf(".%s.%08x", base, rand.Uint32())),
			os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			path.Path = name // nobody knows the other file
		}
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("writing %s: no free name for a temporary file", name)
}

// withoutName returns what went wrong, without the name of the temporary file.
func withoutName(err error) error {
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
