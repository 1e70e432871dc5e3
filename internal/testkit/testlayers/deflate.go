package testlayers

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// Deflate writes a DEFLATE stream (RFC 1951) block by block and bit by bit,
// sound or not: the methods check nothing.
type Deflate struct {
	Out []byte // what the stream stands for, as far as it was sound

	buf       []byte
	acc       uint64
	n         uint // bits in acc, less than 8 between calls
	lit, dist []huffCode
}

type huffCode struct {
	code uint16 // as it is written: first bit lowest
	len  uint8
}

// Bits writes the n lowest bits of v, the lowest first; n is at most 32.
func (d *Deflate) Bits(v uint64, n uint) {
	d.acc |= v << d.n
	d.n += n
	for d.n >= 8 {
		d.buf = append(d.buf, byte(d.acc))
		d.acc >>= 8
		d.n -= 8
	}
}

// Align fills up the current byte with zero bits.
func (d *Deflate) Align() {
	if d.n > 0 {
		d.Bits(0, 8-d.n)
	}
}

// Bytes returns the stream so far, filled up to whole bytes.
func (d *Deflate) Bytes() []byte {
	d.Align()
	return d.buf
}

func (d *Deflate) head(final bool, kind uint64) {
	if final {
		d.Bits(1, 1)
	} else {
		d.Bits(0, 1)
	}
	d.Bits(kind, 2)
}

// Stored writes a stored block of at most 65,535 bytes.
func (d *Deflate) Stored(final bool, data []byte) {
	d.StoredLen(final, uint16(len(data)), ^uint16(len(data)), data)
}

// StoredLen writes a stored block with the length fields given.
func (d *Deflate) StoredLen(final bool, length, complement uint16, data []byte) {
	d.head(final, 0)
	d.Align()
	d.buf = binary.LittleEndian.AppendUint16(d.buf, length)
	d.buf = binary.LittleEndian.AppendUint16(d.buf, complement)
	d.buf = append(d.buf, data...)
	d.Out = append(d.Out, data...)
}

// canonical returns the codes of the lengths, RFC 1951 section 3.2.2.
func canonical(lengths []uint8) []huffCode {
	var count, next [17]uint16
	for _, l := range lengths {
		count[l]++
	}
	count[0] = 0
	code := uint16(0)
	for l := 1; l <= 16; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
	}
	codes := make([]huffCode, len(lengths))
	for i, l := range lengths {
		if l == 0 {
			continue
		}
		codes[i] = huffCode{bits.Reverse16(next[l]) >> (16 - l), l}
		next[l]++
	}
	return codes
}

var fixedLit, fixedDist = func() ([]huffCode, []huffCode) {
	lit, dist := make([]uint8, 288), make([]uint8, 32)
	for i := range lit {
		switch {
		case i < 144:
			lit[i] = 8
		case i < 256:
			lit[i] = 9
		case i < 280:
			lit[i] = 7
		default:
			lit[i] = 8
		}
	}
	for i := range dist {
		dist[i] = 5
	}
	return canonical(lit), canonical(dist)
}()

// Fixed begins a block with the fixed codes; End ends it.
func (d *Deflate) Fixed(final bool) {
	d.head(final, 1)
	d.lit, d.dist = fixedLit, fixedDist
}

// clOrder is the order in which the lengths of the code length code stand.
var clOrder = []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// Dynamic begins a block with the codes of the given lengths, 257 to 286 for
// lit and 1 to 30 for dist; End ends it.
func (d *Deflate) Dynamic(final bool, lit, dist []uint8) {
	// The lengths themselves are written one by one with a code that gives
	// four bits to each of 0 to 15 and has no repeats.
	cl := make([]uint8, 19)
	for i := range 16 {
		cl[i] = 4
	}
	d.DynamicHead(final, len(lit), len(dist), cl)
	codes := canonical(cl)
	for _, l := range append(append([]uint8{}, lit...), dist...) {
		d.sym(codes, int(l))
	}
	d.lit, d.dist = canonical(lit), canonical(dist)
}

// DynamicHead writes the head of a dynamic block up to and with the code
// length code, and leaves the lengths to CodeLength.
func (d *Deflate) DynamicHead(final bool, lits, dists int, cl []uint8) {
	d.head(final, 2)
	d.Bits(uint64(lits-257), 5)
	d.Bits(uint64(dists-1), 5)
	d.Bits(19-4, 4)
	for _, i := range clOrder {
		d.Bits(uint64(cl[i]), 3)
	}
}

// flatLit and flatDist are complete codes that know every symbol.
var flatLit, flatDist = FlatCodes()

// FlatCodes returns the lengths of complete codes that know every symbol, and in
// which none is much shorter than others.
func FlatCodes() (lit, dist []uint8) {
	lit, dist = make([]uint8, 286), make([]uint8, 30)
	for i := range lit {
		lit[i] = 8
		if i >= 226 {
			lit[i] = 9
		}
	}
	for i := range dist {
		dist[i] = 5
		if i < 2 {
			dist[i] = 4
		}
	}
	return lit, dist
}

func (d *Deflate) sym(codes []huffCode, s int) { d.Bits(uint64(codes[s].code), uint(codes[s].len)) }

// LitSym writes one symbol of the literal and length code, nothing more.
func (d *Deflate) LitSym(s int) { d.sym(d.lit, s) }

// DistSym writes one symbol of the distance code, nothing more.
func (d *Deflate) DistSym(s int) { d.sym(d.dist, s) }

// Lit writes literals.
func (d *Deflate) Lit(b ...byte) {
	for _, c := range b {
		d.LitSym(int(c))
	}
	d.Out = append(d.Out, b...)
}

// End ends a fixed or dynamic block.
func (d *Deflate) End() { d.LitSym(256) }

// lengthBase and distBase are the least values of the symbols.
var (
	lengthBase = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
		163, 195, 227, 258}
	lengthBits = []uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
		3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distBits = []uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

func find(base []int, v int) int {
	i := len(base) - 1
	for base[i] > v {
		i--
	}
	return i
}

// Match writes a match of 3 to 258 bytes, 1 to 32,768 back. One that reaches
// before the start of Out is written all the same.
func (d *Deflate) Match(length, distance int) {
	i := find(lengthBase, length)
	d.LitSym(257 + i)
	d.Bits(uint64(length-lengthBase[i]), lengthBits[i])
	i = find(distBase, distance)
	d.DistSym(i)
	d.Bits(uint64(distance-distBase[i]), distBits[i])
	if distance > len(d.Out) {
		return
	}
	for range length {
		d.Out = append(d.Out, d.Out[len(d.Out)-distance])
	}
}

// Compress writes data with the codes of the current block, as literals and
// as matches that reach back over the whole window, earlier blocks included.
func (d *Deflate) Compress(data []byte) {
	last := make(map[[4]byte]int)
	start := max(0, len(d.Out)-32768)
	for i := start; i+4 <= len(d.Out); i++ {
		last[[4]byte(d.Out[i:])] = i
	}
	for len(data) > 0 {
		if len(data) >= 4 {
			key := [4]byte(data)
			pos, ok := last[key]
			here := len(d.Out)
			if ok && here-pos <= 32768 {
				n := 4
				for n < 258 && n < len(data) && pos+n < here && d.Out[pos+n] == data[n] {
					n++
				}
				d.Match(n, here-pos)
				for i := max(0, here-3); i+4 <= len(d.Out); i++ {
					last[[4]byte(d.Out[i:])] = i
				}
				data = data[n:]
				continue
			}
		}
		d.Lit(data[0])
		data = data[1:]
		if i := len(d.Out) - 4; i >= 0 {
			last[[4]byte(d.Out[i:])] = i
		}
	}
}

// GzipHeader is the header of a gzip member (RFC 1952). The zero value is a
// plain header of ten bytes.
type GzipHeader struct {
	Method   byte // 0 stands for 8, deflate
	Flags    byte // in addition to those of the fields that are set
	MTime    uint32
	XFL, OS  byte
	Extra    []byte
	Name     string
	Comment  string
	CRC      bool
	WrongCRC bool
}

// Bytes of the header.
func (h GzipHeader) Bytes() []byte {
	flags := h.Flags
	set := func(on bool, bit byte) {
		if on {
			flags |= bit
		}
	}
	set(h.CRC, 2)
	set(h.Extra != nil, 4)
	set(h.Name != "", 8)
	set(h.Comment != "", 16)
	method := h.Method
	if method == 0 {
		method = 8
	}
	b := []byte{0x1f, 0x8b, method, flags}
	b = binary.LittleEndian.AppendUint32(b, h.MTime)
	b = append(b, h.XFL, h.OS)
	if h.Extra != nil {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(h.Extra)))
		b = append(b, h.Extra...)
	}
	if h.Name != "" {
		b = append(append(b, h.Name...), 0)
	}
	if h.Comment != "" {
		b = append(append(b, h.Comment...), 0)
	}
	if h.CRC {
		sum := uint16(crc32.ChecksumIEEE(b))
		if h.WrongCRC {
			sum++
		}
		b = binary.LittleEndian.AppendUint16(b, sum)
	}
	return b
}

// Member returns the gzip member of a stream.
func Member(h GzipHeader, d *Deflate) []byte {
	return MemberSum(h, d, crc32.ChecksumIEEE(d.Out), uint32(len(d.Out)))
}

// MemberSum returns the gzip member of a stream with the trailer given.
func MemberSum(h GzipHeader, d *Deflate, crc, isize uint32) []byte {
	b := append(h.Bytes(), d.Bytes()...)
	b = binary.LittleEndian.AppendUint32(b, crc)
	return binary.LittleEndian.AppendUint32(b, isize)
}
