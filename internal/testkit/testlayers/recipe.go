package testlayers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"time"

	kpgzip "github.com/klauspost/compress/gzip"
)

// FromRecipe turns any bytes into a layer, mostly a sound one, and the span
// size to build its zTOC with: fuzz tests get further with it than with bytes
// that must be gzip by chance. Layers are at most some 100 KiB and have few
// blocks.
func FromRecipe(b []byte) (blob []byte, span int64) {
	r := &recipe{b: b}
	spanKind, compressor, damage := r.next(), r.next(), r.next()
	archive := r.archive()
	switch compressor % 8 {
	case 0:
		blob = archive
	case 1:
		blob = goGzip(archive, []int{gzip.HuffmanOnly, 0, 1, 6, 9}[r.pick(5)], r.step())
	case 2:
		blob = KlauspostGzip(archive, []int{kpgzip.StatelessCompression, kpgzip.HuffmanOnly, 0, 1, 5, 9}[r.pick(6)],
			r.step())
	case 3, 4:
		d := new(Deflate)
		r.blocks(d, archive)
		blob = Member(r.header(), d)
	default:
		blob = r.members(archive)
	}
	blob = r.damage(blob, damage)
	switch spanKind % 8 {
	case 0:
		span = 1
	case 1, 2:
		span = 1 + int64(r.uint16())
	case 3:
		span = 1 << (10 + r.pick(10))
	case 4:
		span = max(1, int64(len(archive))/2)
	default:
		span = int64(spanKind)*64 + 500
	}
	if compressor%8 == 0 {
		span = max(span, 64) // each span of an uncompressed layer has a digest
	}
	return blob, span
}

// recipe reads decisions from bytes; past their end every byte is 0.
type recipe struct{ b []byte }

func (r *recipe) next() byte {
	if len(r.b) == 0 {
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *recipe) pick(n int) int { return int(r.next()) % n }
func (r *recipe) uint16() int    { return int(r.next()) | int(r.next())<<8 }

// step is how often to flush: never, or so that there are not too many blocks.
func (r *recipe) step() int {
	if n := r.next(); n%2 == 1 {
		return 2000 + int(n)*100
	}
	return 0
}

func (r *recipe) content(n int) []byte {
	switch seed := r.next(); seed % 5 {
	case 0:
		return make([]byte, n)
	case 1:
		return Noise(uint64(seed), n)
	case 2:
		return bytes.Repeat([]byte{seed}, n)
	case 3:
		return Mixed(uint64(seed), n)
	default:
		return Text(uint64(seed), n)
	}
}

func (r *recipe) size() int {
	switch r.pick(4) {
	case 0:
		return r.pick(4)
	case 1:
		return r.pick(4) * 512
	case 2:
		return r.uint16() / 2
	default:
		return int(r.next()) * 3
	}
}

func (r *recipe) archive() []byte {
	t := newTar()
	for i := range r.pick(10) {
		r.entry(t, i)
	}
	archive := t.open()
	switch r.pick(8) {
	case 0:
	case 1:
		archive = append(archive, make([]byte, 512)...)
	case 2:
		archive = append(archive, make([]byte, 1024+r.uint16()/4)...)
	case 3:
		archive = append(append(archive, make([]byte, 1024)...), r.content(r.size())...)
	default:
		archive = append(archive, make([]byte, 1024)...)
	}
	switch r.pick(16) {
	case 1: // a flipped bit
		if len(archive) > 0 {
			archive[(r.uint16()<<8|r.uint16())%len(archive)] ^= 1 << r.pick(8)
		}
	case 2: // cut
		archive = archive[:r.uint16()%(len(archive)+1)]
	case 3: // a block from elsewhere
		if at := r.pick(64) * 512; at+512 <= len(archive) {
			block := rawHeader{name: "inserted", typeflag: r.next(), size: octal12(r.size())}.block()
			copy(archive[at:], block[:])
		}
	}
	return archive
}

func (r *recipe) entry(t *tarBuilder, i int) {
	name := fmt.Sprintf("%d", i)
	switch r.pick(6) {
	case 1:
		name = strings.Repeat(name+"/", 1+r.pick(200)) + "x"
	case 2:
		name = string(r.content(1 + r.pick(40)))
	}
	switch kind := r.pick(12); kind {
	case 0, 1, 2, 3:
		t.raw2(rawHeader{name: name}, r.content(r.size()))
	case 4:
		t.raw(rawHeader{name: name, typeflag: '1' + byte(r.pick(6)), linkname: name, size: octal12(r.pick(3) * 100)},
			nil)
	case 5:
		t.pax("path", name, "SCHILY.xattr.user.a", string(r.content(r.pick(100))), "mtime",
			fmt.Sprintf("%d.%d", r.uint16()*100_000, r.uint16()))
		t.raw2(rawHeader{name: "pax"}, r.content(r.size()))
	case 6:
		t.raw2(rawHeader{name: "././@LongLink", typeflag: 'L', magic: "ustar  \x00"}, append([]byte(name), 0))
		t.raw2(rawHeader{name: "short", magic: "ustar  \x00"}, r.content(r.size()))
	case 7:
		t.raw2(rawHeader{name: name, uid: base256(int64(r.uint16())<<30, 8), mtime: base256(int64(r.uint16())<<24, 12),
			magic: "ustar  \x00"}, r.content(r.size()))
	case 8:
		t.raw2(rawHeader{name: name, magic: "-"}, r.content(r.size()))
	case 9: // archive/tar refuses some names, which is no matter here
		size := r.size()
		h := tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(size), Mode: int64(r.uint16()),
			Uid:     r.uint16() << 8,
			ModTime: time.Unix(int64(r.uint16())<<16, 0)}
		if t.w.WriteHeader(&h) == nil {
			_, err := t.w.Write(r.content(size))
			must(err)
		}
	case 10:
		t.pax(string(r.content(1+r.pick(10))), string(r.content(r.pick(10))))
		t.raw(rawHeader{name: name, typeflag: r.next()}, nil)
	default:
		t.dir("d/")
	}
}

// raw2 is raw with the size of the content in the header.
func (t *tarBuilder) raw2(h rawHeader, content []byte) {
	h.size = octal12(len(content))
	t.raw(h, content)
}

func (r *recipe) header() GzipHeader {
	n := r.next()
	h := GzipHeader{MTime: uint32(n) << 20, OS: n}
	if n&1 != 0 {
		h.Extra = r.content(r.pick(100))
	}
	if n&2 != 0 {
		h.Name = "name"
	}
	if n&4 != 0 {
		h.Comment = strings.Repeat("c", 1+r.pick(200))
	}
	h.CRC = n&8 != 0
	return h
}

// blocks writes data in at most some twenty blocks of odd sizes and kinds.
func (r *recipe) blocks(d *Deflate, data []byte) {
	for range r.pick(20) {
		kind := r.next()
		n := r.uint16()
		switch {
		case kind%8 == 7:
			n = 0
		case kind%8 == 6:
			n %= 600
		}
		n = min(n, len(data))
		block(d, false, int(kind>>3)%3, data[:n])
		data = data[n:]
	}
	kind := r.pick(3)
	for kind == 0 && len(data) > 65535 {
		d.Stored(false, data[:65535])
		data = data[65535:]
	}
	block(d, true, kind, data)
}

func (r *recipe) members(archive []byte) []byte {
	var out []byte
	for range r.pick(12) {
		n := min(r.uint16(), len(archive))
		if r.pick(4) == 0 {
			n = 0
		}
		out = append(out, r.member(archive[:n])...)
		archive = archive[n:]
	}
	return append(out, r.member(archive)...)
}

func (r *recipe) member(data []byte) []byte {
	switch r.pick(4) {
	case 0:
		return goGzip(data, 6, 0)
	case 1:
		return KlauspostGzip(data, 1, r.step())
	case 2:
		return goGzip(data, 1, r.step())
	}
	d := new(Deflate)
	r.blocks(d, data)
	return Member(r.header(), d)
}

func (r *recipe) damage(blob []byte, how byte) []byte {
	blob = bytes.Clone(blob)
	at := 0
	if how%8 < 4 && how != 0 && len(blob) > 0 {
		at = (r.uint16()<<8 | r.uint16()) % len(blob)
	}
	switch how % 8 {
	case 1:
		if len(blob) > 0 {
			blob[at] ^= 1 << r.pick(8)
		}
	case 2:
		blob = blob[:at]
	case 3:
		if r.pick(2) == 0 {
			return append(blob, r.content(r.pick(600))...)
		}
		return append(blob, blob[at:]...)
	}
	return blob
}

// Recipes are seeds for FromRecipe: each of its ways once or more.
func Recipes() [][]byte {
	var all [][]byte
	for i := range 64 {
		b := Noise(uint64(300+i), 40+i*4)
		b[1] = byte(i)
		if i%4 != 0 {
			b[2] = 4 // no damage
		}
		all = append(all, b)
	}
	return all
}
