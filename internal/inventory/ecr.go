package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/ecrclient"
)

// ErrNoRepository: the registry has no repository of this name.
var ErrNoRepository = errors.New("no such repository")

// pageSize is the most that DescribeImages and DescribeRepositories give.
const pageSize = 1000

// attempts at one call: a list of many pages must not fail for one of them.
const attempts = 10

// ECROption changes a default of ECR.
type ECROption func(*ECRSource)

// WithAccount takes the registry of another account than that of the
// credentials.
func WithAccount(account string) ECROption {
	return func(s *ECRSource) { s.account = account }
}

// WithRepositories limits the source to these repositories. The default is
// every repository of the account.
func WithRepositories(names ...string) ECROption {
	return func(s *ECRSource) { s.names = names }
}

// WithArchived lists archived images as well, whose content cannot be read.
func WithArchived() ECROption { return func(s *ECRSource) { s.archived = true } }

// WithClientOptions are for the repositories that Open returns; the AWS
// configuration is among them already.
func WithClientOptions(o ...ecrclient.Option) ECROption {
	return func(s *ECRSource) { s.client = append(s.client, o...) }
}

// ECRSource lists the repositories of a private registry of ECR. Its calls need
// ecr:DescribeRepositories and ecr:DescribeImages.
type ECRSource struct {
	api      *ecr.Client
	region   string
	account  string // empty until it is known
	names    []string
	archived bool
	client   []ecrclient.Option

	mu sync.Mutex // of account
}

// ECR returns the private registry of cfg's account and region. A call that is
// throttled is made up to 10 times, unless cfg says otherwise.
func ECR(cfg aws.Config, o ...ECROption) *ECRSource {
	if cfg.Retryer == nil && cfg.RetryMaxAttempts == 0 {
		cfg.RetryMaxAttempts = attempts
	}
	s := &ECRSource{api: ecr.NewFromConfig(cfg), region: cfg.Region,
		client: []ecrclient.Option{ecrclient.WithAWSConfig(cfg)}}
	for _, f := range o {
		f(s)
	}
	return s
}

// Repositories is Source's. With WithRepositories it returns these, and
// ErrNoRepository for one that is not there.
func (s *ECRSource) Repositories(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for r, err := range s.Describe(ctx) {
			if !yield(aws.ToString(r.RepositoryName), err) || err != nil {
				return
			}
		}
	}
}

// Describe returns the repositories of Repositories as ECR describes them:
// mutability of tags, encryption, ARN.
func (s *ECRSource) Describe(ctx context.Context) iter.Seq2[types.Repository, error] {
	return func(yield func(types.Repository, error) bool) {
		if s.names == nil {
			s.describeAll(ctx, yield)
			return
		}
		names := slices.Clone(s.names)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			out, err := s.api.DescribeRepositories(ctx,
				&ecr.DescribeRepositoriesInput{RegistryId: s.registryID(), RepositoryNames: []string{name}})
			if err != nil {
				yield(types.Repository{}, fmt.Errorf("describing repository %s: %w", name, s.missing(err)))
				return
			}
			for _, r := range out.Repositories {
				s.learn(r.RegistryId)
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func (s *ECRSource) describeAll(ctx context.Context, yield func(types.Repository, error) bool) {
	var all []types.Repository
	in := &ecr.DescribeRepositoriesInput{RegistryId: s.registryID(), MaxResults: aws.Int32(pageSize)}
	pages := ecr.NewDescribeRepositoriesPaginator(s.api, in, func(o *ecr.DescribeRepositoriesPaginatorOptions) {
		o.StopOnDuplicateToken = true // a list that leads to itself has ended
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			yield(types.Repository{}, fmt.Errorf("listing repositories: %w", err))
			return
		}
		all = append(all, out.Repositories...)
	}
	slices.SortFunc(all, func(a, b types.Repository) int {
		return strings.Compare(aws.ToString(a.RepositoryName), aws.ToString(b.RepositoryName))
	})
	for _, r := range all {
		s.learn(r.RegistryId)
		if !yield(r, nil) {
			return
		}
	}
}

// Images is Source's, by DescribeImages in pages of 1,000.
func (s *ECRSource) Images(ctx context.Context, repository string) ([]Image, error) {
	in := &ecr.DescribeImagesInput{
		RegistryId: s.registryID(), RepositoryName: aws.String(repository), MaxResults: aws.Int32(pageSize),
	}
	if s.archived {
		in.Filter = &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny}
	}
	var all []Image
	at := map[digest.Digest]int{}
	pages := ecr.NewDescribeImagesPaginator(s.api, in, func(o *ecr.DescribeImagesPaginatorOptions) {
		o.StopOnDuplicateToken = true
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the images of %s: %w", repository, s.missing(err))
		}
		for _, d := range out.ImageDetails {
			s.learn(d.RegistryId)
			image := described(repository, d)
			// One that is pushed between two pages may be on both.
			if i, twice := at[image.Digest]; twice {
				all[i] = image
				continue
			}
			at[image.Digest] = len(all)
			all = append(all, image)
		}
	}
	sortImages(all)
	return all, nil
}

func described(repository string, d types.ImageDetail) Image {
	tags := slices.Clone(d.ImageTags)
	slices.Sort(tags)
	return Image{
		Repository: repository, Digest: digest.Digest(aws.ToString(d.ImageDigest)), Tags: tags,
		MediaType: aws.ToString(d.ImageManifestMediaType), ArtifactType: aws.ToString(d.ArtifactMediaType),
		Subject:  digest.Digest(aws.ToString(d.SubjectManifestDigest)),
		PushedAt: aws.ToTime(d.ImagePushedAt), PulledAt: aws.ToTime(d.LastRecordedPullTime),
		Size: aws.ToInt64(d.ImageSizeInBytes),
		// With a status that is new to this release it cannot be pulled.
		Archived:  d.ImageStatus != "" && d.ImageStatus != types.ImageStatusActive,
		Restoring: d.ImageStatus == types.ImageStatusActivating,
	}
}

// Open is Source's. It fails until the account is known: by WithAccount, or by
// something that was listed.
func (s *ECRSource) Open(repository string) (*ecrclient.Repository, error) {
	host, err := ecrclient.RegistryHost(aws.ToString(s.registryID()), s.region)
	if err != nil {
		return nil, err
	}
	return ecrclient.New(host+"/"+repository, s.client...)
}

// Client is the client of ECR's API by which is listed.
func (s *ECRSource) Client() *ecr.Client { return s.api }

// registryID returns the account, nil for that of the credentials.
func (s *ECRSource) registryID() *string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.account == "" {
		return nil
	}
	return aws.String(s.account)
}

func (s *ECRSource) learn(account *string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.account == "" {
		s.account = aws.ToString(account)
	}
}

// missing makes ErrNoRepository of ECR's word for it.
func (s *ECRSource) missing(err error) error {
	if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); ok {
		return fmt.Errorf("%w in ECR in region %s%s", ErrNoRepository, s.region, s.ofAccount())
	}
	return err
}

// ofAccount names the account, if it is known.
func (s *ECRSource) ofAccount() string {
	if id := s.registryID(); id != nil {
		return " of account " + *id
	}
	return ""
}
