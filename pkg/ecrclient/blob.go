package ecrclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Fetch opens the blob or manifest that desc names, from its first byte. The
// caller closes it; it serves one goroutine at a time.
//
// A large blob is read ahead by several requests at once, as set by
// WithParallel, if the registry serves ranges; it holds up to FetchMemory(desc)
// bytes until it is closed. A blob is resumed where it stopped when a
// connection is lost, stalls or ends early. The reader returns desc.Size bytes
// or an error, but does not compute the digest; more or fewer bytes are
// ErrDigestMismatch. A manifest is read and verified as in FetchManifest.
func (r *Repository) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if isManifest(desc) {
		manifest, err := r.FetchManifest(ctx, desc)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(manifest)), nil
	}
	op := operation{"fetch blob", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return nil, r.fail(op, err)
	}
	if r.pieces.count(desc.Size) > 1 {
		return r.openPieces(ctx, op, desc)
	}
	return r.openBlob(ctx, op, desc, byteRange{end: desc.Size})
}

// FetchRange opens n bytes of the blob that desc names, from offset off; both
// must lie within desc.Size. It is one stream, resumed like those of Fetch. If
// the registry does not serve ranges, the bytes before off are read too and
// discarded.
func (r *Repository) FetchRange(ctx context.Context, desc ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	op := operation{"fetch blob range", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return nil, r.fail(op, err)
	}
	if off < 0 || n < 0 || off > desc.Size || n > desc.Size-off {
		return nil, r.fail(op, fmt.Errorf("%d bytes from offset %d are not within the blob's %d", n, off, desc.Size))
	}
	if n == 0 {
		return http.NoBody, nil
	}
	return r.openBlob(ctx, op, desc, byteRange{start: off, end: off + n, use: rangeOrSkip})
}

// byteRange is the part of a blob that is wanted.
type byteRange struct {
	start, end int64 // end exclusive
	use        rangeUse
}

// rangeUse says when a part of a blob is asked for with a Range request, and what
// happens where the registry does not serve ranges.
type rangeUse int

const (
	// rangeToResume: a Range request only for parts that do not begin with the
	// blob's first byte. If the whole blob comes, the bytes before the part are
	// skipped.
	rangeToResume rangeUse = iota
	// rangeOnly: always a Range request. The whole blob is ErrNoRange.
	rangeOnly
	// rangeOrWhole: always a Range request. The whole blob is taken instead.
	rangeOrWhole
	// rangeOrSkip: always a Range request. If the whole blob comes, the bytes
	// outside the part are skipped.
	rangeOrSkip
)

// blobBody is the answer to one request.
type blobBody struct {
	io.ReadCloser
	begin, end int64 // offsets in the blob; end, which is exclusive, as it was asked for
	length     int64 // -1 if the answer does not say
	whole      bool  // the blob from its first byte to its last
}

// getBlob makes one request for want, at the blob's location if that is known.
// The registry may ignore the range.
func (r *Repository) getBlob(ctx context.Context, desc ocispec.Descriptor, want byteRange, at *location) (_ *blobBody,
	err error) {
	header := http.Header{"Accept-Encoding": {"identity"}} // the bytes as they are stored
	ranged := want.use != rangeToResume || want.start > 0
	if ranged {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", want.start, want.end-1))
	}
	resp, err := r.get(ctx, "blobs", desc, header, at)
	if ranged && refusedRange(err) {
		if want.use == rangeOnly {
			return nil, fmt.Errorf("%w: it refused a Range request: %w", ErrNoRange, err)
		}
		header.Del("Range")
		resp, err = r.get(ctx, "blobs", desc, header, at)
	}
	if err != nil {
		if e, ok := err.(*statusError); ok && e.status == http.StatusRequestedRangeNotSatisfiable {
			err = fmt.Errorf("%w: the registry has no byte at offset %d of %d: %w", ErrDigestMismatch, want.start,
				desc.Size, err)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			resp.Body.Close()
		}
	}()
	length := resp.ContentLength
	if resp.StatusCode == http.StatusOK {
		if want.use == rangeOnly {
			return nil, fmt.Errorf("%w: it answered a Range request with the whole blob", ErrNoRange)
		}
		if length >= 0 && length != desc.Size {
			return nil, fmt.Errorf("%w: the registry has %d bytes, not %d", ErrDigestMismatch, length, desc.Size)
		}
		return &blobBody{ReadCloser: resp.Body, end: desc.Size, length: length, whole: true}, nil
	}
	if !ranged {
		return nil, fmt.Errorf("%w: a part of the blob came, unasked", ErrDigestMismatch)
	}
	got, err := contentLength(resp.Header.Get("Content-Range"), want, desc.Size)
	if err != nil {
		return nil, err
	}
	if length >= 0 && length != got {
		return nil, fmt.Errorf("%w: Content-Range %q with %d bytes",
			ErrDigestMismatch, printable(resp.Header.Get("Content-Range")), length)
	}
	return &blobBody{ReadCloser: resp.Body, begin: want.start, end: want.end, length: length}, nil
}

// refusedRange reports whether a registry, or the storage that it redirects to,
// does not honour a Range header. The blob need not be too short: a request
// without the header shows that.
func refusedRange(err error) bool {
	e, ok := err.(*statusError)
	if !ok {
		return false
	}
	switch e.status {
	case http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable, http.StatusNotImplemented:
		return true
	}
	return false
}

// contentLength returns the number of bytes that a Content-Range announces. It
// must begin where the request did; it may end earlier.
func contentLength(header string, want byteRange, size int64) (int64, error) {
	var first, last int64
	var total string
	_, err := fmt.Sscanf(header, "bytes %d-%d/%s", &first, &last, &total)
	wrong := ""
	switch {
	case err != nil:
		wrong = "is not of the form bytes FIRST-LAST/SIZE"
	case first != want.start:
		wrong = "begins elsewhere"
	case last < first:
		wrong = "ends before it begins"
	case last >= want.end:
		wrong = "goes on too far"
	case total != "*" && total != fmt.Sprint(size):
		wrong = "is of another size"
	}
	if wrong != "" {
		return 0, fmt.Errorf("%w: Content-Range %q for bytes %d to %d of %d %s",
			ErrDigestMismatch, printable(header), want.start, want.end-1, size, wrong)
	}
	return last - first + 1, nil
}
