package soci

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/awslabs/soci-snapshotter/ztoc/compression/fbs/zinfo"
	fbs "github.com/awslabs/soci-snapshotter/ztoc/fbs/ztoc"
	flatbuffers "github.com/google/flatbuffers/go"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/inflate/largepages"
)

const (
	ztocVersion = "0.9"

	// tarZinfoVersion is that of the checkpoints of an uncompressed layer.
	tarZinfoVersion = 2

	// The checkpoints of a gzip layer, packed: their number (int32) and the
	// span size (int64); then for each the compressed and the uncompressed
	// offset (int64), the unused bits (uint8) and the window. Little-endian.
	zinfoHeaderSize  = 4 + 8
	packedCheckpoint = 8 + 8 + 1 + inflate.WindowSize

	// marshalFreeFrom is the size of a zTOC beside which collecting garbage,
	// some hundredths of a second, costs nothing.
	marshalFreeFrom = 32 << 20
)

// Marshal returns the zTOC's flatbuffer, byte for byte what upstream writes for
// the same content. Its error is ErrLimit, when the zTOC is larger than a
// flatbuffer can be, or ErrInvalidOption, when a field cannot be written.
func (z *Ztoc) Marshal() ([]byte, error) {
	size, err := z.marshalBound()
	if err != nil {
		return nil, err
	}
	if size >= marshalFreeFrom {
		debug.FreeOSMemory() // the peak is here: what decoding left goes first
	}
	// The order of these calls decides the bytes.
	b := flatbuffers.NewBuilder(size)
	largepages.Prefer(b.Bytes)
	version := b.CreateString(z.Version)
	tool := b.CreateString(z.BuildToolIdentifier)
	toc := z.marshalEntries(b)

	var checkpoints flatbuffers.UOffsetT
	algorithm := fbs.CompressionAlgorithmGzip
	if z.Compression == Gzip {
		checkpoints = z.marshalGzipCheckpoints(b)
	} else {
		algorithm = fbs.CompressionAlgorithmUncompressed
		checkpoints = b.CreateByteVector(z.tarZinfo())
	}
	digests := make([]flatbuffers.UOffsetT, len(z.SpanDigests))
	for i, d := range z.SpanDigests {
		digests[i] = b.CreateString(d.String())
	}
	fbs.CompressionInfoStartSpanDigestsVector(b, len(digests))
	digestVector := endOffsets(b, digests)

	fbs.CompressionInfoStart(b)
	fbs.CompressionInfoAddMaxSpanId(b, int32(len(z.Checkpoints)-1))
	fbs.CompressionInfoAddSpanDigests(b, digestVector)
	fbs.CompressionInfoAddCheckpoints(b, checkpoints)
	fbs.CompressionInfoAddCompressionAlgorithm(b, algorithm)
	info := fbs.CompressionInfoEnd(b)

	fbs.ZtocStart(b)
	fbs.ZtocAddVersion(b, version)
	fbs.ZtocAddBuildToolIdentifier(b, tool)
	fbs.ZtocAddToc(b, toc)
	fbs.ZtocAddCompressedArchiveSize(b, z.CompressedSize)
	fbs.ZtocAddUncompressedArchiveSize(b, z.UncompressedSize)
	fbs.ZtocAddCompressionInfo(b, info)
	b.Finish(fbs.ZtocEnd(b))
	return b.FinishedBytes(), nil
}

// marshalBound is an upper bound of the flatbuffer's size: allocating it at
// once saves the builder from growing, which copies.
func (z *Ztoc) marshalBound() (int, error) {
	if z.Compression != Gzip && z.Compression != Uncompressed {
		return 0, invalidOption("Compression is %q, not %q or %q", z.Compression, Gzip, Uncompressed)
	}
	const (
		table = 160 // of an entry: its fields, offsets and padding
		str   = 12  // of a string: length, terminator, padding
	)
	size := int64(1024 + len(z.Version) + len(z.BuildToolIdentifier))
	for i := range z.Entries {
		e := &z.Entries[i]
		size += table + 6*str + 64 + int64(len(e.Name)+len(e.Type)+len(e.Linkname)+len(e.Uname)+len(e.Gname))
		for k, v := range e.PAX {
			size += 32 + 2*str + int64(len(k)+len(v))
		}
	}
	for i, c := range z.Checkpoints {
		if z.Compression == Gzip && len(c.Window) != inflate.WindowSize {
			return 0, invalidOption("the window of checkpoint %d has %d bytes, not %d", i, len(c.Window),
				inflate.WindowSize)
		}
		size += packedCheckpoint
	}
	for _, d := range z.SpanDigests {
		size += 4 + str + int64(len(d))
	}
	if size > MaxZtocSize {
		return 0, fmt.Errorf("%w: the zTOC would have about %d bytes, and its format holds %d", ErrLimit, size,
			int64(MaxZtocSize))
	}
	return int(size), nil
}

func (z *Ztoc) marshalEntries(b *flatbuffers.Builder) flatbuffers.UOffsetT {
	offsets := make([]flatbuffers.UOffsetT, len(z.Entries))
	for i := len(z.Entries) - 1; i >= 0; i-- {
		offsets[i] = z.Entries[i].marshal(b)
	}
	fbs.TOCStartMetadataVector(b, len(offsets))
	vector := endOffsets(b, offsets)
	fbs.TOCStart(b)
	fbs.TOCAddMetadata(b, vector)
	return fbs.TOCEnd(b)
}

func (e *Entry) marshal(b *flatbuffers.Builder) flatbuffers.UOffsetT {
	name := b.CreateString(e.Name)
	kind := b.CreateString(e.Type)
	link := b.CreateString(e.Linkname)
	uname := b.CreateString(e.Uname)
	gname := b.CreateString(e.Gname)
	// A time outside the years 0 to 9999 has no text; upstream writes none.
	var text [len(time.RFC3339Nano)]byte
	rfc3339, _ := e.ModTime.AppendText(text[:0])
	modTime := b.CreateByteString(rfc3339)

	var records []flatbuffers.UOffsetT
	if len(e.PAX) > 0 { // most have none
		records = e.marshalPAX(b)
	}
	fbs.FileMetadataStartXattrsVector(b, len(records))
	pax := endOffsets(b, records)

	fbs.FileMetadataStart(b)
	fbs.FileMetadataAddName(b, name)
	fbs.FileMetadataAddType(b, kind)
	fbs.FileMetadataAddUncompressedOffset(b, e.Offset)
	fbs.FileMetadataAddUncompressedSize(b, e.Size)
	fbs.FileMetadataAddLinkname(b, link)
	fbs.FileMetadataAddMode(b, e.Mode)
	fbs.FileMetadataAddUid(b, uint32(e.UID))
	fbs.FileMetadataAddGid(b, uint32(e.GID))
	fbs.FileMetadataAddUname(b, uname)
	fbs.FileMetadataAddGname(b, gname)
	fbs.FileMetadataAddModTime(b, modTime)
	fbs.FileMetadataAddDevmajor(b, e.Devmajor)
	fbs.FileMetadataAddDevminor(b, e.Devminor)
	fbs.FileMetadataAddXattrs(b, pax)
	return fbs.FileMetadataEnd(b)
}

func (e *Entry) marshalPAX(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
	keys := slices.Sorted(maps.Keys(e.PAX))
	records := make([]flatbuffers.UOffsetT, len(keys))
	for i, k := range keys {
		key := b.CreateString(k)
		value := b.CreateString(e.PAX[k])
		fbs.XattrStart(b)
		fbs.XattrAddKey(b, key)
		fbs.XattrAddValue(b, value)
		records[i] = fbs.XattrEnd(b)
	}
	return records
}

// endOffsets fills a started vector, which grows from its end.
func endOffsets(b *flatbuffers.Builder, offsets []flatbuffers.UOffsetT) flatbuffers.UOffsetT {
	for _, o := range slices.Backward(offsets) {
		b.PrependUOffsetT(o)
	}
	return b.EndVector(len(offsets))
}

// marshalGzipCheckpoints packs the checkpoints where they belong in the
// flatbuffer, so that they exist twice at most, not three times.
func (z *Ztoc) marshalGzipCheckpoints(b *flatbuffers.Builder) flatbuffers.UOffsetT {
	n := zinfoHeaderSize + len(z.Checkpoints)*packedCheckpoint
	b.Prep(flatbuffers.SizeUOffsetT, n)
	vector := b.Bytes[int(b.Head())-n : b.Head()]
	to := vector
	binary.LittleEndian.PutUint32(to, uint32(len(z.Checkpoints)))
	binary.LittleEndian.PutUint64(to[4:], uint64(z.SpanSize))
	to = to[zinfoHeaderSize:]
	for _, c := range z.Checkpoints {
		binary.LittleEndian.PutUint64(to, uint64(c.In))
		binary.LittleEndian.PutUint64(to[8:], uint64(c.Out))
		to[16] = c.Bits
		copy(to[17:packedCheckpoint], c.Window)
		to = to[packedCheckpoint:]
	}
	return b.CreateByteVector(vector) // which finds it in its place
}

// tarZinfo stands for the checkpoints of an uncompressed layer: a flatbuffer
// in the flatbuffer.
func (z *Ztoc) tarZinfo() []byte {
	b := flatbuffers.NewBuilder(64)
	zinfo.TarZinfoStart(b)
	zinfo.TarZinfoAddVersion(b, tarZinfoVersion)
	zinfo.TarZinfoAddSpanSize(b, z.SpanSize)
	zinfo.TarZinfoAddSize(b, z.CompressedSize)
	b.Finish(zinfo.TarZinfoEnd(b))
	return b.FinishedBytes()
}
