package guided

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
)

// month is how far back an account's pushes are looked at.
const month = 30 * 24 * time.Hour

// listed is what an account's repositories have, read once, so that many filters
// can be tried on it.
type listed struct {
	repositories []string // sorted
	images       map[string][]inventory.Image
	err          error // that ended the listing, if one did
}

// list reads all repositories, or as many as it can before ctx ends, without
// those that deploy makes for functions' images. tell gets the number of
// repositories after each.
func list(ctx context.Context, source inventory.Source, tell func(repositories int)) *listed {
	l := &listed{images: map[string][]inventory.Image{}}
	for name, err := range source.Repositories(ctx) {
		if companion.IsRepositoryName(name) {
			continue
		}
		var images []inventory.Image
		if err == nil {
			images, err = source.Images(ctx, name)
		}
		if errors.Is(err, inventory.ErrNoRepository) { // deleted meanwhile
			continue
		}
		if err != nil {
			l.err = err
			return l
		}
		l.repositories = append(l.repositories, name)
		l.images[name] = images
		tell(len(l.repositories))
	}
	return l
}

// Repositories makes it an inventory.Source, for PreviewListed.
func (l *listed) Repositories(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range l.repositories {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Images returns what was read.
func (l *listed) Images(_ context.Context, repository string) ([]inventory.Image, error) {
	return l.images[repository], nil
}

// Open fails: a preview reads no content.
func (l *listed) Open(repository string) (*ecrclient.Repository, error) {
	return nil, fmt.Errorf("internal error: the preview opens %s", repository)
}

// choice is what filters choose in one repository.
type choice struct {
	repository     string
	chosen, others int // tags, and images without one
	pushed         int // of the chosen, within the month
}

// chosen is what filters choose in an account.
type chosen struct {
	choices []choice // of all repositories, those with the most pushes first
	images  int

	all    backfill.Plan // every image that is chosen
	pushes backfill.Plan // those that were pushed within the month
}

// choose judges everything that was listed, as the filter function would.
func (l *listed) choose(ctx context.Context, rules filters.Rules, now time.Time) (*chosen, error) {
	previews, err := inventory.PreviewListed(ctx, l, rules, nil)
	if err != nil {
		return nil, err
	}
	type place struct{ repository, digest string }
	at := map[place]inventory.Image{}
	for name, images := range l.images {
		for _, i := range images {
			at[place{name, i.Digest.String()}] = i
		}
	}
	c := &chosen{}
	by := map[string]*choice{}
	seen := map[place]bool{}
	for _, p := range previews {
		in := by[p.Repository]
		if in == nil {
			in = &choice{repository: p.Repository}
			by[p.Repository] = in
		}
		where := place{p.Repository, p.Digest.String()}
		image := at[where]
		switch p.Decision {
		case filters.Matched:
		case filters.NotMatched:
			in.others++
			continue
		default: // never indexed, whatever the filters say
			continue
		}
		in.chosen++
		c.images++
		item := backfill.Item{Repository: p.Repository, Tag: p.Tag, Digest: p.Digest, PushedAt: image.PushedAt}
		if !seen[where] { // another tag of it reads nothing more
			item.Bytes = image.Size
		}
		seen[where] = true
		c.all.Items = append(c.all.Items, item)
		if now.Sub(image.PushedAt) <= month {
			in.pushed++
			c.pushes.Items = append(c.pushes.Items, item)
		}
	}
	for _, name := range l.repositories {
		if by[name] == nil {
			by[name] = &choice{repository: name}
		}
		c.choices = append(c.choices, *by[name])
	}
	slices.SortStableFunc(c.choices, func(a, b choice) int {
		if a.pushed != b.pushed {
			return b.pushed - a.pushed
		}
		if a.chosen != b.chosen {
			return b.chosen - a.chosen
		}
		return strings.Compare(a.repository, b.repository)
	})
	return c, nil
}
