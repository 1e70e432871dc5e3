package verify

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// entry returns the entry of the name.
func entry(z *soci.Ztoc, name string) *soci.Entry {
	for i := range z.Entries {
		if z.Entries[i].Name == name {
			return &z.Entries[i]
		}
	}
	panic("no entry " + name)
}

// Each tampering must be found, and named: want must be in the first
// difference.
func TestTamperedZtoc(t *testing.T) {
	blob := textLayer(t)
	for _, row := range []struct {
		name   string
		tamper func(*soci.Ztoc)
		want   string
	}{
		{"window byte", func(z *soci.Ztoc) { z.Checkpoints[2].Window[32<<10-1] ^= 1 }, "span 2, offset 2"},
		{"oldest window byte", func(z *soci.Ztoc) { z.Checkpoints[2].Window[0] ^= 1 },
			"byte 0 of the checkpoint's window"},
		{"window of the first checkpoint", func(z *soci.Ztoc) { z.Checkpoints[0].Window[5] = 1 },
			"span 0, offset 0: byte 5"},
		{"no window", func(z *soci.Ztoc) { z.Checkpoints[1].Window = nil }, "span 1"},
		{"span digest", func(z *soci.Ztoc) { z.SpanDigests[1] = digest.FromString("another") },
			"span 1: the compressed bytes do not have the digest"},
		{"two span digests swapped", func(z *soci.Ztoc) { d := z.SpanDigests; d[1], d[2] = d[2], d[1] },
			"span 1: the compressed bytes do not have the digest"},
		{"last span digest", func(z *soci.Ztoc) { z.SpanDigests[len(z.SpanDigests)-1] = digest.FromString("another") },
			"do not have the digest"},
		{"compressed offset one more", func(z *soci.Ztoc) { z.Checkpoints[2].In++ }, "span 1"},
		{"compressed offset one less", func(z *soci.Ztoc) { z.Checkpoints[2].In-- }, "span"},
		{"offset in the archive one more", func(z *soci.Ztoc) { z.Checkpoints[2].Out++ }, "span"},
		{"offset in the archive one less", func(z *soci.Ztoc) { z.Checkpoints[2].Out-- }, "span 2"},
		{"unused bits", func(z *soci.Ztoc) { z.Checkpoints[2].Bits = (z.Checkpoints[2].Bits + 1) % 8 }, "span 2"},
		{"last offset far too large", func(z *soci.Ztoc) { z.Checkpoints[len(z.Checkpoints)-1].Out = 1 << 40 }, "span"},
		{"compression", func(z *soci.Ztoc) { z.Compression = soci.Uncompressed }, "is uncompressed, but it is gzip"},
		{"uncompressed size", func(z *soci.Ztoc) { z.UncompressedSize-- }, "the archive ends at"},

		{"entry's offset", func(z *soci.Ztoc) { entry(z, "etc/file-5").Offset += 512 }, `file "etc/file-5", offset`},
		{"entry's size", func(z *soci.Ztoc) { entry(z, "etc/file-5").Size-- },
			"the size is 39999 in the zTOC and 40000 in the layer"},
		{"entry's name", func(z *soci.Ztoc) { entry(z, "etc/file-5").Name = "etc/file-x" }, `the name is "etc/file-x"`},
		{"entry's type", func(z *soci.Ztoc) { entry(z, "etc/file-5").Type = "fifo" },
			"the type is fifo in the zTOC and reg in the layer"},
		{"entry's link name", func(z *soci.Ztoc) { entry(z, "etc/link").Linkname = "file-2" }, "the link name"},
		{"entry's mode", func(z *soci.Ztoc) { entry(z, "etc/file-5").Mode = 0o755 },
			"the mode is 0755 in the zTOC and 0644 in the layer"},
		{"entry's user id", func(z *soci.Ztoc) { entry(z, "etc/file-5").UID = 0 }, "the user id"},
		{"entry's group id", func(z *soci.Ztoc) { entry(z, "etc/file-5").GID = 0 }, "the group id"},
		{"entry's user name", func(z *soci.Ztoc) { entry(z, "etc/file-5").Uname = "" }, "the user name"},
		{"entry's group name", func(z *soci.Ztoc) { entry(z, "etc/file-5").Gname = "" }, "the group name"},
		{"entry's time", func(z *soci.Ztoc) { e := entry(z, "etc/file-5"); e.ModTime = e.ModTime.Add(time.Second) },
			"the modification time"},
		{"entry's device", func(z *soci.Ztoc) { entry(z, "dev/null").Devminor = 4 }, "the minor device number"},
		{"entry's extended attribute", func(z *soci.Ztoc) { entry(z, "etc/xattr").PAX["SCHILY.xattr.user.a"] = "c" },
			"the PAX records"},
		{"entry's attributes lost", func(z *soci.Ztoc) { entry(z, "etc/xattr").PAX = nil }, "the PAX records"},
		{"two entries swapped", func(z *soci.Ztoc) { e := z.Entries; e[3], e[4] = e[4], e[3] }, "the name is"},
		{"entry missing", func(z *soci.Ztoc) { z.Entries = z.Entries[:len(z.Entries)-1] },
			"the archive has 14 entries, the zTOC 13"},
		{"entry too many", func(z *soci.Ztoc) { z.Entries = append(z.Entries, z.Entries[0]) },
			"the archive has 14 entries, the zTOC 15"},
	} {
		t.Run(row.name, func(t *testing.T) {
			z := stored(t, blob, 32<<10)
			if len(z.Checkpoints) < 5 {
				t.Fatalf("only %d checkpoints", len(z.Checkpoints))
			}
			row.tamper(z)
			_, found := compareMemory(t, blob, z)
			if len(found) == 0 {
				t.Fatal("no difference")
			}
			if got := found[0].String(); !strings.Contains(got, row.want) {
				t.Errorf("%q does not say %q", got, row.want)
			}
		})
	}
}

// The content of the layer ends before that of its zTOC.
func TestMoreThanTheLayer(t *testing.T) {
	nothing := digest.FromString("")
	for _, row := range []struct {
		name   string
		tamper func(*soci.Ztoc)
		want   string
	}{
		{"a span behind the end", func(z *soci.Ztoc) {
			z.Checkpoints = append(z.Checkpoints, soci.Checkpoint{In: z.CompressedSize, Out: 1 << 40,
				Window: make([]byte, 32<<10)})
			z.SpanDigests = append(z.SpanDigests, nothing)
		}, "the layer ends here, the zTOC has spans from offset 1099511627776 on"},
		{"a last span that begins too early", func(z *soci.Ztoc) {
			last := len(z.Checkpoints) - 1
			before := z.Checkpoints[last-1]
			z.Checkpoints[last].In, z.Checkpoints[last].Bits = before.In, before.Bits
			z.SpanDigests[last-1] = nothing
		}, "the layer ends here, the span does not"},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The last spans have nothing but zeros, so that no byte differs.
			blob := compressed(t, gzip.NoCompression, append(archive(t, 1), make([]byte, 400<<10)...))
			z := stored(t, blob, 32<<10)
			row.tamper(z)
			_, found := compareMemory(t, blob, z)
			if !slices.ContainsFunc(found, func(d Difference) bool { return strings.Contains(d.What, row.want) }) {
				t.Errorf("%q do not say %q", found, row.want)
			}
		})
	}
}

// A wrong window makes wrong bytes, which are named by file and offset too.
func TestWindowDecidesTheBytes(t *testing.T) {
	blob := textLayer(t)
	z := stored(t, blob, 32<<10)
	for i := range z.Checkpoints[3].Window {
		z.Checkpoints[3].Window[i] ^= 0xff
	}
	_, found := compareMemory(t, blob, z)
	if len(found) != 2 {
		t.Fatalf("%v", found)
	}
	if found[1].Span != 3 || found[1].File == "" || !strings.Contains(found[1].What, "through the zTOC") {
		t.Fatalf("%v", found)
	}
	plain := gunzip(t, blob)
	for _, e := range z.Entries {
		if e.Offset <= found[1].Offset && found[1].Offset < e.Offset+e.Size &&
			!strings.Contains(found[1].File, e.Name) {
			t.Errorf("offset %d of %d is in %s, not in %s", found[1].Offset, len(plain), e.Name, found[1].File)
		}
	}
}

// The structure of a zTOC is checked before anything is fetched for it.
func TestNewLazyLayerRefuses(t *testing.T) {
	blob := textLayer(t)
	for _, row := range []struct {
		name   string
		tamper func(*soci.Ztoc)
	}{
		{"compressed size", func(z *soci.Ztoc) { z.CompressedSize++ }},
		{"no checkpoint", func(z *soci.Ztoc) { z.Checkpoints, z.SpanDigests = nil, nil }},
		{"a digest too few", func(z *soci.Ztoc) { z.SpanDigests = z.SpanDigests[1:] }},
		{"first span not at the beginning", func(z *soci.Ztoc) { z.Checkpoints[0].Out = 1 }},
		{"archive offsets run backwards", func(z *soci.Ztoc) { z.Checkpoints[2].Out = 5 }},
		{"compressed offsets run backwards", func(z *soci.Ztoc) { z.Checkpoints[2].In = 5 }},
		{"compressed offset behind the layer", func(z *soci.Ztoc) { z.Checkpoints[2].In = 1 << 40 }},
		{"negative compressed offset", func(z *soci.Ztoc) { z.Checkpoints[0].In = -5 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			z := stored(t, blob, 32<<10)
			row.tamper(z)
			if _, err := NewLazyLayer(memory(blob), descriptorOf(blob), z); !isDifference(err) {
				t.Errorf("%v, want ErrDifference", err)
			}
		})
	}
}

// The zTOC of one layer attached to another one.
func TestAnotherLayersZtoc(t *testing.T) {
	one, other := archive(t, 1), archive(t, 2)
	for _, row := range []struct {
		name       string
		one, other []byte
	}{
		{"uncompressed", one, other},
		{"stored blocks", compressed(t, gzip.NoCompression, one), compressed(t, gzip.NoCompression, other)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if len(row.one) != len(row.other) || bytes.Equal(row.one, row.other) {
				t.Fatal("the two layers must have the same size and other bytes")
			}
			if _, found := compareMemory(t, row.one, stored(t, row.one, 32<<10)); len(found) != 0 {
				t.Fatal(found)
			}
			_, found := compareMemory(t, row.one, stored(t, row.other, 32<<10))
			if len(found) == 0 || !strings.Contains(found[0].String(), "span") {
				t.Fatalf("%v", found)
			}
		})
	}
}

// A layer that is damaged itself cannot be compared.
func TestDamagedLayer(t *testing.T) {
	blob := textLayer(t)
	z := stored(t, blob, 32<<10)
	z.CompressedSize -= 5
	_, found := compareMemory(t, blob[:len(blob)-5], z)
	for _, d := range found {
		if strings.Contains(d.What, "a plain read of the layer fails") {
			return
		}
	}
	t.Fatalf("%v", found)
}
