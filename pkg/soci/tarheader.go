package soci

import (
	"archive/tar"
	"bytes"
	"time"
)

// The fields of a tar header (POSIX ustar, of which GNU's is a variant).
func field(b *[tarBlock]byte, at, n int) []byte { return b[at : at+n] }

// plainHeader reads the kind of header that nearly all entries have: ustar or
// GNU without extensions, with octal numbers. What it accepts it reads as
// archive/tar does; any other header is left to that package, which takes
// several times as long.
func plainHeader(b *[tarBlock]byte, h *tar.Header) bool {
	typeflag := b[156]
	if typeflag < '0' || typeflag > '6' {
		return false
	}
	var prefix []byte
	switch string(field(b, 257, 8)) {
	case "ustar\x0000":
		if string(field(b, 508, 4)) == "tar\x00" {
			return false // star
		}
		prefix = text(field(b, 345, 155))
	case "ustar  \x00":
		// Times of access and change, and a sparse file's map, stand here.
		if !allZero(b[345:]) {
			return false
		}
	default:
		return false
	}
	sum, ok := octal(field(b, 148, 8))
	if !ok || sum != headerSum(b) {
		return false
	}
	var numbers [7]int64
	for i, f := range [...]struct{ at, n int }{{100, 8}, {108, 8}, {116, 8}, {124, 12}, {136, 12}, {329, 8}, {337, 8}} {
		if numbers[i], ok = octal(field(b, f.at, f.n)); !ok {
			return false
		}
	}
	name := text(field(b, 0, 100))
	*h = tar.Header{
		Typeflag: typeflag,
		Linkname: string(text(field(b, 157, 100))),
		Mode:     numbers[0],
		Uid:      int(numbers[1]),
		Gid:      int(numbers[2]),
		Size:     numbers[3],
		ModTime:  time.Unix(numbers[4], 0),
		Uname:    string(text(field(b, 265, 32))),
		Gname:    string(text(field(b, 297, 32))),
		Devmajor: numbers[5],
		Devminor: numbers[6],
	}
	if len(prefix) > 0 {
		h.Name = string(prefix) + "/" + string(name)
	} else {
		h.Name = string(name)
	}
	return true
}

// text is a field up to its first NUL.
func text(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// octal reads a number between blanks and NULs; one without digits is 0.
func octal(b []byte) (int64, bool) {
	for len(b) > 0 && (b[0] == ' ' || b[0] == 0) {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '7' {
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

// headerSum adds up the bytes, those of the sum itself as blanks.
func headerSum(b *[tarBlock]byte) int64 {
	var sum int64 = 8 * ' '
	for _, c := range b[:148] {
		sum += int64(c)
	}
	for _, c := range b[156:] {
		sum += int64(c)
	}
	return sum
}

var zeroBlock [tarBlock]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeroBlock[:len(b)]) }
