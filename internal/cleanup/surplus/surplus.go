// Package surplus deletes the SOCI indexes v1 of this project that a newer one
// of the same image manifest has replaced, of which a client may choose any.
// The command line does that after a build, see [Remove]; the functions delete
// nothing.
package surplus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Repository is the repository of the image.
type Repository interface {
	Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error)
	FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)
	Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error)
	Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
	DeleteManifest(ctx context.Context, desc ocispec.Descriptor) error
}

// ErrLost: a SOCI index that was built may no longer be there.
var ErrLost = errors.New("it may have been deleted by another run: index the image again")

// Older is a SOCI index v1 that was replaced.
type Older struct {
	Subject  ocispec.Descriptor // the image manifest
	Platform string
	Index    ocispec.Descriptor

	// Err is why it is still there; nil after it was deleted, and in a dry run.
	Err error
}

// Remove deletes the SOCI indexes v1 with this project's build-tool identifier
// that refer to an image manifest of the result, other than the one that was
// built. In a dry run it only finds them. Its error says why not all were found;
// it is ErrLost when a SOCI index that was built may be gone.
func Remove(ctx context.Context, repo Repository, result *soci.Result, dryRun bool) ([]Older, error) {
	var (
		all    []Older
		errs   []error
		builds = map[string]bool{} // an image index may list a manifest twice
	)
	for _, m := range result.Manifests {
		if m.Index.Digest == "" || builds[m.Manifest.Digest.String()] {
			continue
		}
		builds[m.Manifest.Digest.String()] = true
		found, listed, err := find(ctx, repo, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("looking for older SOCI indexes v1 of %s: %w", m.Platform, err))
		}
		if !dryRun && len(found) > 0 {
			if err := remove(ctx, repo, m.Index, listed, found); err != nil {
				errs = append(errs, fmt.Errorf("SOCI index v1 %s of %s: %w", m.Index.Digest, m.Platform, err))
			}
		}
		all = append(all, found...)
	}
	return all, errors.Join(errs...)
}

// find lists what refers to the image manifest beside its SOCI index, and
// reports whether that is listed too.
func find(ctx context.Context, repo Repository, m soci.ManifestResult) (found []Older, listed bool, err error) {
	list, err := repo.Referrers(ctx, m.Manifest, soci.ArtifactTypeV1)
	listed = slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == m.Index.Digest })
	for _, desc := range list {
		if desc.Digest == m.Index.Digest {
			continue
		}
		b, readErr := repo.FetchManifest(ctx, desc)
		if errors.Is(readErr, ecrclient.ErrNotFound) {
			continue
		}
		if readErr != nil {
			return found, listed, errors.Join(err, readErr)
		}
		// The list is the registry's word; what it names decides.
		info, readErr := soci.Classify(desc.MediaType, b)
		if readErr != nil || info.Kind != soci.KindSOCIIndexV1 || info.BuildTool != soci.BuildToolIdentifier ||
			info.Subject == nil || info.Subject.Digest != m.Manifest.Digest {
			continue
		}
		found = append(found, Older{Subject: m.Manifest, Platform: m.Platform, Index: desc})
	}
	return found, listed, err
}

// errUnlisted: clients that look for the SOCI index of an image would find none
// if the older ones were deleted.
var errUnlisted = errors.New("the registry does not list the new one yet; index the image again to delete older ones")

// remove deletes what was found, and sets the errors, if the registry lists what
// was built. Two runs with different options that end at once may each delete what
// the other built; the last to delete then puts its own back, so that one is
// always there.
func remove(ctx context.Context, repo Repository, built ocispec.Descriptor, listed bool, found []Older) error {
	if !listed {
		for i := range found {
			found[i].Err = errUnlisted
		}
		return errUnlisted
	}
	b, err := repo.FetchManifest(ctx, built)
	if err != nil {
		for i := range found {
			found[i].Err = errors.New("the new one could not be read back")
		}
		return fmt.Errorf("reading it back before deleting what it replaces: %w", err)
	}
	for i := range found {
		if err := repo.DeleteManifest(ctx, found[i].Index); err != nil && !errors.Is(err, ecrclient.ErrNotFound) {
			found[i].Err = err
		}
	}
	there, err := repo.Exists(ctx, built)
	if err == nil && !there {
		err = repo.Push(ctx, built, bytes.NewReader(b))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}
