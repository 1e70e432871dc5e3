package verify

import (
	"archive/tar"
	"fmt"
	"maps"

	"soci-index-builder/pkg/soci"
)

// entryTypes are the types of tar entries that a zTOC can name.
var entryTypes = map[byte]string{
	tar.TypeReg:     "reg",
	tar.TypeDir:     "dir",
	tar.TypeSymlink: "symlink",
	tar.TypeLink:    "hardlink",
	tar.TypeChar:    "char",
	tar.TypeBlock:   "block",
	tar.TypeFifo:    "fifo",
}

// compareEntry compares an entry of the table of contents with the tar header
// whose content begins at offset, and says what differs.
func compareEntry(e soci.Entry, h *tar.Header, offset int64) (what []string) {
	differs := func(field string, ztoc, layer any) {
		what = append(what, fmt.Sprintf("%s is %v in the zTOC and %v in the layer", field, ztoc, layer))
	}
	typ, known := entryTypes[h.Typeflag]
	if !known {
		typ = fmt.Sprintf("a tar entry of type %q", h.Typeflag)
	}
	if e.Name != h.Name {
		differs("the name", fmt.Sprintf("%q", e.Name), fmt.Sprintf("%q", h.Name))
	}
	if e.Type != typ {
		differs("the type", e.Type, typ)
	}
	if e.Linkname != h.Linkname {
		differs("the link name", fmt.Sprintf("%q", e.Linkname), fmt.Sprintf("%q", h.Linkname))
	}
	for _, n := range []struct {
		field       string
		ztoc, layer int64
	}{
		{"the offset", e.Offset, offset},
		{"the size", e.Size, h.Size},
		{"the user id", int64(e.UID), int64(h.Uid)},
		{"the group id", int64(e.GID), int64(h.Gid)},
		{"the major device number", e.Devmajor, h.Devmajor},
		{"the minor device number", e.Devminor, h.Devminor},
	} {
		if n.ztoc != n.layer {
			differs(n.field, n.ztoc, n.layer)
		}
	}
	if e.Mode != h.Mode {
		differs("the mode", fmt.Sprintf("%#o", e.Mode), fmt.Sprintf("%#o", h.Mode))
	}
	if e.Uname != h.Uname {
		differs("the user name", fmt.Sprintf("%q", e.Uname), fmt.Sprintf("%q", h.Uname))
	}
	if e.Gname != h.Gname {
		differs("the group name", fmt.Sprintf("%q", e.Gname), fmt.Sprintf("%q", h.Gname))
	}
	// A zTOC keeps a time as text, which has four digits for the year, and an
	// owner in 32 bits. Clients compare both with the header, and do not read a
	// file of which they differ.
	if !e.ModTime.Equal(h.ModTime) {
		differs("the modification time", e.ModTime, h.ModTime)
	}
	if !maps.Equal(e.PAX, h.PAXRecords) {
		differs("the PAX records", fmt.Sprintf("%q", e.PAX), fmt.Sprintf("%q", h.PAXRecords))
	}
	return what
}
