package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/pkg/ecrclient"
)

// resolveConcurrency is how many tags are resolved at once.
const resolveConcurrency = 8

// RegistrySource lists named repositories of any OCI registry. It sees what
// has a tag, and knows no times.
type RegistrySource struct {
	host   string
	names  []string
	tags   map[string][]string
	client []ecrclient.Option
}

// Registry returns named repositories at host, "registry.example.com" or
// "127.0.0.1:5000".
func Registry(host string, repositories []string, o ...ecrclient.Option) *RegistrySource {
	names := slices.Clone(repositories)
	slices.Sort(names)
	return &RegistrySource{host: host, names: slices.Compact(names), client: o}
}

// OnlyTags has only these tags of a repository listed, without asking the
// registry for all. It must not be called when the source is in use.
func (s *RegistrySource) OnlyTags(repository string, tags ...string) {
	if s.tags == nil {
		s.tags = map[string][]string{}
	}
	s.tags[repository] = append(s.tags[repository], tags...)
}

// Repositories implements Source. It makes no request.
func (s *RegistrySource) Repositories(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range s.names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Images is Source's, from the list of tags. A tag that is gone when it is
// resolved is left out.
func (s *RegistrySource) Images(ctx context.Context, repository string) ([]Image, error) {
	r, err := s.Open(repository)
	if err != nil {
		return nil, err
	}
	tags, chosen := s.tags[repository]
	if !chosen {
		if tags, err = r.Tags(ctx); errors.Is(err, ecrclient.ErrNotFound) {
			return nil, fmt.Errorf("listing the images of %s: %w: %w", r.Name(), ErrNoRepository, err)
		} else if err != nil {
			return nil, fmt.Errorf("listing the images of %s: %w", r.Name(), err)
		}
	}
	found := make([]Image, len(tags))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(resolveConcurrency)
	for i, tag := range tags {
		group.Go(func() error {
			desc, err := r.Resolve(within, tag)
			if errors.Is(err, ecrclient.ErrNotFound) && !chosen {
				return nil
			}
			found[i] = Image{Repository: repository, Digest: desc.Digest, MediaType: desc.MediaType,
				Tags: []string{tag}}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	at := map[digest.Digest]int{}
	var all []Image
	for _, image := range found {
		switch i, ok := at[image.Digest]; {
		case image.Digest == "":
		case ok:
			all[i].Tags = append(all[i].Tags, image.Tags...)
		default:
			at[image.Digest] = len(all)
			all = append(all, image)
		}
	}
	for i := range all {
		slices.Sort(all[i].Tags)
		all[i].Tags = slices.Compact(all[i].Tags)
	}
	sortImages(all)
	return all, nil
}

// Open is Source's.
func (s *RegistrySource) Open(repository string) (*ecrclient.Repository, error) {
	return ecrclient.New(s.host+"/"+repository, s.client...)
}
