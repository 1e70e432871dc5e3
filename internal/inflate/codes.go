package inflate

import (
	"math/bits"
	"sync"
)

// Alphabets of RFC 1951, 3.2.5 to 3.2.7.
const (
	maxLitLen  = 286 // codes that a dynamic block may define
	maxDist    = 30
	numPrecode = 19
	maxCodeLen = 15

	endOfBlock = 256
)

// Decoding tables: the next tableBits bits of the input select an entry of
// the main part, and a longer code's entry points to a subtable behind it.
const (
	litBits  = 11
	distBits = 8
	preBits  = 7

	// The most entries that a complete code of 288 (32) symbols of at most 15
	// bits can take with these main tables is 2,342 (402), as zlib's
	// enough.c computes; sizes are powers of two so that an index can be
	// masked instead of checked.
	litTableSize  = 4096
	distTableSize = 512
)

// A table entry holds, from the lowest bit:
//
//	 0–7   bits to take from the input: the code's and the extra ones
//	 8–13  bits of the code alone, which is where the extra ones begin; in a
//	       pointer the number of bits that index the subtable
//	14     it is special: end of block, subtable pointer or invalid
//	15     it is a literal
//	16–31  the literal, the base of the length or the distance, the start of
//	       the subtable, or what the special entry is
const (
	entrySpecial = 1 << 14
	entryLiteral = 1 << 15

	entryEnd     = 0xfffe<<16 | entrySpecial
	entryInvalid = 0xffff<<16 | entrySpecial
)

type codes struct {
	lit  [litTableSize]uint32
	dist [distTableSize]uint32
}

// Base and extra bits by symbol, RFC 1951, 3.2.5.
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59,
		67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
		1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
		13}
)

// Entries by symbol, without the code's length: that is added to the lowest
// byte and to the second.
var (
	litSymbols  = makeLitSymbols()
	distSymbols = makeDistSymbols()
	preSymbols  = makePreSymbols()
)

func makeLitSymbols() (s [288]uint32) {
	for i := range s {
		switch {
		case i < endOfBlock:
			s[i] = uint32(i)<<16 | entryLiteral
		case i == endOfBlock:
			s[i] = entryEnd
		case i-257 < len(lengthBase):
			s[i] = uint32(lengthBase[i-257])<<16 | uint32(lengthExtra[i-257])
		default: // 286 and 287, which only the fixed code has
			s[i] = entryInvalid
		}
	}
	return s
}

func makeDistSymbols() (s [32]uint32) {
	for i := range s {
		if i < len(distBase) {
			s[i] = uint32(distBase[i])<<16 | uint32(distExtra[i])
		} else {
			s[i] = entryInvalid
		}
	}
	return s
}

func makePreSymbols() (s [numPrecode]uint32) {
	for i := range s {
		s[i] = uint32(i) << 16
	}
	return s
}

// codeKind is what zlib lets pass in an incomplete code.
type codeKind uint8

const (
	precode  codeKind = iota // must be complete
	mainCode                 // may be one code of one bit, or, for distances, empty
)

// build fills table for the code lengths of symbols 0 … len(lens)-1. It
// reports whether the lengths form a code that zlib would accept.
func build(table []uint32, tableBits uint, lens []uint8, symbols []uint32, kind codeKind) bool {
	var count [maxCodeLen + 1]int
	for _, n := range lens {
		count[n]++
	}
	longest := uint(0)
	left := 1 // unused codes of the current length
	for n := 1; n <= maxCodeLen; n++ {
		left = left<<1 - count[n]
		if left < 0 {
			return false // over-subscribed
		}
		if count[n] > 0 {
			longest = uint(n)
		}
	}
	if left > 0 {
		if longest > 1 || longest == 1 && kind == precode {
			return false // incomplete
		}
		// Bits that are no code are an error only when they occur.
		for i := range table[:1<<tableBits] {
			table[i] = entryInvalid | 1
		}
		if longest == 0 {
			return true
		}
	}

	// Symbols in the order of their codes.
	var start [maxCodeLen + 2]int
	for n := 1; n <= maxCodeLen; n++ {
		start[n+1] = start[n] + count[n]
	}
	var sorted [288]uint16
	next := start
	for sym, n := range lens {
		if n > 0 {
			sorted[next[n]] = uint16(sym)
			next[n]++
		}
	}

	// Deflate sends codes from their highest bit on, so the table is indexed
	// by the reversed code. It grows with the length: each doubling repeats
	// the shorter codes' entries.
	code := uint(0)
	i := 0
	size := 1
	for n := uint(1); n <= min(longest, tableBits); n++ {
		code <<= 1
		if left == 0 && n > 1 {
			copy(table[size:2*size], table[:size])
		}
		size = 1 << n
		for range count[n] {
			table[reverse(code, n)] = symbols[sorted[i]] + uint32(n|n<<8)
			code++
			i++
		}
	}
	if left > 0 { // a single code of one bit
		for j := 2; j < 1<<tableBits; j += 2 {
			table[j] = table[0]
		}
		return true
	}
	for ; size < 1<<tableBits; size *= 2 {
		copy(table[size:2*size], table[:size])
	}
	if longest <= tableBits {
		return true
	}

	// Longer codes: a subtable for each prefix of tableBits bits.
	end := uint(1) << tableBits // of the entries in use
	prefix, subBits, subStart := ^uint(0), uint(0), uint(0)
	for n := tableBits + 1; n <= longest; n++ {
		code <<= 1
		for range count[n] {
			rev := reverse(code, n)
			if p := rev & (1<<tableBits - 1); p != prefix {
				prefix, subStart = p, end
				// Large enough for the longest code of this prefix: codes
				// that follow fill what is left of it.
				subBits = n - tableBits
				room := 1<<subBits - remaining(count[n], i, start[n])
				for m := n; room > 0 && m < longest; {
					m++
					subBits++
					room = room<<1 - count[m]
				}
				end += 1 << subBits
				table[p] = uint32(subStart)<<16 | entrySpecial | uint32(subBits)<<8 | uint32(tableBits)
			}
			e := symbols[sorted[i]] + uint32((n-tableBits)|(n-tableBits)<<8)
			for j := rev >> tableBits; j < 1<<subBits; j += 1 << (n - tableBits) {
				table[subStart+j] = e
			}
			code++
			i++
		}
	}
	return true
}

// remaining codes of a length from the i-th symbol on.
func remaining(count, i, start int) int { return count - (i - start) }

func reverse(code, n uint) uint { return uint(bits.Reverse16(uint16(code)) >> (16 - n)) }

// fixedCodes are those of RFC 1951, 3.2.6.
var fixedCodes = sync.OnceValue(func() *codes {
	var lens [288]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	var distLens [32]uint8
	for i := range distLens {
		distLens[i] = 5
	}
	c := new(codes)
	if !build(c.lit[:], litBits, lens[:], litSymbols[:], mainCode) ||
		!build(c.dist[:], distBits, distLens[:], distSymbols[:], mainCode) {
		panic("inflate: internal error: the fixed codes are incomplete")
	}
	return c
})

// precodeOrder is that of RFC 1951, 3.2.7.
var precodeOrder = [numPrecode]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// whatIncompletePrecode has a name since here zlib, and so this decoder, is
// stricter than compress/flate.
const whatIncompletePrecode = "over-subscribed or incomplete code of the code lengths"

// dynamicHeader reads the codes of a block. The caller has refilled once and
// has taken three bits.
func (r *Reader) dynamicHeader() error {
	numLit := int(r.bits(5)) + 257
	numDist := int(r.bits(5)) + 1
	numPre := int(r.bits(4)) + 4
	if numLit > maxLitLen {
		return r.corrupt("more than 286 literal and length codes")
	}
	if numDist > maxDist {
		return r.corrupt("more than 30 distance codes")
	}
	var preLens [numPrecode]uint8
	for i := range numPre {
		if r.bitCnt < 3 {
			r.refill()
		}
		preLens[precodeOrder[i]] = uint8(r.bits(3))
	}
	var pre [1 << preBits]uint32
	if !build(pre[:], preBits, preLens[:], preSymbols[:], precode) {
		return r.corrupt(whatIncompletePrecode)
	}

	// The bits are kept out of r: a block has hundreds of code lengths.
	bb, bc := r.bitBuf, r.bitCnt
	lens := r.lens[:numLit+numDist]
	what := ""
loop:
	for i := 0; i < len(lens); {
		if bc < preBits+7 { // the longest code, and the most extra bits
			r.bitBuf, r.bitCnt = bb, bc
			if err := r.checkOverrun(); err != nil { // or the refills could leave the buffer
				return err
			}
			r.refill()
			bb, bc = r.bitBuf, r.bitCnt
		}
		e := pre[bb&(1<<preBits-1)]
		if e&entrySpecial != 0 {
			what = "a block without any code length"
			break loop
		}
		bb >>= e & 63
		bc -= uint(e & 63)
		sym := e >> 16
		if sym < 16 {
			lens[i] = uint8(sym)
			i++
			continue
		}
		var value uint8
		repeat, extra := 3, uint(3)
		switch sym {
		case 16:
			if i == 0 {
				what = "a code length is repeated before there is one"
				break loop
			}
			value, extra = lens[i-1], 2
		case 17:
		default:
			repeat, extra = 11, 7
		}
		repeat += int(bb & (1<<extra - 1))
		bb >>= extra
		bc -= extra
		if repeat > len(lens)-i {
			what = "code lengths are repeated beyond their number"
			break loop
		}
		for range repeat {
			lens[i] = value
			i++
		}
	}
	r.bitBuf, r.bitCnt = bb, bc
	if err := r.checkOverrun(); err != nil {
		return err
	}
	if what == "" && lens[endOfBlock] == 0 {
		what = "a block without a code for its end"
	}
	if what != "" {
		return r.corrupt(what)
	}
	if !build(r.dynamic.lit[:], litBits, lens[:numLit], litSymbols[:], mainCode) {
		return r.corrupt("over-subscribed or incomplete code of literals and lengths")
	}
	if !build(r.dynamic.dist[:], distBits, lens[numLit:], distSymbols[:], mainCode) {
		return r.corrupt("over-subscribed or incomplete code of distances")
	}
	return nil
}
