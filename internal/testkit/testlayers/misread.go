package testlayers

import (
	"archive/tar"
	"bytes"
)

// MisreadLayers have a zTOC of upstream's, by way of which its own client
// shows other files than the layer has, or none, or answers reads with an
// error.
func MisreadLayers() []Bad {
	var all []Bad
	add := func(name, how, reason string, fill func(t *tarBuilder)) {
		t := newTar()
		t.file("before", Text(241, 900))
		fill(t)
		t.file("after", Text(242, 900))
		archive := t.close()
		all = append(all,
			Bad{Name: "misread/" + name, How: how, MediaType: MediaTypeGzip, Blob: GoGzip(archive, 6, 0),
				Verdict: Unsupported,
				Reason:  reason, UpstreamAccepts: true},
			Bad{Name: "misread/" + name + "-plain", How: how, MediaType: MediaTypeTar, Blob: archive,
				Verdict: Unsupported,
				Reason:  reason, UpstreamAccepts: true})
	}
	link := func(t *tarBuilder, name, target string) {
		t.add(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}, nil)
	}
	dir := func(t *tarBuilder, name string, uid int, xattrs ...string) {
		h := tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, Uid: uid, Gid: uid}
		for i := 0; i+1 < len(xattrs); i += 2 {
			if h.PAXRecords == nil {
				h.PAXRecords = make(map[string]string)
			}
			h.PAXRecords["SCHILY.xattr."+xattrs[i]] = xattrs[i+1]
		}
		t.add(h, nil)
	}

	// Attributes that a client loses, and then finds missing when a file is
	// read.
	add("empty-xattr", "two extended attributes, one of them empty", "empty-xattr", func(t *tarBuilder) {
		t.pax("SCHILY.xattr.user.a", "", "SCHILY.xattr.user.b", "value")
		t.raw(rawHeader{name: "x"}, nil)
	})
	add("empty-xattrs", "two extended attributes, both empty, of a directory", "empty-xattr", func(t *tarBuilder) {
		t.pax("SCHILY.xattr.user.a", "", "SCHILY.xattr.user.b", "")
		t.raw(rawHeader{name: "x/", typeflag: '5'}, nil)
	})
	add("nameless-xattr", "an extended attribute without a name, beside another", "empty-xattr", func(t *tarBuilder) {
		t.pax("SCHILY.xattr.", "value", "SCHILY.xattr.user.b", "value")
		t.raw(rawHeader{name: "x"}, nil)
	})
	add("time-10000", "a time one second after the year 9999", "modification-time",
		func(t *tarBuilder) { t.timesUnix(253_402_300_800) })
	add("time-below-0", "a time one second before the year 0", "modification-time",
		func(t *tarBuilder) { t.timesUnix(-62_167_219_201) })
	add("time-of-directory", "a directory of the year 11000", "modification-time", func(t *tarBuilder) {
		t.raw(rawHeader{name: "d/", typeflag: '5', mtime: base256(285_000_000_000, 12), magic: "ustar  \x00"}, nil)
	})
	add("uid-33-bits", "an owner of 33 bits", "owner", func(t *tarBuilder) {
		t.raw(rawHeader{name: "x", uid: base256(1<<32, 8), magic: "ustar  \x00"}, nil)
	})
	add("gid-negative", "a group of -1", "owner", func(t *tarBuilder) {
		t.pax("gid", "-1")
		t.raw(rawHeader{name: "x"}, nil)
	})
	for _, m := range []struct {
		name string
		mode int64
	}{{"directory", 0o040644}, {"socket", 0o140644}, {"symlink", 0o120777}} {
		add("mode-"+m.name, "a regular file with the mode of a "+m.name, "file-mode", func(t *tarBuilder) {
			t.raw(rawHeader{name: "x", mode: base256(m.mode, 8), magic: "ustar  \x00"}, nil)
		})
	}
	add("size-before-file", "a symbolic link with a size, before a file", "entry-size", func(t *tarBuilder) {
		t.raw(rawHeader{name: "soft", typeflag: '2', linkname: "x", size: octal12(1)}, nil)
	})

	add("size-huge-before-file", "a directory with a size of 8 EiB less a byte, before a file", "entry-size",
		func(t *tarBuilder) {
			t.raw(rawHeader{name: "d/", typeflag: '5', size: base256(1<<63-1, 12)}, nil)
		})

	// Files that a client puts where nobody finds them.
	add("below-symlink", "an entry below a symbolic link to a directory", "parent-not-a-directory",
		func(t *tarBuilder) {
			t.dir("real/")
			t.symlink("lnk", "real")
			t.file("lnk/x", Text(243, 100))
		})
	add("deep-below-symlink", "an entry deep below a symbolic link", "parent-not-a-directory", func(t *tarBuilder) {
		t.dir("a/real/")
		t.symlink("a/lnk", "real")
		t.file("./a//lnk/b/c/x", Text(243, 100))
	})
	add("directory-below-symlink", "a directory below a symbolic link", "parent-not-a-directory", func(t *tarBuilder) {
		t.dir("real/")
		t.symlink("lnk", "real")
		t.dir("lnk/d/")
	})
	add("symlink-for-directory", "a symbolic link in the place of a directory, and an entry below it",
		"parent-not-a-directory", func(t *tarBuilder) {
			t.dir("real/")
			t.file("d/x", nil)
			t.symlink("d", "real")
			t.file("d/y", nil)
		})
	add("below-file", "an entry below a regular file", "parent-not-a-directory", func(t *tarBuilder) {
		t.file("f", nil)
		t.file("f/x", nil)
	})
	add("below-hard-link", "an entry below a hard link of a symbolic link", "parent-not-a-directory",
		func(t *tarBuilder) {
			t.dir("real/")
			t.symlink("lnk", "real")
			link(t, "hard", "lnk")
			t.file("hard/x", nil)
		})

	// Hard links without which a client does not mount the layer.
	add("hard-link-missing", "a hard link to a file of a layer below", "hard-link-target",
		func(t *tarBuilder) { link(t, "hard", "missing") })
	add("hard-link-later", "a hard link to a file that comes behind it", "hard-link-target", func(t *tarBuilder) {
		link(t, "hard", "after")
	})
	add("hard-link-through-symlink", "a hard link whose target's path leads through a symbolic link",
		"hard-link-target", func(t *tarBuilder) {
			t.file("real/x", nil)
			t.symlink("lnk", "real")
			link(t, "hard", "lnk/x")
		})
	add("hard-link-directory", "a hard link to a directory", "hard-link-target", func(t *tarBuilder) {
		t.dir("d/")
		link(t, "hard", "d")
	})
	add("hard-link-removed", "a hard link into a directory that a file has replaced", "hard-link-target",
		func(t *tarBuilder) {
			t.file("d/x", nil)
			t.file("d", nil)
			t.dir("d/")
			link(t, "hard", "d/x")
		})

	// Directories in the place of something, of which a client keeps a part.
	add("directory-for-linked-file", "a directory in the place of a file that has a hard link", "repeated-directory",
		func(t *tarBuilder) {
			t.file("same", Text(244, 300))
			link(t, "hard", "same")
			t.dir("same/")
		})
	add("directory-for-hard-link", "a directory in the place of a hard link", "repeated-directory",
		func(t *tarBuilder) {
			t.file("same", Text(244, 300))
			link(t, "hard", "same")
			t.dir("hard/")
		})
	add("directory-to-root", "a directory twice, of somebody and then of root", "repeated-directory",
		func(t *tarBuilder) {
			dir(t, "d/", 1000)
			dir(t, "d/", 0)
		})
	add("directory-for-file-with-owner", "a directory of root in the place of somebody's file", "repeated-directory",
		func(t *tarBuilder) {
			t.add(tar.Header{Typeflag: tar.TypeReg, Name: "d", Gid: 5}, nil)
			dir(t, "d/", 0)
		})
	add("directory-other-xattrs", "a directory twice with different extended attributes", "repeated-directory",
		func(t *tarBuilder) {
			dir(t, "d/", 0, "user.a", "1", "user.b", "1")
			dir(t, "d/", 0, "user.c", "1", "user.d", "1")
		})
	add("directory-for-file-with-xattr", "a directory in the place of a file with an extended attribute",
		"repeated-directory", func(t *tarBuilder) {
			t.pax("SCHILY.xattr.user.a", "1")
			t.raw(rawHeader{name: "d"}, nil)
			dir(t, "d/", 0)
		})

	// Names that FUSE, or the client for itself, does not let through.
	long := string(bytes.Repeat([]byte{'n'}, 1025))
	add("long-name", "a name of 1,025 bytes", "entry-name", func(t *tarBuilder) {
		t.add(tar.Header{Typeflag: tar.TypeReg, Name: "d/" + long, Format: tar.FormatPAX}, nil)
	})
	add("long-directory", "a directory without an entry whose name has 1,025 bytes", "entry-name", func(t *tarBuilder) {
		t.add(tar.Header{Typeflag: tar.TypeReg, Name: long + "/x", Format: tar.FormatPAX}, nil)
	})
	add("long-path", "a path of 4,096 bytes", "entry-name", func(t *tarBuilder) {
		t.add(tar.Header{Typeflag: tar.TypeReg, Name: string(bytes.Repeat([]byte("d/"), 2047)) + "dd",
			Format: tar.FormatPAX},
			nil)
	})
	add("whiteout-of-nothing", "a whiteout without a name", "entry-name", func(t *tarBuilder) { t.file("d/.wh.", nil) })
	add("state-directory", "a file in the directory that clients show for themselves", "entry-name",
		func(t *tarBuilder) { t.file(".soci-snapshotter/x", nil) })
	return all
}
