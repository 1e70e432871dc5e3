package inflate

import (
	"fmt"
	"io"
)

// used is the index of the first byte in the buffer of which no bit is used.
func (r *Reader) used() int { return r.inPos - int(r.bitCnt>>3) }

// give passes the used bytes on, up to index end.
func (r *Reader) give(end int) {
	if end > r.inGiven && r.events.Consumed != nil {
		r.events.Consumed(end - r.inGiven)
	}
	r.inGiven = end
}

// need reads until n unloaded bytes are in the buffer, or the input is at its
// end. n is at most headerAhead.
func (r *Reader) need(n int) error {
	if r.inEnd-r.inPos >= n || r.inEOF {
		return nil
	}
	return r.fill(n)
}

// fill moves the rest of the input to the front and reads on up to the next
// multiple of inStep, or the end of the input: many small reads cost more than
// a short wait.
func (r *Reader) fill(n int) error {
	if r.feed != nil {
		return r.feed(n)
	}
	used := r.used()
	r.give(used)
	copy(r.in, r.in[used:r.inEnd])
	r.inPos -= used
	r.inEnd -= used
	r.inBase += int64(used)
	r.inGiven = 0
	for r.inEnd-r.inPos < n && !r.inEOF {
		if r.readErr != nil {
			return r.readErr
		}
		at := r.inBase + int64(r.inEnd)
		r.read(r.inEnd + int(inStep-at%inStep))
	}
	return nil
}

// read reads until end bytes are in the buffer, the input is at its end, or there is
// a read error, reported once the buffer is used up.
func (r *Reader) read(end int) {
	for empty := 0; r.inEnd < end && !r.inEOF && r.readErr == nil; {
		n, err := r.src.Read(r.in[r.inEnd:end])
		if n < 0 || n > end-r.inEnd {
			r.readErr = fmt.Errorf("internal error: Read returned %d of %d bytes", n, end-r.inEnd)
			return
		}
		r.inEnd += n
		switch {
		case err == io.EOF:
			r.inEOF = true
			clear(r.in[r.inEnd : r.inEnd+inPad])
		case err != nil:
			r.readErr = err
		case n == 0:
			if empty++; empty == 100 {
				r.readErr = io.ErrNoProgress
			}
		default:
			empty = 0
		}
	}
}

// refill loads bits until at least 56 are there. Behind the end of the input
// they are zeros, which checkOverrun tells from real ones.
func (r *Reader) refill() {
	r.bitBuf |= load64(r.in, r.inPos) << (r.bitCnt & 63)
	r.inPos += int((63 - r.bitCnt) >> 3)
	r.bitCnt |= 56
}

// bits takes n bits, which must be loaded.
func (r *Reader) bits(n uint) uint {
	v := uint(r.bitBuf & (1<<n - 1))
	r.bitBuf >>= n
	r.bitCnt -= n
	return v
}

// checkOverrun fails when bits behind the end of the input were used.
func (r *Reader) checkOverrun() error {
	if r.inEOF && r.used() > r.inEnd {
		return r.truncated()
	}
	return nil
}

// alignToByte drops the rest of the current byte and gives back whole bytes that
// were loaded back.
func (r *Reader) alignToByte() {
	r.inPos -= int(r.bitCnt >> 3)
	r.bitBuf, r.bitCnt = 0, 0
}

// unload returns whole bytes that were loaded back.
func (r *Reader) unload() {
	r.inPos -= int(r.bitCnt >> 3)
	r.bitCnt &= 7
	r.bitBuf &= 1<<r.bitCnt - 1
}

// readByte takes a byte; no bits may be loaded.
func (r *Reader) readByte() (byte, error) {
	if r.inPos >= r.inEnd {
		if err := r.need(1); err != nil {
			return 0, err
		}
		if r.inPos >= r.inEnd {
			return 0, r.truncated()
		}
	}
	b := r.in[r.inPos]
	r.inPos++
	return b, nil
}

func (r *Reader) truncated() error {
	r.overrun = true
	return &Error{Class: ErrTruncated, Offset: r.inBase + int64(r.inEnd), What: "the input ends inside the stream"}
}

// corrupt is truncated when the input had ended before the place.
func (r *Reader) corrupt(what string) error {
	if err := r.checkOverrun(); err != nil {
		return err
	}
	return &Error{Class: ErrCorrupt, Offset: r.inBase + int64(r.used()), What: what}
}
