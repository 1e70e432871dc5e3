//go:build (conformance || libdeflate) && cgo

package contender

import (
	"bytes"
	"encoding/binary"
	"errors"
)

const gzipTrailer = 8 // CRC-32 and length

var errHeader = errors.New("no whole gzip header")

// gzipHeader returns the length of the header that b begins with.
func gzipHeader(b []byte) (int, error) {
	const (
		fixed = 10
		fhcrc = 1 << iota
		fextra
		fname
		fcomment
	)
	if len(b) < fixed || b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return 0, errHeader
	}
	flags, n := b[3], fixed
	if flags&fextra != 0 {
		if len(b) < n+2 {
			return 0, errHeader
		}
		n += 2 + int(binary.LittleEndian.Uint16(b[n:]))
	}
	for _, text := range []byte{fname, fcomment} {
		if flags&text == 0 {
			continue
		}
		if n > len(b) {
			return 0, errHeader
		}
		end := bytes.IndexByte(b[n:], 0)
		if end < 0 {
			return 0, errHeader
		}
		n += end + 1
	}
	if flags&fhcrc != 0 {
		n += 2
	}
	if n > len(b) {
		return 0, errHeader
	}
	return n, nil
}
