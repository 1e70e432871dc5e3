package soci

import (
	"bytes"
	"fmt"
)

// tarBlock is the unit of a tar archive: 512 bytes.
const tarBlock = 512

// foreignMagic are the compressions that a zTOC cannot describe, by their
// first bytes.
var foreignMagic = []struct {
	magic  []byte
	name   string
	reason SkipReason
}{
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, "zstd", SkipZstd},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, "xz", SkipCompression},
	{[]byte("BZh"), "bzip2", SkipCompression},
	{[]byte{0x04, 0x22, 0x4d, 0x18}, "lz4", SkipCompression},
	{[]byte("LZIP"), "lzip", SkipCompression},
}

// detectCompression judges a layer by its first bytes, of which head holds
// tarBlock or, in a smaller layer, all. An archive's header comes first, so
// that a file name cannot pass for a magic number.
func detectCompression(head []byte) (Compression, error) {
	switch {
	case len(head) == 0:
		return "", fmt.Errorf("%w: the layer is empty", ErrTruncated)
	case isTarBlock(head):
		return Uncompressed, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}), bytes.Equal(head, []byte{0x1f}):
		return Gzip, nil
	}
	for _, f := range foreignMagic {
		if bytes.HasPrefix(head, f.magic) {
			return "", &UnsupportedError{Reason: f.reason, Detail: f.name + " compression"}
		}
	}
	// A zstd stream may begin with a skippable frame, magic 0x184d2a50 to …5f.
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return "", &UnsupportedError{Reason: SkipZstd, Detail: "zstd compression"}
	}
	if len(head) < tarBlock {
		return "", fmt.Errorf("%w: %d bytes are no gzip stream and too few for a tar archive", ErrTruncated, len(head))
	}
	return "", notTar("neither gzip nor tar: the layer begins with % x", head[:8])
}

// notTar is the error of a layer that holds something else than a tar archive,
// such as a file system image.
func notTar(format string, args ...any) error {
	return &UnsupportedError{Reason: SkipNotTar, Detail: fmt.Sprintf(format, args...)}
}

// maxEmptyArchive is the size of the archive that tar makes of no files: one
// record of 20 blocks.
const maxEmptyArchive = 20 * tarBlock // 10,240 bytes

// isTarBlock reports whether b is meant as the begin of an archive: a header
// whose checksum is right, summed with signed or unsigned bytes, or one with
// the magic of ustar or GNU, which may be damaged; or the end marker.
func isTarBlock(b []byte) bool {
	if len(b) < tarBlock {
		return false
	}
	b = b[:tarBlock]
	if len(bytes.TrimLeft(b, "\x00")) == 0 || bytes.HasPrefix(b[257:], []byte("ustar")) {
		return true
	}
	const at, end = 148, 156 // the checksum's own field, counted as blanks
	var unsigned, signed int64
	for i, c := range b {
		if at <= i && i < end {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	var sum int64
	digits, _, _ := bytes.Cut(bytes.Trim(b[at:end], " \x00"), []byte{0})
	for _, c := range digits {
		if c < '0' || c > '7' {
			return false
		}
		sum = sum<<3 | int64(c-'0')
	}
	return sum == unsigned || sum == signed
}
