package testlayers

// likeCompressed are archives that begin as a compressed stream does: clients
// that unpack a layer go by that, and those that mount one by the zTOC.
func likeCompressed() []Bad {
	var all []Bad
	for _, c := range []struct{ name, magic string }{
		{"gzip", "\x1f\x8b\x08"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"zstd-skippable", "\x5f\x2a\x4d\x18"},
	} {
		t := newTar()
		t.raw2(rawHeader{name: c.magic + "name"}, Text(241, 900))
		t.file("after", Text(242, 900))
		all = append(all, Bad{Name: "name-like-" + c.name,
			How:       "the first name begins with " + c.name + "'s magic number",
			MediaType: MediaTypeTar, Blob: t.close(), Verdict: Unsupported, Reason: "entry-name",
			UpstreamAccepts: true})
	}
	return all
}
