package inflate

// huffman decodes a block's symbols until the block ends, or until there is
// no room for output, which full reports.
//
// A turn of the loop takes at most three literals and a match. Within it no
// bound is checked: inAhead bytes of input and outSlack of output are there
// when it starts. At the end of the input it may run into the zeros behind;
// that is found when the turn is over.
func (r *Reader) huffman() (full bool, err error) {
	for {
		if r.outPos > r.outLimit() {
			return true, nil
		}
		if err := r.need(inAhead + 1); err != nil {
			return false, err
		}
		end, err := r.symbols()
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

// symbols is the inner loop. It returns when the block has ended, or when
// input or room for output runs low.
//
// Of bc only the lowest six bits count: whole entries are subtracted from it,
// which saves cutting out their lengths.
func (r *Reader) symbols() (end bool, err error) {
	inLimit := r.inEnd - inAhead
	if r.inEOF {
		// At 8 bytes behind the end the 63 bits at hand are zeros from there.
		inLimit = r.inEnd + 8
	}
	if r.inPos > inLimit {
		return false, nil
	}
	in, inLast := at(r.in, r.inPos), at(r.in, inLimit)
	out, outLast := at(r.out, r.outPos), at(r.out, r.outLimit())
	// No distance reaches beyond the window, which is always there.
	floor := at(r.out, max(r.member, 0))
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
			out.store8(byte(e >> 16))
			out = out.add(1)
			e = codes.lit[bb&(1<<litBits-1)]
			saved = bb
			bb >>= e & 63
			bc -= uint64(e)
			if e&entryLiteral != 0 {
				out.store8(byte(e >> 16))
				out = out.add(1)
				e = codes.lit[bb&(1<<litBits-1)]
				saved = bb
				bb >>= e & 63
				bc -= uint64(e)
				if e&entryLiteral != 0 {
					out.store8(byte(e >> 16))
					out = out.add(1)
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
					out.store8(byte(e >> 16))
					out = out.add(1)
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
		distance := int(e>>16) + int((saved^bb<<(e&63))>>((e>>8)&63))
		bc -= uint64(e)

		if distance > out.minus(floor) {
			what = "a distance that reaches before the start of the data"
			break loop
		}
		src := out.add(-distance)
		stop := out.add(length)

		// The next entry is loaded while the copy goes on.
		bb |= in.load64() << (bc & 63)
		in = in.add(int(^bc >> 3 & 7))
		bc |= 56
		e = codes.lit[bb&(1<<litBits-1)]

		if distance >= 8 {
			// One match in seven is longer than 16 bytes, one in twenty longer
			// than 32: four words at once save a branch that is guessed wrong.
			out.store64(src.load64())
			out.add(8).store64(src.add(8).load64())
			out.add(16).store64(src.add(16).load64())
			out.add(24).store64(src.add(24).load64())
			for out = out.add(32); stop.after(out); out = out.add(16) {
				src = out.add(-distance)
				out.store64(src.load64())
				out.add(8).store64(src.add(8).load64())
			}
		} else if distance == 1 {
			v := uint64(src.load8()) * 0x0101010101010101
			for ; stop.after(out); out = out.add(8) {
				out.store64(v)
			}
		} else {
			// Each word holds only distance bytes that are right yet.
			for ; stop.after(out); out = out.add(distance) {
				out.store64(src.load64())
				src = src.add(distance)
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
