package testlayers

// notTars are other content than an archive under the media types of one, as
// it is and within gzip. Upstream takes what begins with two blocks of zeros
// for an archive of no files.
func notTars() []Bad {
	var all []Bad
	add := func(name, how string, accepted bool, content []byte) {
		all = append(all,
			Bad{Name: "not-a-tar/" + name, How: how, MediaType: MediaTypeGzip, Blob: GoGzip(content, 6, 0),
				Verdict: Unsupported, Reason: "not-a-tar", UpstreamAccepts: accepted},
			Bad{Name: "not-a-tar/" + name + "-plain", How: how, MediaType: MediaTypeTar, Blob: content,
				Verdict: Unsupported, Reason: "not-a-tar", UpstreamAccepts: accepted})
	}
	at := func(size, offset int, magic string) []byte {
		b := make([]byte, size)
		copy(b[offset:], magic)
		copy(b[size-1000:], Noise(231, 1000))
		return b
	}
	add("erofs", "an EROFS image: 1,024 zero bytes, then the superblock", true, at(16<<10, 1024, "\xe2\xe1\xf5\xe0"))
	add("ext4", "an ext4 image: 1,024 zero bytes, then the superblock", true, at(16<<10, 1024+56, "\x53\xef"))
	add("iso", "an ISO 9660 image: 32 KiB of zeros, then a descriptor", true, at(48<<10, 32<<10, "\x01CD001"))
	add("btrfs", "a btrfs image: 64 KiB of zeros, then the superblock", true, at(80<<10, 64<<10+64, "_BHRfS_M"))
	add("zeros-and-a-byte", "1,024 zero bytes and one that is not", true, append(make([]byte, 1024), 1))
	add("record-and-a-zero", "10,241 zero bytes, one more than an empty archive", true, make([]byte, 10241))
	add("many-zeros", "200 KiB of zeros", true, make([]byte, 200<<10))
	add("zeros-then-archive", "an archive behind two blocks of zeros", true, append(make([]byte, 1024), smallTar()...))
	add("zero-block-then-text", "one block of zeros, then text", false, append(make([]byte, 512), Text(232, 4096)...))
	add("zero-block-then-archive", "one block of zeros, then an archive", false,
		append(make([]byte, 512), smallTar()...))
	add("text", "text", false, Text(233, 4096))
	add("squashfs", "a squashfs image", false, at(8<<10, 0, "hsqs"))
	add("wasm", "a WebAssembly module", false, at(4<<10, 0, "\x00asm\x01\x00\x00\x00"))
	add("elf", "a program", false, at(4<<10, 0, "\x7fELF"))
	add("dangling-pax", "an extended header that no entry follows, and nothing before it", true, func() []byte {
		t := newTar()
		t.pax("comment", "of nothing")
		return t.close()
	}())
	return all
}
