//go:build !(amd64 || arm64) || inflate_checked

package inflate

import "encoding/binary"

// cursor is a place in a buffer, as in mem_unsafe.go, with bounds checks and
// in any byte order: the oracle of the fast variant, and what other
// architectures use.
type cursor struct {
	b []byte
	i int
}

func at(b []byte, i int) cursor { return cursor{b, i} }

func (c cursor) add(n int) cursor        { return cursor{c.b, c.i + n} }
func (c cursor) minus(other cursor) int  { return c.i - other.i }
func (c cursor) after(other cursor) bool { return c.i > other.i }
func (c cursor) load64() uint64          { return load64(c.b, c.i) }
func (c cursor) store64(v uint64)        { binary.LittleEndian.PutUint64(c.b[c.i:], v) }
func (c cursor) load8() byte             { return c.b[c.i] }
func (c cursor) store8(v byte)           { c.b[c.i] = v }
func (c cursor) load16() uint16          { return binary.LittleEndian.Uint16(c.b[c.i:]) }
func (c cursor) store16(v uint16)        { binary.LittleEndian.PutUint16(c.b[c.i:], v) }

func (c cursor) copy16(src cursor) { copy(c.b[c.i:c.i+16], src.b[src.i:src.i+16]) }

func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
