package cleanup

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
)

// readConcurrency is how many batches of manifests are read at once.
const readConcurrency = 4

// ecrRepository is a repository of ECR.
type ecrRepository struct {
	source  *inventory.ECRSource
	account string // "" is that of the credentials
	name    string
}

// ECR returns a repository of a private registry of ECR. The source must list
// archived images as well (inventory.WithArchived), since these may be what a
// SOCI index was made for. account is as in inventory.WithAccount, or empty.
//
// It needs ecr:DescribeImages, ecr:BatchGetImage and, to delete,
// ecr:BatchDeleteImage; for Blobs also ecr:GetAuthorizationToken and
// ecr:GetDownloadUrlForLayer.
func ECR(source *inventory.ECRSource, account, name string) Repository {
	return &ecrRepository{source, account, name}
}

func (r *ecrRepository) Name() string { return r.name }

func (r *ecrRepository) List(ctx context.Context) ([]inventory.Image, error) {
	return r.source.Images(ctx, r.name)
}

func (r *ecrRepository) Open() (*ecrclient.Repository, error) { return r.source.Open(r.name) }

func (r *ecrRepository) registryID() *string {
	if r.account == "" {
		return nil
	}
	return aws.String(r.account)
}

// accepted keeps ECR from giving a manifest in another form.
var accepted = []string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
}

func (r *ecrRepository) Manifests(ctx context.Context, images []inventory.Image) (map[digest.Digest][]byte, error) {
	var batches [][]inventory.Image
	for rest := images; len(rest) > 0; {
		n := min(len(rest), batchSize)
		batches, rest = append(batches, rest[:n]), rest[n:]
	}
	answers := make([]map[digest.Digest][]byte, len(batches))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readConcurrency)
	for i, batch := range batches {
		group.Go(func() (err error) {
			answers[i], err = r.batch(ctx, batch)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found := make(map[digest.Digest][]byte, len(images))
	for _, answer := range answers {
		for d, b := range answer {
			found[d] = b
		}
	}
	return found, nil
}

func (r *ecrRepository) batch(ctx context.Context, images []inventory.Image) (map[digest.Digest][]byte, error) {
	in := &ecr.BatchGetImageInput{RegistryId: r.registryID(), RepositoryName: aws.String(r.name),
		AcceptedMediaTypes: accepted}
	for _, image := range images {
		in.ImageIds = append(in.ImageIds, types.ImageIdentifier{ImageDigest: aws.String(image.Digest.String())})
	}
	out, err := r.source.Client().BatchGetImage(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("reading manifests of %s: %w", r.name, err)
	}
	found := make(map[digest.Digest][]byte, len(out.Images))
	for _, image := range out.Images {
		if image.ImageId == nil {
			continue
		}
		d, b := digest.Digest(aws.ToString(image.ImageId.ImageDigest)), []byte(aws.ToString(image.ImageManifest))
		if d.Validate() != nil || d.Algorithm().FromBytes(b) != d {
			return nil, fmt.Errorf("manifest %s of %s: %w", d, r.name, errDigest)
		}
		found[d] = b
	}
	return found, nil
}

// Delete names a tagged image by digest and tag together. ECR then refuses when
// the tag has been moved to another image, and keeps the image when it has got
// another tag since it was listed: by the digest alone that tag would go with
// it, by the tag alone another image might.
func (r *ecrRepository) Delete(ctx context.Context, images []inventory.Image) (map[digest.Digest]error, error) {
	refused := map[digest.Digest]error{}
	var ids []types.ImageIdentifier
	for _, image := range images {
		byDigest := types.ImageIdentifier{ImageDigest: aws.String(image.Digest.String())}
		if len(image.Tags) == 0 {
			ids = append(ids, byDigest)
		}
		for _, tag := range image.Tags {
			byBoth := byDigest
			byBoth.ImageTag = aws.String(tag)
			ids = append(ids, byBoth)
		}
	}
	for len(ids) > 0 {
		n := min(len(ids), batchSize)
		out, err := r.source.Client().BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{
			RegistryId: r.registryID(), RepositoryName: aws.String(r.name), ImageIds: ids[:n],
		})
		if err != nil {
			return nil, fmt.Errorf("deleting from %s: %w", r.name, err)
		}
		for _, f := range out.Failures {
			if err := refusal(f); err != nil && f.ImageId != nil {
				refused[digest.Digest(aws.ToString(f.ImageId.ImageDigest))] = err
			}
		}
		ids = ids[n:]
	}
	return refused, nil
}

// refusal is why ECR did not delete an image; nil for one that is gone.
func refusal(f types.ImageFailure) error {
	switch f.FailureCode {
	case types.ImageFailureCodeImageNotFound:
		return nil
	case types.ImageFailureCodeImageReferencedByManifestList:
		return ErrListed
	case types.ImageFailureCodeImageTagDoesNotMatchDigest:
		return ErrChanged
	}
	return fmt.Errorf("%s: %s", f.FailureCode, aws.ToString(f.FailureReason))
}
