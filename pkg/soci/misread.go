package soci

import (
	"archive/tar"
	"fmt"
	"path"
	"strings"
)

// Misread returns what clients would read wrongly, or not at all, by way of z,
// although z says what the layer holds: an *UnsupportedError for the first
// such entry, or nil. It is ErrLimit when to find out would take more than
// 1 GiB of memory.
//
// A zTOC can hold any entry of a tar archive, and still not be read as the
// archive is unpacked: the client keeps its own tree of names and attributes
// (soci-snapshotter, packages metadata and fs/reader), and compares a file's
// attributes with its tar header before it reads the file.
func (z *Ztoc) Misread() error {
	return z.misread(newMemory(1<<30).enter(0, func() {}).take)
}

// misread is Misread within a budget, of which take takes.
func (z *Ztoc) misread(take func(int64) error) error {
	spans := z.Spans()
	for i := range max(len(spans)-1, 0) {
		if s := spans[i]; s.Start >= s.End || s.OutStart >= s.OutEnd {
			return &UnsupportedError{Reason: SkipEmptySpan,
				Detail: fmt.Sprintf("span %d, of %d, has no content, and clients refuse the zTOC", i, len(spans))}
		}
	}
	entries := z.Entries
	t := clientTree{take: take}
	for i := range entries {
		if err := t.prepare(&entries[i]); err != nil {
			return err
		}
	}
	t.root.inode = &inode{dir: true}
	t.at, t.atPath = &t.root, ""
	for i := range entries {
		e := &entries[i]
		reason, what := misreadAlone(e)
		if reason == "" && i > 0 && e.Type == "reg" && headerMisplaced(&entries[i-1]) {
			reason, what = SkipEntrySize, "the entry before has a size and no content"
		}
		if reason == "" {
			reason, what = t.add(e)
		}
		if reason != "" {
			return &UnsupportedError{Reason: reason, Detail: fmt.Sprintf("%s: entry %q", what, cut(e.Name, 200))}
		}
	}
	return nil
}

// misreadAlone judges an entry by itself.
func misreadAlone(e *Entry) (SkipReason, string) {
	if e.Type == "hardlink" {
		return "", "" // clients take nothing from it but its names
	}
	xattrs, empty := 0, false
	for k, v := range e.PAX {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			xattrs++
			empty = empty || v == ""
			if name == "" {
				return SkipEmptyXattr, "extended attribute without a name"
			}
		}
	}
	switch seconds := e.ModTime.Unix(); {
	case xattrs > 1 && empty:
		return SkipEmptyXattr, "extended attribute without a value, beside others"
	case seconds < year0 || seconds >= year10000:
		return SkipModTime, "modification time outside the years 0 to 9999"
	case e.UID != int(uint32(e.UID)) || e.GID != int(uint32(e.GID)):
		return SkipOwner, fmt.Sprintf("owner %d:%d, which 32 bits do not hold", e.UID, e.GID)
	case e.Type == "reg" && !modeOfFile(e.Mode):
		return SkipFileMode, fmt.Sprintf("mode %#o of a regular file", e.Mode)
	}
	return "", ""
}

const paxXattr = "SCHILY.xattr."

// The first seconds of years.
const (
	year0     = -62_167_219_200
	year10000 = 253_402_300_800
)

// modeOfFile reports whether the type that a header's mode may name beside the
// permissions is that of a regular file, or none. A client refuses to read a
// file where the two disagree.
func modeOfFile(mode int64) bool {
	if mode&^0o7777 == 0 || mode&^0o7777 == 0o100000 {
		return true
	}
	return (&tar.Header{Typeflag: tar.TypeReg, Mode: mode}).FileInfo().Mode().IsRegular()
}

// headerMisplaced reports whether a client looks for the header behind e in
// the wrong place: e has a size, and no content follows. That matters where it
// reads that header, which it does for files.
func headerMisplaced(e *Entry) bool { return e.Type != "reg" && e.Size != 0 }

// The names that a client can have in its tree. No path of more than 4,095
// bytes can be opened, and FUSE takes no name of more than 1,024.
const (
	maxPath = 4095
	maxName = 1024
)

// clientTree is the client's tree of the entries so far, as far as it matters:
// directories, what stands in the place of one, and the targets of hard links.
type clientTree struct {
	take func(int64) error
	root place

	// The parent of the entry before, which is mostly that of the next.
	at     *place
	atPath string

	// The directory of the name before, as it stood there and cleaned.
	raw, dir string
}

// split is the directory and the last part of a name, cleaned: the last part of
// the root is empty. Most names have the directory of the one before.
func (t *clientTree) split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i > 0 && name[:i] == t.raw {
		if base := name[i+1:]; base != "" && base[0] != '.' {
			return t.dir, base
		}
	}
	dir, base = split(cleanName(name))
	if i > 0 && base == name[i+1:] {
		t.raw, t.dir = name[:i], dir
	}
	return dir, base
}

// place is a name in the tree.
type place struct {
	places map[string]*place
	inode  *inode // what is there, if its directory is still the one it was put into
	in     *inode
}

// placeCost is what a place and its inode take.
const placeCost = 300

// inode is a file of the client's.
type inode struct {
	dir      bool
	linked   bool // a hard link names it
	uid, gid int
	pax      map[string]string
}

// child is the place of one of p's names, or nil when it does not matter.
func (p *place) child(name string) *place { return p.places[name] }

// holds reports whether there is something at c, a child of p.
func (p *place) holds(c *place) bool { return c.inode != nil && c.in == p.inode }

func (p *place) put(c *place, i *inode) { c.inode, c.in = i, p.inode }

// prepare makes the places that an entry makes matter.
func (t *clientTree) prepare(e *Entry) error {
	if len(e.Name) > maxPath || len(e.Linkname) > maxPath {
		return nil // add refuses the one, and finds no target by the other
	}
	dir, base := t.split(e.Name)
	if t.at == nil || dir != t.atPath {
		at, err := t.mark(&t.root, dir)
		if err != nil {
			return err
		}
		t.at, t.atPath = at, dir
	}
	switch e.Type {
	case "dir":
		_, err := t.mark(t.at, base)
		return err
	case "hardlink":
		_, err := t.mark(&t.root, cleanName(e.Linkname))
		return err
	}
	return nil
}

// mark makes the places on the way from p to a name, and its own.
func (t *clientTree) mark(p *place, name string) (*place, error) {
	for name != "" {
		first, rest, _ := strings.Cut(name, "/")
		c := p.places[first]
		if c == nil {
			if err := t.take(int64(placeCost + len(first))); err != nil {
				return nil, err
			}
			if p.places == nil {
				p.places = make(map[string]*place)
			}
			c = new(place)
			p.places[first] = c
		}
		p, name = c, rest
	}
	return p, nil
}

// add processes an entry as a client does, and returns what goes wrong.
func (t *clientTree) add(e *Entry) (SkipReason, string) {
	if len(e.Name) > maxPath {
		return SkipEntryName, fmt.Sprintf("a name of %d bytes, more than the %d of a path", len(e.Name), maxPath)
	}
	dir, base := t.split(e.Name)
	if what := unfitName(dir, base); what != "" {
		return SkipEntryName, what
	}
	var target *inode
	if e.Type == "hardlink" {
		if target = t.find(e.Linkname); target == nil || target.dir {
			return SkipLinkTarget, fmt.Sprintf("hard link to %q, which is no file that comes before it in the layer",
				cut(e.Linkname, 200))
		}
	}
	if reason, what := t.enter(dir); reason != "" {
		return reason, what
	}
	if base == "" {
		if e.Type == "dir" {
			return t.root.inode.overwrite(e)
		}
		return "", "" // the root as anything else is seen by nobody
	}
	if target != nil {
		target.linked = true
	}
	c := t.at.child(base)
	switch {
	case c == nil:
		return "", ""
	case e.Type == "dir" && t.at.holds(c):
		return c.inode.overwrite(e)
	case target != nil:
		t.at.put(c, target)
	default:
		t.at.put(c, &inode{dir: e.Type == "dir", uid: e.UID, gid: e.GID, pax: e.PAX})
	}
	if e.Type != "dir" {
		t.at, t.atPath = &t.root, "" // it may have taken the place of a parent
	}
	return "", ""
}

// enter goes to the directory of an entry, which need not have an entry of its
// own.
func (t *clientTree) enter(dir string) (SkipReason, string) {
	if dir == t.atPath {
		return "", ""
	}
	p := &t.root
	for rest := dir; rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		c := p.child(first)
		switch {
		case len(first) > maxName:
			return SkipEntryName, fmt.Sprintf("a directory whose name has %d bytes, more than the %d that FUSE takes",
				len(first), maxName)
		case !p.holds(c):
			p.put(c, &inode{dir: true})
		case !c.inode.dir:
			return SkipParent, fmt.Sprintf("%q on its path is no directory",
				cut(strings.TrimSuffix(dir[:len(dir)-len(rest)], "/"), 200))
		}
		p = c
	}
	t.at, t.atPath = p, dir
	return "", ""
}

// find looks up the target of a hard link, which goes through no symbolic
// link.
func (t *clientTree) find(linkname string) *inode {
	if len(linkname) > maxPath {
		return nil
	}
	p := &t.root
	for name := cleanName(linkname); name != ""; {
		var first string
		first, name, _ = strings.Cut(name, "/")
		c := p.child(first)
		if !p.holds(c) {
			return nil
		}
		p = c
	}
	return p.inode
}

// overwrite makes i the directory e. A client writes the attributes over those
// that are there, whatever i was, but an owner of 0 not at all, and extended
// attributes in part.
func (i *inode) overwrite(e *Entry) (SkipReason, string) {
	switch {
	case !i.dir && i.linked:
		return SkipRepeatedDir, "a directory in the place of a file that has a hard link"
	case i.uid != 0 && e.UID == 0 || i.gid != 0 && e.GID == 0:
		return SkipRepeatedDir, fmt.Sprintf(
			"a directory in the place of an earlier entry, of which it would keep the owner %d:%d", i.uid, i.gid)
	case !overwritesXattrs(i, e.PAX):
		return SkipRepeatedDir,
			"a directory in the place of an earlier entry, of which it would keep extended attributes"
	}
	if i.dir && countXattrs(e.PAX) == 0 {
		// To unpack it leaves them, too.
	} else {
		i.pax = e.PAX
	}
	i.dir, i.uid, i.gid = true, e.UID, e.GID
	return "", ""
}

// overwritesXattrs reports whether the extended attributes of i and those of a
// directory in its place come to the same in a client and on a disk. A client
// leaves all when there are no new ones, all but one when there is one new, and
// else none; on a disk those of a directory stay and those of a file go.
func overwritesXattrs(i *inode, pax map[string]string) bool {
	before, after := countXattrs(i.pax), countXattrs(pax)
	if before == 0 {
		return true
	}
	if !i.dir {
		return after > 1 || after == 1 && before == 1
	}
	if after == 0 {
		return true
	}
	for k := range i.pax {
		if _, ok := pax[k]; !ok && strings.HasPrefix(k, paxXattr) {
			return false
		}
	}
	return true
}

func countXattrs(pax map[string]string) (n int) {
	for k := range pax {
		if strings.HasPrefix(k, paxXattr) {
			n++
		}
	}
	return n
}

// stateDir is what a client shows in the root of a layer for itself.
const stateDir = ".soci-snapshotter"

// unfitName returns why no client can show a name.
func unfitName(dir, base string) string {
	switch {
	case len(base) > maxName:
		return fmt.Sprintf("a name of %d bytes, more than the %d that FUSE takes", len(base), maxName)
	case base == ".wh.":
		return "a whiteout of nothing"
	case dir == "" && base == stateDir, dir == stateDir, strings.HasPrefix(dir, stateDir+"/"):
		return "a name that clients have for themselves"
	}
	return ""
}

// trimName returns a name without what most names of directories, and of some
// archives all names, have around them.
func trimName(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(name, "/"), "./"), "/")
}

// cleanName is the path of a name from the root, without a slash in front: ""
// is the root itself.
func cleanName(name string) string {
	n := trimName(name)
	if n != "" && n[0] != '.' && n[0] != '/' && !strings.Contains(n, "//") && !strings.Contains(n, "/.") {
		return n
	}
	for rest, more := n, n != ""; more; {
		var first string
		first, rest, more = strings.Cut(rest, "/")
		if first == "" || first == "." || first == ".." {
			return path.Clean("/" + name)[1:]
		}
	}
	return n
}

// split is the directory and the last part of a clean name.
func split(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}
