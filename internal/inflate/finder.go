package inflate

import "math/bits"

// A place in a stream is its number of bits from the start: for a boundary
// 8·In − Bits.

// finder looks for the starts of blocks in the middle of a deflate stream:
// those of dynamic blocks that are not the last of their member. Nothing but
// the header of one can be told from other bytes with any certainty.
//
// Its finds are guesses: that a stream has a block there is known only when
// the decoding of what precedes it has come to the same place.
type finder struct {
	probe Reader // reads headers
}

// next returns the first place from the bit number from on, and before to, at
// which a header stands, or -1. in has inPad bytes behind it, or more.
func (f *finder) next(in []byte, from, to int) int {
	for at := from; at < to; {
		if at>>3+16 > len(in) {
			return -1 // a header and a block are longer
		}
		w := load64(in, at>>3) >> (at & 7)
		// 48 places at once: not final (0), dynamic (2, of which the lower bit
		// is first), and neither 31 nor 32 times 257 … literals or distances.
		ok := ^w & ^(w >> 1) & (w >> 2) &
			^(w >> 4 & (w >> 5) & (w >> 6) & (w >> 7)) &
			^(w >> 9 & (w >> 10) & (w >> 11) & (w >> 12))
		ok &= 1<<44 - 1 // of the 57 bits at least that are there
		for ; ok != 0; ok &= ok - 1 {
			place := at + bits.TrailingZeros64(ok)
			if place >= to {
				return -1
			}
			if completePrecode(in, place) && f.header(in, place) {
				return place
			}
		}
		at += 44
	}
	return -1
}

// isHeader reports whether next would find a header at a place.
func (f *finder) isHeader(in []byte, place int) bool { return f.next(in, place, place+1) == place }

// kraft has for four code lengths of three bits each the sum of 2^(7-length).
var kraft = func() (t [4096]uint16) {
	for i := range t {
		for j := 0; j < 12; j += 3 {
			if n := i >> j & 7; n > 0 {
				t[i] += 1 << (preBits - n)
			}
		}
	}
	return t
}()

// completePrecode reports whether the code of the code lengths in the header
// at a place is complete.
func completePrecode(in []byte, place int) bool {
	if place>>3+16 > len(in) {
		return false
	}
	place += 13
	n := int(load64(in, place>>3)>>(place&7)&15) + 4
	place += 4
	w := load64(in, place>>3) >> (place & 7) & (1<<(3*n) - 1)
	return kraft[w&4095]+kraft[w>>12&4095]+kraft[w>>24&4095]+kraft[w>>36&4095]+kraft[w>>48] == 1<<preBits
}

// header reports whether the rest of the header at a place is sound too.
func (f *finder) header(in []byte, place int) bool {
	r := &f.probe
	r.in, r.inEnd, r.inEOF = in[:cap(in)], len(in), true
	r.inPos, r.bitBuf, r.bitCnt = place>>3, 0, 0
	r.refill()
	r.bits(uint(place & 7))
	r.bits(3)
	return r.dynamicHeader() == nil
}
