package soci

import (
	"bytes"
	"fmt"
)

// tarBlock is the unit of a tar archive: 512 bytes.
const tarBlock = 512

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// foreignMagic are the compressions that a zTOC cannot describe, by their
// first bytes.
var foreignMagic = []struct {
	magic  []byte
	name   string
	reason SkipReason
}{
	{zstdMagic, "zstd", SkipZstd},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, "xz", SkipCompression},
	{[]byte("BZh"), "bzip2", SkipCompression},
	{[]byte{0x04, 0x22, 0x4d, 0x18}, "lz4", SkipCompression},
	{[]byte("LZIP"), "lzip", SkipCompression},
}

// detectCompression judges a layer by its first bytes, of which head holds
// tarBlock or, in a smaller layer, all.
//
// An archive's header comes first, so that a file name cannot pass for a magic
// number, except for what containerd tells from the magic number alone
// (pkg/archive/compression): there a compressed stream
// may happen to hold a header where an archive has it, and a layer that is both
// would be unpacked as one thing and indexed as the other.
func detectCompression(head []byte) (Compression, error) {
	if len(head) == 0 {
		return "", fmt.Errorf("%w: the layer is empty", ErrTruncated)
	}
	switch tar := isTarBlock(head); {
	case tar && unpackedByMagic(head):
		if headerSumRight((*[tarBlock]byte)(head)) {
			return "", &UnsupportedError{Reason: SkipEntryName, Detail: fmt.Sprintf("the first name in the archive "+
				"begins as a compressed stream does, with % x, and clients take the layer for one", head[:4])}
		}
	case tar:
		return Uncompressed, nil
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || bytes.Equal(head, []byte{0x1f}) {
		return Gzip, nil
	}
	for _, f := range foreignMagic {
		if bytes.HasPrefix(head, f.magic) {
			return "", &UnsupportedError{Reason: f.reason, Detail: f.name + " compression"}
		}
	}
	if zstdSkippable(head) {
		return "", &UnsupportedError{Reason: SkipZstd, Detail: "zstd compression"}
	}
	if len(head) < tarBlock {
		return "", fmt.Errorf("%w: %d bytes are no gzip stream and too few for a tar archive", ErrTruncated, len(head))
	}
	return "", notTar("neither gzip nor tar: the layer begins with % x", head[:8])
}

// unpackedByMagic reports whether containerd takes b for gzip or zstd.
func unpackedByMagic(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x1f, 0x8b, 8}) || bytes.HasPrefix(b, zstdMagic) || zstdSkippable(b)
}

// zstdSkippable reports whether b begins with a skippable frame of zstd, magic
// 0x184d2a50 to …5f, which may stand in front of a stream.
func zstdSkippable(b []byte) bool {
	return len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], []byte{0x2a, 0x4d, 0x18})
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
// whose checksum is right, or one with the magic of ustar or GNU, which may be
// damaged; or the end marker.
func isTarBlock(b []byte) bool {
	if len(b) < tarBlock {
		return false
	}
	b = b[:tarBlock]
	return len(bytes.TrimLeft(b, "\x00")) == 0 || bytes.HasPrefix(b[257:], []byte("ustar")) ||
		headerSumRight((*[tarBlock]byte)(b))
}

// headerSumRight reports whether b's checksum is right, summed with signed or
// unsigned bytes.
func headerSumRight(b *[tarBlock]byte) bool {
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
