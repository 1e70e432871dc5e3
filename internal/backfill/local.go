package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/backfill/pace"
	"soci-index-builder/internal/cleanup/surplus"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Local builds the SOCI indexes of items here.
type Local struct {
	// Source has the items.
	Source inventory.Source

	// Options are for every build. Tag and Catalog are Local's own;
	// Limits.MaxMemory is for all builds together, and its default is
	// 1 GiB.
	Options soci.Options

	// Parallel is the number of images worked on at once. The default is 1.
	Parallel int

	// Rate, if set, keeps to what the registry takes.
	Rate *Rate

	// Pacer is the clock's by default.
	Pacer *pace.Pacer
}

const defaultMaxMemory = 1 << 30 // 1 GiB

// Run works on the items, several at once, and reports each when it is done,
// by one goroutine at a time. Each build has its part of the memory; one for
// which that is not enough has all of it once the others are done. Its error
// is that of ctx, or ErrFailed when items failed.
func (l *Local) Run(ctx context.Context, items []Item, report func(Result)) error {
	memory := l.Options.Limits.MaxMemory
	if memory == 0 {
		memory = defaultMaxMemory
	}
	parallel := max(l.Parallel, 1)
	pacer := l.Pacer
	if pacer == nil {
		pacer = &pace.Pacer{}
	}
	var (
		mu       sync.Mutex
		large    []*Item // for which their part of the memory was not enough
		failures int
	)
	tell := func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		if r.Err != nil {
			failures++
		}
		report(r)
	}
	group := errgroup.Group{}
	group.SetLimit(parallel)
	for n := range items {
		i := &items[n]
		if l.Rate != nil {
			if pacer.Wait(ctx, l.Rate.Interval(i)) != nil {
				break
			}
		}
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			r := l.build(ctx, i, memory/int64(parallel))
			switch {
			case ctx.Err() != nil && r.Err != nil: // told to stop
			case parallel > 1 && errors.Is(r.Err, soci.ErrLimit):
				mu.Lock()
				defer mu.Unlock()
				large = append(large, i)
			default:
				tell(r)
			}
			return nil
		})
	}
	_ = group.Wait()
	for _, i := range large {
		if ctx.Err() != nil {
			break
		}
		if r := l.build(ctx, i, memory); r.Err == nil || ctx.Err() == nil {
			tell(r)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return failed(failures, len(items))
}

// build makes the SOCI indexes of one item with at most that many bytes of memory.
func (l *Local) build(ctx context.Context, i *Item, memory int64) Result {
	start := time.Now()
	r := Result{Item: i}
	l.index(ctx, &r, memory)
	r.Seconds = time.Since(start).Seconds()
	if r.Err != nil {
		r.Err = fmt.Errorf("%s: %w", i.Name(), r.Err)
	}
	return r
}

func (l *Local) index(ctx context.Context, r *Result, memory int64) {
	i := r.Item
	repository, err := l.Source.Open(i.Repository)
	if err != nil {
		r.Err = err
		return
	}
	o := l.Options
	o.Tag = i.Tag
	o.Limits.MaxMemory = memory
	o.Catalog = repository.Catalog(ecrclient.CatalogOptions{Tag: i.Tag, TagSuffix: o.TagSuffix})
	r.Index, r.Err = soci.IndexImage(ctx, repository, repository, i.Descriptor, o)
	if r.Err == nil {
		r.Older, r.Unknown = surplus.Remove(ctx, repository, r.Index, false)
		if errors.Is(r.Unknown, surplus.ErrLost) {
			r.Err = r.Unknown
		}
	}
}
