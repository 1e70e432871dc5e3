// Package contender has several programs do the same work on a layer, each in
// its own process: building a zTOC, or only decompressing.
package contender

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	klauspost "github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/pkg/soci"
)

// ErrUnavailable: this program was built without the contender.
var ErrUnavailable = errors.New("not available in this build")

// The contenders. The first four do the whole job; Ours and OursAlone hash the
// blob as a whole as well, as it does in production.
const (
	Ours      = "ours"
	OursAlike = "ours-alike"
	OursAlone = "ours-alone" // with one worker for the layer, whatever the processors
	Upstream  = "upstream"
	Inflate   = "inflate"
	Zlib      = "zlib"
	ZlibCRC   = "zlib-crc"
	Klauspost = "klauspost"
	Go        = "go"
	Deflate   = "libdeflate"
	DeflateCR = "libdeflate-crc"
)

// titles describe each of them for people.
var titles = map[string]string{
	Ours:      "ours: zTOC and blob digest",
	OursAlike: "ours: zTOC, as upstream without blob digest",
	OursAlone: "ours: zTOC and blob digest, one worker",
	Upstream:  "upstream: BuildZtoc + Marshal",
	Inflate:   "our decoder alone (with CRC)",
	Zlib:      "zlib, inflate only",
	ZlibCRC:   "zlib with CRC",
	Klauspost: "klauspost gzip",
	Go:        "compress/gzip",
	Deflate:   "libdeflate, inflate only, all in memory",
	DeflateCR: "libdeflate with CRC, all in memory",
}

// Title says what a contender does.
func Title(name string) string { return titles[name] }

// Input is the layer to work on.
type Input struct {
	Path         string
	Size         int64
	Digest       digest.Digest
	Uncompressed int64 // bytes of the decompressed layer
	Plain        bool  // the layer is not compressed
}

// Output is what came of it, so that contenders can be held against each other.
type Output struct {
	Uncompressed int64  // bytes seen by one that only decompresses
	Ztoc         string // sha256 of the zTOC, by one that builds it
	ZtocSize     int64
	Spans        int
	Entries      int
}

// Func does the work. What it returns is completed outside the measured time.
type Func func(in Input) (func() (Output, error), error)

var all = map[string]Func{
	Ours:      func(in Input) (func() (Output, error), error) { return ours(in, in.Digest, 0) },
	OursAlike: func(in Input) (func() (Output, error), error) { return ours(in, "", 0) },
	OursAlone: func(in Input) (func() (Output, error), error) { return ours(in, in.Digest, 1) },
	Inflate:   decoder,
	Klauspost: func(in Input) (func() (Output, error), error) { return discard(in, newKlauspost) },
	Go:        func(in Input) (func() (Output, error), error) { return discard(in, newGo) },
}

// Names returns the contenders of this build, in a fixed order.
func Names() []string {
	var names []string
	for _, name := range []string{Ours, OursAlike, OursAlone, Upstream, Inflate, ZlibCRC, Zlib, Klauspost, Go,
		DeflateCR, Deflate} {
		if all[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// Has reports whether this build has the contender.
func Has(name string) bool { return slices.Contains(Names(), name) }

// Versions of the contenders that are not modules.
var Versions []string

// Run lets a contender do its work.
func Run(name string, in Input) (func() (Output, error), error) {
	f, ok := all[name]
	if !ok {
		return nil, fmt.Errorf("contender %q: %w", name, ErrUnavailable)
	}
	finish, err := f(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Title(name), err)
	}
	return finish, nil
}

// limits are far above what the layers need, so that the cost of large ones
// can be seen.
var limits = soci.Limits{MaxMemory: 16 << 30, MaxEntries: 10_000_000}

func ours(in Input, blob digest.Digest, workers int) (func() (Output, error), error) {
	f, err := os.Open(in.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// A plain reader, as a registry's answer is.
	z, err := soci.BuildZtoc(struct{ io.Reader }{f},
		soci.ZtocOptions{Size: in.Size, Digest: blob, Limits: limits, LayerWorkers: workers})
	if err != nil {
		return nil, err
	}
	b, err := z.Marshal()
	if err != nil {
		return nil, err
	}
	return func() (Output, error) {
		sum := sha256.Sum256(b)
		return Output{
			Ztoc: hex.EncodeToString(sum[:]), ZtocSize: int64(len(b)), Spans: len(z.Checkpoints),
			Entries: len(z.Entries),
		}, nil
	}, nil
}

func decoder(in Input) (func() (Output, error), error) {
	f, err := os.Open(in.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := inflate.NewReader(struct{ io.Reader }{f}, inflate.Events{})
	var n int64
	for {
		p, err := r.Next()
		n += int64(len(p))
		if errors.Is(err, io.EOF) {
			return decompressed(n)
		}
		if err != nil {
			return nil, err
		}
	}
}

func decompressed(n int64) (func() (Output, error), error) {
	return func() (Output, error) { return Output{Uncompressed: n}, nil }, nil
}

func newKlauspost(r io.Reader) (io.Reader, error) { return klauspost.NewReader(r) }
func newGo(r io.Reader) (io.Reader, error)        { return gzip.NewReader(r) }

// onlyWriter keeps io.Copy from asking for more than Write.
type onlyWriter struct{}

func (onlyWriter) Write(p []byte) (int, error) { return len(p), nil }

func discard(in Input, open func(io.Reader) (io.Reader, error)) (func() (Output, error), error) {
	f, err := os.Open(in.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zr, err := open(f)
	if err != nil {
		return nil, err
	}
	n, err := io.CopyBuffer(onlyWriter{}, zr, make([]byte, 128<<10))
	if err != nil {
		return nil, err
	}
	return decompressed(n)
}
