package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// headRefused are the answers of registries, and of what they redirect to,
// that serve a blob by GET but not its HEAD.
var headRefused = []int{
	http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed,
	http.StatusNotAcceptable, http.StatusNotImplemented,
}

// BlobSize returns the size in bytes that the blob of desc's digest has in the
// repository, which may differ from desc's; ErrNotFound if there is no such
// blob. It sends HEAD, and reads the blob only if the registry refuses that or
// reports no size; it then reads at most one byte more than desc.Size.
func (r *Repository) BlobSize(ctx context.Context, desc ocispec.Descriptor) (int64, error) {
	op := operation{"look for blob", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return 0, r.fail(op, err)
	}
	var size int64
	err := r.retry(ctx, op, func(ctx context.Context) (err error) {
		if size, err = r.headBlob(ctx, desc); err == nil && size > 0 {
			return nil
		}
		if e, ok := errors.AsType[*statusError](err); err != nil && (!ok || !slices.Contains(headRefused, e.status)) {
			return err
		}
		size, err = r.countBlob(ctx, desc)
		return err
	})
	return size, err
}

// headBlob asks for the size of a blob; 0 or less means that it was not
// reported.
func (r *Repository) headBlob(ctx context.Context, desc ocispec.Descriptor) (int64, error) {
	ref, scheme := r.remote.Reference, "https"
	if r.remote.PlainHTTP {
		scheme = "http"
	}
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodHead,
		fmt.Sprintf("%s://%s/v2/%s/blobs/%s", scheme, ref.Host(), ref.Repository, desc.Digest), nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.answer(r.client.auth, req, req.URL, desc, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.ContentLength, nil
}

// countBlob gets a blob for its size.
func (r *Repository) countBlob(ctx context.Context, desc ocispec.Descriptor) (int64, error) {
	resp, err := r.get(ctx, "blobs", desc, http.Header{"Accept-Encoding": {"identity"}}, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.ContentLength >= 0 {
		return resp.ContentLength, nil
	}
	return io.Copy(io.Discard, io.LimitReader(resp.Body, desc.Size+1))
}
