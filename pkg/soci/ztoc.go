package soci

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// Defaults of the format, the same as upstream's.
const (
	DefaultSpanSize     = 4 << 20  // 4 MiB, uncompressed
	DefaultMinLayerSize = 10 << 20 // 10 MiB, compressed

	// MinSpanSize and MaxSpanSize bound what the command line and the functions
	// let people choose, in whole MiB: with smaller spans the zTOCs become larger
	// than the layers, with larger ones a client reads far more than it needs.
	// The engine itself takes any span size.
	MinSpanSize = 1 << 20 // 1 MiB
	MaxSpanSize = 1 << 30 // 1 GiB

	// SmallZtoc is the size up to which a zTOC may be larger than its layer.
	SmallZtoc = 1 << 20 // 1 MiB

	// BuildToolIdentifier names the output format, not the program's
	// version: the same layer has the same zTOC digest across releases. It
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
	UncompressedSize    int64 // of the tar archive up to its end marker, which more output may follow
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
	Bits uint8 // unused bits, the upper ones, in the byte before In: 0 to 7

	// Window is the 32 KiB of output that precede Out, oldest byte first and
	// zero-filled in front; nil in an uncompressed layer.
	Window []byte
}

// Start is the compressed offset at which the span of c begins: at In, or one
// byte before when some of that byte's bits belong to it.
func (c Checkpoint) Start() int64 {
	if c.Bits != 0 {
		return c.In - 1
	}
	return c.In
}

// Span is a run of compressed bytes between two checkpoints. Neighbouring
// spans share a byte where a block ends inside one.
type Span struct {
	Start, End int64 // compressed offsets, End exclusive
	OutStart   int64 // uncompressed offset of the first byte
	// OutEnd is the uncompressed offset behind the last byte, or -1 for the last
	// span of a gzip layer, which runs to the end of the stream.
	OutEnd int64
	Digest digest.Digest
}

// Spans returns the byte ranges of the spans, in their order.
func (z *Ztoc) Spans() []Span {
	spans := make([]Span, len(z.Checkpoints))
	for i, c := range z.Checkpoints {
		s := Span{Start: c.Start(), End: z.CompressedSize, OutStart: c.Out, OutEnd: -1}
		if i+1 < len(z.Checkpoints) {
			s.End = z.Checkpoints[i+1].In
			s.OutEnd = z.Checkpoints[i+1].Out
		} else if z.Compression == Uncompressed {
			s.OutEnd = z.CompressedSize
		}
		if i < len(z.SpanDigests) {
			s.Digest = z.SpanDigests[i]
		}
		spans[i] = s
	}
	return spans
}
