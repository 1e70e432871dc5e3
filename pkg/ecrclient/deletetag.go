package ecrclient

import (
	"context"
	"fmt"
	"net/http"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// DeleteTag deletes a tag, and nothing else. A missing tag is ErrNotFound. Many
// registries delete a tag only together with its manifest, by DeleteManifest;
// some keep it then, and it has to be deleted as well.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	op := operation{opDeleteTag, tag}
	if (registry.Reference{Reference: tag}).ValidateReferenceAsTag() != nil {
		return r.fail(op, fmt.Errorf("%w: %q is not a tag", ErrInvalidReference, tag))
	}
	return r.retry(ctx, op, func(ctx context.Context) error {
		ctx = auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionDelete)
		req, err := r.request(ctx, http.MethodDelete, "manifests/"+tag)
		if err != nil {
			return err
		}
		resp, _, err := r.client.send(r.client.auth, req, req.URL)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
			return nil
		}
		return newStatusError(resp, "", r.now())
	})
}
