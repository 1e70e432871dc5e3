// Package inflate decodes gzip streams in one pass and reports where every
// deflate block ends, with what a decoder needs to start again from there.
//
// It is made for zTOCs: output is handed out in place, with the 32 KiB that
// precede any point of it at hand, concatenated members are one stream, and
// the compressed bytes come by in step with the block boundaries. It accepts
// exactly the streams that zlib's inflate accepts, which is stricter than
// compress/flate about incomplete codes.
//
// Formats: RFC 1951 (deflate) and RFC 1952 (gzip).
package inflate

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// WindowSize is the reach of a deflate match: 32 KiB.
const WindowSize = 32 << 10

const (
	// Compressed bytes are read up to the next multiple of inStep, so that how
	// far a Reader has read depends on where it is, not on where it began.
	inStep    = 128 << 10
	inBufSize = inStep + 2*headerAhead
	// inPad bytes behind the input are zero at its end: a refill may start 8
	// bytes behind the last one, takes 8, and two fall into one turn of the
	// loop.
	inPad = 32
	// inAhead is how many bytes one turn of the loop may load.
	inAhead = 24

	outChunk = 256 << 10 // uncompressed bytes handed out at once: a run
	// outSlack is what one turn of the loop may write beyond the limit:
	// three literals, the longest match (258), and the copy's overrun.
	outSlack = 320

	// headerAhead is more than any dynamic block header needs: 17 + 19·3 +
	// 316·14 bits.
	headerAhead = 1024
)

// The classes of bad streams.
var (
	ErrTruncated = errors.New("truncated")
	ErrCorrupt   = errors.New("corrupt")

	// ErrUnsupported: something in a header that one of the decoders refuses with
	// which clients unpack a layer, and another takes.
	ErrUnsupported = errors.New("unsupported")
)

// Error says what is wrong with the stream and where.
type Error struct {
	Class  error // ErrTruncated, ErrCorrupt or ErrUnsupported
	Offset int64 // compressed offset near which it was found
	What   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v gzip stream at byte %d: %s", e.Class, e.Offset, e.What)
}

func (e *Error) Unwrap() error { return e.Class }

// Boundary is a point between two deflate blocks.
type Boundary struct {
	In   int64 // compressed offset of the first byte of which no bit is used yet
	Bits uint8 // unused bits, the upper ones, of the byte before In: 0 to 7
	Out  int64 // uncompressed offset
}

// Events of the stream, in its order. Both may be nil.
type Events struct {
	// Consumed is told how many compressed bytes have been used more. When
	// Boundary is called, it has been told of all before Boundary.In, and of
	// none behind.
	Consumed func(n int)

	// Boundary is called behind each member's gzip header and behind each
	// block that is not the last of its member. window is the 32 KiB of
	// output before Out, zero-filled in front, valid only during the call. An
	// error ends the decoding.
	Boundary func(b Boundary, window []byte) error
}

type state uint8

const (
	inHeader state = iota // of a gzip member
	inBlockHeader
	inStored
	inHuffman
	inBlockEnd
	inTrailer
	atEnd
)

// Reader decodes one gzip stream. It is not safe for concurrent use.
type Reader struct {
	src    io.Reader
	events Events
	err    error // sticky
	state  state

	in      []byte // inBufSize + inPad
	inPos   int    // next byte to load into bitBuf
	inEnd   int    // end of the bytes read
	inBase  int64  // compressed offset of in[0]
	inGiven int    // in[:inGiven] has gone to Consumed
	inEOF   bool
	readErr error             // of src, told when its bytes are missing
	feed    func(n int) error // in place of src: see chunkDecoder

	bitBuf uint64
	bitCnt uint // valid bits in bitBuf

	out       []byte // WindowSize of history, outChunk, outSlack
	outPos    int
	outGiven  int   // the end of the run handed out last, or WindowSize
	outBase   int64 // uncompressed offset of out[0], negative at first
	member    int   // where in out the member began; negative once it slid away
	crcPos    int   // where in out the checksum goes on
	crc       uint32
	memberLen int64 // uncompressed offset at which the member began

	overrun    bool // bits behind the end of the input were used
	final      bool // the current block is the last of its member
	storedLeft int
	codes      *codes // of the current block
	dynamic    codes
	lens       [maxLitLen + maxDist]uint8
}

// ReaderSize is about how many bytes a Reader takes.
const ReaderSize = inBufSize + WindowSize + outChunk + 32<<10

const outSize = WindowSize + outChunk + outSlack

// NewReader decodes src, which it reads to its end.
func NewReader(src io.Reader, events Events) *Reader {
	r := new(Reader)
	r.Reset(src, events)
	return r
}

// Reset begins anew with src, keeping the buffers. The zero Reader can be
// reset.
func (r *Reader) Reset(src io.Reader, events Events) {
	in, out := r.in, r.out
	if in == nil {
		in = make([]byte, inBufSize+inPad)
		out = make([]byte, outSize)
	}
	clear(out[:WindowSize]) // the window before the first byte is zeros
	*r = Reader{
		src:      src,
		events:   events,
		in:       in,
		out:      out,
		outPos:   WindowSize,
		outGiven: WindowSize,
		outBase:  -WindowSize,
		crcPos:   WindowSize,
	}
}

// Next returns the next run of output, which is valid until the next call: 256
// KiB, or what is left. At the end of a sound stream it is io.EOF; a bad stream
// is an *Error, a failing source or Boundary its own error.
//
// The calls and the output that precede an error depend on the stream alone, so
// that a Reader that began at a boundary tells the same: a run
// is handed out once there is output behind it, or the stream has ended well;
// before it, Boundary is called for the places up to its end. A run that the
// error cuts short is not handed out: where the input ended too soon, its last
// bytes are made up.
func (r *Reader) Next() ([]byte, error) {
	r.slide()
	if r.err == nil {
		r.err = r.decode()
	}
	limit := r.outLimit()
	switch {
	case r.err == nil, r.outPos > limit && !r.overrun:
		r.outGiven = limit
	case r.err == io.EOF && r.outPos > WindowSize:
		r.outGiven = r.outPos
	default:
		return nil, r.err
	}
	return r.out[WindowSize:r.outGiven], nil
}

// slide drops the run handed out last, keeping the window.
func (r *Reader) slide() {
	by := r.outGiven - WindowSize
	if by == 0 {
		return
	}
	r.checksum()
	copy(r.out, r.out[by:r.outPos])
	r.outPos -= by
	r.crcPos -= by
	r.outGiven = WindowSize
	r.outBase += int64(by)
	// A match reaches no further than the window, so that a member's start
	// before it needs no exact place.
	r.member = max(r.member-by, -1)
}

// outLimit is the last outPos at which a turn of the loop may start.
func (r *Reader) outLimit() int { return len(r.out) - outSlack }

func (r *Reader) outOffset() int64 { return r.outBase + int64(r.outPos) }

// decode goes on until the run is complete, the stream ended, or an error.
func (r *Reader) decode() error {
	for {
		var err error
		switch r.state {
		case inHeader:
			err = r.memberHeader()
		case inBlockHeader:
			err = r.blockHeader()
		case inStored:
			var full bool
			if full, err = r.stored(); full {
				return nil
			}
		case inHuffman:
			var full bool
			if full, err = r.huffman(); full {
				return nil
			}
		case inBlockEnd:
			if r.outPos > r.outLimit() {
				return nil
			}
			err = r.blockEnd()
		case inTrailer:
			err = r.memberTrailer()
		case atEnd:
			err = io.EOF
		}
		if err != nil {
			return err
		}
	}
}

// blockEnd follows the last bit of a block.
func (r *Reader) blockEnd() error {
	r.unload()
	if r.final {
		r.state = inTrailer
		return nil
	}
	r.state = inBlockHeader
	return r.boundary()
}

func (r *Reader) boundary() error {
	used := r.used()
	r.give(used)
	if r.events.Boundary == nil {
		return nil
	}
	return r.events.Boundary(
		Boundary{In: r.inBase + int64(used), Bits: uint8(r.bitCnt & 7), Out: r.outOffset()},
		r.out[r.outPos-WindowSize:r.outPos])
}

// blockHeader reads the three bits that begin a block and what belongs to
// them. All of it is in the buffer before it starts.
func (r *Reader) blockHeader() error {
	if err := r.need(headerAhead); err != nil {
		return err
	}
	r.refill()
	r.final = r.bits(1) == 1
	switch r.bits(2) {
	case 0:
		r.alignToByte()
		if r.inEnd-r.inPos < 4 {
			return r.truncated()
		}
		n := uint(r.in[r.inPos]) | uint(r.in[r.inPos+1])<<8
		complement := uint(r.in[r.inPos+2]) | uint(r.in[r.inPos+3])<<8
		if n != complement^0xffff {
			return r.corrupt("the length of a stored block and its complement disagree")
		}
		r.inPos += 4
		r.storedLeft = int(n)
		r.state = inStored
	case 1:
		r.codes = fixedCodes()
		r.state = inHuffman
	case 2:
		if err := r.dynamicHeader(); err != nil {
			return err
		}
		r.codes = &r.dynamic
		r.state = inHuffman
	default:
		return r.corrupt("invalid block type 3")
	}
	return r.checkOverrun()
}

// stored copies what there is and what there is room for; full asks for room.
func (r *Reader) stored() (full bool, err error) {
	for r.storedLeft > 0 {
		room := r.outLimit() - r.outPos
		if room <= 0 {
			return true, nil
		}
		if err := r.need(1); err != nil {
			return false, err
		}
		n := min(r.storedLeft, room, r.inEnd-r.inPos)
		if n == 0 {
			return false, r.truncated()
		}
		copy(r.out[r.outPos:r.outPos+n], r.in[r.inPos:r.inPos+n])
		r.inPos += n
		r.outPos += n
		r.storedLeft -= n
	}
	r.state = inBlockEnd
	return false, nil
}

// checksum takes in the output since the last call.
func (r *Reader) checksum() {
	r.crc = crc32.Update(r.crc, crc32.IEEETable, r.out[r.crcPos:r.outPos])
	r.crcPos = r.outPos
}
