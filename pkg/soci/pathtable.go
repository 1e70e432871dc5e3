package soci

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/text/bytesize"
)

// pathTable is what is kept of a layer's zTOC to find the spans of files: the
// zTOC itself is given up as soon as it is pushed.
type pathTable struct {
	spans   int
	text    string      // names and targets of links
	entries []pathEntry // by name; of a name that the layer has twice the first, as upstream does
	removes bool        // there is a whiteout
}

// pathEntry is a name of a layer.
type pathEntry struct {
	at          uint32 // of the name in text; the target of a link follows
	name, link  uint16 // bytes
	kind        pathKind
	empty       bool  // there is no content
	head        int32 // span in which the tar header begins, which clients compare before they read the file
	first, last int32 // spans of the content
}

type pathKind uint8

const (
	pathFile  pathKind = iota // and whatever else has a place in the archive
	pathDir                   // has no content
	pathLink                  // symbolic
	pathAlias                 // hard link
)

// pathEntryCost is what an entry takes beside its text, in bytes.
const pathEntryCost = 24

// pathSortCost is what an entry takes while the table of its layer is made, in
// bytes: its name without copy, and its place in the order.
const pathSortCost = 16 + 4

// maxPathText is the most bytes of a name or of a link's target: clients know
// no longer paths.
const maxPathText = 4095

// pathTables are those of an image, within a bound.
type pathTables struct {
	max int64 // bytes of all

	mu     sync.Mutex
	wanted map[digest.Digest]bool // the layers of which one is needed and was not added yet
	used   int64                  // bytes, of those that there is no room for too
	making int64                  // bytes that it took to make the one that took most; one is made at a time
	of     map[digest.Digest]*pathTable
}

// pathTablesShare is the part of Limits.MaxMemory that tables may take, when
// any are needed: an eighth, at most 128 MiB, which is enough for more than a
// million files.
func pathTablesShare(maxMemory int64) int64 { return min(maxMemory/8, pathTablesMost) }

const pathTablesMost = 128 << 20 // bytes

// newPathTables returns nil when none of the targets has anything to prefetch.
func newPathTables(targets []target, o Options) *pathTables {
	wanted := make(map[digest.Digest]bool)
	for _, t := range targets {
		if t.manifest == nil || len(t.prefetch) == 0 {
			continue
		}
		for _, l := range t.manifest.Layers {
			wanted[l.Digest] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return &pathTables{wanted: wanted, max: pathTablesShare(o.Limits.MaxMemory), of: make(map[digest.Digest]*pathTable)}
}

// add makes the table of a layer, if one is needed and there is room. When the
// layers of an image do not fit together none is kept, whatever their order, and
// the others are still counted, for lack.
func (t *pathTables) add(layer digest.Digest, z *Ztoc) {
	if t == nil {
		return
	}
	size, making := int64(len(layer)), int64(0)
	for i := range z.Entries {
		name := z.Entries[i].Name
		size += pathEntryCost + int64(len(name)+len(z.Entries[i].Linkname))
		making += pathSortCost
		if clean := cleanName(name); clean != trimName(name) { // a copy
			making += int64(len(clean))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.wanted[layer] {
		return
	}
	t.wanted[layer] = false
	t.used, t.making = t.used+size, max(t.making, making)
	if t.full() {
		t.of = nil
		return
	}
	t.of[layer] = newPathTable(z, int(size))
}

// lack says why the tables had to be given up, and what would be enough.
func (t *pathTables) lack() string {
	need := t.used + t.making
	if need > pathTablesMost {
		return fmt.Sprintf("the names of all files take %s of memory, and at most %s are used for them",
			bytesize.Format(need), bytesize.Format(pathTablesMost))
	}
	limit := (8*need + 1<<20 - 1) >> 20
	return fmt.Sprintf("the names of all files take more than %s of memory, an eighth of the memory limit: with "+
		"--max-memory %dMiB, or a larger GeneratorMemorySize, there is room for them", bytesize.Format(t.max), limit)
}

// full reports whether the tables had to be given up. It is called with mu
// locked, or when the layers are done.
func (t *pathTables) full() bool { return t.used+t.making > t.max }

func newPathTable(z *Ztoc, size int) *pathTable {
	names, order := make([]string, len(z.Entries)), make([]int32, 0, len(z.Entries))
	for i := range z.Entries {
		if names[i] = cleanName(z.Entries[i].Name); len(names[i]) <= maxPathText {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(cmp.Compare(names[a], names[b]), cmp.Compare(a, b)) })
	order = slices.CompactFunc(order, func(a, b int32) bool { return names[a] == names[b] })
	t := &pathTable{spans: len(z.Checkpoints), entries: make([]pathEntry, 0, len(order))}
	var text strings.Builder
	text.Grow(size - pathEntryCost*len(z.Entries))
	for _, i := range order { // the text in the same order, since that is how it is read
		e, name, link := &z.Entries[i], names[i], ""
		p := pathEntry{at: uint32(text.Len()), name: uint16(len(name)), empty: e.Size <= 0}
		switch e.Type {
		case "dir":
			p.kind = pathDir
		case "symlink":
			p.kind, link = pathLink, e.Linkname
		case "hardlink":
			p.kind, link = pathAlias, cleanName(e.Linkname)
		}
		if len(link) > maxPathText {
			link = ""
		}
		p.link = uint16(len(link))
		p.first, p.last = z.spansOf(e)
		p.head = min(z.spanAt(z.headerOf(int(i))), p.first)
		text.WriteString(name)
		text.WriteString(link)
		t.removes = t.removes || strings.HasPrefix(path.Base(name), whiteoutPrefix)
		t.entries = append(t.entries, p)
	}
	t.text = text.String()
	return t
}

// headerOf returns the uncompressed offset at which the tar header of an entry
// begins: behind the content of the one before.
func (z *Ztoc) headerOf(i int) int64 {
	if i == 0 {
		return 0
	}
	e := &z.Entries[i-1]
	return (e.Offset + max(e.Size, 0) + tarBlock - 1) / tarBlock * tarBlock
}

// spansOf returns the first and the last span of an entry's content, as
// upstream counts them: that of the byte behind the content is one of them.
func (z *Ztoc) spansOf(e *Entry) (first, last int32) {
	first = z.spanAt(e.Offset)
	return first, max(z.spanAt(e.Offset+max(e.Size, 0)), first)
}

// spanAt returns the span of an uncompressed offset.
func (z *Ztoc) spanAt(offset int64) int32 {
	n, found := slices.BinarySearchFunc(z.Checkpoints, offset,
		func(c Checkpoint, offset int64) int { return cmp.Compare(c.Out, offset) })
	for found && n+1 < len(z.Checkpoints) && z.Checkpoints[n+1].Out == offset {
		n++ // behind empty blocks
	}
	if !found {
		n--
	}
	return int32(max(n, 0))
}

func (t *pathTable) nameOf(e *pathEntry) string { return t.text[e.at : int(e.at)+int(e.name)] }

func (t *pathTable) linkOf(e *pathEntry) string {
	at := int(e.at) + int(e.name)
	return t.text[at : at+int(e.link)]
}

// search returns where a name is, or would be.
func (t *pathTable) search(name string) (int, bool) {
	return slices.BinarySearchFunc(t.entries, name,
		func(e pathEntry, name string) int { return cmp.Compare(t.nameOf(&e), name) })
}

func (t *pathTable) find(name string) *pathEntry {
	if i, ok := t.search(name); ok {
		return &t.entries[i]
	}
	return nil
}

// below returns the entries in a directory, and in those in it.
func (t *pathTable) below(dir string) []pathEntry {
	if dir == "" {
		return t.entries
	}
	from, _ := t.search(dir + "/")
	to, _ := t.search(dir + "0") // the byte behind a slash
	return t.entries[from:to]
}

const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// hides reports whether a whiteout of this layer removes a name from those
// below it.
func (t *pathTable) hides(name string) bool {
	if !t.removes {
		return false
	}
	for name != "" {
		dir, base := path.Split(name)
		if t.find(dir+whiteoutPrefix+base) != nil || t.find(dir+whiteoutOpaque) != nil {
			return true
		}
		name = strings.TrimSuffix(dir, "/")
	}
	return false
}
