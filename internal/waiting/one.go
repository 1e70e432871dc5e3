package waiting

import (
	"context"
	"iter"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
)

// One returns a source that lists one image: what a tag or a digest names in a
// repository of this name, without the host, at each time that it is asked.
func One(repository *ecrclient.Repository, name, reference string) inventory.Source {
	return &one{repository, name, reference}
}

type one struct {
	repository      *ecrclient.Repository
	name, reference string
}

func (o *one) Repositories(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield(o.name, nil) }
}

func (o *one) Images(ctx context.Context, repository string) ([]inventory.Image, error) {
	desc, err := o.repository.Resolve(ctx, o.reference)
	if err != nil {
		return nil, err
	}
	image := inventory.Image{Repository: repository, Digest: desc.Digest, MediaType: desc.MediaType}
	if _, err := digest.Parse(o.reference); err != nil {
		image.Tags = []string{o.reference}
	}
	return []inventory.Image{image}, nil
}

func (o *one) Open(string) (*ecrclient.Repository, error) { return o.repository, nil }
