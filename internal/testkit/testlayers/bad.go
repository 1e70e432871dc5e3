package testlayers

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Verdict on a layer that has no zTOC.
type Verdict string

// The verdicts, by the names of the errors of pkg/soci.
const (
	Truncated   Verdict = "ErrTruncated"
	Corrupt     Verdict = "ErrCorrupt"
	Unsupported Verdict = "ErrUnsupported"
	Limit       Verdict = "ErrLimit"
)

// Bad is one layer that has no zTOC.
type Bad struct {
	Name      string
	How       string
	MediaType string
	Blob      []byte
	Verdict   Verdict
	Reason    string // for Unsupported: the value of the SkipReason

	// UpstreamAccepts: upstream's builder makes a zTOC all the same. How says
	// what is wrong with it.
	UpstreamAccepts bool
}

// Compression by which upstream's builder would read the layer; empty when it
// would not read it at all.
func (b Bad) Compression() Compression {
	switch b.MediaType {
	case MediaTypeGzip:
		return Gzip
	case MediaTypeTar:
		return Uncompressed
	}
	return ""
}

// UnsupportedLayers are sound, but a zTOC cannot describe them.
func UnsupportedLayers() []Bad {
	var all []Bad
	zw, err := zstd.NewWriter(nil)
	must(err)
	z := zw.EncodeAll(smallTar(), nil)
	all = append(all,
		Bad{Name: "zstd", How: "a zstd frame", MediaType: MediaTypeZstd, Blob: z, Verdict: Unsupported, Reason: "zstd"},
		Bad{Name: "zstd-skippable-first", How: "a skippable zstd frame first", MediaType: MediaTypeZstd,
			Blob: append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, z...), Verdict: Unsupported,
			Reason: "zstd"},
		Bad{Name: "zstd-as-gzip", How: "a zstd frame under gzip's media type", MediaType: MediaTypeGzip, Blob: z,
			Verdict: Unsupported, Reason: "zstd"},
	)
	add := func(name, how, reason string, accepted bool, fill func(t *tarBuilder)) {
		t := newTar()
		t.file("before", Text(201, 900))
		fill(t)
		t.file("after", Text(202, 900))
		archive := t.close()
		all = append(all,
			Bad{Name: name, How: how, MediaType: MediaTypeGzip, Blob: GoGzip(archive, 6, 0), Verdict: Unsupported,
				Reason: reason, UpstreamAccepts: accepted},
			Bad{Name: name + "-plain", How: how, MediaType: MediaTypeTar, Blob: archive, Verdict: Unsupported,
				Reason:          reason,
				UpstreamAccepts: accepted})
	}
	offsets := "; upstream's offsets are those of the expanded file"
	add("gnu-sparse", "an old GNU sparse file", "sparse-file", false, func(t *tarBuilder) {
		tail := make([]byte, 167)
		// Four places in the header: one run of 512 bytes at 1,024, then the end.
		copy(tail[41:], octal12(1024)+octal12(512)+octal12(4096)+octal12(0))
		copy(tail[138:], octal12(4096)) // the real size
		t.raw(rawHeader{name: "sparse", typeflag: 'S', size: octal12(512), magic: "ustar  \x00", tail: string(tail)},
			Text(203, 512))
	})
	add("pax-sparse-0.0", "a PAX sparse file, format 0.0"+offsets, "sparse-file", true, func(t *tarBuilder) {
		t.pax("GNU.sparse.size", "4096", "GNU.sparse.numblocks", "1", "GNU.sparse.offset", "1024",
			"GNU.sparse.numbytes", "512")
		t.raw(rawHeader{name: "sparse", size: octal12(512)}, Text(204, 512))
	})
	add("pax-sparse-0.1", "a PAX sparse file, format 0.1"+offsets, "sparse-file", true, func(t *tarBuilder) {
		t.pax("GNU.sparse.size", "4096", "GNU.sparse.numblocks", "1", "GNU.sparse.name", "real-name", "GNU.sparse.map",
			"1024,512")
		t.raw(rawHeader{name: "sparse", size: octal12(512)}, Text(205, 512))
	})
	add("pax-sparse-1.0", "a PAX sparse file, format 1.0"+offsets, "sparse-file", true, func(t *tarBuilder) {
		t.pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "real-name", "GNU.sparse.realsize",
			"4096")
		content := append([]byte("1\n1024\n512\n"), make([]byte, 512-11)...)
		t.raw(rawHeader{name: "sparse", size: octal12(1024)}, append(content, Text(206, 512)...))
	})
	add("link-size", "a hard link whose header gives a size, although no content follows; upstream's reader refuses "+
		"the zTOC", "entry-size", true, func(t *tarBuilder) {
		t.raw(rawHeader{name: "link", typeflag: '1', linkname: "before", size: octal12(700)}, nil)
	})
	for _, e := range []struct {
		typeflag byte
		what     string
	}{{'1', "hard-link"}, {'2', "symlink"}, {'3', "char-device"}, {'4', "block-device"}, {'5', "directory"},
		{'6', "fifo"}} {
		how := fmt.Sprintf("a %s of -512 bytes, behind which upstream's client looks for a header one block too early",
			e.what)
		h := rawHeader{name: "entry", typeflag: e.typeflag, linkname: "before"}
		add("negative-size-"+e.what, how, "entry-size", true, func(t *tarBuilder) {
			h.size = base256(-512, 12)
			t.raw(h, nil)
		})
		add("negative-size-pax-"+e.what, how+", in a record", "entry-size", true, func(t *tarBuilder) {
			t.pax("size", "-512")
			t.raw(h, nil)
		})
	}
	for _, size := range []string{"-1", "-9223372036854775808"} {
		add("size"+size, "a directory of "+size+" bytes", "entry-size", true, func(t *tarBuilder) {
			t.pax("size", size)
			t.raw(rawHeader{name: "d/", typeflag: '5'}, nil)
		})
	}
	long := string(bytes.Repeat([]byte{'n'}, 512))
	for _, h := range []GzipHeader{{Name: long}, {Comment: long}} {
		d := new(Deflate)
		d.Stored(true, smallTar())
		what := "name"
		if h.Name == "" {
			what = "comment"
		}
		all = append(all, Bad{Name: "gzip-" + what + "-512",
			How: "a " + what +
				" of 512 bytes in the gzip header, which compress/gzip and so the snapshotter refuses",
			MediaType: MediaTypeGzip, Blob: Member(h, d), Verdict: Unsupported, Reason: "gzip-header"})
	}
	for bit := byte(0x20); bit != 0; bit <<= 1 {
		d := new(Deflate)
		d.Stored(true, smallTar())
		all = append(all, Bad{Name: fmt.Sprintf("gzip-flag-%#02x", bit),
			How:       "a reserved flag in the gzip header, which zlib refuses and compress/gzip ignores",
			MediaType: MediaTypeGzip, Blob: Member(GzipHeader{Flags: bit}, d), Verdict: Unsupported,
			Reason: "gzip-header"})
	}
	add("global-pax", "a global extended header", "global-pax-header", false, func(t *tarBuilder) {
		records := paxRecords("comment", "for all")
		t.raw(rawHeader{name: "pax_global_header", typeflag: 'g', size: octal12(len(records))}, records)
	})
	for _, flag := range []byte{'7', 'A', 'D', 'M', 'N', 'V', 'X', 'Z', '8', ' ', 0xff} {
		add(fmt.Sprintf("type-%#02x", flag), fmt.Sprintf("an entry of type %q", flag), "tar-entry-type", false,
			func(t *tarBuilder) {
				t.raw(rawHeader{name: "entry", typeflag: flag}, nil)
			})
	}
	all = append(all, likeCompressed()...)
	all = append(all, notTars()...)
	return append(all, MisreadLayers()...)
}

// MalformedLayers break the rules of gzip, deflate or tar.
func MalformedLayers() []Bad {
	all := append(truncatedGzip(), malformedDeflate()...)
	all = append(all, malformedGzip()...)
	return append(all, malformedTars()...)
}

// truncatedGzip is a small layer cut behind every byte but the last.
func truncatedGzip() []Bad {
	t := newTar()
	t.file("cut", Text(211, 300))
	d := new(Deflate)
	archive := t.close()
	block(d, false, 1, archive[:600])
	block(d, false, 0, archive[600:700])
	block(d, true, 2, archive[700:])
	whole := Member(GzipHeader{Extra: []byte("extra"), Name: "name", Comment: "comment", CRC: true}, d)
	var all []Bad
	for n := range whole {
		all = append(all, Bad{Name: fmt.Sprintf("truncated/%04d", n),
			How:       fmt.Sprintf("cut behind byte %d of %d", n, len(whole)),
			MediaType: MediaTypeGzip, Blob: whole[:n], Verdict: Truncated})
	}
	second := concat(GoGzip(smallTar()[:4000], 6, 0), whole[:len(whole)-1])
	for n := range 30 {
		blob := second[:len(second)-3*n]
		all = append(all, Bad{Name: fmt.Sprintf("truncated/second-member-%02d", n), How: "cut in the second member",
			MediaType: MediaTypeGzip, Blob: blob, Verdict: Truncated})
	}
	return all
}

// malformedDeflate is each rule of RFC 1951 broken.
func malformedDeflate() []Bad {
	var all []Bad
	add := func(name, how string, fill func(d *Deflate)) {
		// The first block and what follows the fault are sound, and the
		// trailer counts nothing of the fault.
		d := new(Deflate)
		block(d, false, 2, smallTar()[:6000])
		fill(d)
		rest := len(d.Out)
		block(d, true, 2, smallTar()[min(rest, len(smallTar())):])
		all = append(all, Bad{Name: "deflate/" + name, How: how, MediaType: MediaTypeGzip,
			Blob:    Member(GzipHeader{}, d),
			Verdict: Corrupt})
		// And once at the very start.
		d = new(Deflate)
		fill(d)
		block(d, true, 2, smallTar())
		all = append(all, Bad{Name: "deflate/" + name + "-first", How: how + ", in the first block",
			MediaType: MediaTypeGzip,
			Blob:      Member(GzipHeader{}, d), Verdict: Corrupt})
	}
	// lengths writes code lengths with a code that has all 19 symbols.
	full := make([]uint8, 19)
	for i := range full {
		full[i] = 5
		if i < 13 {
			full[i] = 4
		}
	}
	lengths := func(d *Deflate, list ...int) {
		codes := canonical(full)
		for _, l := range list {
			d.sym(codes, l)
		}
	}
	repeat := func(v, n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = v
		}
		return list
	}
	edit := func(lengths []uint8, at int, v uint8) []uint8 {
		out := bytes.Clone(lengths)
		out[at] = v
		return out
	}
	only := func(n, at int, v uint8) []uint8 { return edit(make([]uint8, n), at, v) }

	add("block-type", "block type 3", func(d *Deflate) { d.head(false, 3) })
	add("stored-length", "a stored block whose length fields disagree",
		func(d *Deflate) { d.StoredLen(false, 10, 10, Text(1, 10)) })
	add("lit-over", "more literal codes than there is room for",
		func(d *Deflate) { d.Dynamic(false, edit(flatLit, 0, 1), flatDist) })
	add("lit-under", "fewer literal codes than there is room for",
		func(d *Deflate) { d.Dynamic(false, edit(flatLit, 0, 9), flatDist) })
	add("lit-single-long", "one literal code, of two bits",
		func(d *Deflate) { d.Dynamic(false, only(257, 256, 2), []uint8{0}) })
	add("dist-over", "more distance codes than there is room for",
		func(d *Deflate) { d.Dynamic(false, flatLit, edit(flatDist, 0, 1)) })
	add("dist-under", "fewer distance codes than there is room for",
		func(d *Deflate) { d.Dynamic(false, flatLit, edit(flatDist, 0, 6)) })
	add("dist-single-long", "one distance code, of two bits",
		func(d *Deflate) { d.Dynamic(false, flatLit, []uint8{2}) })
	add("cl-over", "more code length codes than there is room for",
		func(d *Deflate) { d.DynamicHead(false, 286, 30, edit(full, 18, 1)) })
	add("cl-under", "fewer code length codes than there is room for",
		func(d *Deflate) { d.DynamicHead(false, 286, 30, edit(full, 0, 6)) })
	add("cl-single", "one code length code, of one bit",
		func(d *Deflate) { d.DynamicHead(false, 257, 1, only(19, 8, 1)); d.Bits(0, 32) })
	add("cl-none", "no code length code", func(d *Deflate) {
		d.DynamicHead(false, 257, 1, make([]uint8, 19))
		for range 20 {
			d.Bits(0, 32)
		}
	})
	add("no-end", "no code for the end of the block", func(d *Deflate) {
		d.DynamicHead(false, 257, 1, full)
		lengths(d, repeat(8, 256)...)
		lengths(d, 0, 1)
	})
	add("repeat-first", "a repeat with no length before it", func(d *Deflate) {
		d.DynamicHead(false, 257, 1, full)
		lengths(d, 16)
		d.Bits(0, 2)
		lengths(d, repeat(8, 255)...)
	})
	add("repeat-beyond", "a repeat beyond the last length", func(d *Deflate) {
		d.DynamicHead(false, 257, 1, full)
		lengths(d, repeat(9, 256)...)
		lengths(d, 9, 18)
		d.Bits(127, 7)
	})
	add("repeat-zeros-beyond", "a short repeat beyond the last length", func(d *Deflate) {
		d.DynamicHead(false, 257, 1, full)
		lengths(d, repeat(9, 256)...)
		lengths(d, 9, 17)
		d.Bits(7, 3)
	})
	add("too-many-literals", "287 literal codes",
		func(d *Deflate) { d.DynamicHead(false, 287, 30, full); lengths(d, repeat(9, 287)...) })
	add("too-many-literals-288", "288 literal codes", func(d *Deflate) { d.DynamicHead(false, 288, 30, full) })
	add("too-many-distances", "31 distance codes", func(d *Deflate) { d.DynamicHead(false, 257, 31, full) })
	add("too-many-distances-32", "32 distance codes", func(d *Deflate) { d.DynamicHead(false, 257, 32, full) })
	for _, s := range []int{286, 287} {
		add(fmt.Sprintf("length-%d", s), "a length code that does not exist",
			func(d *Deflate) { d.Fixed(false); d.LitSym(s) })
	}
	for _, s := range []int{30, 31} {
		add(fmt.Sprintf("distance-%d", s), "a distance code that does not exist", func(d *Deflate) {
			d.Fixed(false)
			d.Lit([]byte("abcd")...)
			d.LitSym(257)
			d.DistSym(s)
		})
	}
	add("distance-none", "a match where no distance has a code", func(d *Deflate) {
		d.Dynamic(false, flatLit, []uint8{0})
		d.Lit([]byte("abcd")...)
		d.LitSym(257)
		d.Bits(0, 15)
	})
	add("distance-incomplete", "the unused half of a code of one distance", func(d *Deflate) {
		d.Dynamic(false, flatLit, []uint8{1})
		d.Lit([]byte("abcd")...)
		d.LitSym(257)
		d.Bits(1, 1)
	})
	add("end-only-other", "the unused half of a code that knows only the end", func(d *Deflate) {
		d.Dynamic(false, only(257, 256, 1), []uint8{0})
		d.Bits(1, 1)
	})
	add("distance-too-far", "a match that reaches one byte before the start", func(d *Deflate) {
		d.Fixed(false)
		d.Lit([]byte("abcd")...)
		d.Match(3, len(d.Out)+1)
		d.End()
	})

	// A match into the member before: the window of the zTOC would have it,
	// but a member stands alone.
	d := new(Deflate)
	block(d, true, 2, smallTar()[:5000])
	first := Member(GzipHeader{}, d)
	d = new(Deflate)
	d.Fixed(false)
	d.Lit(smallTar()[5000])
	d.Match(10, 2)
	d.End()
	block(d, true, 2, smallTar()[5011:])
	return append(all, Bad{Name: "deflate/distance-into-member-before",
		How:       "a match that reaches into the member before",
		MediaType: MediaTypeGzip, Blob: append(first, Member(GzipHeader{}, d)...), Verdict: Corrupt})
}

// malformedGzip is each rule of RFC 1952 broken.
func malformedGzip() []Bad {
	body := func() *Deflate {
		d := new(Deflate)
		block(d, false, 2, smallTar()[:5000])
		block(d, true, 2, smallTar()[5000:])
		return d
	}
	crc, size := crc32.ChecksumIEEE(smallTar()), uint32(len(smallTar()))
	sound := Member(GzipHeader{}, body())
	zlib := append([]byte{0x78, 0x9c}, 3, 0, 0, 0, 0, 1)
	var all []Bad
	add := func(name, how string, verdict Verdict, blob []byte) {
		all = append(all, Bad{Name: "gzip/" + name, How: how, MediaType: MediaTypeGzip, Blob: blob, Verdict: verdict})
	}
	add("crc", "the CRC of the content is wrong", Corrupt, MemberSum(GzipHeader{}, body(), crc^0x80, size))
	add("size", "the size of the content is wrong", Corrupt, MemberSum(GzipHeader{}, body(), crc, size+1))
	add("crc-empty-member", "the CRC of an empty member in front is wrong", Corrupt, func() []byte {
		d := new(Deflate)
		emptyFixed(d, true)
		return append(MemberSum(GzipHeader{}, d, 1, 0), sound...)
	}())
	add("crc-last-empty-member", "the CRC of an empty member at the end is wrong", Corrupt, func() []byte {
		d := new(Deflate)
		emptyFixed(d, true)
		return append(bytes.Clone(sound), MemberSum(GzipHeader{}, d, 1, 0)...)
	}())
	add("header-crc", "the CRC of the header is wrong", Corrupt, Member(GzipHeader{CRC: true, WrongCRC: true}, body()))
	for _, method := range []byte{7, 9, 255} {
		add(fmt.Sprintf("method-%d", method), "the method is not deflate", Corrupt,
			Member(GzipHeader{Method: method}, body()))
	}
	behind := map[string][]byte{
		"zero": {0}, "zeros": make([]byte, 512), "many-zeros": make([]byte, 100_000), "text": []byte("garbage behind"),
		"half-magic": {0x1f, 0}, "wrong-method": {0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 0},
		"trailer-again": sound[len(sound)-8:],
	}
	for _, name := range []string{"zero", "zeros", "many-zeros", "text", "half-magic", "wrong-method",
		"trailer-again"} {
		add("behind-"+name, "bytes behind the last trailer that are no member", Corrupt,
			append(bytes.Clone(sound), behind[name]...))
	}
	add("behind-magic", "the first byte of a member behind the last trailer", Truncated,
		append(bytes.Clone(sound), 0x1f))
	add("behind-header", "a member's header behind the last trailer", Truncated,
		append(bytes.Clone(sound), GzipHeader{}.Bytes()...))
	all = append(all, Bad{Name: "gzip/behind-zlib",
		How:       "a zlib stream behind the last trailer, which is no gzip member",
		MediaType: MediaTypeGzip, Blob: append(bytes.Clone(sound), zlib...), Verdict: Corrupt, UpstreamAccepts: true})
	return all
}

// malformedTars are archives that lie, within sound gzip and as they are.
func malformedTars() []Bad {
	var all []Bad
	add := func(name, how string, verdict Verdict, archive []byte) {
		all = append(all,
			Bad{Name: "tar/" + name, How: how, MediaType: MediaTypeGzip, Blob: GoGzip(archive, 6, 0), Verdict: verdict},
			Bad{Name: "tar/" + name + "-plain", How: how, MediaType: MediaTypeTar, Blob: archive, Verdict: verdict})
	}
	with := func(fill func(t *tarBuilder)) []byte {
		t := newTar()
		t.file("before", Text(221, 700))
		fill(t)
		return t.open()
	}
	sound := with(func(t *tarBuilder) { t.file("last", Text(222, 2000)) })
	end := make([]byte, 1024)

	add("checksum", "a checksum that is wrong", Corrupt,
		append(with(func(t *tarBuilder) { t.raw(rawHeader{badChecksum: true}, nil) }), end...))
	first := rawHeader{badChecksum: true}.block()
	add("checksum-first", "a checksum that is wrong, in the first header", Corrupt, append(first[:], end...))
	add("text", "text where a header should be", Corrupt, append(with(func(*tarBuilder) {}), Text(223, 2048)...))
	add("zero-then-header", "one zero block, then a header", Corrupt,
		append(append(with(func(*tarBuilder) {}), make([]byte, 512)...), sound...))
	add("zero-then-part", "one zero block, then a part of one", Truncated,
		append(with(func(*tarBuilder) {}), make([]byte, 600)...))
	add("header-cut", "a header cut short", Truncated, sound[:1536+100])
	add("header-cut-first", "the first header cut short", Truncated, sound[:511])
	add("content-cut", "a file's content cut short", Truncated, sound[:len(sound)-200])
	add("size-beyond", "a size beyond the end of the archive", Truncated, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{size: octal12(1 << 30)}, Text(224, 1000))
	}), end...))
	add("size-huge", "a size of 8 EiB less a byte", Truncated, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{size: base256(1<<63-1, 12)}, Text(224, 1000))
	}), end...))
	add("size-beyond-64-bits", "a size that no 64 bits hold", Corrupt, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{size: "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}, Text(224, 1000))
	}), end...))
	add("size-negative", "a negative size", Corrupt, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{size: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"}, nil)
	}), end...))
	add("size-negative-pax", "a negative size in a record", Corrupt, append(with(func(t *tarBuilder) {
		t.pax("size", "-5")
		t.raw(rawHeader{}, nil)
	}), end...))
	add("size-short", "a size smaller than the content", Corrupt, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{size: octal12(400)}, Text(225, 2000))
	}), end...))
	add("size-no-number", "a size that is no number", Corrupt, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{size: "12x45678901\x00"}, nil)
	}), end...))
	add("pax-no-length", "an extended header whose record has no length", Corrupt, append(with(func(t *tarBuilder) {
		t.raw(rawHeader{typeflag: 'x', size: octal12(10)}, []byte("path=value"))
		t.raw(rawHeader{}, nil)
	}), end...))
	add("pax-length-wrong", "a record whose length reaches beyond its header", Corrupt,
		append(with(func(t *tarBuilder) {
			t.raw(rawHeader{typeflag: 'x', size: octal12(12)}, []byte("99 path=abc\n"))
			t.raw(rawHeader{}, nil)
		}), end...))
	add("pax-nul", "a record with a NUL in a path", Corrupt, append(with(func(t *tarBuilder) {
		t.pax("path", "a\x00b")
		t.raw(rawHeader{}, nil)
	}), end...))
	add("pax-number", "a record whose number is none", Corrupt, append(with(func(t *tarBuilder) {
		t.pax("uid", "root")
		t.raw(rawHeader{}, nil)
	}), end...))
	add("pax-time", "a record whose time is none", Corrupt, append(with(func(t *tarBuilder) {
		t.pax("mtime", "yesterday")
		t.raw(rawHeader{}, nil)
	}), end...))
	add("pax-cut", "an extended header cut short", Truncated, with(func(t *tarBuilder) {
		t.raw(rawHeader{typeflag: 'x', size: octal12(5000)}, paxRecords("comment", string(Text(226, 1000))))
	}))
	add("long-name-cut", "a GNU long name cut short", Truncated, with(func(t *tarBuilder) {
		t.raw(rawHeader{typeflag: 'L', size: octal12(5000)}, Text(227, 1000))
	}))
	add("pax-too-big", "an extended header of more than a MiB", Limit, append(with(func(t *tarBuilder) {
		records := paxRecords("comment", string(make([]byte, 1<<20+1)))
		t.raw(rawHeader{typeflag: 'x', size: octal12(len(records))}, records)
		t.raw(rawHeader{}, nil)
	}), end...))
	return all
}
