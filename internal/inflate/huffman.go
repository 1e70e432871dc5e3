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

loop:
	for ip <= inLimit && op <= outLimit {
		bb |= load64(in, ip) << (bc & 63)
		ip += int((63 - bc) >> 3)
		bc |= 56

		e := lit[bb&(1<<litBits-1)]
		if e&entryLiteral != 0 {
			bb >>= e & 63
			bc -= uint(e & 63)
			store8(out, op, byte(e>>16))
			op++
			e = lit[bb&(1<<litBits-1)]
			if e&entryLiteral != 0 {
				bb >>= e & 63
				bc -= uint(e & 63)
				store8(out, op, byte(e>>16))
				op++
				e = lit[bb&(1<<litBits-1)]
				if e&entryLiteral != 0 {
					bb >>= e & 63
					bc -= uint(e & 63)
					store8(out, op, byte(e>>16))
					op++
					continue
				}
			}
			bb |= load64(in, ip) << (bc & 63)
			ip += int((63 - bc) >> 3)
			bc |= 56
		}
		if e&entrySpecial != 0 {
			switch {
			case e >= entryInvalid&^entrySpecial:
				what = "a code that stands for no literal or length"
				break loop
			case e >= entryEnd&^entrySpecial:
				bb >>= e & 63
				bc -= uint(e & 63)
				end = true
				break loop
			}
			bb >>= e & 63
			bc -= uint(e & 63)
			sub := bb & (1<<((e>>8)&15) - 1)
			e = lit[(uint64(e>>16)+sub)&(litTableSize-1)]
			if e&entryLiteral != 0 {
				bb >>= e & 63
				bc -= uint(e & 63)
				store8(out, op, byte(e>>16))
				op++
				continue
			}
			if e&entrySpecial != 0 {
				if e >= entryInvalid&^entrySpecial {
					what = "a code that stands for no literal or length"
					break loop
				}
				bb >>= e & 63
				bc -= uint(e & 63)
				end = true
				break loop
			}
		}
		// 56 bits less 20 of the length's code, with its extra bits, less 28
		// of the distance's.
		saved := bb
		bb >>= e & 63
		bc -= uint(e & 63)
		length := int(e>>16) + int((saved&(1<<(e&63)-1))>>((e>>8)&63))

		e = dist[bb&(1<<distBits-1)]
		if e&entrySpecial != 0 {
			if e >= entryInvalid&^entrySpecial {
				what = "a code that stands for no distance"
				break loop
			}
			bb >>= e & 63
			bc -= uint(e & 63)
			sub := bb & (1<<((e>>8)&15) - 1)
			e = dist[(uint64(e>>16)+sub)&(distTableSize-1)]
			if e&entrySpecial != 0 {
				what = "a code that stands for no distance"
				break loop
			}
		}
		saved = bb
		bb >>= e & 63
		bc -= uint(e & 63)
		distance := int(e>>16) + int((saved&(1<<(e&63)-1))>>((e>>8)&63))

		if distance > op-floor {
			what = "a distance that reaches before the start of the data"
			break loop
		}
		src := op - distance
		stop := op + length
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
