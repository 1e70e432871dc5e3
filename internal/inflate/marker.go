package inflate

import "encoding/binary"

// firstMarker stands for the first byte of the unknown window, and the numbers
// after it for those that follow.
const firstMarker = 256

// A buffer of 16-bit values has a window of markers, or of what came before,
// in front, as Reader.out has one of bytes.
const (
	window16 = 2 * WindowSize
	slack16  = 2 * outSlack
	limit16  = (outSize - slack16) &^ 1 // the last outPos at which a turn may start
)

// markers is the window before a start.
var markers = func() []byte {
	b := make([]byte, 0, window16)
	for i := range WindowSize {
		b = binary.LittleEndian.AppendUint16(b, uint16(firstMarker+i))
	}
	return b
}()

// symbols16 is symbols with an output of 16 bits for each byte: values from
// firstMarker on stand for bytes of the window before the output, which is not
// known. It stops behind limit. A change to one of the two loops belongs in the
// other as well: they differ only in the width of what they store.
func (r *Reader) symbols16(limit int) (end bool, err error) {
	inLimit := r.inEnd - inAhead
	if r.inEOF {
		// At 8 bytes behind the end the 63 bits at hand are zeros from there.
		inLimit = r.inEnd + 8
	}
	if r.inPos > inLimit {
		return false, nil
	}
	in, inLast := at(r.in, r.inPos), at(r.in, inLimit)
	out, outLast := at(r.out, r.outPos), at(r.out, limit)
	// No distance reaches beyond the window of markers, which is always there.
	floor := at(r.out, 0)
	codes := r.codes
	bb, bc := r.bitBuf, uint64(r.bitCnt)
	var what string

	bb |= in.load64() << (bc & 63)
	in = in.add(int(^bc >> 3 & 7))
	bc |= 56
	e := codes.lit[bb&(1<<litBits-1)]

loop:
	for !in.after(inLast) && !out.after(outLast) {
		// Here 56 bits are loaded and e is the entry for the next of them.
		saved := bb
		bb >>= e & 63
		bc -= uint64(e)
		if e&entryLiteral != 0 {
			out.store16(uint16(e >> 16))
			out = out.add(2)
			e = codes.lit[bb&(1<<litBits-1)]
			saved = bb
			bb >>= e & 63
			bc -= uint64(e)
			if e&entryLiteral != 0 {
				out.store16(uint16(e >> 16))
				out = out.add(2)
				e = codes.lit[bb&(1<<litBits-1)]
				saved = bb
				bb >>= e & 63
				bc -= uint64(e)
				if e&entryLiteral != 0 {
					out.store16(uint16(e >> 16))
					out = out.add(2)
					e = codes.lit[bb&(1<<litBits-1)]
					bb |= in.load64() << (bc & 63)
					in = in.add(int(^bc >> 3 & 7))
					bc |= 56
					continue
				}
			}
		}
		if e&entrySpecial != 0 {
			if e < entryEnd&^entrySpecial { // a subtable
				saved = bb
				e = codes.lit[(uint64(e>>16)+bb&(1<<((e>>8)&15)-1))&(litTableSize-1)]
				bb >>= e & 63
				bc -= uint64(e)
				if e&entryLiteral != 0 {
					out.store16(uint16(e >> 16))
					out = out.add(2)
					bb |= in.load64() << (bc & 63)
					in = in.add(int(^bc >> 3 & 7))
					bc |= 56
					e = codes.lit[bb&(1<<litBits-1)]
					continue
				}
			}
			if e >= entryInvalid&^entrySpecial {
				what = "a code that stands for no literal or length"
				break loop
			}
			if e&entrySpecial != 0 {
				end = true
				break loop
			}
		}
		length := int(e>>16) + int((saved^bb<<(e&63))>>((e>>8)&63))

		// At most two literals of 11 bits and a length of 20 have been taken.
		if bc&63 < 28 {
			bb |= in.load64() << (bc & 63)
			in = in.add(int(^bc >> 3 & 7))
			bc |= 56
		}
		e = codes.dist[bb&(1<<distBits-1)]
		if e&entrySpecial != 0 {
			if e >= entryInvalid&^entrySpecial {
				what = "a code that stands for no distance"
				break loop
			}
			bb >>= e & 63
			bc -= uint64(e)
			e = codes.dist[(uint64(e>>16)+bb&(1<<((e>>8)&15)-1))&(distTableSize-1)]
			if e&entrySpecial != 0 {
				what = "a code that stands for no distance"
				break loop
			}
		}
		saved = bb
		bb >>= e & 63
		distance := 2 * (int(e>>16) + int((saved^bb<<(e&63))>>((e>>8)&63)))
		bc -= uint64(e)

		if distance > out.minus(floor) {
			what = "a distance that reaches before the start of the data"
			break loop
		}
		src := out.add(-distance)
		stop := out.add(2 * length)

		// The next entry is loaded while the copy goes on.
		bb |= in.load64() << (bc & 63)
		in = in.add(int(^bc >> 3 & 7))
		bc |= 56
		e = codes.lit[bb&(1<<litBits-1)]

		if distance >= 16 {
			out.copy16(src)
			out.add(16).copy16(src.add(16))
			out.add(32).copy16(src.add(32))
			out.add(48).copy16(src.add(48))
			for out = out.add(64); stop.after(out); out = out.add(32) {
				src = out.add(-distance)
				out.copy16(src)
				out.add(16).copy16(src.add(16))
			}
		} else if distance == 2 {
			v := uint64(src.load16()) * 0x0001000100010001
			for ; stop.after(out); out = out.add(8) {
				out.store64(v)
			}
		} else {
			// Each word holds only distance bytes that are right yet.
			step := min(distance, 8)
			for ; stop.after(out); out = out.add(step) {
				out.store64(src.load64())
				src = src.add(step)
			}
		}
		out = stop
	}

	r.inPos += in.minus(at(r.in, r.inPos))
	r.outPos += out.minus(at(r.out, r.outPos))
	r.bitBuf, r.bitCnt = bb, uint(bc&63)
	if what != "" {
		return false, r.corrupt(what)
	}
	return end, nil
}

// huffman16 is huffman for an output of 16 bits.
func (r *Reader) huffman16(limit int) (full bool, err error) {
	for {
		if r.outPos > limit {
			return true, nil
		}
		if err := r.need(inAhead + 1); err != nil {
			return false, err
		}
		end, err := r.symbols16(limit)
		if err == nil {
			err = r.checkOverrun()
		}
		if err != nil {
			return false, err
		}
		if end {
			r.state = inBlockEnd
			return false, nil
		}
	}
}

// stored16 is stored for an output of 16 bits.
func (r *Reader) stored16(limit int) (full bool, err error) {
	for r.storedLeft > 0 {
		if r.outPos > limit {
			return true, nil
		}
		if err := r.need(1); err != nil {
			return false, err
		}
		n := min(r.storedLeft, (limit-r.outPos)/2+1, r.inEnd-r.inPos)
		if n == 0 {
			return false, r.truncated()
		}
		for i, c := range r.in[r.inPos : r.inPos+n] {
			binary.LittleEndian.PutUint16(r.out[r.outPos+2*i:], uint16(c))
		}
		r.inPos += n
		r.outPos += 2 * n
		r.storedLeft -= n
	}
	r.state = inBlockEnd
	return false, nil
}

const highBytes = 0xff00ff00ff00ff00

// lastMarker returns where the last marker of b[from:to] begins, or -1.
func lastMarker(b []byte, from, to int) int {
	for to-8 >= from && binary.LittleEndian.Uint64(b[to-8:])&highBytes == 0 {
		to -= 8
	}
	for to -= 2; to >= from; to -= 2 {
		if b[to+1] != 0 {
			return to
		}
	}
	return -1
}

// resolver turns values of 16 bits into bytes, once the window is known.
type resolver struct {
	table valueTable // of which firstMarker + WindowSize are used
}

func (v *resolver) reset(window *[WindowSize]byte) {
	if v.table[1] == 0 {
		for i := range firstMarker {
			v.table[i] = byte(i)
		}
	}
	copy(v.table[firstMarker:], window[:])
}

// resolve writes a byte to dst for each value of src. It may be the same
// memory, where dst begins no later.
func (v *resolver) resolve(dst, src []byte) {
	t := &v.table
	for len(src) >= 32 {
		in, out := (*[32]byte)(src), (*[16]byte)(dst)
		a, b := binary.LittleEndian.Uint64(in[:8]), binary.LittleEndian.Uint64(in[8:16])
		c, d := binary.LittleEndian.Uint64(in[16:24]), binary.LittleEndian.Uint64(in[24:])
		if (a|b|c|d)&highBytes == 0 {
			a, b = pack(a)|pack(b)<<32, pack(c)|pack(d)<<32
		} else {
			a, b = t.bytes(a)|t.bytes(b)<<32, t.bytes(c)|t.bytes(d)<<32
		}
		binary.LittleEndian.PutUint64(out[:8], a)
		binary.LittleEndian.PutUint64(out[8:], b)
		src, dst = src[32:], dst[16:]
	}
	for i := range len(src) / 2 {
		dst[i] = t[binary.LittleEndian.Uint16(src[2*i:])]
	}
}

// pack takes the lower byte of each of four values.
func pack(w uint64) uint64 {
	w |= w >> 8
	return w&0xffff | w>>16&0xffff0000
}

// valueTable has a byte for each value.
type valueTable [1 << 16]byte

func (t *valueTable) bytes(w uint64) uint64 {
	return uint64(t[uint16(w)]) | uint64(t[uint16(w>>16)])<<8 | uint64(t[uint16(w>>32)])<<16 | uint64(t[w>>48])<<24
}

// reach returns how far the markers among values of 16 bits reach into the
// window, from its end.
func reach(values []byte) int {
	lowest := uint16(WindowSize)
	for i := 0; i < len(values); i += 2 {
		lowest = min(lowest, binary.LittleEndian.Uint16(values[i:])-firstMarker)
	}
	return WindowSize - int(lowest)
}
