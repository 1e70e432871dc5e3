package ecrclient

import (
	"context"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Listed reports whether a manifest that the repository has, with this content,
// is among the referrers of its subject. One without a subject need not be.
//
// A registry with the referrers API, such as ECR, sees to that by itself, and is
// not asked. Elsewhere clients keep the list, under the referrers tag schema. They
// write it after the manifest, so that one whose push broke off may be missing in
// it, and so may one whose entry another client has overwritten: Push again adds
// it.
func (r *Repository) Listed(ctx context.Context, desc ocispec.Descriptor, manifest []byte) (bool, error) {
	subject := subjectOf(desc, manifest)
	if subject == nil {
		return true, nil
	}
	switch api, err := r.askAgain(ctx, *subject); api {
	case apiServes:
		return true, nil
	case apiUntried:
		return false, err
	}
	return r.listedByTag(ctx, *subject, desc)
}

// listedByTag reports whether the list under the referrers tag schema has a
// manifest, whatever else others have written there.
func (r *Repository) listedByTag(ctx context.Context, subject, desc ocispec.Descriptor) (bool, error) {
	var found []ocispec.Descriptor
	err := r.retry(ctx, operation{opReferrers, subject.Digest.String()}, func(ctx context.Context) (err error) {
		found, err = r.listUnderTag(ctx, subject)
		return err
	})
	return slices.ContainsFunc(found, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }), err
}

// pushListed pushes a manifest where clients keep the list of its subject's
// referrers, until the list has it: another client may have read the list before
// the manifest was added, and written it afterwards.
func (r *Repository) pushListed(ctx context.Context, op operation, subject, desc ocispec.Descriptor,
	manifest []byte) error {
	for n := 1; ; n++ {
		if err := r.pushTo(ctx, op, r.tagging, desc, manifest); err != nil {
			return err
		}
		listed, err := r.listedByTag(ctx, subject, desc)
		if err != nil || listed {
			return err
		}
		err = fmt.Errorf("%w: the list of what refers to %s does not have it, as if others were writing that list",
			ErrUnavailable, subject.Digest)
		if err := r.pause(ctx, op, n, err); err != nil {
			return r.fail(op, err)
		}
	}
}
