//go:build conformance

package conformance

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	upstream "github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/containerd/log"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

func TestMain(m *testing.M) {
	// Upstream writes modification times in the local zone.
	time.Local = time.UTC
	if os.Getenv(childEnv) != "" {
		serve(os.Stdin, os.Stdout)
		return
	}
	// containerd warns of file systems without fsverity, tmpfs for one.
	if err := log.SetLevel("error"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// upstreamZtoc has upstream build the zTOC of the blob in a file.
func upstreamZtoc(path string, c testlayers.Compression, span int64, id string) (*upstream.Ztoc, []byte, error) {
	z, err := upstream.NewBuilder(id).BuildZtoc(path, span, upstream.WithCompression(string(c)))
	if err != nil {
		return nil, nil, err
	}
	r, _, err := upstream.Marshal(z)
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(r)
	return z, b, err
}

// buildUpstream returns the bytes of upstream's zTOC.
func buildUpstream(path string, c testlayers.Compression, span int64, id string) ([]byte, error) {
	_, b, err := upstreamZtoc(path, c, span, id)
	return b, err
}

// buildOurs returns the bytes of our zTOC.
func buildOurs(blob []byte, span int64, id string) ([]byte, error) {
	z, err := soci.BuildZtoc(bytes.NewReader(blob),
		soci.ZtocOptions{SpanSize: span, BuildToolIdentifier: id, AllowMisread: true})
	if err != nil {
		return nil, err
	}
	return z.Marshal()
}

// tempBlob writes a blob where upstream can read it, in memory if possible.
func tempBlob(tb testing.TB, blob []byte) string {
	tb.Helper()
	path := filepath.Join(scratch(tb), "layer")
	if err := os.WriteFile(path, blob, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func scratch(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "conformance-*")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// difference says where two zTOCs differ, by field if both can be read.
func difference(want, got []byte) string {
	at := 0
	for at < len(want) && at < len(got) && want[at] == got[at] {
		at++
	}
	where := fmt.Sprintf("upstream's %d bytes, ours %d, first difference at byte %d", len(want), len(got), at)
	w, werr := soci.ParseZtoc(want)
	g, gerr := soci.ParseZtoc(got)
	if werr != nil || gerr != nil {
		return fmt.Sprintf("%s (parsing upstream's: %v; ours: %v)", where, werr, gerr)
	}
	field := func(name string, w, g any) {
		if fmt.Sprint(w) != fmt.Sprint(g) {
			where += fmt.Sprintf("\n%s: upstream %v, ours %v", name, w, g)
		}
	}
	field("version", w.Version, g.Version)
	field("build tool", w.BuildToolIdentifier, g.BuildToolIdentifier)
	field("compression", w.Compression, g.Compression)
	field("compressed size", w.CompressedSize, g.CompressedSize)
	field("uncompressed size", w.UncompressedSize, g.UncompressedSize)
	field("span size", w.SpanSize, g.SpanSize)
	field("entries", len(w.Entries), len(g.Entries))
	field("checkpoints", len(w.Checkpoints), len(g.Checkpoints))
	field("digests", len(w.SpanDigests), len(g.SpanDigests))
	for i := range min(len(w.Entries), len(g.Entries)) {
		if we, ge := fmt.Sprintf("%+v", w.Entries[i]), fmt.Sprintf("%+v", g.Entries[i]); we != ge {
			field(fmt.Sprintf("entry %d", i), we, ge)
			break
		}
	}
	for i := range min(len(w.Checkpoints), len(g.Checkpoints)) {
		wc, gc := w.Checkpoints[i], g.Checkpoints[i]
		if wc.In != gc.In || wc.Out != gc.Out || wc.Bits != gc.Bits || !bytes.Equal(wc.Window, gc.Window) {
			field(fmt.Sprintf("checkpoint %d", i), []any{wc.In, wc.Out, wc.Bits}, []any{gc.In, gc.Out, gc.Bits})
			for j := range min(len(wc.Window), len(gc.Window)) {
				if wc.Window[j] != gc.Window[j] {
					field(fmt.Sprintf("checkpoint %d, window byte %d", i, j), wc.Window[j], gc.Window[j])
					break
				}
			}
			break
		}
	}
	for i := range min(len(w.SpanDigests), len(g.SpanDigests)) {
		if w.SpanDigests[i] != g.SpanDigests[i] {
			field(fmt.Sprintf("digest %d", i), w.SpanDigests[i], g.SpanDigests[i])
			break
		}
	}
	return where
}
