package deploy

import (
	"context"
	"fmt"

	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deployed"
)

// Place implements [Recorder].
func (p *codePlace) Place() string { return inBucket(p.bucket.Name) }

// Records implements [Recorder].
func (p *codePlace) Records(stack string) record.Store { return record.InBucket(p.bucket, stack) }

// Prune implements [Recorder]. In a user's own bucket only what old records
// name is deleted.
func (p *codePlace) Prune(ctx context.Context, d *Deploy, kept, old []*record.Record) ([]string, error) {
	pruning := codebucket.Pruning{Before: d.Mode.Now().Add(-fresh)}
	if p.managed == nil {
		keys, _ := record.Needed(old)
		if pruning.Named = keys[p.bucket.Name]; len(pruning.Named) == 0 {
			return nil, nil
		}
	}
	var err error
	if pruning.Keep, err = p.named(ctx, d, kept); err != nil {
		return nil, err
	}
	gone, err := p.bucket.Prune(ctx, pruning)
	for i, key := range gone {
		gone[i] = "s3://" + p.bucket.Name + "/" + key
	}
	return gone, err
}

// named are the keys that stacks and records name, of every stack of the account
// in the region. Without knowing all of them nothing can be deleted.
func (p *codePlace) named(ctx context.Context, d *Deploy, kept []*record.Record) ([]string, error) {
	keep, err := d.keysOfStacks(ctx, p.bucket.Name)
	if err != nil {
		return nil, err
	}
	stacks, err := record.StacksInBucket(ctx, p.bucket)
	if err != nil {
		return nil, err
	}
	for _, stack := range stacks {
		all := kept
		if stack != d.Settings.Stack {
			if all, err = p.Records(stack).List(ctx); err != nil {
				return nil, fmt.Errorf("what the stack %s needs is not known: %w", stack, err)
			}
		}
		keys, _ := record.Needed(all)
		keep = append(keep, keys[p.bucket.Name]...)
	}
	return keep, nil
}

// keysOfStacks are those that any stack has as its code in a bucket.
func (d *Deploy) keysOfStacks(ctx context.Context, bucket string) (keep []string, err error) {
	stacks, err := d.parametersOfStacks(ctx)
	if err != nil {
		return nil, err
	}
	for _, has := range stacks {
		if has[deployed.ParamCodeBucket] != bucket {
			continue
		}
		for _, name := range zipNames {
			keep = append(keep, has[deployed.ParamCodeKeyPrefix]+name)
		}
	}
	return keep, nil
}
