package demo

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// makeImage makes an image of files, with its layers in temp.
func makeImage(ctx context.Context, from files, temp string) (*source, error) {
	groups, err := plan(ctx, from)
	if err != nil {
		return nil, err
	}
	layers := make([]*fileLayer, len(groups))
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, content := range groups {
		g.Go(func() error {
			var err error
			layers[i], err = makeLayer(groupCtx, filepath.Join(temp, fmt.Sprintf("layer-%d", i)), from.dir, content)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for _, l := range layers {
		if img, err = mutate.Append(img, mutate.Addendum{Layer: l, MediaType: types.OCILayer}); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	return imageSource(from.what, img), nil
}

// fileLayer is a gzip layer in a file.
type fileLayer struct {
	path           string
	digest, diffID v1.Hash
	size           int64
}

// makeLayer packs the files of a group.
func makeLayer(ctx context.Context, path, dir string, files group) (_ *fileLayer, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	compressed, uncompressed := sha256.New(), sha256.New()
	out := bufio.NewWriterSize(f, 1<<20)
	count := &sizeWriter{w: io.MultiWriter(out, compressed)}
	zw := gzip.NewWriter(count)
	if err := writeTar(ctx, io.MultiWriter(zw, uncompressed), dir, files); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	return &fileLayer{path: path, digest: sha256Hash(compressed), diffID: sha256Hash(uncompressed), size: count.n}, nil
}

func sha256Hash(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// sizeWriter counts what goes through it.
type sizeWriter struct {
	w io.Writer
	n int64
}

func (c *sizeWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// The methods of v1.Layer.

func (l *fileLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *fileLayer) Size() (int64, error)                { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }

func (l *fileLayer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{zr, f}, nil
}
