package ecrclient

import (
	"context"
	"slices"
)

// maxListedTags bounds the list that Tags collects.
const maxListedTags = 1_000_000

// Tags lists all tags of the repository, sorted, each once. A repository that
// is not there is ErrNotFound on most registries; on some it has no tag.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	var tags []string
	err := r.retry(ctx, operation{name: opListTags}, func(ctx context.Context) error {
		tags = nil
		return r.tagPages(ctx, func(page []string) error {
			tags = append(tags, page...)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(tags)
	return tags, nil
}
