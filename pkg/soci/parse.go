package soci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/awslabs/soci-snapshotter/ztoc/compression/fbs/zinfo"
	fbs "github.com/awslabs/soci-snapshotter/ztoc/fbs/ztoc"
	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
)

// ParseZtoc reads a zTOC that any tool may have written. What it allocates is
// in proportion to len(b). Its error is ErrTruncated or ErrCorrupt.
func ParseZtoc(b []byte) (*Ztoc, error) { return parseZtoc(b, func(int64) error { return nil }) }

// parseZtoc is ParseZtoc within a budget, of which take takes what the zTOC needs
// beside b, into which its windows lead. An error of take is returned as it is.
func parseZtoc(b []byte, take func(int64) error) (z *Ztoc, err error) {
	// A flatbuffer's accessors have no errors: they panic where an offset
	// leads out of the buffer.
	defer func() {
		if p := recover(); p != nil {
			z, err = nil, fmt.Errorf("%w zTOC: an offset leads out of it", ErrCorrupt)
		}
	}()
	if len(b) < 8 {
		return nil, fmt.Errorf("%w zTOC: %d bytes", ErrTruncated, len(b))
	}
	p := &ztocParser{left: len(b), root: fbs.GetRootAsZtoc(b, 0), budget: take}
	if z, err = p.parse(); err == nil {
		err = p.settle()
	}
	if p.refused != nil {
		return nil, p.refused
	}
	if err != nil {
		return nil, fmt.Errorf("%w zTOC: %w", ErrCorrupt, err)
	}
	return z, nil
}

type ztocParser struct {
	root *fbs.Ztoc

	// left bounds what is taken out: a crafted flatbuffer can point to the
	// same bytes any number of times, a written one holds each once.
	left int

	budget  func(int64) error
	owed    int64 // to budget
	refused error // of budget
}

// The least that an entry and a PAX record take in a written flatbuffer,
// beside their strings.
const (
	leastEntry = 64
	leastPAX   = 24
)

// What is allocated for parts of a zTOC, in bytes, no less than that.
const (
	entryMemory      = 168 // an Entry
	checkpointMemory = 48  // a Checkpoint without its window
	digestMemory     = 16  // without its text

	// A map of one record has room for 8. A larger one grows by doubling, and
	// what it has outgrown is garbage that may still be there.
	paxMemory    = 336
	recordMemory = 160
)

// mostOwed is how many bytes may be allocated before the budget is asked, which
// for each string would take longer than to read it.
const mostOwed = 64 << 10 // 64 KiB

// textMemory is what a string of n bytes takes, with what the allocator rounds up.
func textMemory(n int) int64 {
	if n == 0 {
		return 0
	}
	return int64(n+n/8+15) &^ 15
}

var errRepeated = errors.New("it holds more than its bytes can")

// take takes n bytes of the flatbuffer, for which memory bytes are allocated.
func (p *ztocParser) take(n int, memory int64) error {
	if p.left -= n; p.left < 0 {
		return errRepeated
	}
	if p.owed += memory; p.owed < mostOwed {
		return nil
	}
	return p.settle()
}

// settle takes from the budget what is owed to it.
func (p *ztocParser) settle() error {
	p.refused = p.budget(p.owed)
	p.owed = 0
	return p.refused
}

func (p *ztocParser) text(s []byte) (string, error) {
	if err := p.take(len(s), textMemory(len(s))); err != nil {
		return "", err
	}
	return string(s), nil
}

// count checks the length of a vector of offsets, 4 bytes each.
func (p *ztocParser) count(what string, n int) error {
	if n < 0 || n > len(p.root.Table().Bytes)/4 {
		return fmt.Errorf("it claims %d %s", n, what)
	}
	return nil
}

func (p *ztocParser) parse() (*Ztoc, error) {
	z := &Ztoc{
		CompressedSize:   p.root.CompressedArchiveSize(),
		UncompressedSize: p.root.UncompressedArchiveSize(),
	}
	var err error
	if z.Version, err = p.text(p.root.Version()); err != nil {
		return nil, err
	}
	if z.BuildToolIdentifier, err = p.text(p.root.BuildToolIdentifier()); err != nil {
		return nil, err
	}
	if z.CompressedSize < 0 || z.UncompressedSize < 0 {
		return nil, errors.New("a size is negative")
	}
	toc := p.root.Toc(nil)
	info := p.root.CompressionInfo(nil)
	if toc == nil || info == nil {
		return nil, errors.New("the table of contents or the compression info is missing")
	}
	if z.Entries, err = p.entries(toc); err != nil {
		return nil, err
	}
	if z.SpanDigests, err = p.digests(info); err != nil {
		return nil, err
	}
	switch info.CompressionAlgorithm() {
	case fbs.CompressionAlgorithmGzip:
		z.Compression = Gzip
		err = z.parseGzipCheckpoints(info.CheckpointsBytes())
	case fbs.CompressionAlgorithmUncompressed:
		z.Compression = Uncompressed
		err = z.parseTarZinfo(info.CheckpointsBytes(), len(z.SpanDigests))
	default:
		err = fmt.Errorf("compression algorithm %d is unknown", info.CompressionAlgorithm())
	}
	if err != nil {
		return nil, err
	}
	if n := len(z.Checkpoints); n != len(z.SpanDigests) || int64(n)-1 != int64(info.MaxSpanId()) {
		return nil, fmt.Errorf("%d checkpoints, %d span digests and a highest span %d", n, len(z.SpanDigests),
			info.MaxSpanId())
	}
	return z, nil
}

func (p *ztocParser) digests(info *fbs.CompressionInfo) ([]digest.Digest, error) {
	n := info.SpanDigestsLength()
	if err := p.count("span digests", n); err != nil {
		return nil, err
	}
	// There are as many checkpoints.
	if err := p.take(0, int64(n)*(digestMemory+checkpointMemory)); err != nil {
		return nil, err
	}
	digests := make([]digest.Digest, n)
	for i := range digests {
		s, err := p.text(info.SpanDigests(i))
		if err != nil {
			return nil, err
		}
		if digests[i], err = digest.Parse(s); err != nil {
			return nil, fmt.Errorf("the digest of span %d: %w", i, err)
		}
	}
	return digests, nil
}

func (p *ztocParser) entries(toc *fbs.TOC) ([]Entry, error) {
	n := toc.MetadataLength()
	if err := p.count("entries", n); err != nil {
		return nil, err
	}
	if err := p.take(n*leastEntry, int64(n)*entryMemory); err != nil {
		return nil, err
	}
	entries := make([]Entry, n)
	var m fbs.FileMetadata
	for i := range entries {
		if !toc.Metadata(&m, i) {
			return nil, fmt.Errorf("entry %d is missing", i)
		}
		if err := p.entry(&entries[i], &m); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return entries, nil
}

func (p *ztocParser) entry(e *Entry, m *fbs.FileMetadata) error {
	var modTime string
	for _, f := range []struct {
		to   *string
		from []byte
	}{
		{&e.Name, m.Name()},
		{&e.Type, m.Type()},
		{&e.Linkname, m.Linkname()},
		{&e.Uname, m.Uname()},
		{&e.Gname, m.Gname()},
		{&modTime, m.ModTime()},
	} {
		var err error
		if *f.to, err = p.text(f.from); err != nil {
			return err
		}
	}
	e.Offset, e.Size = m.UncompressedOffset(), m.UncompressedSize()
	if e.Offset < 0 || e.Size < 0 {
		return fmt.Errorf("offset %d, size %d", e.Offset, e.Size)
	}
	e.Mode = m.Mode()
	e.UID, e.GID = int(m.Uid()), int(m.Gid())
	e.Devmajor, e.Devminor = m.Devmajor(), m.Devminor()
	if modTime != "" {
		t, err := time.Parse(time.RFC3339Nano, modTime)
		if err != nil {
			return fmt.Errorf("time %q", cut(modTime, 50))
		}
		e.ModTime = t
	}
	n := m.XattrsLength()
	if n == 0 {
		return nil
	}
	if err := p.count("PAX records", n); err != nil {
		return err
	}
	memory := int64(paxMemory)
	if n > 8 {
		memory += int64(n) * recordMemory
	}
	if err := p.take(n*leastPAX, memory); err != nil {
		return err
	}
	e.PAX = make(map[string]string)
	var x fbs.Xattr
	for i := range n {
		if !m.Xattrs(&x, i) {
			return fmt.Errorf("PAX record %d is missing", i)
		}
		k, err := p.text(x.Key())
		if err != nil {
			return err
		}
		if e.PAX[k], err = p.text(x.Value()); err != nil {
			return err
		}
	}
	return nil
}

// parseGzipCheckpoints unpacks what marshalGzipCheckpoints packs. Tools before
// soci-snapshotter 0.4 left the first checkpoint out: it was held to be at
// compressed offset 10.
func (z *Ztoc) parseGzipCheckpoints(b []byte) error {
	if len(b) < zinfoHeaderSize {
		return fmt.Errorf("%d bytes of checkpoints", len(b))
	}
	n := int64(int32(binary.LittleEndian.Uint32(b)))
	z.SpanSize = int64(binary.LittleEndian.Uint64(b[4:]))
	b = b[zinfoHeaderSize:]
	implied := int64(0)
	switch {
	case n < 1:
		return fmt.Errorf("%d checkpoints", n)
	case n*packedCheckpoint == int64(len(b)):
	case (n-1)*packedCheckpoint == int64(len(b)):
		implied = 1
	default:
		return fmt.Errorf("%d checkpoints in %d bytes", n, len(b))
	}
	z.Checkpoints = make([]Checkpoint, 0, n)
	if implied == 1 {
		z.Checkpoints = append(z.Checkpoints, Checkpoint{In: 10, Window: make([]byte, inflate.WindowSize)})
	}
	for ; len(b) > 0; b = b[packedCheckpoint:] {
		c := Checkpoint{
			In:     int64(binary.LittleEndian.Uint64(b)),
			Out:    int64(binary.LittleEndian.Uint64(b[8:])),
			Bits:   b[16],
			Window: b[17:packedCheckpoint:packedCheckpoint],
		}
		var before Checkpoint
		if len(z.Checkpoints) > 0 {
			before = z.Checkpoints[len(z.Checkpoints)-1]
		}
		if err := c.follows(before, z.CompressedSize); err != nil {
			return fmt.Errorf("checkpoint %d %w", len(z.Checkpoints), err)
		}
		z.Checkpoints = append(z.Checkpoints, c)
	}
	return nil
}

// follows checks what c says of itself: that it comes after another one, in a
// layer of a size.
func (c Checkpoint) follows(before Checkpoint, compressedSize int64) error {
	switch {
	case c.Bits > 7:
		return fmt.Errorf("has %d bits of a byte", c.Bits)
	case c.In <= before.In:
		return fmt.Errorf("is at compressed byte %d, not after %d", c.In, before.In)
	case c.In > compressedSize:
		return fmt.Errorf("is at compressed byte %d of %d", c.In, compressedSize)
	case c.Out < before.Out:
		return fmt.Errorf("is at uncompressed byte %d, before %d", c.Out, before.Out)
	}
	return nil
}

func (z *Ztoc) parseTarZinfo(b []byte, spans int) error {
	if len(b) < 8 {
		return fmt.Errorf("%d bytes of checkpoints", len(b))
	}
	info := zinfo.GetRootAsTarZinfo(b, flatbuffers.UOffsetT(0))
	z.SpanSize = info.SpanSize()
	size := info.Size()
	if z.SpanSize <= 0 || size < 0 || size != z.CompressedSize {
		return fmt.Errorf("span size %d and size %d of an uncompressed layer of %d bytes", z.SpanSize, size,
			z.CompressedSize)
	}
	n := size / z.SpanSize
	if size%z.SpanSize != 0 {
		n++
	}
	if n != int64(spans) {
		return fmt.Errorf("%d spans of %d bytes for %d span digests", n, z.SpanSize, spans)
	}
	z.Checkpoints = make([]Checkpoint, n)
	for i := range z.Checkpoints {
		at := int64(i) * z.SpanSize
		z.Checkpoints[i] = Checkpoint{In: at, Out: at}
	}
	return nil
}
