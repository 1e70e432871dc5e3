package testlayers

import "math/rand/v2"

// The generators below use PCG, whose sequence is fixed by its definition:
// the same seed gives the same bytes with every version of Go.

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x50c1)) }

// Noise returns n bytes that do not compress.
func Noise(seed uint64, n int) []byte {
	r := rng(seed)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint64() >> 56)
	}
	return b
}

var syllables = []string{
	"ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se",
	"ti", "vo", "wu", "xa", "ye", "zi", "con", "tain", "er", "lay", "span",
}

// Text returns n bytes that compress as prose does: words of a skewed
// vocabulary, with repeats near and far.
func Text(seed uint64, n int) []byte {
	r := rng(seed)
	words := make([]string, 400)
	for i := range words {
		for range 1 + r.IntN(3) {
			words[i] += syllables[r.IntN(len(syllables))]
		}
	}
	b := make([]byte, 0, n+32)
	for len(b) < n {
		// The product of two draws prefers small numbers.
		b = append(b, words[r.IntN(len(words))*r.IntN(len(words))/len(words)]...)
		if r.IntN(12) == 0 {
			b = append(b, '.', '\n')
		} else {
			b = append(b, ' ')
		}
	}
	return b[:n]
}

// Mixed returns n bytes in which prose, noise, runs and far repeats alternate.
func Mixed(seed uint64, n int) []byte {
	r := rng(seed)
	b := make([]byte, 0, n+8192)
	for len(b) < n {
		size := 1 + r.IntN(8000)
		switch r.IntN(4) {
		case 0:
			b = append(b, Text(r.Uint64(), size)...)
		case 1:
			b = append(b, Noise(r.Uint64(), size/4+1)...)
		case 2:
			c := byte(r.Uint64())
			for range size {
				b = append(b, c)
			}
		case 3:
			if len(b) == 0 {
				continue
			}
			from := r.IntN(len(b))
			b = append(b, b[from:min(from+size, len(b))]...)
		}
	}
	return b[:n]
}
