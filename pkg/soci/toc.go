package soci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/inflate/largepages"
	"soci-index-builder/internal/text/bytesize"
)

// archiveReader reads the tar archive out of a chunker.
type archiveReader struct {
	chunks chunker
	chunk  []byte
	pos    int64 // uncompressed
	given  int64 // by chunks
	blob   *blobReader
	limits Limits

	parallel *inflate.Parallel // is chunks, or nil
	err      error             // sticky
}

// fill gets the next chunk when the current one is used up.
func (a *archiveReader) fill() error {
	for len(a.chunk) == 0 {
		if a.err != nil {
			return a.err
		}
		a.chunk, a.err = a.chunks.Next()
		a.given += int64(len(a.chunk))
		switch {
		case a.given > a.limits.MaxUncompressedSize:
			// Everything within the limit is read, however the chunks are cut.
			a.chunk = a.chunk[:max(int64(len(a.chunk))-(a.given-a.limits.MaxUncompressedSize), 0)]
			a.err = fmt.Errorf("%w: the layer expands to more than %s, the most that is supported", ErrLimit,
				bytesize.Format(a.limits.MaxUncompressedSize))
		case a.given/a.limits.MaxRatio > a.taken():
			a.chunk = nil
			a.err = fmt.Errorf("%w: the layer expands to more than %d times its size, the most that is supported",
				ErrLimit, a.limits.MaxRatio)
		}
	}
	return nil
}

// taken is how many compressed bytes the decoder has read.
func (a *archiveReader) taken() int64 {
	if a.parallel != nil {
		return a.parallel.Taken()
	}
	return a.blob.taken
}

func (a *archiveReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := a.fill(); err != nil {
		return 0, err
	}
	n := copy(p, a.chunk)
	a.advance(int64(n))
	return n, nil
}

// block returns the next block where it stands, or nil when it is not there in
// one piece.
func (a *archiveReader) block() *[tarBlock]byte {
	if len(a.chunk) == 0 && a.fill() != nil || len(a.chunk) < tarBlock {
		return nil
	}
	return (*[tarBlock]byte)(a.chunk)
}

// first returns the first block without taking it, or all of a shorter archive.
func (a *archiveReader) first() ([]byte, error) {
	if err := a.fill(); err != nil && err != io.EOF {
		return nil, err
	}
	if len(a.chunk) < tarBlock && a.err == nil { // a chunk is good until the next one
		b := append([]byte(nil), a.chunk...)
		for len(b) < tarBlock {
			a.chunk = nil
			if err := a.fill(); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			b = append(b, a.chunk...)
		}
		a.chunk = b
	}
	return a.chunk[:min(tarBlock, len(a.chunk))], nil
}

func (a *archiveReader) advance(n int64) {
	a.chunk = a.chunk[n:]
	a.pos += n
}

// skip moves forward by n, or as far as the archive goes, which is io.EOF.
func (a *archiveReader) skip(n int64) error {
	for n > 0 {
		if err := a.fill(); err != nil {
			return err
		}
		k := min(n, int64(len(a.chunk)))
		a.advance(k)
		n -= k
	}
	return nil
}

// skipContent moves to the header behind an entry's content and its padding.
// As for archive/tar, an archive that ends within the content has been cut
// short, and one that ends within the padding just ends: io.EOF.
func (a *archiveReader) skipContent(size int64) error {
	if err := a.skip(size); err == io.EOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	return a.skip(-size & (tarBlock - 1))
}

// zeros reports whether all that is left is zeros, up to max bytes of them. It
// reads no further than it must to know.
func (a *archiveReader) zeros(max int64) (bool, error) {
	for n := int64(0); ; {
		if err := a.fill(); err == io.EOF {
			return true, nil
		} else if err != nil {
			return false, err
		}
		if n += int64(len(a.chunk)); n > max || bytes.Count(a.chunk, []byte{0}) != len(a.chunk) {
			return false, nil
		}
		a.chunk = nil // behind the archive: pos stays
	}
}

// drain reads to the end, for the checks and the checkpoints behind the
// archive.
func (a *archiveReader) drain() error {
	for {
		a.chunk = nil
		if err := a.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// entryTypes are the members that a zTOC knows.
var entryTypes = map[byte]string{
	tar.TypeLink:    "hardlink",
	tar.TypeSymlink: "symlink",
	tar.TypeDir:     "dir",
	tar.TypeReg:     "reg",
	tar.TypeChar:    "char",
	tar.TypeBlock:   "block",
	tar.TypeFifo:    "fifo",
}

// entryCost is what an entry takes beside its strings: the Entry, and its
// tables in the serialised zTOC.
const entryCost = 700

// tocScanner lists the members of an archive. All but plain headers are read
// by archive/tar, as upstream does, so that both agree on odd archives.
type tocScanner struct {
	archive    *archiveReader
	maxEntries int
	memory     *tenant
	count      int
	entries    []Entry           // the last ones
	before     [][]Entry         // those before: to join them at the end takes less than to let one slice grow
	names      map[string]string // user and group names, each kept once
	nextHeader int64             // where the entries so far say that the next one begins
}

// scan reads the archive up to its end marker. Content that is no archive at
// all is an *UnsupportedError; one that breaks off or goes wrong is not.
func (t *tocScanner) scan() error {
	first, err := t.archive.first()
	if err != nil {
		return t.classify(err)
	}
	if len(first) == tarBlock && !isTarBlock(first) {
		return notTar("the content begins with % x, which is no tar header", first[:8])
	}
	zero := len(bytes.TrimLeft(first, "\x00")) == 0
	err = t.list()
	switch {
	case t.count > 0:
		return err
	case err == nil:
		return t.checkEmpty(zero)
	case zero && errors.Is(err, tar.ErrHeader):
		return notTar("the content begins with a block of zeros and is no empty archive")
	}
	return err
}

// checkEmpty distinguishes an archive without files from other content that
// begins with two blocks of zeros: an EROFS image does, whose superblock comes
// behind them.
func (t *tocScanner) checkEmpty(zero bool) error {
	if zero {
		var err error
		if zero, err = t.archive.zeros(maxEmptyArchive - t.archive.pos); err != nil {
			return t.classify(err)
		}
	}
	if !zero {
		return notTar("the content has no tar entry and is not an empty archive, which is at most %d zero bytes",
			maxEmptyArchive)
	}
	return nil
}

func (t *tocScanner) list() error {
	t.names = make(map[string]string)
	var plain tar.Header
	for {
		h := &plain
		if b := t.archive.block(); b != nil && plainHeader(b, h) {
			t.archive.advance(tarBlock)
		} else {
			var err error
			h, err = tar.NewReader(t.archive).Next()
			if err == io.EOF {
				return nil
			}
			if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // GODEBUG has no say here
				return t.classify(err)
			}
		}
		if err := t.add(h); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue // no content follows, whatever the size says
		}
		if err := t.archive.skipContent(h.Size); err == io.EOF {
			return nil
		} else if err != nil {
			return t.classify(err)
		}
	}
}

func (t *tocScanner) add(h *tar.Header) error {
	if t.count >= t.maxEntries {
		return fmt.Errorf("%w: the layer has more than %d tar entries, the most that is supported", ErrLimit,
			t.maxEntries)
	}
	if err := t.describable(h); err != nil {
		return err
	}
	t.nextHeader = (t.archive.pos + h.Size + tarBlock - 1) / tarBlock * tarBlock
	cost := int64(entryCost + 2*(len(h.Name)+len(h.Linkname)))
	for k, v := range h.PAXRecords {
		cost += int64(100 + 2*(len(k)+len(v)))
	}
	if err := t.memory.takeFor(cost, cost/2); err != nil {
		return err
	}
	if n := len(t.entries); n == cap(t.entries) {
		if n > 0 {
			t.before = append(t.before, t.entries)
		}
		t.entries = make([]Entry, 0, min(max(2*n, 64), 4096))
		if cap(t.entries) == 4096 {
			largepages.Prefer(t.entries)
		}
	}
	t.count++
	t.entries = append(t.entries, Entry{
		Name:     h.Name,
		Type:     entryTypes[h.Typeflag],
		Offset:   t.archive.pos,
		Size:     h.Size,
		Linkname: h.Linkname,
		Mode:     h.Mode,
		UID:      h.Uid,
		GID:      h.Gid,
		Uname:    t.name(h.Uname),
		Gname:    t.name(h.Gname),
		ModTime:  h.ModTime.UTC(), // in the archive it is a number of seconds
		Devmajor: h.Devmajor,
		Devminor: h.Devminor,
		PAX:      h.PAXRecords,
	})
	return nil
}

// all returns the entries; the scanner is of no use any more.
func (t *tocScanner) all() []Entry {
	if t.before == nil {
		return t.entries
	}
	all := make([]Entry, 0, t.count)
	largepages.Prefer(all)
	for _, entries := range t.before {
		all = append(all, entries...)
	}
	all = append(all, t.entries...)
	t.before, t.entries = nil, nil
	return all
}

// name keeps a string once that thousands of entries share.
func (t *tocScanner) name(s string) string {
	if known, ok := t.names[s]; ok {
		return known
	}
	if len(t.names) < 1000 {
		t.names[s] = s
	}
	return s
}

// describable returns why a zTOC cannot describe an entry. A sparse file's
// content is shorter in the archive than its size says, and the format has no
// place for the difference. A client finds each header behind the content
// before it, and refuses a zTOC in which a size reaches into the next content,
// such as that of a hard link that has a size and no content. A negative size,
// which archive/tar accepts where no content follows, leads it back into the
// content before, without an error until the next file is read.
func (t *tocScanner) describable(h *tar.Header) error {
	reason, what := SkipReason(""), ""
	switch {
	case h.Typeflag == tar.TypeGNUSparse:
		reason, what = SkipSparseFile, "GNU sparse file"
	case h.Typeflag == tar.TypeXGlobalHeader:
		reason, what = SkipGlobalPAX, "global PAX header"
	case entryTypes[h.Typeflag] == "":
		reason, what = SkipEntryType, fmt.Sprintf("tar entry type %q", h.Typeflag)
	case t.nextHeader > t.archive.pos:
		reason, what = SkipEntrySize, "size of the entry before reaches beyond its content"
	case h.Size < 0:
		reason, what = SkipEntrySize, fmt.Sprintf("size of %d bytes, less than 0", h.Size)
	default:
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				reason, what = SkipSparseFile, "PAX sparse file"
			}
		}
	}
	if reason == "" {
		return nil
	}
	return &UnsupportedError{Reason: reason, Detail: fmt.Sprintf("%s: entry %q", what, cut(h.Name, 200))}
}

// cut keeps names from input out of proportion out of messages.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// classify returns an error of archive/tar with its class.
func (t *tocScanner) classify(err error) error {
	var (
		blob   *blobError
		stream *inflate.Error
	)
	where := "at its start"
	if n := len(t.entries); n > 0 {
		where = fmt.Sprintf("behind entry %q", cut(t.entries[n-1].Name, 200))
	}
	switch {
	case errors.As(err, &blob), errors.As(err, &stream), errors.Is(err, ErrLimit), errors.Is(err, ErrUnsupported):
		return err
	case errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf(
			"%w: tar archive %s, at byte %d: more than MaxHeaderExtension, %d bytes, of PAX records or a "+
				"long name", ErrLimit, where, t.archive.pos, MaxHeaderExtension)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w tar archive: it ends %s, at byte %d", ErrTruncated, where, t.archive.pos)
	default:
		return fmt.Errorf("%w tar archive %s, at byte %d: %w", ErrCorrupt, where, t.archive.pos, err)
	}
}
