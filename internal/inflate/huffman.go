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
		if err := r.need(inAhead + 1); err != nil {
			return false, err
		}
		if r.outPos > r.outLimit() {
			return true, r.checkOverrun()
		}
		end, err := r.symbols()
		if err != nil {
			return false, err
		}
		if end {
			return false, r.blockEnd()
		}
		if err := r.checkOverrun(); err != nil {
			return false, err
		}
	}
}

// symbols is the inner loop. It returns when the block has ended, or when
// input or room for output runs low.
func (r *Reader) symbols() (end bool, err error) {
	in, ip := r.in, r.inPos
	out, op := r.out, r.outPos
	lit, dist := &r.codes.lit, &r.codes.dist
	bb, bc := r.bitBuf, r.bitCnt
	floor := r.member
	outLimit := r.outLimit()
	inLimit := r.inEnd - inAhead
	if r.inEOF {
		// At 8 bytes behind the end the 63 bits at hand are zeros from there.
		inLimit = r.inEnd + 8
	}
	var what string

	bb |= load64(in, ip) << (bc & 63)
	ip += int((63 - bc) >> 3)
	bc |= 56
	e := lit[bb&(1<<litBits-1)]

loop:
	for ip <= inLimit && op <= outLimit {
		// Here 56 bits are loaded and e is the entry for the next of them.
		saved := bb
		bb >>= e & 63
		bc -= uint(e & 63)
		if e&entryLiteral != 0 {
			store8(out, op, byte(e>>16))
			op++
			e = lit[bb&(1<<litBits-1)]
			saved = bb
			bb >>= e & 63
			bc -= uint(e & 63)
			if e&entryLiteral != 0 {
				store8(out, op, byte(e>>16))
				op++
				e = lit[bb&(1<<litBits-1)]
				saved = bb
				bb >>= e & 63
				bc -= uint(e & 63)
				if e&entryLiteral != 0 {
					store8(out, op, byte(e>>16))
					op++
					e = lit[bb&(1<<litBits-1)]
					bb |= load64(in, ip) << (bc & 63)
					ip += int((63 - bc) >> 3)
					bc |= 56
					continue
				}
			}
		}
		if e&entrySpecial != 0 {
			if e < entryEnd&^entrySpecial { // a subtable
				saved = bb
				e = lit[(uint64(e>>16)+bb&(1<<((e>>8)&15)-1))&(litTableSize-1)]
				bb >>= e & 63
				bc -= uint(e & 63)
				if e&entryLiteral != 0 {
					store8(out, op, byte(e>>16))
					op++
					bb |= load64(in, ip) << (bc & 63)
					ip += int((63 - bc) >> 3)
					bc |= 56
					e = lit[bb&(1<<litBits-1)]
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
		length := int(e>>16) + int((saved&(1<<(e&63)-1))>>((e>>8)&63))

		// At most two literals of 11 bits and a length of 20 have been taken.
		if bc < 28 {
			bb |= load64(in, ip) << (bc & 63)
			ip += int((63 - bc) >> 3)
			bc |= 56
		}
		e = dist[bb&(1<<distBits-1)]
		if e&entrySpecial != 0 {
			if e >= entryInvalid&^entrySpecial {
				what = "a code that stands for no distance"
				break loop
			}
			bb >>= e & 63
			bc -= uint(e & 63)
			e = dist[(uint64(e>>16)+bb&(1<<((e>>8)&15)-1))&(distTableSize-1)]
			if e&entrySpecial != 0 {
				what = "a code that stands for no distance"
				break loop
			}
		}
		distance := int(e>>16) + int((bb&(1<<(e&63)-1))>>((e>>8)&63))
		bb >>= e & 63
		bc -= uint(e & 63)

		if distance > op-floor {
			what = "a distance that reaches before the start of the data"
			break loop
		}
		src := op - distance
		stop := op + length

		// The next entry is loaded while the copy goes on.
		bb |= load64(in, ip) << (bc & 63)
		ip += int((63 - bc) >> 3)
		bc |= 56
		e = lit[bb&(1<<litBits-1)]

		if distance >= 8 {
			store64(out, op, load64(out, src))
			store64(out, op+8, load64(out, src+8))
			for op += 16; op < stop; op += 16 {
				src += 16
				store64(out, op, load64(out, src))
				store64(out, op+8, load64(out, src+8))
			}
		} else if distance == 1 {
			v := uint64(load8(out, src)) * 0x0101010101010101
			for ; op < stop; op += 8 {
				store64(out, op, v)
			}
		} else {
			// Each word holds only distance bytes that are right yet.
			for ; op < stop; op += distance {
				store64(out, op, load64(out, src))
				src += distance
			}
		}
		op = stop
	}

	r.inPos, r.outPos, r.bitBuf, r.bitCnt = ip, op, bb, bc
	if what != "" {
		return false, r.corrupt(what)
	}
	return end, nil
}
