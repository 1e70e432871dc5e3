package inflate

import (
	"fmt"
	"hash/crc32"
)

// Header flags of RFC 1952, 2.3.1.
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0
)

// maxHeaderText is the longest name or comment that compress/gzip reads.
const maxHeaderText = 511

// memberHeader reads a gzip header. Nothing of it is kept.
func (r *Reader) memberHeader() error {
	var (
		crc     uint32
		readErr error
	)
	next := func() byte {
		if readErr != nil {
			return 0
		}
		b, err := r.readByte()
		if err != nil {
			readErr = err
			return 0
		}
		crc = crc32.Update(crc, crc32.IEEETable, []byte{b})
		return b
	}
	first := r.inBase == 0 && r.inPos == 0

	id1 := next()
	if readErr == nil && id1 != 0x1f {
		return r.notGzip(first)
	}
	id2 := next()
	if readErr == nil && id2 != 0x8b {
		return r.notGzip(first)
	}
	if method := next(); readErr == nil && method != 8 {
		return r.corrupt(fmt.Sprintf("compression method %d, not 8 (deflate)", method))
	}
	flags := next()
	if flags&flagReserved != 0 {
		// zlib refuses it. compress/gzip ignores the flags, so that the image may
		// well run.
		return &Error{Class: ErrUnsupported, Offset: r.inBase + int64(r.inPos),
			What: fmt.Sprintf("the reserved flags %#02x in a member's header", flags&flagReserved)}
	}
	for range 6 { // MTIME, XFL, OS
		next()
	}
	if flags&flagExtra != 0 {
		n := int(next()) | int(next())<<8
		for ; n > 0 && readErr == nil; n-- {
			next()
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		for n := 0; flags&flag != 0 && readErr == nil && next() != 0; n++ {
			if n == maxHeaderText {
				return &Error{Class: ErrUnsupported, Offset: r.inBase + int64(r.inPos),
					What: fmt.Sprintf("a name or comment of more than %d bytes in a member's header", maxHeaderText)}
			}
		}
	}
	if flags&flagHeaderCRC != 0 {
		want := uint16(crc)
		got := uint16(next()) | uint16(next())<<8
		if readErr == nil && got != want {
			return r.corrupt("the header's checksum is wrong")
		}
	}
	if readErr != nil {
		return readErr
	}

	r.member = r.outPos
	r.memberLen = r.outOffset()
	r.crc = 0
	r.crcPos = r.outPos
	r.state = inBlockHeader
	return r.boundary()
}

func (r *Reader) notGzip(first bool) error {
	if first {
		return r.corrupt("no gzip header")
	}
	return r.corrupt("bytes that are no gzip member follow the end of one")
}

// memberTrailer checks the sums behind the last block and looks whether
// another member follows.
func (r *Reader) memberTrailer() error {
	r.alignToByte()
	r.checksum()
	var trailer [8]byte
	for i := range trailer {
		b, err := r.readByte()
		if err != nil {
			return err
		}
		trailer[i] = b
	}
	if le32(trailer[:4]) != r.crc {
		return r.corrupt("the data's CRC-32 is wrong")
	}
	if le32(trailer[4:]) != uint32(r.outOffset()-r.memberLen) {
		return r.corrupt("the data's length is wrong")
	}
	if err := r.need(1); err != nil {
		return err
	}
	r.state = inHeader
	if r.inPos == r.inEnd {
		r.give(r.inEnd)
		r.state = atEnd
	}
	return nil
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
