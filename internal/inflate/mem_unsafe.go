//go:build (amd64 || arm64) && !inflate_checked

package inflate

import "unsafe"

// cursor is a place in a buffer. Its loads and stores are not checked, which
// saves a quarter of the time. Both architectures are little-endian and allow
// unaligned access.
//
// It is safe because symbols starts a turn only with inAhead bytes of input
// (or inPad bytes of padding) and outSlack bytes of room left, a distance
// never exceeds the WindowSize bytes before the output, and the tests and
// fuzzers run the same loop with checks (build tag inflate_checked).
type cursor struct{ p unsafe.Pointer }

func at(b []byte, i int) cursor {
	return cursor{unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i)}
}

func (c cursor) add(n int) cursor        { return cursor{unsafe.Add(c.p, n)} }
func (c cursor) minus(other cursor) int  { return int(uintptr(c.p) - uintptr(other.p)) }
func (c cursor) after(other cursor) bool { return uintptr(c.p) > uintptr(other.p) }
func (c cursor) load64() uint64          { return *(*uint64)(c.p) }
func (c cursor) store64(v uint64)        { *(*uint64)(c.p) = v }
func (c cursor) load8() byte             { return *(*byte)(c.p) }
func (c cursor) store8(v byte)           { *(*byte)(c.p) = v }
func (c cursor) load16() uint16          { return *(*uint16)(c.p) }
func (c cursor) store16(v uint16)        { *(*uint16)(c.p) = v }

// copy16 copies 16 bytes from src, which must be as far before c, or behind it.
func (c cursor) copy16(src cursor) { *(*[16]byte)(c.p) = *(*[16]byte)(src.p) }

func load64(b []byte, i int) uint64 { return at(b, i).load64() }
