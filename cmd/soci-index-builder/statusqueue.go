package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

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
}

// explain adds to the reason of an image that lacks SOCI indexes that its failure
// waits in the queue, and which command shows it. What it cannot find out it
// notes, once.
func (f *failedImages) explain(ctx context.Context, r *inventory.Record, note func(error)) {
	if f.url == "" || !r.State.Lacking() {
		return
	}
	if !f.asked {
		f.asked = true
		queue := &redrive.Queue{Client: sqs.NewFromConfig(f.cfg), URL: f.url}
		var err error
		if f.found, err = queue.Waiting(ctx, mostFailures); err != nil && ctx.Err() == nil {
			note(fmt.Errorf("which failures wait in the failure queue is not known: %w", explain(err)))
		}
	}
	for i := len(f.found) - 1; i >= 0; i-- { // the latest is last
		m := f.found[i]
		if m.Repository != r.Repository || m.Digest != "" && m.Digest != r.Digest.String() || m.Digest == "" && m.Tag != r.Tag {
			continue
		}
		image := r.Repository + "@" + r.Digest.String()
		if r.Tag != "" && m.Tag == r.Tag {
			image = r.Repository + ":" + r.Tag
		}
		r.Reason += fmt.Sprintf("; its failure of %s waits in the failure queue: %s --image %s shows it",
			m.Failed.UTC().Format(time.RFC3339), f.command, image)
		return
	}
}
