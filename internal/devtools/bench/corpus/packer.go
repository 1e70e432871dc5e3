package corpus

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	klauspost "github.com/klauspost/compress/gzip"
)

// Packer compresses an archive.
type Packer struct {
	Name    string   // for people
	version string   // of the program
	command []string // of the program; else open makes the writer
	writer  func(w io.Writer) (io.WriteCloser, error)
}

func (p Packer) identity() string { return p.Name + " " + p.version }

// Go is compress/gzip at a level.
func Go(level int) Packer {
	return Packer{Name: "compress/gzip -" + strconv.Itoa(level), writer: func(w io.Writer) (io.WriteCloser, error) {
		return gzip.NewWriterLevel(w, level)
	}}
}

// Klauspost is klauspost/compress at a level.
func Klauspost(level int) Packer {
	return Packer{Name: "klauspost -" + strconv.Itoa(level), writer: func(w io.Writer) (io.WriteCloser, error) {
		return klauspost.NewWriterLevel(w, level)
	}}
}

// Stored wraps the archive in stored blocks.
func Stored() Packer {
	p := Go(gzip.NoCompression)
	p.Name = "stored blocks"
	return p
}

// None leaves the archive as it is.
func None() Packer {
	return Packer{Name: "no compression",
		writer: func(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil }}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Members is made of many gzip members, as bgzip's output is.
func Members() Packer {
	return Packer{Name: "64 KiB members (as bgzip)", writer: func(w io.Writer) (io.WriteCloser, error) {
		return newMembers(w)
	}}
}

const memberSize = 64 << 10 // uncompressed

type members struct {
	w  io.Writer
	zw *klauspost.Writer
	n  int // bytes in the current member
}

func newMembers(w io.Writer) (*members, error) {
	zw, err := klauspost.NewWriterLevel(w, 6)
	return &members{w: w, zw: zw}, err
}

func (m *members) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if m.n == memberSize {
			if err := m.zw.Close(); err != nil {
				return written, err
			}
			m.zw.Reset(m.w)
			m.n = 0
		}
		n, err := m.zw.Write(p[:min(len(p), memberSize-m.n)])
		m.n, written, p = m.n+n, written+n, p[n:]
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (m *members) Close() error { return m.zw.Close() }

// Pigz is pigz at a level where it is installed, else compress/gzip with a
// flush where pigz ends its blocks.
func Pigz(ctx context.Context, level int) Packer {
	flag := "-" + strconv.Itoa(level)
	// With one processor pigz writes its blocks in another way.
	if p, ok := program(ctx, "pigz "+flag, "pigz", "-n", "-p", "2", flag); ok {
		return p
	}
	return Packer{Name: "compress/gzip " + flag + ", flushed as pigz does",
		writer: func(w io.Writer) (io.WriteCloser, error) {
			zw, err := gzip.NewWriterLevel(w, level)
			return &flusher{zw: zw}, err
		}}
}

// HasPigz reports whether p is pigz itself.
func (p Packer) HasPigz() bool { return p.command != nil && p.command[0] == "pigz" }

const pigzBlock = 128 << 10 // uncompressed, pigz's default

type flusher struct {
	zw *gzip.Writer
	n  int
}

func (f *flusher) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n, err := f.zw.Write(p[:min(len(p), pigzBlock-f.n)])
		f.n, written, p = f.n+n, written+n, p[n:]
		if err != nil {
			return written, err
		}
		if f.n == pigzBlock {
			if err := f.zw.Flush(); err != nil {
				return written, err
			}
			f.n = 0
		}
	}
	return written, nil
}

func (f *flusher) Close() error { return f.zw.Close() }

// Gzip is GNU gzip at a level, false where it is not installed.
func Gzip(ctx context.Context, level int) (Packer, bool) {
	flag := "-" + strconv.Itoa(level)
	return program(ctx, "gzip "+flag, "gzip", "-n", flag)
}

// program is a program that is installed; its first line of --version is taken
// into account.
func program(ctx context.Context, name string, command ...string) (Packer, bool) {
	out, err := exec.CommandContext(ctx, command[0], "--version").CombinedOutput()
	if err != nil {
		return Packer{}, false
	}
	version, _, _ := strings.Cut(string(out), "\n")
	return Packer{Name: name, version: version, command: command}, true
}

func (p Packer) open(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	if p.command == nil {
		return p.writer(w)
	}
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	cmd.Stdout = w
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &piped{WriteCloser: in, cmd: cmd, stderr: stderr}, nil
}

type piped struct {
	io.WriteCloser
	cmd    *exec.Cmd
	stderr *strings.Builder
}

func (p *piped) Close() error {
	err := p.WriteCloser.Close()
	if werr := p.cmd.Wait(); werr != nil {
		return fmt.Errorf("%s: %w: %s", p.cmd.Path, errors.Join(err, werr), strings.TrimSpace(p.stderr.String()))
	}
	return err
}
