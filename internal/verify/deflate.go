package verify

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// gzipTrailerSize is CRC-32 and ISIZE, 4 bytes each.
const gzipTrailerSize = 8

// bitWriter puts bits into bytes the way deflate does: least significant
// first.
type bitWriter struct {
	bytes []byte
	n     int // bits written
}

func (w *bitWriter) write(value uint, bits int) {
	for i := range bits {
		if w.n%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.n/8] |= byte(value>>i&1) << (w.n % 8)
		w.n++
	}
}

// emptyFixedBlock is a non-final block of fixed Huffman codes that holds the
// end-of-block code alone: 10 bits.
func (w *bitWriter) emptyFixedBlock() {
	w.write(0, 1) // not final
	w.write(1, 2) // fixed Huffman codes
	w.write(0, 7) // end of block
}

// emptyDynamicBlock is a non-final block of dynamic Huffman codes that holds
// the end-of-block code alone: 93 bits, and so an odd number of them.
func (w *bitWriter) emptyDynamicBlock() {
	w.write(0, 1)    // not final
	w.write(2, 2)    // dynamic Huffman codes
	w.write(0, 5)    // 257 literal and length codes
	w.write(0, 5)    // 1 distance code
	w.write(18-4, 4) // 18 lengths of code length codes, up to that of length 1

	// In the order 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1:
	// length 0 has code 0, length 1 has code 10, "repeat zero" (18) code 11.
	for _, length := range []uint{0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2} {
		w.write(length, 3)
	}
	w.write(0b11, 2) // repeat zero ...
	w.write(138-11, 7)
	w.write(0b11, 2) // ... for all 256 literals
	w.write(118-11, 7)
	w.write(0b01, 2) // the end-of-block code has length 1; code 10, first bit first
	w.write(0, 1)    // the distance code has length 0

	w.write(0, 1) // end of block
}

// alignment returns the bytes to read in place of first, the byte in which a
// deflate block begins at its unused high bits (1 to 7 of them): empty blocks
// that fill up to the same place in a byte, and then those bits. A decoder
// that can only start at a whole byte starts inside one this way.
func alignment(first byte, unused uint8) []byte {
	used := 8 - int(unused)
	var w bitWriter
	if used%2 == 1 {
		w.emptyDynamicBlock()
	}
	for w.n%8 != used {
		w.emptyFixedBlock()
	}
	w.bytes[len(w.bytes)-1] |= first &^ (1<<used - 1)
	return w.bytes
}

// prefixed reads its prefix and then the body. As an io.ByteReader it lets
// compress/flate stop exactly behind the last byte of a deflate stream.
type prefixed struct {
	prefix []byte
	body   *bufio.Reader
}

func (p *prefixed) ReadByte() (byte, error) {
	if len(p.prefix) > 0 {
		b := p.prefix[0]
		p.prefix = p.prefix[1:]
		return b, nil
	}
	return p.body.ReadByte()
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.body.Read(b)
}

// inflater decodes a gzip stream from a checkpoint on: the rest of the member
// that the checkpoint stands in, then whole members as far as the body goes.
type inflater struct {
	body *bufio.Reader
	raw  io.ReadCloser // the first member's rest; nil behind it
	rest io.Reader     // the members after it
}

// newInflater starts in body's first byte, of which the unused high bits are
// the beginning of a block, or at its first bit if unused is 0. window is the
// output before.
func newInflater(body *bufio.Reader, unused uint8, window []byte) (*inflater, error) {
	in := &prefixed{body: body}
	if unused > 7 {
		return nil, fmt.Errorf("%d unused bits in a byte", unused)
	}
	if unused > 0 {
		first, err := body.ReadByte()
		if err != nil {
			return nil, noEOF(err)
		}
		in.prefix = alignment(first, unused)
	}
	return &inflater{body: body, raw: flate.NewReaderDict(in, window)}, nil
}

// Read returns io.EOF only where a member and the body end together.
func (f *inflater) Read(p []byte) (int, error) {
	if f.raw != nil {
		n, err := f.raw.Read(p)
		if err != io.EOF {
			return n, err
		}
		if err := f.nextMember(); n == 0 || err != nil {
			return n, err
		}
		return n, nil
	}
	if f.rest == nil {
		return 0, io.EOF
	}
	return f.rest.Read(p)
}

// nextMember passes over the trailer of the first member. Its checksum covers
// output from before the checkpoint, which is not at hand; those of the
// members behind are checked by compress/gzip.
func (f *inflater) nextMember() error {
	f.raw = nil
	if _, err := f.body.Discard(gzipTrailerSize); err != nil {
		return fmt.Errorf("gzip trailer: %w", noEOF(err))
	}
	rest, err := gzip.NewReader(f.body)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("next gzip member: %w", err)
	}
	f.rest = rest
	return nil
}

// noEOF is for an end inside of something.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
