package testlayers

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tarBuilder writes an archive: regular entries through archive/tar, the
// others as raw blocks in between.
type tarBuilder struct {
	buf bytes.Buffer
	w   *tar.Writer
}

func newTar() *tarBuilder {
	t := new(tarBuilder)
	t.w = tar.NewWriter(&t.buf)
	return t
}

// mtime of entries for which it does not matter.
var mtime = time.Unix(1_700_000_000, 0).UTC()

func (t *tarBuilder) add(h tar.Header, content []byte) {
	h.Size = int64(len(content))
	if h.ModTime.IsZero() {
		h.ModTime = mtime
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	must(t.w.WriteHeader(&h))
	_, err := t.w.Write(content)
	must(err)
}

func (t *tarBuilder) file(name string, content []byte) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name}, content)
}

func (t *tarBuilder) dir(name string) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, nil)
}

func (t *tarBuilder) symlink(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// raw writes an entry whose header the caller made, its content and padding.
func (t *tarBuilder) raw(h rawHeader, content []byte) {
	must(t.w.Flush())
	b := h.block()
	t.buf.Write(b[:])
	t.buf.Write(content)
	t.buf.Write(make([]byte, -len(content)&511))
}

// open returns the archive without its end marker.
func (t *tarBuilder) open() []byte {
	must(t.w.Flush())
	return t.buf.Bytes()
}

// close returns the archive with two zero blocks at the end.
func (t *tarBuilder) close() []byte { return append(t.open(), make([]byte, 1024)...) }

// rawHeader is a header block field by field, as the bytes that stand there.
// Fields left empty get what suits a regular file of no bytes.
type rawHeader struct {
	name, mode, uid, gid, size, mtime, linkname string
	typeflag                                    byte
	magic                                       string // "ustar\x0000" unless set; v7 is "-"
	uname, gname, devmajor, devminor, prefix    string
	tail                                        string // of the block, from byte 345 on, instead of prefix
	badChecksum                                 bool
	signedChecksum                              bool
}

func (h rawHeader) block() (b [512]byte) {
	put := func(at, size int, s, otherwise string) {
		if s == "" {
			s = otherwise
		}
		copy(b[at:at+size], s)
	}
	put(0, 100, h.name, "file")
	put(100, 8, h.mode, "0000644\x00")
	put(108, 8, h.uid, "0000000\x00")
	put(116, 8, h.gid, "0000000\x00")
	put(124, 12, h.size, "00000000000\x00")
	put(136, 12, h.mtime, "14524610400\x00")
	if h.typeflag == 0 {
		h.typeflag = '0'
	}
	b[156] = h.typeflag
	put(157, 100, h.linkname, "")
	if h.magic != "-" {
		put(257, 8, h.magic, "ustar\x0000")
		put(265, 32, h.uname, "")
		put(297, 32, h.gname, "")
		put(329, 8, h.devmajor, "0000000\x00")
		put(337, 8, h.devminor, "0000000\x00")
		put(345, 155, h.prefix, "")
		if h.tail != "" {
			put(345, 167, h.tail, "")
		}
	}
	put(148, 8, "        ", "")
	sum, signed := 0, 0
	for _, c := range b {
		sum += int(c)
		signed += int(int8(c))
	}
	if h.signedChecksum {
		sum = signed
	}
	if h.badChecksum {
		sum++
	}
	put(148, 8, fmt.Sprintf("%06o\x00 ", sum), "")
	return b
}

// octal12 is a size or time field.
func octal12(n int) string { return fmt.Sprintf("%011o\x00", n) }

// base256 is a number field of the size given in GNU's binary form.
func base256(n int64, size int) string {
	b := make([]byte, size)
	for i := size - 1; i >= 0; i-- {
		b[i] = byte(n)
		n >>= 8
	}
	b[0] |= 0x80
	return string(b)
}

// paxRecords are the content of an extended header.
func paxRecords(kv ...string) []byte {
	var out strings.Builder
	for i := 0; i+1 < len(kv); i += 2 {
		rest := " " + kv[i] + "=" + kv[i+1] + "\n"
		n := len(rest) + 1
		for len(strconv.Itoa(n))+len(rest) != n {
			n++
		}
		out.WriteString(strconv.Itoa(n) + rest)
	}
	return []byte(out.String())
}

// pax writes an extended header for the next entry.
func (t *tarBuilder) pax(kv ...string) {
	records := paxRecords(kv...)
	t.raw(rawHeader{name: "PaxHeaders.0/file", typeflag: 'x', size: octal12(len(records))}, records)
}

// smallTar is an archive of about 9 KiB.
var smallTar = sync.OnceValue(func() []byte {
	t := newTar()
	t.dir("d/")
	t.file("d/text", Text(31, 5000))
	t.file("d/noise", Noise(32, 700))
	t.symlink("d/link", "text")
	return t.close()
})
