package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/pkg/ecrclient"
)

// ErrInvalidName: not the name of an image in ECR. The text says what is
// wrong.
var ErrInvalidName = errors.New("invalid image name")

// Preview is an image with what filters would do with it when it is pushed. Tag
// is empty for an image without one, Digest for an image that was named by its
// tag.
type Preview struct {
	Repository, Tag string
	Digest          digest.Digest
	filters.Verdict
}

// Name is REPOSITORY:TAG, or REPOSITORY@DIGEST for an image without a tag.
func (i Preview) Name() string {
	if i.Tag == "" {
		return i.Repository + "@" + i.Digest.String()
	}
	return i.Repository + ":" + i.Tag
}

// anyDigest stands for the digest of an image that is named by its tag, on
// which nothing depends.
var anyDigest = digest.FromString("")

// PreviewNamed judges an image by its name alone: REPOSITORY:TAG, or
// REPOSITORY@DIGEST for one that is pushed without a tag. The host of a
// registry of ECR may stand in front. Its error matches ErrInvalidName.
func PreviewNamed(name string, rules filters.Rules) (Preview, error) {
	rest := name
	if host, after, ok := strings.Cut(name, "/"); ok {
		if _, ok := ecrclient.ParseECRHost(host); ok {
			rest = after
		}
	}
	var image Preview
	if repository, d, ok := strings.Cut(rest, "@"); ok && d != "" {
		image.Repository, image.Digest = repository, digest.Digest(d)
	} else if repository, tag, ok := strings.Cut(rest, ":"); ok && tag != "" {
		image.Repository, image.Tag = repository, tag
	} else {
		return Preview{}, fmt.Errorf("%w %q: allowed is REPOSITORY:TAG, and REPOSITORY@DIGEST for an image without a tag", ErrInvalidName, name)
	}
	e, err := event(image, "", "")
	if err != nil {
		return Preview{}, fmt.Errorf("%w %q: %w", ErrInvalidName, name, err)
	}
	image.Verdict = rules.Decide(e.Image())
	return image, nil
}

// event makes the event that tells of an image, and has it judged as the
// filter function has every event judged.
func event(image Preview, artifactType string, subject digest.Digest) (*ecrevent.Event, error) {
	e := &ecrevent.Event{
		Version: "0", DetailType: ecrevent.ImageAction, Source: "aws.ecr", Account: "123456789012", Region: "us-east-1",
		Resources: []string{},
		Detail: ecrevent.Detail{
			RepositoryName: image.Repository, ImageTag: image.Tag, ImageDigest: image.Digest.String(),
			Result: "SUCCESS", ActionType: "PUSH", ArtifactMediaType: artifactType,
		},
	}
	if image.Digest == "" {
		e.Detail.ImageDigest = anyDigest.String()
	}
	if subject != "" {
		e.DetailType = ecrevent.ReferrerAction
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	parsed, err := ecrevent.Parse(b)
	if invalid, ok := errors.AsType[*ecrevent.InvalidError](err); ok {
		var problems []error
		for _, f := range invalid.Fields {
			what := strings.ReplaceAll(strings.TrimPrefix(f.Field, "detail."), "-", " ")
			problems = append(problems, fmt.Errorf("its %s %.100q must be %s", strings.TrimPrefix(what, "image "), f.Value, f.Allowed))
		}
		return nil, errors.Join(problems...)
	}
	return parsed, err
}

// PreviewListed judges all images of a source, each of its tags by itself, in the
// order of the source.
func PreviewListed(ctx context.Context, source Source, rules filters.Rules) ([]Preview, error) {
	var all []Preview
	for repository, err := range source.Repositories(ctx) {
		if err != nil {
			return nil, err
		}
		images, err := source.Images(ctx, repository)
		if err != nil {
			return nil, err
		}
		for _, listed := range images {
			tags := listed.Tags
			if len(tags) == 0 {
				tags = []string{""}
			}
			for _, tag := range tags {
				image := Preview{Repository: repository, Tag: tag, Digest: listed.Digest}
				e, err := event(image, listed.ArtifactType, listed.Subject)
				if err != nil {
					return nil, fmt.Errorf("%w %q: %w", ErrInvalidName, image.Name(), err)
				}
				image.Verdict = rules.Decide(e.Image())
				all = append(all, image)
			}
		}
	}
	return all, nil
}
