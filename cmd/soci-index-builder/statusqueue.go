package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/redrive"
)

// mostFailures bounds how many messages of the failure queue are looked at.
const mostFailures = 1000

// failedImages knows which images have failed for good, by the failure queue of a
// stack. It reads that when the first image lacks something.
type failedImages struct {
	command string // that shows the messages, without those flags that choose
	url     string // of the queue; empty for none
	cfg     aws.Config
	asked   bool
	found   []*redrive.Message
	count   int // of the messages, when they were read
}

// explain returns, for the reason of an image that lacks SOCI indexes, that its
// failure waits in the queue, and which command shows it. What it cannot find out
// it notes, once.
func (f *failedImages) explain(ctx context.Context, r *inventory.Record, note func(error)) string {
	if f.url == "" || !r.State.Lacking() {
		return ""
	}
	if !f.asked {
		f.asked = true
		queue := &redrive.Queue{Client: sqs.NewFromConfig(f.cfg), URL: f.url}
		var err error
		if f.found, err = queue.Waiting(ctx, mostFailures); err != nil && ctx.Err() == nil {
			note(fmt.Errorf("which failures wait in the failure queue is not known: %w", explain(err)))
		}
	}
	m := f.of(r.Repository, r.Tag, r.Digest)
	if m == nil {
		return ""
	}
	image := r.Repository + "@" + r.Digest.String()
	if r.Tag != "" && m.Tag == r.Tag {
		image = r.Repository + ":" + r.Tag
	}
	return fmt.Sprintf("; its failure of %s waits in the failure queue: %s --image %s",
		m.Failed.UTC().Format(time.RFC3339), f.command, image)
}

// of returns the latest failure of an image under a tag, nil if there is none.
func (f *failedImages) of(repository, tag string, d digest.Digest) *redrive.Message {
	for _, m := range slices.Backward(f.found) {
		if m.Repository == repository && (m.Digest == d.String() || m.Digest == "" && m.Tag == tag) {
			return m
		}
	}
	return nil
}

// failedSince returns which of the items have failed since then, by their places
// in the list. It reads the queue only when the number of messages has changed,
// since that counts as receiving them.
func (f *failedImages) failedSince(ctx context.Context, since time.Time, items []backfill.Item) (map[int]bool, error) {
	queue := &redrive.Queue{Client: sqs.NewFromConfig(f.cfg), URL: f.url}
	n, err := queue.Count(ctx)
	if err != nil {
		return nil, err
	}
	if n != f.count {
		if f.found, err = queue.Waiting(ctx, mostFailures); err != nil {
			return nil, err
		}
		f.count = n
	}
	failed := map[int]bool{}
	for n, i := range items {
		m := f.of(i.Repository, i.Tag, i.Digest)
		failed[n] = m != nil && !m.Failed.Before(since)
	}
	return failed, nil
}
