package ecrclient

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/names"
)

// pushedIndex is a SOCI index as ECR describes it.
type pushedIndex struct {
	digest string
	at     time.Time
}

// recentImages offers the SOCI indexes that were pushed last.
func (s *search) recentImages(ctx context.Context, tokens *tokenSource) {
	for _, index := range s.describeImages(ctx, tokens) {
		if s.done(ctx) {
			return
		}
		if s.seen[digest.Digest(index.digest)] {
			continue
		}
		// ECR's size is that of all that the manifest names.
		desc, err := s.r.Resolve(ctx, index.digest)
		if err == nil {
			s.offer(desc)
		} else if !s.goesOn(ctx, err) {
			return
		}
	}
}

// describeImages returns the SOCI indexes among the images that could be listed,
// the newest first.
func (s *search) describeImages(ctx context.Context, tokens *tokenSource) []pushedIndex {
	within, cancel := context.WithTimeout(ctx, s.o.ListTimeout)
	defer cancel()
	host, _ := ParseECRHost(tokens.host)
	in := &ecr.DescribeImagesInput{
		RegistryId:     aws.String(host.Account),
		RepositoryName: aws.String(s.r.remote.Reference.Repository),
		MaxResults:     aws.Int32(listPageSize),
		// SOCI indexes are pushed by digest.
		Filter: &types.DescribeImagesFilter{TagStatus: types.TagStatusUntagged},
	}
	var (
		indexes []pushedIndex
		listed  int
		enough  bool
	)
	api, err := tokens.api(within)
	for page := 1; err == nil; page++ {
		var out *ecr.DescribeImagesOutput
		if out, err = api.DescribeImages(within, in); err != nil {
			break
		}
		listed += len(out.ImageDetails)
		for _, image := range out.ImageDetails {
			if t := aws.ToString(image.ArtifactMediaType); t == names.SociIndexV1 || t == names.SociIndexV2 {
				indexes = append(indexes, pushedIndex{aws.ToString(image.ImageDigest), aws.ToTime(image.ImagePushedAt)})
			}
		}
		in.NextToken = out.NextToken
		if aws.ToString(in.NextToken) == "" {
			break
		}
		if enough = page == s.o.MaxPages; enough {
			break
		}
	}
	if s.bounded(ctx, within, err, listed, enough) {
		failure := awsError(&Error{Op: opListImages, Repository: s.r.name}, err)
		if isDenied(failure.Code) {
			failure.Err = fmt.Errorf("%w; the permission ecr:DescribeImages is needed", failure.Err)
		}
		s.goesOn(ctx, failure)
	}
	slices.SortStableFunc(indexes, func(a, b pushedIndex) int { return b.at.Compare(a.at) })
	return indexes
}
