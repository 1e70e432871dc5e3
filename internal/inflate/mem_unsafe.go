//go:build (amd64 || arm64) && !inflate_checked

package inflate

import "unsafe"

// Loads and stores without bounds checks, which cost a quarter of the time.
// Both architectures are little-endian and allow unaligned access.
//
// What makes them safe: symbols starts a turn only with inAhead bytes of
// input (or inPad bytes of padding) and outSlack bytes of output left, a
// distance never exceeds the WindowSize bytes that precede op, and the tests
// and fuzzers run the same loop with checks (build tag inflate_checked).

func load64(b []byte, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

func store64(b []byte, i int, v uint64) {
	*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i)) = v
}

func load8(b []byte, i int) byte {
	return *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

func store8(b []byte, i int, v byte) {
	*(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i)) = v
}
