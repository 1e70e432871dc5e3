package inspect

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// CheckBlobs asks whether the blobs that the tree's SOCI indexes list are in
// the repository, and with which size, and notes it in the tree. The error is
// one of the repository.
func CheckBlobs(ctx context.Context, repo soci.BlobSizer, root *Node) error {
	var (
		all   []*Blob
		descs []ocispec.Descriptor
	)
	for _, image := range root.Images() {
		for _, blob := range image.blobs() {
			all = append(all, blob)
			descs = append(descs, ocispec.Descriptor{Digest: blob.Digest, Size: blob.Size})
		}
	}
	found, err := soci.CheckBlobs(ctx, repo, descs)
	if err != nil {
		return fmt.Errorf("looking for the blobs of SOCI indexes: %w", err)
	}
	for i, f := range found {
		switch f.State {
		case soci.BlobMissing:
			all[i].Missing = true
		case soci.BlobSizeDiffers:
			all[i].StoredSize = &f.Size
		case soci.BlobInvalid:
			all[i].Invalid = "its digest or size is invalid"
		}
	}
	return nil
}

// blobs are those that the SOCI indexes of an image list.
func (n *Node) blobs() []*Blob {
	var all []*Blob
	for _, index := range n.SociIndexes {
		all = slices.Concat(all, index.Ztocs, index.Prefetch, index.Other)
	}
	return all
}

func blobs(descs []ocispec.Descriptor) []*Blob {
	var all []*Blob
	for _, d := range descs {
		all = append(all, &Blob{
			Digest: d.Digest, Size: d.Size,
			Layer:    digest.Digest(d.Annotations[soci.AnnotationLayerDigest]),
			SpanSize: d.Annotations[soci.AnnotationSpanSize],
		})
	}
	return all
}
