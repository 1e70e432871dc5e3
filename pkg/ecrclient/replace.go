package ecrclient

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Replace is as Push, but sends a blob also when the registry says that it is
// there, as one with damaged content is. Whether the registry then takes the
// new content, only reading it tells.
func (r *Repository) Replace(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	if isManifest(desc) {
		return r.Push(ctx, desc, content)
	}
	op := operation{"push blob", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return r.fail(op, err)
	}
	return r.pushBlob(ctx, op, desc, content)
}

// ContentMismatch reports whether the registry had other content than the
// descriptor names.
func (e *Error) ContentMismatch() bool { return errors.Is(e.Err, ErrDigestMismatch) }
