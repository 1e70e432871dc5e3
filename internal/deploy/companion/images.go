package companion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
)

// Bounds of what is read of a repository.
const (
	maxImages = 20_000
	maxConfig = 1 << 20 // bytes
	maxBatch  = 100     // images that one call deletes
)

// Check finds existing repositories with the names of those that the companion would
// create. One with the program's tag is left over from an earlier companion, and is
// returned; one without is ours.ErrForeign. Other errors are of awserror.
func Check(ctx context.Context, cfg aws.Config, repositories ...string) (leftOver []string, err error) {
	client := ecr.NewFromConfig(cfg)
	for _, name := range repositories {
		out, err := client.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
		if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); ok {
			continue
		}
		if err != nil {
			return nil, awserror.Explain(fmt.Errorf("looking for the repository %s: %w", name, err))
		}
		for _, r := range out.Repositories {
			tagged, err := client.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
			if err != nil {
				return nil, awserror.Explain(fmt.Errorf("reading the tags of the repository %s: %w", name, err))
			}
			tags := map[string]string{}
			for _, t := range tagged.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			if err := ours.Check("the repository "+name, tags); err != nil {
				return nil, err
			}
			leftOver = append(leftOver, name)
		}
	}
	return leftOver, nil
}

// Managed is a repository that a companion made.
type Managed struct {
	uri      string
	name     string
	client   *ecr.Client
	registry *ecrclient.Repository
}

// Open returns the repository that uri names. It makes no call; the error is
// that of ecrclient.New.
func Open(cfg aws.Config, uri string, options ...ecrclient.Option) (*Managed, error) {
	registry, err := ecrclient.New(uri, append([]ecrclient.Option{ecrclient.WithAWSConfig(cfg)}, options...)...)
	if err != nil {
		return nil, err
	}
	named, err := names.ParseHosted(uri)
	if err != nil {
		return nil, err
	}
	return &Managed{uri, named.Repository, ecr.NewFromConfig(cfg), registry}, nil
}

// Registry is the repository by the protocol of registries, to push to.
func (m *Managed) Registry() *ecrclient.Repository { return m.registry }

// Image is one of a repository.
type Image struct {
	Digest   digest.Digest
	Tags     []string
	PushedAt time.Time
	Size     int64 // bytes
	Kind     Kind
}

// Kind is what the program knows of an image.
type Kind string

// The kinds.
const (
	FunctionImage Kind = "function" // has the label with this repository
	RecordImage   Kind = "record"   // of a deployment
	ForeignImage  Kind = "foreign"
)

// Images lists the images of the repository, the newest first; the label shows which
// are the program's. A repository that is gone has none. Errors are of awserror, or
// an *ecrclient.Error.
func (m *Managed) Images(ctx context.Context) ([]Image, error) {
	var all []Image
	pages := ecr.NewDescribeImagesPaginator(m.client,
		&ecr.DescribeImagesInput{RepositoryName: &m.name, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); ok {
			return nil, nil
		}
		if err != nil {
			return nil, awserror.Explain(fmt.Errorf("listing the images of %s: %w", m.name, err))
		}
		for _, d := range page.ImageDetails {
			image := Image{Digest: digest.Digest(aws.ToString(d.ImageDigest)), Tags: d.ImageTags,
				PushedAt: aws.ToTime(d.ImagePushedAt), Size: aws.ToInt64(d.ImageSizeInBytes)}
			if image.Kind, err = m.kind(ctx, d); err != nil {
				return nil, err
			}
			all = append(all, image)
		}
		if len(all) > maxImages {
			return nil, fmt.Errorf("%s has more than %d images", m.name, maxImages)
		}
	}
	slices.SortStableFunc(all, func(a, b Image) int { return b.PushedAt.Compare(a.PushedAt) })
	return all, nil
}

func (m *Managed) kind(ctx context.Context, d types.ImageDetail) (Kind, error) {
	mediaType := aws.ToString(d.ImageManifestMediaType)
	switch {
	case aws.ToString(d.ArtifactMediaType) == filters.DeploymentRecord:
		return RecordImage, nil
	case mediaType != ocispec.MediaTypeImageManifest:
		return ForeignImage, nil
	}
	desc, err := m.registry.Resolve(ctx, aws.ToString(d.ImageDigest))
	if err == nil {
		var manifest []byte
		if manifest, err = m.registry.FetchManifest(ctx, desc); err == nil {
			return m.kindOf(ctx, manifest)
		}
	}
	if errors.Is(err, ecrclient.ErrNotFound) {
		return ForeignImage, nil // deleted meanwhile
	}
	return "", err
}

// kindOf reads the label in an image's config. What cannot be read is not the
// program's.
func (m *Managed) kindOf(ctx context.Context, manifest []byte) (Kind, error) {
	var read ocispec.Manifest
	if json.Unmarshal(manifest, &read) != nil || read.Config.MediaType != ocispec.MediaTypeImageConfig ||
		read.Config.Size > maxConfig {
		return ForeignImage, nil
	}
	rc, err := m.registry.Fetch(ctx, read.Config)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return ForeignImage, nil
	}
	if err != nil {
		return "", err
	}
	defer rc.Close()
	content, err := io.ReadAll(io.LimitReader(rc, maxConfig))
	if err != nil {
		return "", err
	}
	var config ocispec.Image
	if digest.FromBytes(content) != read.Config.Digest || json.Unmarshal(content, &config) != nil ||
		!strings.HasPrefix(config.Config.Labels[lambdaimage.LabelECR], m.uri+":") {
		return ForeignImage, nil
	}
	return FunctionImage, nil
}

// ErrForeignImages: a managed repository has images that the program did not
// push.
var ErrForeignImages = errors.New("has images that soci-index-builder did not push")

// CheckForeign returns ErrForeignImages if the repository has any, with one of
// them named. Other errors are as those of [Managed.Images].
func (m *Managed) CheckForeign(ctx context.Context) error {
	all, err := m.Images(ctx)
	if err != nil {
		return err
	}
	n, one := 0, ""
	for _, i := range all {
		if i.Kind == ForeignImage {
			if n++; one == "" {
				one = strings.Join(append(slices.Clone(i.Tags), i.Digest.String()), ", ")
			}
		}
	}
	if n > 0 {
		return fmt.Errorf("the repository %s %w: %d, such as %.300s", m.name, ErrForeignImages, n, one)
	}
	return nil
}

// Prune deletes functions' images whose URIs are not in keep and which were
// pushed before a time, since another deploy may have just pushed a later one
// and not name it yet. It returns the digests of what is gone, or would be with
// dryRun. Records and foreign images stay. Errors are as those of
// [Managed.Images] and [Managed.Delete].
func (m *Managed) Prune(ctx context.Context, keep []string, before time.Time, dryRun bool) ([]digest.Digest, error) {
	all, err := m.Images(ctx)
	if err != nil {
		return nil, err
	}
	var old []digest.Digest
	for _, i := range all {
		if i.Kind == FunctionImage && i.PushedAt.Before(before) && !slices.Contains(keep, m.uri+"@"+i.Digest.String()) {
			old = append(old, i.Digest)
		}
	}
	if dryRun || len(old) == 0 {
		return old, nil
	}
	return old, m.Delete(ctx, old...)
}

// Delete deletes manifests with all their tags. What is gone, the repository
// included, is no error. The error is of awserror, or names the image that ECR
// did not delete.
func (m *Managed) Delete(ctx context.Context, digests ...digest.Digest) error {
	for batch := range slices.Chunk(digests, maxBatch) {
		in := &ecr.BatchDeleteImageInput{RepositoryName: &m.name}
		for _, d := range batch {
			in.ImageIds = append(in.ImageIds, types.ImageIdentifier{ImageDigest: aws.String(d.String())})
		}
		out, err := m.client.BatchDeleteImage(ctx, in)
		if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); ok {
			return nil
		}
		if err != nil {
			return awserror.Explain(fmt.Errorf("deleting images of %s: %w", m.name, err))
		}
		for _, f := range out.Failures {
			if f.FailureCode != types.ImageFailureCodeImageNotFound {
				return fmt.Errorf("deleting %s@%s: %s: %s", m.name, aws.ToString(f.ImageId.ImageDigest), f.FailureCode,
					aws.ToString(f.FailureReason))
			}
		}
	}
	return nil
}
