package testlayers

import "fmt"

// stream is a layer of one member made block by block.
func stream(fill func(d *Deflate)) func() []byte {
	return func() []byte {
		d := new(Deflate)
		fill(d)
		return Member(GzipHeader{}, d)
	}
}

// block writes data as one block of the kind given: 0 stored, 1 fixed, 2
// dynamic.
func block(d *Deflate, final bool, kind int, data []byte) {
	switch kind {
	case 0:
		d.Stored(final, data)
		return
	case 1:
		d.Fixed(final)
	default:
		d.Dynamic(final, flatLit, flatDist)
	}
	d.Compress(data)
	d.End()
}

// emptyFixed writes an empty block of ten bits.
func emptyFixed(d *Deflate, final bool) {
	d.Fixed(final)
	d.End()
}

// blockLayers are streams that no writer at hand would make.
func blockLayers() []Layer {
	return []Layer{
		gz("block/stored", "stored blocks of 1 to 65,535 bytes", stream(func(d *Deflate) {
			rest := baseTar()
			for _, n := range []int{1, 511, 512, 65535, 32768, 32767} {
				d.Stored(false, rest[:n])
				rest = rest[n:]
			}
			for len(rest) > 10_000 {
				d.Stored(false, rest[:10_000])
				rest = rest[10_000:]
			}
			d.Stored(true, rest)
		})),
		gz("block/first-empty-stored", "an empty stored block first", stream(func(d *Deflate) {
			d.Stored(false, nil)
			block(d, false, 2, baseTar()[:70_000])
			block(d, true, 2, baseTar()[70_000:])
		})),
		gz("block/first-empty-fixed",
			"eleven empty fixed blocks first, so that checkpoints at output 0 stand at every bit",
			stream(func(d *Deflate) {
				for range 11 {
					emptyFixed(d, false)
				}
				block(d, false, 1, smallTar()[:1000])
				block(d, true, 1, smallTar()[1000:])
			})),
		gz("block/first-empty-all-kinds", "empty blocks of all three kinds first", stream(func(d *Deflate) {
			emptyFixed(d, false)
			block(d, false, 2, nil)
			d.Stored(false, nil)
			block(d, false, 2, nil)
			emptyFixed(d, false)
			block(d, true, 2, smallTar())
		})),
		gz("block/last-empty", "a final block with nothing in it", stream(func(d *Deflate) {
			block(d, false, 2, smallTar())
			emptyFixed(d, false)
			d.Stored(false, nil)
			emptyFixed(d, true)
		})),
		gz("block/empty-between", "empty blocks between others", stream(func(d *Deflate) {
			for i, piece := range cut(baseTar(), 20_000) {
				block(d, false, i%3, piece)
				for range i % 4 {
					emptyFixed(d, false)
				}
				d.Stored(false, nil)
			}
			emptyFixed(d, true)
		})),
		gz("block/alternating", "blocks of all kinds, 900 bytes each, that end at every bit", stream(func(d *Deflate) {
			pieces := cut(baseTar()[:110_000], 900)
			for i, piece := range pieces {
				block(d, false, (i*i+i/3)%3, piece)
			}
			block(d, true, 1, baseTar()[110_000:])
		})),
		gz("block/one-giant-fixed", "everything in one block with the fixed codes", stream(func(d *Deflate) {
			block(d, true, 1, baseTar())
		})),
		gz("block/tail-giant-fixed", "a small block, then everything else in one", stream(func(d *Deflate) {
			block(d, false, 1, baseTar()[:700])
			block(d, true, 1, baseTar()[700:])
		})),
		gz("block/far-matches", "matches of 32,768 back in every block, right behind a checkpoint too",
			stream(farMatches)),
		gz("block/single-code",
			"a dynamic block whose only distance code has one bit, one whose only literal is the end",
			stream(func(d *Deflate) {
				tar := farTar()
				block(d, false, 2, tar[:40_000])
				// One distance code, of one bit, for a distance of 16,385 to 24,576.
				dist := make([]uint8, 29)
				dist[28] = 1
				d.Dynamic(false, flatLit, dist)
				d.Match(258, 20_000)
				d.Match(3, 24_576)
				d.End()
				end := make([]uint8, 257)
				end[256] = 1
				d.Dynamic(false, end, []uint8{0})
				d.End()
				d.Dynamic(false, flatLit, []uint8{0}) // no distance code at all
				d.Lit(tar[len(d.Out):][:1000]...)
				d.End()
				// The matches wrote the content of the archive's one file.
				block(d, true, 2, tar[len(d.Out):])
			})),
		gz("block/long-codes", "codes of up to 15 bits", stream(func(d *Deflate) {
			lit, dist := longCodes()
			for _, piece := range cut(baseTar()[:90_000], 9000) {
				d.Dynamic(false, lit, dist)
				d.Compress(piece)
				d.End()
			}
			block(d, true, 2, baseTar()[90_000:])
		})),
		gz("block/bomb", "zeros, 1000 to 1, in a few blocks", func() []byte {
			t := newTar()
			t.file("zeros", make([]byte, 6<<20))
			return GoGzip(t.close(), 9, 2<<20)
		}),
	}
}

// longCodes returns complete codes with a long tail: 1, 2, 3 bits for the first
// symbols, 15 for the last.
func longCodes() (lit, dist []uint8) { return longCode(286), longCode(30) }

func longCode(n int) []uint8 {
	lengths := make([]uint8, n)
	left := 1 << 15 // of the code space, in codes of 15 bits
	for i := range lengths {
		after := n - i - 1 // symbols that need a place behind this one
		l := 1
		for 1<<(15-l)+after > left {
			l++
		}
		lengths[i] = uint8(l)
		left -= 1 << (15 - l)
	}
	if left != 0 {
		panic(fmt.Sprintf("making a test layer: the code is incomplete by %d", left))
	}
	return lengths
}

// farTar is an archive of one file without repeats.
func farTar() []byte {
	t := newTar()
	t.file("far", Noise(11, 90_000))
	return t.close()
}

// farMatches overwrites parts of the file with what stood 32,768 bytes before.
func farMatches(d *Deflate) {
	tar := farTar()
	d.Stored(false, tar[:32_768])
	for i := range 6 {
		kind := i % 2
		if kind == 0 {
			d.Fixed(false)
		} else {
			d.Dynamic(false, flatLit, flatDist)
		}
		d.Match(258, 32_768) // the oldest byte of the window, at once
		d.Match(3, 32_767)
		for range 20 {
			d.Match(258, 32_768)
			d.Match(100, 1)
		}
		d.Lit(tar[len(d.Out):][:500]...)
		d.End()
	}
	block(d, true, 2, tar[len(d.Out):])
}

// boundaryLayers have blocks that end where a span does, or one byte off.
func boundaryLayers() []Layer {
	const span = 20_000
	// layer of blocks with the given sizes, the rest in a last block; sizes
	// beyond a stored block's limit are for the other kinds.
	of := func(kind int, sizes ...int) func() []byte {
		return stream(func(d *Deflate) {
			rest := boundaryTar()
			for _, n := range sizes {
				block(d, false, kind, rest[:n])
				rest = rest[n:]
			}
			if kind == 0 {
				for len(rest) > 65535 {
					d.Stored(false, rest[:65535])
					rest = rest[65535:]
				}
			}
			block(d, true, kind, rest)
		})
	}
	var all []Layer
	add := func(name, how string, blob func() []byte) {
		l := gz("boundary/"+name, how, blob)
		l.SpanSizes = []int64{span - 2, span - 1, span, span + 1, 2 * span, 2*span - 1}
		all = append(all, l)
	}
	for kind, name := range []string{"stored", "fixed", "dynamic"} {
		if kind == 0 {
			add(name+"-span", "stored blocks of 19,999 bytes, then of a byte, of 20,000 and 20,001",
				of(0, span-1, 1, 1, span, 1, span+1))
			continue
		}
		add(name+"-span", name+" blocks of 20,000 bytes", of(kind, span, span, span))
		add(name+"-span-less", name+" blocks of 19,999 bytes, then of a byte", of(kind, span-1, 1, 1, span-1, 1, 1))
		add(name+"-span-more", name+" blocks of 20,001 bytes", of(kind, span+1, span+1, span+1))
		add(name+"-two-spans", name+" blocks of 40,000 bytes and a byte", of(kind, 2*span, 1))
	}
	return all
}

func boundaryTar() []byte {
	t := newTar()
	t.file("a", Text(21, 20_000-512))
	t.file("b", Mixed(22, 20_000))
	t.file("c", Text(23, 22_000))
	t.file("d", Text(24, 4000))
	return t.close()
}
