package soci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// ZtocReader is what a Checker asks of the repository.
type ZtocReader interface {
	Source
	BlobSizer
}

// FaultKind says what is wrong with a zTOC that a SOCI index lists.
type FaultKind string

// The faults that show without reading the zTOC.
const (
	// FaultMissing: the zTOC is not in the repository.
	FaultMissing FaultKind = "missing"
	// FaultSize: it is there with another size than the SOCI index names.
	FaultSize FaultKind = "size-differs"
	// FaultDescriptor: it is listed without a usable digest, or without a size.
	FaultDescriptor FaultKind = "invalid"
	// FaultForeign: it is listed for a layer that the image does not have.
	FaultForeign FaultKind = "foreign"
	// FaultNone: the SOCI index lists no zTOC.
	FaultNone FaultKind = "no-ztoc"
)

// The faults for which the zTOC is read.
const (
	// FaultDamaged: its bytes are not those of its digest.
	FaultDamaged FaultKind = "damaged"
	// FaultNotZtoc: it is not a zTOC, or cannot be read.
	FaultNotZtoc FaultKind = "not-a-ztoc"
	// FaultOtherLayer: its sizes are those of another layer, or of other spans
	// than the SOCI index names.
	FaultOtherLayer FaultKind = "other-layer"
	// FaultNoArchive: it has no files, and the layer is not an empty archive.
	FaultNoArchive FaultKind = "no-archive"
	// FaultMisread: clients show different files from the layer's; see
	// Ztoc.Misread.
	FaultMisread FaultKind = "misread"
)

// ZtocFault is a zTOC that clients cannot use, or not correctly.
type ZtocFault struct {
	Ztoc   digest.Digest // empty for FaultNone
	Layer  digest.Digest // that it is listed for
	Kind   FaultKind
	Detail string // for people
}

func (f ZtocFault) String() string {
	switch {
	case f.Kind == FaultNone:
		return f.Detail
	case f.Layer == "":
		return fmt.Sprintf("zTOC %s %s", f.Ztoc, f.Detail)
	}
	return fmt.Sprintf("zTOC %s of layer %s %s", f.Ztoc, f.Layer, f.Detail)
}

// Mendable reports whether pushing the same zTOC again, as an index run with
// the same rules does, fixes it.
func (f ZtocFault) Mendable() bool {
	return f.Kind == FaultMissing || f.Kind == FaultSize || f.Kind == FaultDamaged
}

// MaxCheckedZtoc is the size in bytes of the largest zTOC that a Checker reads:
// 1 GiB, 32 KiB for each of 32,000 spans.
const MaxCheckedZtoc = 1 << 30

// maxCheckMemory bounds the zTOCs that a Checker holds at once, as they are
// read and parsed.
const maxCheckMemory = 1 << 30

// parsedRatio is how many times the size of any zTOC, also of one that was crafted,
// it and what is read from it take. The worst consist of entries with one record.
const parsedRatio = 7

// maxEmptyBlob is the size in bytes up to which a layer is read to check
// whether it is an empty archive. No tool compresses an empty archive to more
// than that.
const maxEmptyBlob = 1 << 20

// Checker looks at the zTOCs of the SOCI indexes of a repository, each blob
// once however many SOCI indexes list it. It is safe for concurrent use, and
// asks for at most 8 blobs at once.
type Checker struct {
	r      ZtocReader
	deep   bool
	slots  *semaphore.Weighted
	memory *semaphore.Weighted

	mu    sync.Mutex
	sizes map[digest.Digest]*asked[int64]
	read  map[digest.Digest]*asked[ztocFacts]
	empty map[digest.Digest]*asked[string]
}

// NewChecker returns a Checker that asks for the existence and the size of each
// zTOC. A deep one also reads it, verifies its digest and compares it with what
// the SOCI index and the image say of its layer; it reads only layers of up to
// 1 MiB whose zTOC has no files.
func NewChecker(r ZtocReader, deep bool) *Checker {
	return &Checker{
		r: r, deep: deep, slots: semaphore.NewWeighted(maxBlobRequests), memory: semaphore.NewWeighted(maxCheckMemory),
		sizes: make(map[digest.Digest]*asked[int64]), read: make(map[digest.Digest]*asked[ztocFacts]),
		empty: make(map[digest.Digest]*asked[string]),
	}
}

// Check returns what is wrong with the zTOCs of a SOCI index. image is the
// image manifest that it belongs to; nil is one that is not known, whose layers
// are then not compared. The error is one of the repository.
func (c *Checker) Check(ctx context.Context, index, image *ocispec.Manifest) ([]ZtocFault, error) {
	ztocs := ContentOf(index).Ztocs
	if len(ztocs) == 0 {
		return []ZtocFault{{Kind: FaultNone, Detail: "it lists no zTOC"}}, nil
	}
	blobs, err := CheckBlobs(ctx, sizer{c}, ztocs)
	if err != nil {
		return nil, err
	}
	layers := make(map[digest.Digest]ocispec.Descriptor)
	if image != nil {
		for _, l := range image.Layers {
			layers[l.Digest] = l
		}
	}
	found := make([]*ZtocFault, len(ztocs))
	group, ctx := errgroup.WithContext(ctx)
	for i, desc := range ztocs {
		layer := ocispec.Descriptor{Digest: digest.Digest(desc.Annotations[AnnotationLayerDigest])}
		fault := func(kind FaultKind, format string, args ...any) {
			found[i] = &ZtocFault{Ztoc: desc.Digest, Layer: layer.Digest, Kind: kind,
				Detail: fmt.Sprintf(format, args...)}
		}
		switch b := blobs[i]; b.State {
		case BlobInvalid:
			fault(FaultDescriptor, "is listed without a digest or a size that could be asked for")
		case BlobMissing:
			fault(FaultMissing, "is not in the repository")
		case BlobSizeDiffers:
			fault(FaultSize, "is damaged: the repository has %d bytes of it, not %d", b.Size, desc.Size)
		}
		l, ok := layers[layer.Digest]
		switch {
		case found[i] != nil:
			continue
		case image != nil && !ok:
			fault(FaultForeign, "is of a layer that the image does not have")
			continue
		case !c.deep:
			continue
		}
		layer.Size = l.Size // 0 when it is not known
		group.Go(func() error { return c.compare(ctx, desc, layer, fault) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []ZtocFault
	for _, f := range found {
		if f != nil {
			all = append(all, *f)
		}
	}
	return all, nil
}

// compare reads a zTOC and compares it with what is known of its layer.
func (c *Checker) compare(ctx context.Context, desc, layer ocispec.Descriptor,
	fault func(FaultKind, string, ...any)) error {
	z, err := once(ctx, &c.mu, c.read, desc.Digest, func() (ztocFacts, error) { return c.readZtoc(ctx, desc) })
	if err != nil {
		return err
	}
	span := desc.Annotations[AnnotationSpanSize]
	switch {
	case z.kind != "":
		fault(z.kind, "%s", z.detail)
	case z.version != ztocVersion:
		fault(FaultNotZtoc, "is of version %q, not %q", cut(z.version, 100), ztocVersion)
	case layer.Size != 0 && z.compressed != layer.Size:
		fault(FaultOtherLayer, "is that of another layer: of %d bytes, not %d", z.compressed, layer.Size)
	case span != "" && span != strconv.FormatInt(z.spanSize, 10):
		fault(FaultOtherLayer, "has a span size of %d bytes, and the SOCI index says %q", z.spanSize, cut(span, 100))
	case z.misread != "":
		fault(FaultMisread, "%s", z.misread)
	case z.entries == 0:
		layer.Size = z.compressed
		why, err := once(ctx, &c.mu, c.empty, layer.Digest+" "+desc.Digest,
			func() (string, error) { return c.notEmpty(ctx, layer) })
		if err != nil {
			return err
		}
		if why != "" {
			fault(FaultNoArchive, "has no files, and the layer is no empty archive: %s", why)
		}
	}
	return nil
}

// ztocFacts are what is kept of a zTOC that was read.
type ztocFacts struct {
	kind    FaultKind // why it cannot be compared, else empty
	detail  string
	version string
	misread string

	compressed, spanSize int64
	entries              int
}

// readZtoc reads a zTOC whose descriptor was checked. The error is one of the
// repository.
func (c *Checker) readZtoc(ctx context.Context, desc ocispec.Descriptor) (ztocFacts, error) {
	if desc.Size > MaxCheckedZtoc {
		return ztocFacts{kind: FaultNotZtoc,
			detail: fmt.Sprintf("has %d bytes, more than the %d that are read", desc.Size, MaxCheckedZtoc)}, nil
	}
	memory := min(parsedRatio*desc.Size, maxCheckMemory)
	if err := c.memory.Acquire(ctx, memory); err != nil {
		return ztocFacts{}, err
	}
	defer c.memory.Release(memory)
	b, err := c.fetch(ctx, desc)
	switch {
	case damaged(err):
		return ztocFacts{kind: FaultDamaged, detail: fmt.Sprintf("is damaged: %v", err)}, nil
	case notThere(err):
		return ztocFacts{kind: FaultMissing, detail: "is not in the repository"}, nil
	case err != nil:
		return ztocFacts{}, fmt.Errorf("zTOC %s: %w", desc.Digest, err)
	}
	z, err := ParseZtoc(b)
	if err != nil {
		return ztocFacts{kind: FaultNotZtoc, detail: fmt.Sprintf("is no zTOC that could be read: %v", err)}, nil
	}
	facts := ztocFacts{version: z.Version, compressed: z.CompressedSize, spanSize: z.SpanSize, entries: len(z.Entries)}
	if misread, ok := errors.AsType[*UnsupportedError](z.Misread()); ok {
		facts.misread = fmt.Sprintf("is misread by clients (%s): %s", misread.Reason, misread.Detail)
	}
	return facts, nil
}

// notEmpty says why a layer is not an empty archive; it returns nothing for one
// that is, or that cannot be fetched. The error is the repository's.
func (c *Checker) notEmpty(ctx context.Context, layer ocispec.Descriptor) (string, error) {
	if layer.Size > maxEmptyBlob {
		return fmt.Sprintf("it has %d bytes, compressed", layer.Size), nil
	}
	if checkDescriptor(layer) != nil {
		return "", nil
	}
	b, err := c.fetch(ctx, layer)
	switch {
	case damaged(err) || notThere(err):
		return "", nil // nothing can be said of it
	case err != nil:
		return "", fmt.Errorf("layer %s: %w", layer.Digest, err)
	}
	z, err := BuildZtoc(bytes.NewReader(b), ZtocOptions{Size: layer.Size, Digest: layer.Digest, AllowMisread: true})
	switch {
	case err != nil:
		return err.Error(), nil
	case len(z.Entries) > 0:
		return fmt.Sprintf("it has %d files", len(z.Entries)), nil
	}
	return "", nil
}

func (c *Checker) fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if err := c.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer c.slots.Release(1)
	return fetchExactly(ctx, c.r, desc)
}

// sizer asks for the size of each blob once.
type sizer struct{ c *Checker }

func (s sizer) BlobSize(ctx context.Context, desc ocispec.Descriptor) (int64, error) {
	return once(ctx, &s.c.mu, s.c.sizes, desc.Digest, func() (int64, error) {
		if err := s.c.slots.Acquire(ctx, 1); err != nil {
			return 0, err
		}
		defer s.c.slots.Release(1)
		return s.c.r.BlobSize(ctx, desc)
	})
}

// asked is an answer, or one that is waited for.
type asked[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// once asks for something, unless it has been asked for. An answer whose caller
// gave up waiting is forgotten.
func once[T any](ctx context.Context, mu *sync.Mutex, known map[digest.Digest]*asked[T], d digest.Digest,
	ask func() (T, error)) (T, error) {
	for {
		mu.Lock()
		a := known[d]
		if a == nil {
			a = &asked[T]{done: make(chan struct{})}
			known[d] = a
			mu.Unlock()
			a.value, a.err = ask()
			if ctx.Err() != nil {
				mu.Lock()
				delete(known, d)
				mu.Unlock()
			}
			close(a.done)
			return a.value, a.err
		}
		mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			var zero T
			return zero, ctx.Err()
		}
		mu.Lock()
		forgotten := known[d] != a
		mu.Unlock()
		if !forgotten {
			return a.value, a.err
		}
	}
}
