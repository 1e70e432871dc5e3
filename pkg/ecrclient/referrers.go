package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// maxReferrers bounds the list that Referrers collects.
const maxReferrers = 10_000

// Referrers lists the manifests whose subject is desc, of one artifact type or
// of all (""), in the registry's order, each digest once. A manifest without
// any, and one that is not there, has an empty list. More than 10,000 are an
// error.
func (r *Repository) Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	op := operation{"list referrers", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return nil, r.fail(op, err)
	}
	var found []ocispec.Descriptor
	err := r.retry(ctx, op, func(ctx context.Context) (err error) {
		found, err = r.listReferrers(ctx, desc, artifactType)
		// oras-go takes 404 alone for a registry without the referrers API.
		// Once it knows, it goes by the referrers tag schema.
		e, ok := errors.AsType[*statusError](err)
		if ok && (e.status == http.StatusMethodNotAllowed || e.code == errcode.ErrorCodeUnsupported) &&
			r.lister.SetReferrersCapability(false) == nil {
			found, err = r.listReferrers(ctx, desc, artifactType)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (r *Repository) listReferrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	count := 0
	seen := make(map[digest.Digest]bool)
	err := r.lister.Referrers(ctx, desc, artifactType, func(page []ocispec.Descriptor) error {
		if count += len(page); count > maxReferrers {
			return fmt.Errorf("more than %d referrers", maxReferrers)
		}
		for _, d := range page {
			if err := checkDescriptor(d); err != nil {
				return fmt.Errorf("referrer %d: %w", len(found)+1, err)
			}
			// oras-go filters, unless the registry claims that it did. A type
			// that is not told cannot contradict that claim.
			if seen[d.Digest] || artifactType != "" && d.ArtifactType != "" && d.ArtifactType != artifactType {
				continue
			}
			seen[d.Digest] = true
			found = append(found, d)
		}
		return nil
	})
	return found, err
}
