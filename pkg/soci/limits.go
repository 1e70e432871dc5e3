package soci

// Limits bound the resources that one layer or image may use. Zero means the
// default.
type Limits struct {
	// MaxManifestSize is the maximum size of one manifest in bytes; all of an
	// image may have 16 times as many. The default is 4 MiB, what ECR takes.
	MaxManifestSize int64

	MaxLayers    int // of one manifest; the default is 1,024
	MaxManifests int // of one image, nested ones included; the default is 256
	MaxEntries   int // tar members of one layer; the default is 4,000,000

	// MaxUncompressedSize is the maximum uncompressed size of a layer in bytes,
	// which its compressed size must not exceed either. The default is 1 TiB.
	MaxUncompressedSize int64

	// MaxRatio is the maximum number of uncompressed bytes for each byte of a
	// layer's blob. The default is 1,032, the maximum of deflate: a layer of
	// zeros is valid, and other limits bound its cost.
	MaxRatio int64

	// MaxMemory is the maximum number of bytes that a build may use at once, in
	// addition to the program's own: the buffers of the layers being read,
	// and for each of these layers twice 32 KiB for each checkpoint and about a
	// kilobyte for each entry, until its zTOC is pushed. Layers wait for each
	// other to stay within it; a layer that exceeds it by itself is an ErrLimit.
	// The default is 1 GiB.
	MaxMemory int64
}

// MaxHeaderExtension is the maximum size in bytes of a tar entry's PAX records,
// or of its name in GNU's long form: 1 MiB, as in archive/tar.
const MaxHeaderExtension = 1 << 20

// MaxZtocSize is the maximum size of a zTOC in bytes: it is a flatbuffer, whose
// offsets have 31 bits.
const MaxZtocSize = 2<<30 - 64<<10

func (l Limits) withDefaults() (Limits, error) {
	fields := []struct {
		name string
		bad  bool
		v    int64
	}{
		{"MaxManifestSize", l.MaxManifestSize < 0, l.MaxManifestSize},
		{"MaxLayers", l.MaxLayers < 0, int64(l.MaxLayers)},
		{"MaxManifests", l.MaxManifests < 0, int64(l.MaxManifests)},
		{"MaxEntries", l.MaxEntries < 0, int64(l.MaxEntries)},
		{"MaxUncompressedSize", l.MaxUncompressedSize < 0, l.MaxUncompressedSize},
		{"MaxRatio", l.MaxRatio < 0, l.MaxRatio},
		{"MaxMemory", l.MaxMemory < 0, l.MaxMemory},
	}
	for _, f := range fields {
		if f.bad {
			return l, invalidOption("Limits.%s is %d, not 0 (the default) or more", f.name, f.v)
		}
	}
	orDefault(&l.MaxManifestSize, 4<<20)
	orDefault(&l.MaxLayers, 1024)
	orDefault(&l.MaxManifests, 256)
	orDefault(&l.MaxEntries, 4_000_000)
	orDefault(&l.MaxUncompressedSize, 1<<40)
	orDefault(&l.MaxRatio, 1032)
	orDefault(&l.MaxMemory, 1<<30)
	return l, nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
