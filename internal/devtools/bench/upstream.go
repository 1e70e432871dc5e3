//go:build conformance && cgo

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/soci/store"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func init() { upstreamIndex = indexUpstream }

// indexUpstream fetches the image into containerd's content store, has
// upstream's index builder work on it, and pushes what comes of it.
func indexUpstream(ctx context.Context, in json.RawMessage) (_ any, err error) {
	var q indexIn
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, err
	}
	time.Local = time.UTC // upstream writes modification times in the local zone
	// containerd warns of file systems without fsverity.
	if err := log.SetLevel("error"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "upstream-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cs, err := local.NewStore(filepath.Join(dir, "content"))
	if err != nil {
		return nil, err
	}
	repo, err := ecrclient.New(q.Ref, ecrclient.WithPlainHTTP(true))
	if err != nil {
		return nil, err
	}
	start := time.Now()
	image, err := download(ctx, repo, cs)
	if err != nil {
		return nil, err
	}
	out := indexOut{Download: time.Since(start).Seconds()}
	index, blobs, err := build(ctx, dir, cs, image, q.MinLayerSize)
	if err != nil {
		return nil, err
	}
	for _, d := range index.Blobs {
		b, err := readBlob(ctx, blobs, d)
		if err != nil {
			return nil, err
		}
		if err := repo.Push(ctx, d, bytes.NewReader(b)); err != nil {
			return nil, err
		}
	}
	out.Layers = len(index.Blobs)
	if err := repo.Push(ctx, ocispec.DescriptorEmptyJSON,
		bytes.NewReader(ocispec.DescriptorEmptyJSON.Data)); err != nil {
		return nil, err
	}
	b, err := upstream.MarshalIndex(index)
	if err != nil {
		return nil, err
	}
	out.Index = digest.FromBytes(b)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: out.Index, Size: int64(len(b))}
	return out, repo.Push(ctx, desc, bytes.NewReader(b))
}

// download brings a whole image into the content store, a layer at a time.
func download(ctx context.Context, repo *ecrclient.Repository, cs content.Store) (ocispec.Descriptor, error) {
	image, err := repo.Resolve(ctx, repo.Reference())
	if err != nil {
		return image, err
	}
	b, err := repo.FetchManifest(ctx, image)
	if err != nil {
		return image, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(b, &manifest); err != nil {
		return image, err
	}
	if err := content.WriteBlob(ctx, cs, image.Digest.String(), bytes.NewReader(b), image); err != nil {
		return image, err
	}
	for _, d := range append([]ocispec.Descriptor{manifest.Config}, manifest.Layers...) {
		r, err := repo.Fetch(ctx, d)
		if err != nil {
			return image, err
		}
		err = content.WriteBlob(ctx, cs, d.Digest.String(), r, d)
		r.Close()
		if err != nil {
			return image, fmt.Errorf("storing %s: %w", d.Digest, err)
		}
	}
	return image, nil
}

func build(ctx context.Context, dir string, cs content.Store, image ocispec.Descriptor,
	minLayerSize int64) (*upstream.Index, store.Store, error) {
	blobs, err := store.NewSociStore(filepath.Join(dir, "soci"))
	if err != nil {
		return nil, nil, err
	}
	db, err := upstream.NewDB(upstream.ArtifactsDbPath(dir))
	if err != nil {
		return nil, nil, err
	}
	options := []upstream.BuilderOption{upstream.WithArtifactsDb(db),
		upstream.WithBuildToolIdentifier(soci.BuildToolIdentifier)}
	if minLayerSize > 0 {
		options = append(options, upstream.WithMinLayerSize(minLayerSize))
	}
	builder, err := upstream.NewIndexBuilder(cs, blobs, options...)
	if err != nil {
		return nil, nil, err
	}
	index, err := builder.Build(ctx, images.Image{Name: "image", Target: image},
		upstream.WithPlatform(ocispec.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		return nil, nil, err
	}
	return index.Index, blobs, nil
}

func readBlob(ctx context.Context, s store.Store, d ocispec.Descriptor) ([]byte, error) {
	r, err := s.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
