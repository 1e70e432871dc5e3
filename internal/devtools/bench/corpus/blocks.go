package corpus

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"

	"soci-index-builder/internal/testkit/testlayers"
)

// OneBlock makes a single deflate block of everything, as no usual compressor
// does.
func OneBlock() Packer {
	return Packer{Name: "one block", writer: func(w io.Writer) (io.WriteCloser, error) {
		lit, dist := testlayers.FlatCodes()
		return newBlocks(w, 0, lit, dist), nil
	}}
}

// OneBlockMembers makes gzip members of one block each, as bgzip does of what
// compresses well.
func OneBlockMembers() Packer {
	lit, dist := testlayers.FlatCodes()
	return Packer{Name: "members of one block", writer: func(w io.Writer) (io.WriteCloser, error) {
		return &oneBlockMembers{new: func() *blocks { return newBlocks(w, 0, lit, dist) }}, nil
	}}
}

// bgzipMember is how many bytes bgzip puts into a member.
const bgzipMember = 65_280

type oneBlockMembers struct {
	new     func() *blocks
	current *blocks
}

func (m *oneBlockMembers) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if m.current == nil {
			m.current = m.new()
		}
		n, _ := m.current.Write(p[:min(len(p), bgzipMember-int(m.current.sum))]) // an error is sticky
		written, p = written+n, p[n:]
		if m.current.sum == bgzipMember {
			if err := m.Close(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

func (m *oneBlockMembers) Close() error {
	if m.current == nil {
		return nil
	}
	defer func() { m.current = nil }()
	return m.current.Close()
}

// FixedBlocks makes blocks of 64 KiB with the codes that deflate has fixed.
func FixedBlocks() Packer {
	return Packer{Name: "fixed blocks", writer: func(w io.Writer) (io.WriteCloser, error) {
		lit, dist := make([]uint8, 288), make([]uint8, 32)
		for i := range lit {
			switch {
			case i < 144, i >= 280:
				lit[i] = 8
			case i < 256:
				lit[i] = 9
			default:
				lit[i] = 7
			}
		}
		for i := range dist {
			dist[i] = 5
		}
		return newBlocks(w, 64<<10, lit, dist), nil
	}}
}

// blocks is a gzip compressor that leaves the codes to its caller (RFC 1951),
// and finds the last match of four bytes.
type blocks struct {
	w    *bufio.Writer
	acc  uint64
	n    uint // bits in acc
	size int  // bytes of output in a block, 0 for all in one
	left int  // in the current one
	open bool

	litLengths, distLengths []uint8
	lit, dist               []uint16 // codes, the first bit lowest

	data []byte         // the last of what was written
	pos  int            // in data: what is compressed
	last [1 << 15]int32 // by hash, in data; 0 for none
	crc  uint32
	sum  uint32 // bytes in all
}

const (
	blockReach = 32 << 10
	blockData  = 1 << 20 // as much is kept
)

func newBlocks(w io.Writer, size int, lit, dist []uint8) *blocks {
	b := &blocks{w: bufio.NewWriterSize(w, 64<<10), size: size, litLengths: lit, distLengths: dist,
		lit: canonical(lit), dist: canonical(dist)}
	b.w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}) // an error is sticky
	return b
}

// canonical returns the codes of their lengths.
func canonical(lengths []uint8) []uint16 {
	codes := make([]uint16, len(lengths))
	code := uint16(0)
	for length := uint8(1); length < 16; length++ {
		for i, l := range lengths {
			if l == length {
				codes[i] = bits.Reverse16(code) >> (16 - length)
				code++
			}
		}
		code <<= 1
	}
	return codes
}

func (b *blocks) bits(v uint64, n uint) {
	b.acc |= v << b.n
	for b.n += n; b.n >= 8; b.n -= 8 {
		b.w.WriteByte(byte(b.acc))
		b.acc >>= 8
	}
}

func (b *blocks) litSym(i int) { b.bits(uint64(b.lit[i]), uint(b.litLengths[i])) }

// begin begins a block.
func (b *blocks) begin(final bool) {
	head := uint64(0)
	if final {
		head = 1
	}
	b.open, b.left = true, b.size
	if len(b.litLengths) == 288 {
		b.bits(head|1<<1, 3)
		return
	}
	b.bits(head|2<<1, 3)
	b.bits(uint64(len(b.litLengths)-257), 5)
	b.bits(uint64(len(b.distLengths)-1), 5)
	b.bits(19-4, 4)
	// The lengths are written one by one, with four bits for each of 0 to 15.
	b.bits(0, 3*3)
	for range 16 {
		b.bits(4, 3)
	}
	for _, l := range append(append([]uint8{}, b.litLengths...), b.distLengths...) {
		b.bits(uint64(bits.Reverse8(l)>>4), 4)
	}
}

// Write compresses what no longer match can reach.
func (b *blocks) Write(p []byte) (int, error) {
	written := len(p)
	b.crc = crc32.Update(b.crc, crc32.IEEETable, p)
	b.sum += uint32(len(p))
	for len(p) > 0 {
		n := min(len(p), blockData-len(b.data))
		b.data, p = append(b.data, p[:n]...), p[n:]
		if len(b.data) == blockData {
			b.compress(len(b.data) - maxMatch)
			kept := copy(b.data, b.data[b.pos-blockReach:])
			b.data, b.pos = b.data[:kept], blockReach
			clear(b.last[:])
		}
	}
	return written, nil
}

const maxMatch = 258

func (b *blocks) compress(to int) {
	for b.pos < to {
		if !b.open {
			b.begin(b.size == 0)
		}
		n := b.match()
		if n == 0 {
			b.litSym(int(b.data[b.pos]))
			n = 1
		}
		b.pos += n
		if b.left -= n; b.size > 0 && b.left <= 0 {
			b.litSym(256)
			b.open = false
		}
	}
}

// match writes a match, if there is one, and returns its length.
func (b *blocks) match() int {
	if b.pos+4 > len(b.data) {
		return 0
	}
	hash := binary.LittleEndian.Uint32(b.data[b.pos:]) * 0x9e3779b1 >> 17
	from := int(b.last[hash])
	b.last[hash] = int32(b.pos)
	distance := b.pos - from
	if from == 0 || distance > blockReach {
		return 0
	}
	n := 0
	for n < maxMatch && b.pos+n < len(b.data) && b.data[from+n] == b.data[b.pos+n] {
		n++
	}
	if n < 4 {
		return 0
	}
	switch x := n - 3; {
	case n == maxMatch:
		b.litSym(285)
	case x < 8:
		b.litSym(257 + x)
	default:
		more := uint(bits.Len(uint(x)) - 3)
		b.litSym(261 + 4*int(more) + x>>more&3)
		b.bits(uint64(x)&(1<<more-1), more)
	}
	x, symbol, more := distance-1, distance-1, uint(0)
	if x >= 4 {
		more = uint(bits.Len(uint(x)) - 2)
		symbol = 2*int(more) + 2 + x>>more&1
	}
	b.bits(uint64(b.dist[symbol]), uint(b.distLengths[symbol]))
	b.bits(uint64(x)&(1<<more-1), more)
	return n
}

// Close ends the member.
func (b *blocks) Close() error {
	b.compress(len(b.data))
	if b.open {
		b.litSym(256)
	}
	if b.size > 0 || b.sum == 0 { // else the only block was the last
		b.begin(true)
		b.litSym(256)
	}
	b.bits(0, -b.n&7)
	b.w.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, b.crc), b.sum))
	return b.w.Flush()
}
