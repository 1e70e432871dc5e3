package verify

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	_ "crypto/sha512" // so that package digest knows sha384 and sha512
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// LayerReport is what was compared of one layer.
type LayerReport struct {
	Layer ocispec.Descriptor
	Ztoc  ocispec.Descriptor

	Spans   int   // fetched by their ranges, digests compared
	Entries int   // of the archive, compared with the table of contents
	Files   int   // the regular files among them, extracted
	Bytes   int64 // of the archive, found the same both ways

	FetchedBytes int64 // compressed bytes of the spans
	Seconds      float64

	Differences []Difference
	Omitted     int // differences beyond those listed

	spans int // that the zTOC has; 0 if it could not be read
}

// maxZtocSize is the size of a zTOC up to which it is read.
const maxZtocSize = 1 << 30 // 1 GiB: 32 KiB for each of 32,000 spans

// verifyLayer compares one layer with its zTOC and fills in the report. The error is that of a
// transfer; all that is wrong with the content is in the report.
func verifyLayer(ctx context.Context, repo Repository, layer, ztoc ocispec.Descriptor,
	progress func(ocispec.Descriptor, int64), report *LayerReport) error {
	start := time.Now()
	report.Layer, report.Ztoc = layer, ztoc
	var diffs differences
	defer func() {
		report.Differences, report.Omitted = diffs.list, diffs.omitted
		report.Seconds = time.Since(start).Seconds()
	}()

	z, err := FetchZtoc(ctx, repo, ztoc)
	if errors.Is(err, ErrDifference) {
		diffs.addf(layer.Digest, "zTOC %s: %s", ztoc.Digest, plain(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetching zTOC %s: %w", ztoc.Digest, err)
	}
	compareAnnotations(ztoc.Annotations,
		z, func(format string, args ...any) { diffs.addf(layer.Digest, format, args...) })
	lazy, err := NewLazyLayer(repo, layer, z)
	if err != nil {
		diffs.addf(layer.Digest, "zTOC %s: %s", ztoc.Digest, plain(err))
		return nil
	}
	report.spans = len(lazy.spans)

	if err := layer.Digest.Validate(); err != nil {
		diffs.addf(layer.Digest, "the layer's digest cannot be verified: %v", err)
		return nil
	}
	body, err := repo.Fetch(ctx, layer)
	if err != nil {
		return fmt.Errorf("fetching layer %s: %w", layer.Digest, err)
	}
	defer body.Close()
	whole := &blobReader{body: body, digester: layer.Digest.Algorithm().Digester(), progress: func(n int64) {
		if progress != nil {
			progress(layer, n)
		}
	}}
	found := func(d Difference) {
		d.Layer = layer.Digest
		diffs.add(d)
	}
	if err := compareArchive(ctx, whole, lazy, report, found); err != nil {
		return fmt.Errorf("reading layer %s: %w", layer.Digest, err)
	}
	if whole.n != layer.Size || whole.digester.Digest() != layer.Digest {
		diffs.addf(layer.Digest, "the layer itself is not what the image names: %d bytes with digest %s, not %d",
			whole.n, whole.digester.Digest(), layer.Size)
	}
	return nil
}

// FetchZtoc reads a zTOC and compares its size and digest. Content that is wrong
// is ErrDifference.
func FetchZtoc(ctx context.Context, repo Repository, desc ocispec.Descriptor) (*soci.Ztoc, error) {
	b, err := fetchBlob(ctx, repo, desc, maxZtocSize)
	if err != nil {
		return nil, err
	}
	z, err := soci.ParseZtoc(b)
	if err != nil {
		return nil, fmt.Errorf("%w: not a zTOC: %w", ErrDifference, err)
	}
	return z, nil
}

// fetchBlob reads a small blob and compares its size and digest.
func fetchBlob(ctx context.Context, repo Repository, desc ocispec.Descriptor, limit int64) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%w: digest %q: %w", ErrDifference, desc.Digest, err)
	}
	if desc.Size < 0 || desc.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrDifference, desc.Size, limit)
	}
	b, err := readBlob(ctx, repo, desc)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return nil, fmt.Errorf("%w: it is not in the repository", ErrDifference)
	}
	if errors.Is(err, ecrclient.ErrDigestMismatch) {
		return nil, fmt.Errorf("%w: it is damaged: %w", ErrDifference, err)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != desc.Size {
		return nil, fmt.Errorf("%w: it is damaged: its size is not the %d bytes that the SOCI index names",
			ErrDifference, desc.Size)
	}
	if got := desc.Digest.Algorithm().FromBytes(b); got != desc.Digest {
		return nil, fmt.Errorf("%w: it is damaged: its bytes have the digest %s", ErrDifference, got)
	}
	return b, nil
}

func readBlob(ctx context.Context, repo Repository, desc ocispec.Descriptor) ([]byte, error) {
	body, err := repo.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, desc.Size+1))
}

// compareAnnotations compares what the SOCI index says of a zTOC with what
// stands in it.
func compareAnnotations(annotations map[string]string, z *soci.Ztoc, addf func(string, ...any)) {
	if got, want := annotations[soci.AnnotationSpanSize], fmt.Sprint(z.SpanSize); got != want {
		addf("annotation %s is %q, the zTOC's span size is %s", soci.AnnotationSpanSize, got, want)
	}
	if annotations[annotationDisableXattrs] != "true" {
		return
	}
	if i := slices.IndexFunc(z.Entries, needsXattrs); i >= 0 {
		addf("annotation %s has a client show no extended attributes, but %q has or stands for one",
			annotationDisableXattrs, z.Entries[i].Name)
	}
}

// annotationDisableXattrs is what upstream's tool, when asked to, puts on the
// zTOC of a layer without extended attributes and opaque directories.
const annotationDisableXattrs = "com.amazon.soci.disable-xattrs"

func needsXattrs(e soci.Entry) bool {
	if strings.HasSuffix(e.Name, ".wh..wh..opq") {
		return true // becomes an attribute of its directory
	}
	for key := range e.PAX {
		if strings.HasPrefix(key, "SCHILY.xattr.") {
			return true
		}
	}
	return false
}

// compareArchive reads the layer plainly and lazily, and the archive in it
// beside the table of contents.
func compareArchive(ctx context.Context, layer *blobReader, lazy *LazyLayer, report *LayerReport,
	found func(Difference)) error {
	plain, compression, err := decompress(layer)
	if err != nil {
		return layer.failure(err, found)
	}
	if compression != lazy.ztoc.Compression {
		found(Difference{Span: -1, Offset: -1,
			What: fmt.Sprintf("the zTOC says that the layer is %s, but it is %s", lazy.ztoc.Compression, compression)})
		return drain(layer)
	}
	c := newComparison(ctx, plain, lazy, found)
	defer c.close()

	end, err := compareEntries(c, report)
	if err == nil {
		if end != lazy.ztoc.UncompressedSize {
			found(Difference{Span: -1, Offset: -1,
				What: fmt.Sprintf("the archive ends at %d, the zTOC says at %d", end, lazy.ztoc.UncompressedSize)})
		}
		c.where = "padding behind the archive"
		behind := new(otherThanZeros)
		_, err = io.Copy(behind, c)
		if len(lazy.ztoc.Entries) == 0 && (c.pos > maxEmptyArchive || bool(*behind)) {
			found(Difference{Span: -1, Offset: -1,
				What: "the layer is no tar archive, and the zTOC is that of an empty one"})
		}
	}
	if err == nil {
		// A layer that the builder would not index is wrong for clients, even if
		// its zTOC describes the archive correctly.
		if misread, ok := errors.AsType[*soci.UnsupportedError](lazy.ztoc.Misread()); ok {
			found(Difference{Span: -1, Offset: -1,
				What: fmt.Sprintf("clients misread the layer by way of its zTOC (%s): %s", misread.Reason,
					misread.Detail)})
		}
	}
	if err == nil {
		err = c.finish()
	}
	report.Spans, report.Bytes, report.FetchedBytes = c.span+1, c.compared, c.fetched
	if c.err != nil {
		return c.err
	}
	if err != nil {
		if err := layer.failure(err, found); err != nil {
			return err
		}
	}
	return drain(layer)
}

// compareEntries reads the archive to its end, which it returns.
func compareEntries(c *comparison, report *LayerReport) (end int64, err error) {
	entries := c.lazy.ztoc.Entries
	tr := tar.NewReader(c)
	for i := 0; ; i++ {
		c.where = fmt.Sprintf("header of entry %d", i)
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if len(entries) != i {
				c.found(Difference{Span: -1, Offset: -1,
					What: fmt.Sprintf("the archive has %d entries, the zTOC %d", i, len(entries))})
			}
			return c.pos, nil
		}
		if err != nil {
			return 0, err
		}
		c.where = fmt.Sprintf("file %q", hdr.Name)
		if i < len(entries) {
			report.Entries++
			for _, what := range compareEntry(entries[i], hdr, c.pos) {
				c.found(Difference{Span: -1, File: c.where, Offset: c.pos, What: what})
			}
		}
		before := c.compared
		n, err := io.Copy(io.Discard, tr)
		if err != nil {
			return 0, err
		}
		if hdr.Typeflag == tar.TypeReg && c.compared-before == n {
			report.Files++
		}
	}
}

// maxEmptyArchive is the size of the largest archive of no files, one record.
const maxEmptyArchive = 10240

// otherThanZeros is a writer that notes whether it got anything but zeros.
type otherThanZeros bool

func (o *otherThanZeros) Write(p []byte) (int, error) {
	*o = *o || bytes.Count(p, []byte{0}) != len(p)
	return len(p), nil
}

// decompress tells a gzip layer from a plain archive by its first bytes.
func decompress(layer *blobReader) (io.Reader, soci.Compression, error) {
	br := bufio.NewReaderSize(layer, 64<<10)
	magic, err := br.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return br, soci.Uncompressed, nil
	}
	zr, err := gzip.NewReader(br)
	return zr, soci.Gzip, err
}

// blobReader reads a layer from end to end.
type blobReader struct {
	body     io.Reader
	digester digest.Digester
	progress func(n int64)
	n        int64
	err      error // of the transfer, sticky; not io.EOF
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.digester.Hash().Write(p[:n])
	r.n += int64(n)
	r.progress(r.n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// failure returns the error of the transfer, if that was it; all else is wrong
// with the content.
func (r *blobReader) failure(err error, found func(Difference)) error {
	if r.err != nil {
		return r.err
	}
	found(Difference{Span: -1, Offset: -1, What: fmt.Sprintf("a plain read of the layer fails: %v", noEOF(err))})
	return nil
}

// drain reads the rest, for the digest.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
