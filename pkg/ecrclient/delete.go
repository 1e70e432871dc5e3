package ecrclient

import (
	"context"
	"errors"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// DeleteManifest deletes the manifest that desc names, and all tags of it. A
// missing manifest is ErrNotFound. On a registry without the referrers API the
// list of its subject's referrers is updated.
func (r *Repository) DeleteManifest(ctx context.Context, desc ocispec.Descriptor) error {
	op := operation{"delete manifest", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return r.fail(op, err)
	}
	return r.retry(ctx, op, func(ctx context.Context) error {
		err := r.remote.Manifests().Delete(ctx, desc)
		// As in Referrers: it may be the search for referrers that the
		// registry knows nothing of. If it is the deletion, it says so again.
		if e, ok := errors.AsType[*statusError](err); ok && r.judgeReferrersAPI(r.fail(op, e)) == apiMissing &&
			r.remote.SetReferrersCapability(false) == nil {
			err = r.remote.Manifests().Delete(ctx, desc)
		}
		return err
	})
}

func unsupported(status int, code string) bool {
	return status == http.StatusMethodNotAllowed || code == errcode.ErrorCodeUnsupported
}

// DeletionDisabled reports whether the registry does not delete manifests, as
// many do not unless configured to.
func (e *Error) DeletionDisabled() bool {
	return e.Op == "delete manifest" && (e.Status == http.StatusNotImplemented || unsupported(e.Status, e.Code))
}
