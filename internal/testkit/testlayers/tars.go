package testlayers

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"
)

// gzTar is a stored layer of the archive, compressed with a flush here and
// there so that it has several spans.
func gzTar(name, how string, archive func() []byte) Layer {
	return gz("tar/"+name, how, func() []byte { return GoGzip(archive(), 6, 3000) })
}

// times adds a file for each time in nanoseconds since 1970, timesUnix in
// seconds.
func (t *tarBuilder) times(nanoseconds ...int64) {
	for _, n := range nanoseconds {
		t.add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("ns%d", n), ModTime: time.Unix(0, n).UTC(),
			Format: tar.FormatPAX}, nil)
	}
}

func (t *tarBuilder) timesUnix(seconds ...int64) {
	for _, n := range seconds {
		t.add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("s%d", n), ModTime: time.Unix(n, 0).UTC(),
			Format: tar.FormatPAX}, nil)
	}
}

// capability is the extended attribute of a program that may use raw sockets.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// tarLayers vary what is in the archive.
func tarLayers() []Layer {
	of := func(fill func(t *tarBuilder)) func() []byte {
		return func() []byte {
			t := newTar()
			fill(t)
			return t.close()
		}
	}
	deep := "usr/" + strings.Repeat("directory/", 15) + "file"
	long := strings.Repeat("long-name-", 30)
	lostTimes := gzTar("times-lost", "times before the year 0 and after 9999", of(func(t *tarBuilder) {
		t.timesUnix(253_402_300_800, 1<<40, 1<<45, -62_167_219_201, -1<<40)
		t.raw(rawHeader{name: "mtime", mtime: base256(1<<62, 12), magic: "ustar  \x00"}, nil)
	}))
	lostTimes.LostTimes = true
	return []Layer{
		gzTar("types", "every entry type that a zTOC knows", of(func(t *tarBuilder) {
			t.dir("dev/")
			t.file("dev/file", Text(41, 3000))
			t.add(tar.Header{Typeflag: tar.TypeLink, Name: "dev/hard", Linkname: "dev/file"}, nil)
			t.symlink("dev/soft", "file")
			t.add(tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Devmajor: 1, Devminor: 3, Mode: 0o666}, nil)
			t.add(tar.Header{Typeflag: tar.TypeBlock, Name: "dev/sda", Devmajor: 8, Devminor: 1 << 20}, nil)
			t.add(tar.Header{Typeflag: tar.TypeFifo, Name: "dev/fifo"}, nil)
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: "dev/sticky", Mode: 0o7777, Uid: 1000, Gid: 100,
				Uname: "someone",
				Gname: "users"}, Text(42, 600))
		})),
		gzTar("whiteouts", "whiteouts and an opaque directory", of(func(t *tarBuilder) {
			t.dir("a/")
			t.file("a/.wh..wh..opq", nil)
			t.file("a/.wh.gone", nil)
			t.file("a/kept", Text(43, 4000))
			t.file(".wh.b", nil)
		})),
		gzTar("xattrs", "extended attributes as PAX records, binary values too", of(func(t *tarBuilder) {
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: "ping", Format: tar.FormatPAX, PAXRecords: map[string]string{
				"SCHILY.xattr.security.capability":    capability,
				"SCHILY.xattr.user.empty":             "",
				"SCHILY.xattr.user.text":              "value=with=equals\nand lines",
				"SCHILY.xattr.trusted.overlay.opaque": "y",
				"comment":                             "a comment",
			}}, Text(44, 2500))
			t.add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", Format: tar.FormatPAX,
				PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}}, nil)
		})),
		gzTar("xattr-values", "extended attributes that all have a value", of(func(t *tarBuilder) {
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: "ping", Format: tar.FormatPAX, PAXRecords: map[string]string{
				"SCHILY.xattr.security.capability": capability,
				"SCHILY.xattr.user.text":           "value=with=equals\nand lines",
			}}, Text(44, 2500))
		})),
		gzTar("long-names-pax", "names and link names beyond the fields, as PAX records", of(func(t *tarBuilder) {
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: long, Format: tar.FormatPAX}, Text(45, 700))
			t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: long + long, Format: tar.FormatPAX}, nil)
			t.add(tar.Header{Typeflag: tar.TypeLink, Name: long + "2", Linkname: long, Format: tar.FormatPAX}, nil)
		})),
		gzTar("long-names-gnu", "the same as GNU long names", of(func(t *tarBuilder) {
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: long, Format: tar.FormatGNU}, Text(45, 700))
			t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: long + long, Format: tar.FormatGNU}, nil)
			t.add(tar.Header{Typeflag: tar.TypeLink, Name: long + "2", Linkname: long, Format: tar.FormatGNU}, nil)
		})),
		gzTar("long-names-ustar", "a name split into prefix and name", of(func(t *tarBuilder) {
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: deep, Format: tar.FormatUSTAR}, Text(46, 700))
		})),
		gzTar("names", "names in several scripts, with dots, slashes, spaces and bytes that are not UTF-8",
			of(func(t *tarBuilder) {
				for i, name := range []string{"./", "./a", "/absolute", "a//b", "../up", "spaces in it", "new\nline",
					"grüße", "日本語",
					"x/../y", "a"} {
					if strings.HasSuffix(name, "/") {
						t.dir(name)
					} else {
						t.file(name, Text(uint64(50+i), 100*i))
					}
				}
				t.raw(rawHeader{name: "latin1-\xe4\xf6\xfc", uname: "n\xe4me", gname: "gr\xfcp"}, nil)
				t.raw(rawHeader{name: "l", typeflag: '2', linkname: "\xff\xfe"}, nil)
				t.pax("path", "grüße-\xff")
				t.raw(rawHeader{}, nil)
			})),
		gzTar("duplicates", "the same name several times, and links to it", of(func(t *tarBuilder) {
			t.file("same", Text(60, 900))
			t.file("same", Text(61, 1800))
			t.add(tar.Header{Typeflag: tar.TypeLink, Name: "link", Linkname: "same"}, nil)
			t.dir("same")
		})),
		gzTar("times", "times with fractions, before 1970, far away, and none", of(func(t *tarBuilder) {
			t.times(0, 1, 1_700_000_000_123_456_789, 1_700_000_000_500_000_000, -1_000_000_000, -4_750_000_000)
			t.timesUnix(-62_135_596_800, -62_167_219_200, 253_402_300_799)
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: "atime", ModTime: mtime, AccessTime: mtime.Add(1),
				ChangeTime: mtime.Add(time.Hour), Format: tar.FormatPAX}, nil)
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: "gnu", ModTime: mtime, AccessTime: mtime, ChangeTime: mtime,
				Format: tar.FormatGNU}, nil)
		})),
		lostTimes,
		gzTar("numbers", "large and negative owners, modes, times and devices in GNU's binary form and in PAX records",
			of(func(t *tarBuilder) {
				t.add(tar.Header{Typeflag: tar.TypeReg, Name: "gnu", Uid: 1 << 30, Gid: 3_000_000_000,
					Format: tar.FormatGNU}, nil)
				t.add(tar.Header{Typeflag: tar.TypeReg, Name: "pax", Uid: 1 << 40, Gid: 1<<62 + 5,
					Format: tar.FormatPAX}, nil)
				t.raw(rawHeader{name: "negative", uid: "\xff\xff\xff\xff\xff\xff\xff\xfe",
					gid:   "\xff\xff\xff\xff\xff\xff\xff\xff",
					mtime: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\x00"}, nil)
				t.raw(rawHeader{name: "mode", mode: base256(0o100644, 8), magic: "ustar  \x00"}, nil)
				t.raw(rawHeader{name: "dev", typeflag: '3', devmajor: base256(1<<40, 8),
					devminor: "\xff\xff\xff\xff\xff\xff\xff\xf0", magic: "ustar  \x00"}, nil)
				t.raw(rawHeader{name: "mtime", mtime: base256(1<<36, 12), magic: "ustar  \x00"}, nil)
				t.raw(rawHeader{name: "size", size: base256(700, 12)}, Text(63, 700))
				t.raw(rawHeader{name: "spaces", mode: "   644 \x00", uid: " 17\x00", gid: "\x00", mtime: " 1234567 "},
					nil)
				t.raw(rawHeader{name: "full", mode: "00000644", uid: "77777777", size: "000000000144"}, Text(64, 100))
				t.pax("uid", "5000000000", "gid", "-3", "mtime", "-1.5", "uname", "näme", "gname", "")
				t.raw(rawHeader{name: "records"}, nil)
				t.pax("size", "1300")
				t.raw(rawHeader{name: "pax-size", size: octal12(5)}, Text(65, 1300))
			})),
		gzTar("directory-by-name",
			"regular entries whose name ends in a slash are directories, type 0 and the old type NUL",
			of(func(t *tarBuilder) {
				t.raw(rawHeader{name: "old/", magic: "-"}, nil)
				t.raw(rawHeader{name: "new/"}, nil)
				t.pax("path", "from-pax/")
				t.raw(rawHeader{name: "file"}, nil)
			})),
		gzTar("pax-many", "many records for one entry, and several extended headers in a row", of(func(t *tarBuilder) {
			var kv []string
			for i := range 300 {
				kv = append(kv, fmt.Sprintf("SCHILY.xattr.user.k%03d", (i*7919)%1000), strings.Repeat("v", i%40))
			}
			t.pax(kv...)
			t.raw(rawHeader{name: "many", size: octal12(10)}, Text(66, 10))
			t.pax("SCHILY.xattr.user.first", "1")
			t.pax("SCHILY.xattr.user.second", "2")
			t.raw(rawHeader{name: "twice"}, nil)
			t.pax("comment", "then a long name")
			t.raw(rawHeader{name: "././@LongLink", typeflag: 'L', size: octal12(len(long) + 1), magic: "ustar  \x00"},
				[]byte(long+"\x00"))
			t.raw(rawHeader{name: "short"}, nil)
			t.raw(rawHeader{name: "././@LongLink", typeflag: 'K', size: octal12(len(deep) + 1), magic: "ustar  \x00"},
				[]byte(deep+"\x00"))
			t.raw(rawHeader{name: "././@LongLink", typeflag: 'L', size: octal12(len(long) + 1), magic: "ustar  \x00"},
				[]byte(long+"\x00"))
			t.raw(rawHeader{name: "short", typeflag: '2'}, nil)
			t.pax("path", "", "linkpath", "", "LIBARCHIVE.creationtime", "1.5", "RHT.security.selinux", "u:r:t:s0\x00")
			t.raw(rawHeader{name: "emptied", typeflag: '2', linkname: "target"}, nil)
		})),
		gzTar("many-files", "1,500 small files", of(func(t *tarBuilder) {
			for i := range 1500 {
				t.file(fmt.Sprintf("d%02d/f%04d", i%37, i), Text(uint64(i), i%90))
			}
		})),
	}
}

// rawTarLayers are archives in other dialects.
func rawTarLayers() []Layer {
	v7 := func() []byte {
		t := newTar()
		t.raw(rawHeader{name: "v7", magic: "-", size: octal12(1000)}, Text(71, 1000))
		t.raw(rawHeader{name: "v7-link", magic: "-", typeflag: '1', linkname: "v7"}, nil)
		t.raw(rawHeader{name: "v7-soft", magic: "-", typeflag: '2', linkname: "v7"}, nil)
		nul := rawHeader{name: "v7-nul", magic: "-", size: octal12(20)}
		b := nul.block()
		b[156] = 0
		fixChecksum(&b)
		t.buf.Write(b[:])
		t.buf.Write(Text(72, 512))
		return t.close()
	}
	star := func() []byte {
		t := newTar()
		tail := make([]byte, 167)
		copy(tail, "prefix")
		copy(tail[131:], "14524610401\x0014524610402\x00")
		copy(tail[163:], "tar\x00")
		t.raw(rawHeader{name: "star", size: octal12(600), tail: string(tail)}, Text(73, 600))
		return t.close()
	}
	// Types without content whose header gives a size, which moves no other
	// entry: no content follows.
	headerOnly := func() []byte {
		t := newTar()
		t.raw(rawHeader{name: "dir/", typeflag: '5', size: octal12(100)}, nil)
		t.raw(rawHeader{name: "soft", typeflag: '2', linkname: "x", size: octal12(3)}, nil)
		t.raw(rawHeader{name: "after", size: octal12(300)}, Text(74, 300))
		return t.close()
	}
	signed := func() []byte {
		t := newTar()
		t.raw(rawHeader{name: "signed-\xff\xfe", signedChecksum: true, size: octal12(10)}, Text(75, 10))
		return t.close()
	}
	return []Layer{
		gzTar("v7", "a v7 archive", v7),
		gzTar("star", "a star archive", star),
		gzTar("signed-checksum", "a checksum over signed bytes", signed),
		gzTar("header-only-sizes", "a directory and a symlink whose headers give a size", headerOnly),
	}
}

func fixChecksum(b *[512]byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// ZerosInTar is a gzip layer with one file of n zeros, which expands about as
// far as deflate can.
func ZerosInTar(n int) []byte {
	t := newTar()
	t.file("zeros", make([]byte, n))
	return GoGzip(t.close(), 9, 0)
}

// ZerosInBlocks is a gzip layer with one file of zeros in n deflate blocks and
// some, of 16 KiB each.
func ZerosInBlocks(n int) []byte {
	t := newTar()
	t.file("zeros", make([]byte, n*(16<<10)))
	return GoGzip(t.close(), 9, 16<<10)
}

// ManyFiles is a gzip layer with n empty files.
func ManyFiles(n int) []byte {
	t := newTar()
	for i := range n {
		t.file(fmt.Sprintf("d%03d/f%05d", i%389, i), nil)
	}
	return GoGzip(t.close(), 6, 0)
}

// tarEndLayers vary how the archive ends.
func tarEndLayers() []Layer {
	ends := []struct {
		name, how string
		tail      []byte
	}{
		{"none", "no zero block", nil},
		{"one", "one zero block", make([]byte, 512)},
		{"two", "two zero blocks", make([]byte, 1024)},
		{"record", "zero blocks up to a record of 10 KiB and more", make([]byte, 20480)},
		{"noise", "two zero blocks, then noise", append(make([]byte, 1024), Noise(81, 3000)...)},
		{"odd", "two zero blocks, then a length that is no multiple of a block", make([]byte, 1024+77)},
		{"far", "two zero blocks, then zeros over several spans", make([]byte, 70_000)},
	}
	archive := func() []byte {
		t := newTar()
		t.file("first", Text(82, 5000))
		t.file("last", Text(83, 700))
		return t.open()
	}
	var all []Layer
	for _, e := range ends {
		content := func() []byte { return append(archive(), e.tail...) }
		all = append(all, gzTar("end-"+e.name, e.how, content), plain("tar/end-"+e.name+"-plain", e.how, content))
	}
	noPadding := func() []byte { // ends with the file's last byte
		b := archive()
		return b[:len(b)-(-700&511)]
	}
	halfPadding := func() []byte { b := noPadding(); return b[:len(b)+100] }
	dangling := func() []byte {
		t := newTar()
		t.file("first", Text(82, 5000))
		t.pax("comment", "of nothing")
		return t.close()
	}
	danglingCut := func() []byte { b := dangling(); return b[:len(b)-1024] }
	all = append(all,
		gzTar("end-no-padding", "the last file without padding, nothing behind", noPadding),
		plain("tar/end-no-padding-plain", "the last file without padding, nothing behind", noPadding),
		gzTar("end-half-padding", "the last file with a part of its padding", halfPadding),
		plain("tar/end-half-padding-plain", "the last file with a part of its padding", halfPadding),
		gzTar("end-dangling-pax", "an extended header that no entry follows, then zero blocks", dangling),
		gzTar("end-dangling-pax-cut", "an extended header that no entry follows, then nothing", danglingCut),
		gzTar("empty-archive", "two zero blocks and nothing else", func() []byte { return make([]byte, 1024) }),
		gzTar("empty-record", "ten KiB of zeros", func() []byte { return make([]byte, 10240) }),
		gzTar("empty-block", "one zero block", func() []byte { return make([]byte, 512) }),
		gzTar("empty", "no bytes at all in the gzip stream", func() []byte { return nil }),
		plain("tar/empty-archive-plain", "two zero blocks and nothing else",
			func() []byte { return make([]byte, 1024) }),
	)
	return all
}

// uncompressedLayers are of sizes at and around multiples of a span.
func uncompressedLayers() []Layer {
	base := plain("plain/base", "an archive as it is", baseTar)
	base.SpanSizes = []int64{4096, 64 << 10, 100_000, 1 << 20, 1 << 22}
	all := []Layer{base}
	for _, n := range []int{16384 - 1, 16384, 16384 + 1, 3*16384 - 1, 3 * 16384, 3*16384 + 1} {
		l := plain(fmt.Sprintf("plain/%d", n), fmt.Sprintf("an archive of %d bytes, filled up with zeros", n),
			func() []byte {
				t := newTar()
				t.file("f", Text(91, 14_000))
				return append(t.close(), make([]byte, n)...)[:n]
			})
		l.SpanSizes = []int64{16383, 16384, 16385, 512, 1000}
		all = append(all, l)
	}
	small := plain("plain/small", "a small archive", smallTar)
	small.SpanSizes = []int64{1, 100, 512, 1 << 22}
	return append(all, small)
}

// bigLayers are too big to be stored.
func bigLayers() []Layer {
	big := func(name, how string, c Compression, blob func() []byte, spans ...int64) Layer {
		return Layer{Name: "big/" + name, How: how, Compression: c, SpanSizes: spans, Blob: blob}
	}
	huge := func() []byte {
		t := newTar()
		t.file("huge", Mixed(101, 12<<20))
		t.file("after", Text(102, 1000))
		return t.close()
	}
	tiny := func() []byte {
		t := newTar()
		for i := range 100_000 {
			t.file(fmt.Sprintf("d%03d/f%05d", i%389, i), []byte{byte(i), byte(i >> 8)}[:i%3])
		}
		return t.close()
	}
	return []Layer{
		big("huge-file-go-6", "one file of 12 MiB, compress/gzip level 6", Gzip,
			func() []byte { return GoGzip(huge(), 6, 0) }, 1<<20, 4<<20),
		big("huge-file-klauspost-1", "the same, klauspost level 1", Gzip,
			func() []byte { return KlauspostGzip(huge(), 1, 0) }, 1<<20, 4<<20),
		big("huge-file-go-0", "the same, stored blocks", Gzip, func() []byte { return GoGzip(huge(), 0, 0) }, 1<<20,
			4<<20),
		big("huge-file-members", "the same, members of 128 KiB", Gzip,
			func() []byte { return concat(members(huge(), 128<<10)...) }, 1<<20, 4<<20),
		big("huge-file-plain", "the same, uncompressed", Uncompressed, huge, 1<<20, 4<<20),
		big("tiny-files", "100,000 files of 0 to 2 bytes", Gzip, func() []byte { return GoGzip(tiny(), 1, 0) }, 4<<20),
	}
}
