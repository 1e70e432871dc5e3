package inventory

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
)

// Preview is an image with what filters would do with it when it is pushed. Tag
// is empty for an image without one, Digest for an image that was named by its
// tag, and Host where none was named.
type Preview struct {
	Host            string
	Repository, Tag string
	Digest          digest.Digest
	filters.Verdict
}

// Name is REPOSITORY:TAG, or REPOSITORY@DIGEST for an image without a tag.
func (i Preview) Name() string { return names.Named(i.Repository, i.Tag, i.Digest.String()) }

// PreviewNamed judges an image by its name alone: REPOSITORY:TAG, or
// REPOSITORY@DIGEST for one that is pushed without a tag. The host of a
// registry of ECR may stand in front. Its error matches [names.ErrInvalid].
func PreviewNamed(name string, rules filters.Rules) (Preview, error) {
	image, err := names.ParseECR(name)
	if err != nil {
		return Preview{}, err
	}
	if image.Tag == "" && image.Digest == "" {
		return Preview{}, fmt.Errorf(
			"%w %q: allowed is REPOSITORY:TAG, and REPOSITORY@DIGEST for an image without a tag",
			names.ErrInvalid, name)
	}
	return Preview{
		Host: image.Host, Repository: image.Repository, Tag: image.Tag, Digest: digest.Digest(image.Digest),
		Verdict: rules.Decide(filters.Image{Repository: image.Repository, Tag: image.Tag}),
	}, nil
}

// PreviewListed judges all images of a source, each of its tags by itself, in the
// order of the source. seen, if set, is told how many repositories and images there
// were so far.
func PreviewListed(ctx context.Context, source Source, rules filters.Rules,
	seen func(repositories, images int)) ([]Preview, error) {
	repositories, found := 0, 0
	var all []Preview
	for repository, err := range source.Repositories(ctx) {
		if err != nil {
			return nil, err
		}
		images, err := source.Images(ctx, repository)
		if err != nil {
			return nil, err
		}
		repositories, found = repositories+1, found+len(images)
		if seen != nil {
			seen(repositories, found)
		}
		for _, listed := range images {
			tags := listed.Tags
			if len(tags) == 0 {
				tags = []string{""}
			}
			for _, tag := range tags {
				image := Preview{Repository: repository, Tag: tag, Digest: listed.Digest}
				image.Verdict = rules.Decide(filters.Image{
					Repository: repository, Tag: tag, ArtifactType: listed.ArtifactType, Referrer: listed.Subject != "",
				})
				all = append(all, image)
			}
		}
	}
	return all, nil
}
