package soci

import (
	"errors"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// Defaults of the format, the same as upstream's.
const (
	DefaultSpanSize     = 4 << 20  // 4 MiB, uncompressed
	DefaultMinLayerSize = 10 << 20 // 10 MiB, compressed

	// BuildToolIdentifier names the output format, not the program's
	// version: the same layer gives the same zTOC digest across releases. It
	// changes only when the bytes of a zTOC change.
	BuildToolIdentifier = "soci-index-builder/1"
)

// Compression of a layer blob, as a zTOC names it.
type Compression string

// The compressions that a zTOC can describe.
const (
	Gzip         Compression = "gzip"
	Uncompressed Compression = "uncompressed"
)

// Ztoc is the table of contents and the checkpoints of one layer. Offsets
// and sizes are in bytes; "compressed" counts bytes of the layer blob,
// "uncompressed" those of the tar archive in it.
type Ztoc struct {
	Version             string // of the format: "0.9"
	BuildToolIdentifier string
	Compression         Compression
	CompressedSize      int64 // of the layer blob
	UncompressedSize    int64 // of the tar archive up to its end marker
	SpanSize            int64 // uncompressed bytes, the least distance of two checkpoints
	Entries             []Entry
	Checkpoints         []Checkpoint    // one per span
	SpanDigests         []digest.Digest // sha256 of each span's compressed bytes
}

// Entry describes one member of the tar archive.
type Entry struct {
	Name     string
	Type     string // hardlink, symlink, dir, reg, char, block or fifo
	Offset   int64  // of the member's content, uncompressed
	Size     int64  // of the member's content, uncompressed
	Linkname string
	Mode     int64
	UID, GID int
	Uname    string
	Gname    string
	ModTime  time.Time
	Devmajor int64
	Devminor int64
	PAX      map[string]string // raw PAX records, extended attributes among them
}

// Checkpoint is the decoder's state where a span begins.
type Checkpoint struct {
	In   int64 // compressed offset of the first whole byte
	Out  int64 // uncompressed offset
	Bits uint8 // unused bits in the byte before In, 0 to 7

	// Window is the 32 KiB of output that precede Out, oldest byte first and
	// zero-filled in front; nil in an uncompressed layer.
	Window []byte
}

// Span is a run of compressed bytes between two checkpoints. Neighbouring
// spans share a byte where a block ends inside one.
type Span struct {
	Start, End       int64 // compressed offsets, End exclusive
	OutStart, OutEnd int64 // uncompressed offsets, OutEnd exclusive; for the last span of a gzip layer OutEnd is UncompressedSize, and trailing output beyond it is padding
	Digest           digest.Digest
}

// Spans gives the byte ranges of the spans.
func (z *Ztoc) Spans() []Span { return nil }

// ZtocOptions of BuildZtoc. The zero value is the default throughout.
type ZtocOptions struct {
	SpanSize            int64  // uncompressed bytes; the default is DefaultSpanSize
	BuildToolIdentifier string // the default is BuildToolIdentifier
	Limits              Limits

	// Size and Digest, when set, are what the blob must be; otherwise the
	// blob is taken as it comes.
	Size   int64
	Digest digest.Digest
}

// BuildZtoc reads one layer blob to its end, in one pass, and builds its zTOC.
func BuildZtoc(layer io.Reader, o ZtocOptions) (*Ztoc, error) {
	return nil, errors.New("internal error: not built yet")
}

// Marshal gives the zTOC's flatbuffer, byte for byte what upstream writes.
func (z *Ztoc) Marshal() ([]byte, error) { return nil, errors.New("internal error: not built yet") }

// ParseZtoc reads a zTOC that any tool may have written. Its error is
// ErrTruncated, ErrCorrupt or ErrLimit.
func ParseZtoc(b []byte) (*Ztoc, error) { return nil, errors.New("internal error: not built yet") }

// Limits bound what one layer or image may cost. Zero is the default.
type Limits struct {
	MaxManifestSize int64 // bytes of one manifest; the default is 4 MiB
	MaxLayers       int   // of one manifest; the default is 1024
	MaxManifests    int   // of one image, nested ones included; the default is 256
	MaxEntries      int   // tar members of one layer; the default is 4,000,000
	MaxMemory       int64 // bytes that the zTOC of one layer may hold while it is built; the default is 1 GiB
}
