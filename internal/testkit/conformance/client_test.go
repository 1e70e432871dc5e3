//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/awslabs/soci-snapshotter/cache"
	"github.com/awslabs/soci-snapshotter/fs/reader"
	spanmanager "github.com/awslabs/soci-snapshotter/fs/span-manager"
	"github.com/awslabs/soci-snapshotter/metadata"
	upstream "github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// openClient has the snapshotter's own code read a layer by way of a zTOC: all
// that it has below FUSE.
func openClient(ztoc, blob []byte) (reader.Reader, error) {
	z, err := upstream.Unmarshal(bytes.NewReader(ztoc))
	if err != nil {
		return nil, err
	}
	sr := io.NewSectionReader(bytes.NewReader(blob), 0, int64(len(blob)))
	meta, err := metadata.NewTempDbStore(sr, z.TOC)
	if err != nil {
		return nil, err
	}
	layer := digest.FromBytes(blob)
	spans, err := spanmanager.New(z, sr, cache.NewMemoryCache(), 0, layer)
	if err != nil {
		_ = meta.Close() // as below
		return nil, err
	}
	return reader.NewReader(meta, layer, spans, false)
}

// compareClient says what the client shows of a layer otherwise than unpacking
// it leaves behind; "" when all is the same. An archive that cannot be
// unpacked is different in any case.
func compareClient(ztoc, blob, archive []byte) string {
	root, err := unpack(archive)
	if err != nil {
		return fmt.Sprintf("it cannot be unpacked: %v", err)
	}
	r, err := openClient(ztoc, blob)
	if err != nil {
		return fmt.Sprintf("the client does not mount it: %v", err)
	}
	c := clientWalk{r: r, ids: make(map[uint32]*file), files: make(map[*file]uint32)}
	c.walk("", r.Metadata().RootID(), root)
	// The database is closed first, and then cannot be written any more.
	_ = r.Close()
	return c.differs
}

type clientWalk struct {
	r       reader.Reader
	ids     map[uint32]*file
	files   map[*file]uint32
	differs string // the first difference
}

func (c *clientWalk) addf(path, format string, args ...any) {
	if c.differs == "" {
		c.differs = fmt.Sprintf("%q: ", path) + fmt.Sprintf(format, args...)
	}
}

// walk compares what is in a directory.
func (c *clientWalk) walk(path string, id uint32, dir *file) {
	found := make(map[string]uint32)
	err := c.r.Metadata().ForeachChild(id, func(name string, id uint32, _ os.FileMode) bool {
		if name != "." { // an entry of the root itself
			found[name] = id
		}
		return true
	})
	if err != nil {
		c.addf(path, "%v", err)
	}
	for name, id := range found {
		if f := dir.files[name]; f == nil {
			c.addf(path+"/"+name, "the client has it alone")
		} else {
			c.compare(path+"/"+name, id, f)
		}
	}
	for name := range dir.files {
		if _, ok := found[name]; !ok {
			c.addf(path+"/"+name, "the client does not have it")
		}
	}
}

func (c *clientWalk) compare(path string, id uint32, f *file) {
	if c.differs != "" {
		return
	}
	attr, err := c.r.Metadata().GetAttr(id)
	if err != nil {
		c.addf(path, "%v", err)
		return
	}
	if other, ok := c.ids[id]; ok && other != f {
		c.addf(path, "the client has it for a hard link of another file")
	}
	if other, ok := c.files[f]; ok && other != id {
		c.addf(path, "the client has it for another file than its hard link")
	}
	c.ids[id], c.files[f] = f, id
	xattrs := make(map[string]string)
	for k, v := range attr.Xattrs {
		xattrs[k] = string(v)
	}
	switch {
	case attr.Mode != f.mode:
		c.addf(path, "mode %v, not %v", attr.Mode, f.mode)
	case attr.UID != f.uid || attr.GID != f.gid:
		c.addf(path, "owner %d:%d, not %d:%d", attr.UID, attr.GID, f.uid, f.gid)
	case !attr.ModTime.Equal(f.modTime):
		c.addf(path, "time %v, not %v", attr.ModTime, f.modTime)
	case !maps.Equal(xattrs, f.xattrs):
		c.addf(path, "extended attributes %q, not %q", xattrs, f.xattrs)
	case f.mode&os.ModeSymlink != 0 && attr.LinkName != f.linkname:
		c.addf(path, "link to %q, not %q", attr.LinkName, f.linkname)
	case f.mode&os.ModeDevice != 0 && (int64(attr.DevMajor) != f.major || int64(attr.DevMinor) != f.minor):
		c.addf(path, "device %d:%d, not %d:%d", attr.DevMajor, attr.DevMinor, f.major, f.minor)
	case f.mode.IsDir():
		c.walk(path, id, f)
	case f.mode.IsRegular():
		c.compareContent(path, id, attr.Size, f)
	}
}

func (c *clientWalk) compareContent(path string, id uint32, size int64, f *file) {
	if size != int64(len(f.content)) {
		c.addf(path, "%d bytes, not %d", size, len(f.content))
		return
	}
	r, err := c.r.OpenFile(id)
	if err != nil {
		c.addf(path, "%v", err)
		return
	}
	got := make([]byte, size)
	// One of no bytes is verified as well when it is read.
	if n, err := r.ReadAt(append(got, 0)[:max(size, 1)], 0); err != nil && err != io.EOF {
		c.addf(path, "I/O error: %v", err)
	} else if n != len(got) {
		c.addf(path, "%d of %d bytes can be read", n, size)
	}
	if size > 0 {
		if _, err := r.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, f.content) {
			c.addf(path, "other content (%v)", err)
		}
	}
}

// misreads says what the client shows otherwise, as compareClient. What hangs
// on the order of a Go map is not wrong each time: it is tried again when it
// should be wrong.
func misreads(t *testing.T, ztoc, blob []byte, expected bool) (differs string) {
	t.Helper()
	for range 500 { // some depend on the order of a map, and a dozen times is the rule
		differs := compareClient(ztoc, blob, archiveOf(t, blob))
		if differs != "" || !expected {
			return differs
		}
	}
	return ""
}

// tempInMemory has the client's databases in memory, if possible.
func tempInMemory(t *testing.T) { t.Setenv("TMPDIR", scratch(t)) }

// A client reads every layer that we index as if it were unpacked.
func TestClientReadsWhatWeIndex(t *testing.T) {
	tempInMemory(t)
	for _, l := range testlayers.Generated() {
		t.Run(l.Name, func(t *testing.T) {
			blob := l.Blob()
			ztoc, err := buildUpstream(tempBlob(t, blob), l.Compression, 64<<10, buildTool)
			if err != nil {
				t.Fatal(err)
			}
			differs := misreads(t, ztoc, blob, l.Misread != "")
			if (differs != "") != (l.Misread != "") {
				t.Errorf("we say that clients misread it (%q); what they do: %.300s", l.Misread, differs)
			}
		})
	}
}

// Layers that we do not index because clients misread them are misread.
func TestClientMisreads(t *testing.T) {
	tempInMemory(t)
	n := 0
	for _, l := range testlayers.MisreadLayers() {
		n++
		t.Run(l.Name, func(t *testing.T) {
			ztoc, err := buildUpstream(tempBlob(t, l.Blob), l.Compression(), 64<<10, buildTool)
			if err != nil {
				t.Fatalf("upstream: %v", err)
			}
			if l.Reason == string(soci.SkipEntryName) {
				return // FUSE decides on these
			}
			if differs := misreads(t, ztoc, l.Blob, true); differs == "" {
				t.Error("a client reads it as it is unpacked")
			}
		})
	}
	if n == 0 {
		t.Error("no layer")
	}
}

// archiveOf is the content of a layer.
func archiveOf(t *testing.T, blob []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		return blob
	}
	b, err := gunzip(blob)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// xattrsOf are the extended attributes among PAX records.
func xattrsOf(h *tar.Header) map[string]string {
	out := make(map[string]string)
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			out[name] = v
		}
	}
	return out
}
