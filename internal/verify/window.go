package verify

// windowSize is how far deflate reaches back.
const windowSize = 32 << 10 // 32 KiB

// window holds the last windowSize bytes that were written to it; where there
// were fewer it has zeros before them.
type window struct {
	ring [windowSize]byte
	next int // the place of the next byte, and so of the oldest
}

func (w *window) write(p []byte) {
	if len(p) > windowSize {
		p = p[len(p)-windowSize:]
	}
	n := copy(w.ring[w.next:], p)
	copy(w.ring[:], p[n:])
	w.next = (w.next + len(p)) % windowSize
}

// differs returns the index of the first byte of p that is not as in the window,
// oldest byte first, or the shorter length; -1 if all are the same.
func (w *window) differs(p []byte) int {
	for i := range min(len(p), windowSize) {
		if p[i] != w.ring[(w.next+i)%windowSize] {
			return i
		}
	}
	if len(p) != windowSize {
		return min(len(p), windowSize)
	}
	return -1
}
