package soci

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// BlobSizer is what CheckBlobs asks of the repository.
type BlobSizer interface {
	// BlobSize returns the size in bytes of the blob that desc names, as the
	// repository has it. When there is no such blob, errors.As finds in its
	// error a NotFound() bool that is true.
	BlobSize(ctx context.Context, desc ocispec.Descriptor) (int64, error)
}

// BlobState says what the repository has of a blob.
type BlobState string

// The states of a blob. None says anything about its content.
const (
	// BlobPresent: it is there, with the size that its descriptor names.
	BlobPresent BlobState = "present"
	// BlobMissing: it is not there.
	BlobMissing BlobState = "missing"
	// BlobSizeDiffers: it is there with another size.
	BlobSizeDiffers BlobState = "size-differs"
	// BlobInvalid: its descriptor has no digest that can be asked for, or no
	// size.
	BlobInvalid BlobState = "invalid"
)

// BlobStatus is what CheckBlobs found of one blob.
type BlobStatus struct {
	State BlobState
	Size  int64 // bytes in the repository, for BlobPresent and BlobSizeDiffers
}

// maxBlobRequests is how many blobs CheckBlobs asks for at once.
const maxBlobRequests = 8

// CheckBlobs asks for the existence and the size of each blob, such as the
// zTOCs of a SOCI index, and returns one status for each, in their order. It
// reads no content, and asks once for a blob that is named several times. The
// error is one of the repository.
func CheckBlobs(ctx context.Context, r BlobSizer, blobs []ocispec.Descriptor) ([]BlobStatus, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxBlobRequests)
	first := make(map[digest.Digest]*BlobStatus)
	for _, blob := range blobs {
		if first[blob.Digest] != nil || checkDescriptor(blob) != nil {
			continue
		}
		found := &BlobStatus{State: BlobPresent}
		first[blob.Digest] = found
		group.Go(func() (err error) {
			found.Size, err = r.BlobSize(ctx, blob)
			if notThere(err) {
				*found = BlobStatus{State: BlobMissing}
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := make([]BlobStatus, len(blobs))
	for i, blob := range blobs {
		if checkDescriptor(blob) != nil {
			all[i].State = BlobInvalid
			continue
		}
		all[i] = *first[blob.Digest]
		if all[i].State == BlobPresent && all[i].Size != blob.Size {
			all[i].State = BlobSizeDiffers
		}
	}
	return all, nil
}
