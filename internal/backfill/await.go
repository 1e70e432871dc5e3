package backfill

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	smithytime "github.com/aws/smithy-go/time"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inventory"
)

// Await looks at items that were handed over until they have their SOCI
// indexes.
type Await struct {
	// Source of some repositories, those that are still of interest.
	Source func(repositories []string) inventory.Source

	// Options of the survey that made the plan. Tags, Since, All and Progress
	// are Await's own.
	Options inventory.Options

	// Failed, if set, tells after a look which of the items that lack something
	// have failed for good, by their places: they are not waited for.
	Failed func(ctx context.Context, left []Item) map[int]bool

	// For is how long to wait at most; Every is the time from one look to the
	// next at most, by default 30 seconds. The first ones come sooner.
	For, Every time.Duration

	// Progress gets the number of items that need no more waiting.
	Progress func(done int)

	// Now and Sleep are the clock's by default.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
}

const (
	defaultEvery = 30 * time.Second
	firstPause   = 2 * time.Second // then twice as long, and so on
)

// itemKey names an item.
type itemKey struct {
	repository, tag string
	digest          digest.Digest
}

func keyOf(i *Item) itemKey { return itemKey{i.Repository, i.Tag, i.Digest} }

// Run waits, and returns the items that still lack their SOCI indexes when the
// time is over, or when none is left that may get them; those that failed are
// among them. Items whose tag now names another image, or that were deleted, are
// not waited for. The error is that of ctx, or why nothing could be seen at the
// last look.
func (a *Await) Run(ctx context.Context, items []Item) ([]Item, error) {
	now, sleep, every := a.Now, a.Sleep, a.Every
	if now == nil {
		now = time.Now
	}
	if sleep == nil {
		sleep = smithytime.SleepWithContext
	}
	if every == 0 {
		every = defaultEvery
	}
	deadline := now().Add(a.For)
	left := slices.Clone(items)
	var lost []Item // that have failed
	next := min(firstPause, every)
	for {
		var err error
		left, err = a.look(ctx, left)
		if ctx.Err() != nil {
			return append(left, lost...), ctx.Err()
		}
		if len(left) > 0 && a.Failed != nil {
			failed := a.Failed(ctx, left)
			var waiting []Item
			for i := range left {
				if failed[i] {
					lost = append(lost, left[i])
				} else {
					waiting = append(waiting, left[i])
				}
			}
			left = waiting
		}
		a.Progress(len(items) - len(left))
		if len(left) == 0 {
			return lost, nil
		}
		pause := min(next, deadline.Sub(now()))
		if pause <= 0 {
			return append(left, lost...), err
		}
		next = min(2*next, every)
		if err := sleep(ctx, pause); err != nil {
			return append(left, lost...), err
		}
	}
}

// look returns the items that still lack something. Those of repositories that
// could not be seen are among them; the error is one of these.
func (a *Await) look(ctx context.Context, items []Item) ([]Item, error) {
	by := map[string][]Item{}
	for _, i := range items {
		by[i.Repository] = append(by[i.Repository], i)
	}
	lacking := map[itemKey]bool{}
	var failure error
	for _, repository := range slices.Sorted(maps.Keys(by)) {
		for r, err := range a.survey(ctx, repository, by[repository]) {
			if err != nil {
				failure = err
				for _, i := range by[repository] {
					lacking[keyOf(&i)] = true
				}
				break
			}
			if r.ToIndex() {
				lacking[itemKey{r.Repository, r.Tag, r.Digest}] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(items), func(i Item) bool { return !lacking[keyOf(&i)] }), failure
}

// survey looks at the items of one repository, as far as they are there still.
func (a *Await) survey(ctx context.Context, repository string, items []Item) iter.Seq2[inventory.Record, error] {
	fail := func(err error) iter.Seq2[inventory.Record, error] {
		return func(yield func(inventory.Record, error) bool) { yield(inventory.Record{}, err) }
	}
	src := a.Source([]string{repository})
	all, err := src.Images(ctx, repository)
	if err != nil {
		return fail(err)
	}
	wanted := map[itemKey]bool{}
	for n := range items {
		wanted[keyOf(&items[n])] = true
	}
	var tags []string
	untagged := false
	for _, image := range all {
		for _, tag := range image.Tags {
			if wanted[itemKey{repository, tag, image.Digest}] {
				tags = append(tags, tag)
			}
		}
		untagged = untagged || wanted[itemKey{repository, "", image.Digest}]
	}
	if len(tags) == 0 && !untagged {
		return func(func(inventory.Record, error) bool) {}
	}
	o := a.Options
	o.Since, o.All, o.Progress, o.Tags = time.Time{}, false, nil, nil
	if !untagged {
		o.Tags = map[string][]string{repository: tags}
	}
	return inventory.Survey(ctx, src, o)
}
