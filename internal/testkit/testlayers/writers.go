package testlayers

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"

	kpgzip "github.com/klauspost/compress/gzip"
)

// must stops a test whose own preparation fails.
func must(err error) {
	if err != nil {
		panic(fmt.Errorf("making a test layer: %w", err))
	}
}

// flusher is what the gzip writers have in common.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// compress writes data through w, with a flush after every step bytes when
// step is positive, and closes w.
func compress(w flusher, data []byte, step int) {
	for step > 0 && len(data) > step {
		_, err := w.Write(data[:step])
		must(err)
		must(w.Flush())
		data = data[step:]
	}
	_, err := w.Write(data)
	must(err)
	must(w.Close())
}

// GoGzip compresses with compress/gzip, flushing every step bytes if step is
// positive. The bytes are the caller's to change.
func GoGzip(data []byte, level, step int) []byte {
	return kept(data, level, step, func() []byte { return goGzip(data, level, step) })
}

func goGzip(data []byte, level, step int) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	must(err)
	compress(w, data, step)
	return b.Bytes()
}

// KlauspostGzip does the same with klauspost/compress.
func KlauspostGzip(data []byte, level, step int) []byte {
	var b bytes.Buffer
	w, err := kpgzip.NewWriterLevel(&b, level)
	must(err)
	compress(w, data, step)
	return b.Bytes()
}

// concat returns the members one after another.
func concat(members ...[]byte) []byte { return bytes.Join(members, nil) }

// levelName of either package.
func levelName(level int) string {
	switch level {
	case gzip.HuffmanOnly:
		return "huffman"
	case kpgzip.StatelessCompression:
		return "stateless"
	}
	return strconv.Itoa(level)
}

func writerLayers() []Layer {
	var all []Layer
	for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 6, 9} {
		all = append(all, gz("writer/go-"+levelName(level), fmt.Sprintf("compress/gzip, level %s", levelName(level)),
			func() []byte { return GoGzip(baseTar(), level, 0) }))
	}
	for _, level := range []int{kpgzip.StatelessCompression, kpgzip.HuffmanOnly, kpgzip.NoCompression, 1, 3, 5, 9} {
		all = append(all, gz("writer/klauspost-"+levelName(level),
			fmt.Sprintf("klauspost/compress/gzip, level %s", levelName(level)),
			func() []byte { return KlauspostGzip(baseTar(), level, 0) }))
	}
	for _, step := range []int{1000, 65536, 100_000} {
		all = append(all, gz(fmt.Sprintf("writer/go-6-flush-%d", step),
			fmt.Sprintf("compress/gzip, level 6, Flush every %d bytes", step),
			func() []byte { return GoGzip(baseTar(), 6, step) }))
	}
	all = append(all,
		gz("writer/klauspost-1-flush-30000", "klauspost/compress/gzip, level 1, Flush every 30000 bytes",
			func() []byte { return KlauspostGzip(baseTar(), 1, 30_000) }),
		gz("writer/go-flush-twice", "compress/gzip, level 6, two Flushes before the first byte and two in the middle",
			func() []byte {
				var b bytes.Buffer
				w, err := gzip.NewWriterLevel(&b, 6)
				must(err)
				must(w.Flush())
				must(w.Flush())
				half := len(baseTar()) / 2
				_, err = w.Write(baseTar()[:half])
				must(err)
				must(w.Flush())
				must(w.Flush())
				compress(w, baseTar()[half:], 0)
				return b.Bytes()
			}),
	)
	return all
}

// cut returns data in pieces of n bytes, the last one shorter.
func cut(data []byte, n int) [][]byte {
	var pieces [][]byte
	for len(data) > n {
		pieces = append(pieces, data[:n])
		data = data[n:]
	}
	return append(pieces, data)
}

// members compresses each piece of n bytes as a member of its own.
func members(data []byte, n int) [][]byte {
	var all [][]byte
	for _, piece := range cut(data, n) {
		all = append(all, GoGzip(piece, 6, 0))
	}
	return all
}

// bgzip returns BGZF: members of at most 64 KiB whose extra field says how long
// they are, and an empty one at the end.
func bgzip(data []byte) []byte {
	var out []byte
	for _, piece := range append(cut(data, 65280), nil) {
		d := new(Deflate)
		if len(piece) == 0 {
			d.Fixed(true)
			d.End()
		} else {
			d.Dynamic(true, flatLit, flatDist)
			d.Compress(piece)
			d.End()
		}
		h := GzipHeader{OS: 255, Extra: []byte{'B', 'C', 2, 0, 0, 0}}
		size := len(Member(h, d)) - 1
		h.Extra[4], h.Extra[5] = byte(size), byte(size>>8)
		out = append(out, Member(h, d)...)
	}
	return out
}

func memberLayers() []Layer {
	empty := func() []byte { return GoGzip(nil, 6, 0) }
	stored := func() []byte { // the empty member as stored block
		d := new(Deflate)
		d.Stored(true, nil)
		return Member(GzipHeader{}, d)
	}
	base := func() []byte { return GoGzip(baseTar(), 6, 0) }
	many := func(n int, m []byte) []byte { return bytes.Repeat(m, n) }
	return []Layer{
		gz("member/two", "two members of compress/gzip",
			func() []byte { return concat(members(baseTar(), 100_000)...) }),
		gz("member/64k", "members of 64 KiB", func() []byte { return concat(members(baseTar(), 64<<10)...) }),
		gz("member/64k-and-one", "members of 64 KiB and a byte",
			func() []byte { return concat(members(baseTar(), 64<<10+1)...) }),
		gz("member/7k", "members of 7,000 bytes, shorter than a window",
			func() []byte { return concat(members(baseTar(), 7000)...) }),
		gz("member/tiny", "members of 11 bytes, less than a tar block", func() []byte {
			return concat(members(smallTar(), 11)...)
		}),
		gz("member/bgzip", "BGZF by hand", func() []byte { return bgzip(baseTar()) }),
		gz("member/empty-first", "an empty member, then one with everything",
			func() []byte { return concat(empty(), base()) }),
		gz("member/empty-first-three", "three empty members of two kinds, then one with everything",
			func() []byte { return concat(empty(), stored(), empty(), base()) }),
		gz("member/empty-middle", "an empty member between two others", func() []byte {
			m := members(baseTar(), 60_000)
			return concat(m[0], empty(), stored(), m[1], m[2])
		}),
		gz("member/empty-last", "an empty member at the end", func() []byte { return concat(base(), empty()) }),
		gz("member/empty-last-many", "a hundred empty members at the end",
			func() []byte { return concat(base(), many(100, empty())) }),
		gz("member/empty-first-many", "a hundred empty members in front",
			func() []byte { return concat(many(100, stored()), base()) }),
		gz("member/mixed-writers", "members by several writers and levels", func() []byte {
			p := cut(baseTar(), 28_000)
			return concat(GoGzip(p[0], 0, 0), KlauspostGzip(p[1], 1, 0), GoGzip(p[2], 9, 5000),
				GoGzip(p[3], gzip.HuffmanOnly, 0), KlauspostGzip(concat(p[4:]...), kpgzip.StatelessCompression, 0))
		}),
		gz("member/after-archive", "a second member behind the archive's end, zeros and then text", func() []byte {
			return concat(base(), GoGzip(concat(make([]byte, 70_000), Text(9, 30_000)), 6, 0))
		}),
	}
}

// headerLayers have every optional field of the gzip header.
func headerLayers() []Layer {
	with := func(h GzipHeader) func() []byte {
		return func() []byte {
			d := new(Deflate)
			d.Dynamic(false, flatLit, flatDist)
			d.Compress(smallTar()[:2000])
			d.End()
			d.Dynamic(true, flatLit, flatDist)
			d.Compress(smallTar()[2000:])
			d.End()
			return Member(h, d)
		}
	}
	all := GzipHeader{MTime: 0x65432100, XFL: 2, OS: 3, Extra: Noise(7, 300), Name: "layer.tar",
		Comment: "made by hand",
		CRC:     true}
	return []Layer{
		gz("header/extra", "FEXTRA of 300 bytes", with(GzipHeader{Extra: Noise(8, 300)})),
		gz("header/extra-empty", "FEXTRA of no bytes", with(GzipHeader{Extra: []byte{}})),
		gz("header/extra-longest", "FEXTRA of 65,535 bytes", with(GzipHeader{Extra: make([]byte, 65535)})),
		gz("header/name", "FNAME", with(GzipHeader{Name: "layer.tar"})),
		gz("header/name-latin1", "FNAME with bytes above 127", with(GzipHeader{Name: "l\xe4yer.tar"})),
		gz("header/comment", "FCOMMENT", with(GzipHeader{Comment: "made by hand"})),
		gz("header/crc", "FHCRC", with(GzipHeader{CRC: true})),
		gz("header/text", "FTEXT", with(GzipHeader{Flags: 1})),
		gz("header/all", "every field at once", with(all)),
		gz("header/all-second", "every field at once, in a second member", func() []byte {
			return concat(GoGzip(nil, 6, 0), with(all)())
		}),
	}
}
