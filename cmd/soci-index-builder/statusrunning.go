package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"soci-index-builder/internal/deployed/executions"
	"soci-index-builder/internal/inventory"
)

// atWork knows which images the state machine of a stack works on. It asks when
// the first image lacks something.
type atWork struct {
	machine string // ARN; empty for none
	cfg     aws.Config
	asked   bool
	found   map[executions.Image]executions.Execution
}

// explain returns, for the reason of an image that lacks SOCI indexes, that the
// state machine works on it. What it cannot find out it notes, once.
func (w *atWork) explain(ctx context.Context, r *inventory.Record, note func(error)) string {
	if w.machine == "" || !r.State.ToIndex() {
		return ""
	}
	if !w.asked {
		w.asked = true
		var err error
		if w.found, err = executions.Running(ctx, sfn.NewFromConfig(w.cfg), w.machine); err != nil && ctx.Err() == nil {
			note(fmt.Errorf("which images the state machine works on is not known: %w", explain(err)))
		}
	}
	x, ok := w.found[executions.Image{Repository: r.Repository, Digest: r.Digest.String(), Tag: r.Tag}]
	if !ok {
		return ""
	}
	return fmt.Sprintf("; the state machine works on it since %s, execution %s",
		x.Started.UTC().Format(time.RFC3339), x.Name)
}
