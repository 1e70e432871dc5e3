package ecrclient

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Replace is like Push, but also sends a blob that the registry says it has,
// since its content may be damaged. Only reading it shows whether the registry
// then took the new content.
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

// ContentMismatch reports whether the registry's content did not match the
// descriptor.
func (e *Error) ContentMismatch() bool { return errors.Is(e.Err, ErrDigestMismatch) }
