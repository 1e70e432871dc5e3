//go:build conformance

package conformance

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"testing"

	upstream "github.com/awslabs/soci-snapshotter/ztoc"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// FuzzZtoc compares both builders, byte for byte and verdict for verdict: on
// the bytes themselves, or on the layer that they are a recipe of.
func FuzzZtoc(f *testing.F) {
	for _, b := range testlayers.Recipes() {
		f.Add(true, b, uint32(0))
	}
	for _, l := range testlayers.Generated() {
		if l.Stored {
			if blob := l.Blob(); len(blob) < 8<<10 {
				f.Add(false, blob, uint32(100))
			}
		}
	}
	for i, b := range append(testlayers.MalformedLayers(), testlayers.UnsupportedLayers()...) {
		if i%5 == 0 && len(b.Blob) < 8<<10 && b.Compression() != "" {
			f.Add(false, b.Blob, uint32(i))
		}
	}
	c := &child{dir: scratch(f)}
	f.Cleanup(c.close)
	f.Fuzz(func(t *testing.T, recipe bool, data []byte, span32 uint32) {
		blob, span := data, int64(span32)
		if recipe {
			blob, span = testlayers.FromRecipe(data)
		}
		if span == 0 || len(blob) == 0 {
			return // 0 is our default, and an empty layer we call truncated
		}
		compareBuilders(t, c, blob, span)
	})
}

func compareBuilders(t *testing.T, c *child, blob []byte, span int64) {
	t.Helper()
	z, oursErr := soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{
		SpanSize: span, BuildToolIdentifier: buildTool, AllowMisread: true, Limits: soci.Limits{MaxMemory: 64 << 20},
	})
	if errors.Is(oursErr, soci.ErrLimit) {
		return // upstream has none
	}
	// Upstream goes by the media type. Ours is the one that agrees with the
	// bytes.
	comp := testlayers.Uncompressed
	if oursErr == nil {
		comp = testlayers.Compression(z.Compression)
	} else if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		comp = testlayers.Gzip
	}
	want, upstreamErr := c.build(blob, comp, span, buildTool)
	switch {
	case oursErr == nil && upstreamErr == nil:
		got, err := z.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Error(difference(want, got))
		}
	case oursErr != nil && upstreamErr == nil:
		if !knownRefusal(oursErr, blob, want) {
			t.Errorf("upstream takes the layer, we refuse it: %v", oursErr)
		}
	case oursErr == nil && upstreamErr != nil:
		t.Errorf("we take the layer, upstream refuses it: %v", upstreamErr)
	}
}

// knownRefusal reports whether upstream's zTOC of the layer is of no use: one
// with sparse files, whose offsets are wrong, one that upstream cannot read
// again or in which a size is negative, or one of a blob in which something that compress/gzip cannot read
// follows the archive.
func knownRefusal(err error, blob, ztoc []byte) bool {
	var unsupported *soci.UnsupportedError
	if errors.As(err, &unsupported) {
		switch unsupported.Reason {
		case soci.SkipSparseFile:
			return true
		case soci.SkipNotTar: // taken for an archive of no files
			z, err := upstream.Unmarshal(bytes.NewReader(ztoc))
			return err == nil && len(z.FileMetadata) == 0
		case soci.SkipEntrySize:
			z, err := upstream.Unmarshal(bytes.NewReader(ztoc))
			return err != nil || slices.ContainsFunc(z.FileMetadata,
				func(f upstream.FileMetadata) bool { return f.UncompressedSize < 0 })
		case soci.SkipEntryName: // what begins like it is unpacked as gzip or zstd
			return true
		}
	}
	return errors.Is(goGzip(blob), gzip.ErrHeader)
}

// goGzip decompresses the blob with the standard library.
func goGzip(blob []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}
