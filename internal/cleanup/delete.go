package cleanup

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

// Reasons for which an image is not deleted.
var (
	// ErrListed: an image index lists it.
	ErrListed = errors.New("an image index lists it")

	// ErrChanged: it has other tags than when it was looked at.
	ErrChanged = errors.New("its tags have changed")

	// ErrDisabled: the registry deletes nothing.
	ErrDisabled = errors.New("the registry has deletion switched off")
)

// Outcome is what became of an item.
type Outcome string

// The outcomes.
const (
	Deleted Outcome = "deleted"
	Gone    Outcome = "gone"   // before it could be deleted
	Stayed  Outcome = "kept"   // something has come to need it, or it has changed
	Failed  Outcome = "failed" // it could not be deleted
)

// Result is an item of a plan and what became of it.
type Result struct {
	Item
	Outcome Outcome
	Reason  string // of Stayed and Failed
}

const (
	batchSize = 100 // images and tags of one BatchDeleteImage

	// attempts at one item. ECR may go on for some seconds to refuse, or to
	// list, what was just deleted or listed by what was.
	attempts  = 6
	firstWait = time.Second // doubles
	longWait  = 20 * time.Second
)

// Delete deletes the items of the plan: image indexes before what they list,
// image manifests before the SOCI index that they name. Before every batch the
// repository is listed again, and what is needed by then stays. done is called
// with each item when it is known what became of it. An error ends it; what was
// deleted until then has been reported.
func (p *Plan) Delete(ctx context.Context, done func(Result)) error {
	d := &deletion{plan: p, done: done, open: map[digest.Digest]*attempt{}, failed: map[digest.Digest]bool{}}
	for _, item := range p.Items {
		d.open[item.Digest] = &attempt{item: item}
	}
	wait, again := firstWait, false
	for len(d.open) > 0 {
		now, err := p.look(ctx)
		if err != nil {
			return err
		}
		d.settle(now)
		batch := d.next(now, again)
		switch {
		case len(d.open) == 0:
		case len(batch) == 0 && !again: // there is nothing but second attempts
			if err := p.options.Pause(ctx, wait); err != nil {
				return err
			}
			wait, again = min(2*wait, longWait), true
			continue
		case len(batch) == 0:
			d.wait(now)
		default:
			deleted, err := d.delete(ctx, batch)
			if err != nil {
				return err
			}
			if deleted {
				wait = firstWait
			}
		}
		again = false
	}
	return nil
}

// deletion is a plan being carried out.
type deletion struct {
	plan   *Plan
	done   func(Result)
	open   map[digest.Digest]*attempt // items without a result yet
	failed map[digest.Digest]bool
}

type attempt struct {
	item  Item
	tries int   // to delete it
	waits int   // for what must be deleted before it
	asked bool  // to delete it, and not refused
	err   error // of the last try
}

func (d *deletion) close(a *attempt, outcome Outcome, reason string) {
	delete(d.open, a.item.Digest)
	d.failed[a.item.Digest] = outcome == Failed
	d.done(Result{a.item, outcome, reason})
}

// settle reports items that no longer exist, and items that are now kept.
func (d *deletion) settle(now *selection) {
	kept := map[digest.Digest]Kept{}
	for _, k := range now.kept {
		kept[k.Digest] = k
	}
	for _, item := range d.plan.Items {
		a := d.open[item.Digest]
		if a == nil {
			continue
		}
		n := now.nodes[item.Digest]
		switch k, stays := kept[item.Digest]; {
		case n == nil && a.asked:
			d.close(a, Deleted, "")
		case n == nil:
			d.close(a, Gone, "")
		case d.failed[item.PartOf]:
			d.close(a, Failed, "its SOCI-enabled image could not be deleted")
		case now.going[n] || d.partOfGone(item, now):
		case stays && k.Detail != "":
			d.close(a, Stayed, string(k.Reason)+": "+k.Detail)
		case stays:
			d.close(a, Stayed, string(k.Reason))
		default:
			d.close(a, Stayed, "something has come to need it")
		}
	}
}

// partOfGone reports whether an item was part of a SOCI-enabled image that has
// been deleted, and nothing leads to it since. By itself it might be taken for
// a part of a build under way, or not be known for what it is.
func (d *deletion) partOfGone(item Item, now *selection) bool {
	n := now.nodes[item.Digest]
	if item.PartOf == "" || now.nodes[item.PartOf] != nil || len(n.Tags) > 0 || now.mayList(n) != nil {
		return false
	}
	if n.is(soci.KindEnabledManifest) && !now.proven(n) {
		return false // its original has gone meanwhile
	}
	open := func(other *node) bool { return d.open[other.Digest] != nil }
	for _, parent := range n.listedBy {
		if !open(parent) {
			return false
		}
	}
	return !slices.ContainsFunc(now.namedBy[item.Digest], func(other *node) bool { return !open(other) })
}

// next returns what can be deleted now: what no image index lists, and no image
// manifest names, that has to be deleted before it. What was tried before is
// among it only with again.
func (d *deletion) next(now *selection, again bool) []inventory.Image {
	var batch []inventory.Image
	size := 0
	for _, item := range d.plan.Items {
		a := d.open[item.Digest]
		if a == nil || a.tries > 0 != again || !ready(now, item.Digest) {
			continue
		}
		n := now.nodes[item.Digest]
		if size += max(len(n.Tags), 1); size > batchSize && len(batch) > 0 {
			break
		}
		batch = append(batch, n.Image)
	}
	return batch
}

func ready(now *selection, item digest.Digest) bool {
	return len(now.nodes[item].listedBy) == 0 && len(now.namedBy[item]) == 0
}

// delete deletes a batch and reports whether anything of it could be deleted.
func (d *deletion) delete(ctx context.Context, batch []inventory.Image) (deleted bool, err error) {
	refused, err := d.plan.repo.Delete(ctx, batch)
	if err != nil {
		return false, err
	}
	for _, image := range batch {
		a := d.open[image.Digest]
		a.tries++
		a.err = refused[image.Digest]
		later := a.err == nil || errors.Is(a.err, ErrListed) || errors.Is(a.err, ErrChanged)
		switch {
		case a.err == nil:
			a.asked, deleted = true, true // that it is gone the next list shows
		case !later || a.tries == attempts:
			d.close(a, Failed, a.err.Error())
		}
		if a.err == nil && a.tries > attempts {
			d.close(a, Failed, "it is still there after it was deleted")
		}
	}
	return deleted, nil
}

// wait gives up on items that have waited too often for others to be deleted before
// it.
func (d *deletion) wait(now *selection) {
	for _, item := range d.plan.Items {
		a := d.open[item.Digest]
		if a == nil || ready(now, item.Digest) {
			continue
		}
		if a.waits++; a.waits < attempts {
			continue
		}
		d.close(a, Failed, "what lists it, or names it, could not be deleted")
	}
}
