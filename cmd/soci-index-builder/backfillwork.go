package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

// backfillWork is one backfill.
type backfillWork struct {
	*backfillCommand
	cmd     *cobra.Command
	stack   *deployed.Stack // nil if none is named
	place   inventory.Place
	named   *inventory.Named
	source  inventory.Source
	options inventory.Options
	plan    *backfill.Plan

	progress   *backfillProgress
	failures   []error
	done       []backfill.Item // handed over or built
	notIndexed []backfill.Item // after --wait
	began      time.Time       // handing over
	waited     time.Duration
	lost       []string // of notIndexed, what has failed for good, as keyOfItem has it
}

// keyOfItem tells items apart.
func keyOfItem(i *backfill.Item) string { return i.Name() + "@" + i.Digest.String() }

// elapsed is a time that has passed, without what is below a second if it is
// longer: nothing is rounded up.
func elapsed(d time.Duration) string {
	if d >= time.Second {
		d = d.Truncate(time.Second)
	} else {
		d = d.Truncate(time.Millisecond)
	}
	return strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(d.String())
}

func (w *backfillWork) do(ctx context.Context) error {
	if err := w.survey(ctx); err != nil {
		return w.look.registry.explain(w.cmd, err)
	}
	if w.output == outputText {
		if err := w.writePlan(); err != nil {
			return err
		}
	}
	if w.dryRun || len(w.plan.Items) == 0 {
		return w.end(nil)
	}
	w.progress = newBackfillProgress(w.cmd, len(w.plan.Items))
	var err error
	if w.local {
		err = w.build(ctx)
	} else {
		err = w.handOver(ctx)
	}
	if err == nil || errors.Is(err, backfill.ErrFailed) {
		if waited := w.await(ctx); waited != nil {
			err = waited
		}
	}
	w.progress.end()
	return w.end(err)
}

// survey makes the plan.
func (w *backfillWork) survey(ctx context.Context) error {
	looking := newSurveyProgress(w.cmd)
	defer looking.end()
	o := w.options
	o.Tags, o.Progress = w.place.Tags, looking.show
	var err error
	survey := w.named.Watch(w.place.Host, inventory.Survey(ctx, w.source, o))
	w.plan, err = backfill.NewPlan(ctx, survey, o.IndexVersion, w.limit)
	looking.end()
	if err == nil {
		warnWithout(w.cmd.ErrOrStderr(), w.named, w.look.since, false)
	}
	return err
}

func (w *backfillWork) handOver(ctx context.Context) error {
	cfg := *w.look.config
	w.began = time.Now().Truncate(time.Second) // failures are logged by the second
	h := &backfill.Handover{
		Invoker:   lambda.NewFromConfig(cfg),
		FilterARN: w.stack.Outputs[deployed.OutFilterFunctionARN],
		Account:   w.stack.Account, Region: w.stack.Region,
		Rate: *w.rateOf(),
	}
	if w.rate == 0 {
		h.Watcher = &backfill.Watcher{
			Metrics:  cloudwatch.NewFromConfig(cfg),
			Function: w.stack.Outputs[deployed.OutGeneratorFunctionName],
			Tell:     w.tellPace,
		}
	}
	return h.Run(ctx, w.plan.Items, w.result)
}

func (w *backfillWork) tellPace(factor int, err error) {
	switch {
	case err != nil:
		w.progress.print(fmt.Sprintf("the pace does not follow the generator: %v", explain(err)))
	case factor == 1:
		w.progress.note("the generator keeps up again: back to the full pace")
	default:
		w.progress.note(fmt.Sprintf("the generator is throttled or behind: the pace is 1/%d of the full one", factor))
	}
}

func (w *backfillWork) build(ctx context.Context) error {
	l := &backfill.Local{Source: w.source, Parallel: resolveAtOnce(w.parallel), Rate: w.rateOf(), Options: soci.Options{
		IndexVersion: w.options.IndexVersion,
		TagSuffix:    w.options.Rules.TagSuffix,
		TagUnindexed: w.tagUnindexed,
		MinLayerSize: w.options.MinLayerSize,
		Choice:       w.options.Platforms,
		SpanSize:     w.spanSize.bytes,
		Concurrency:  w.concurrency,
		Limits:       soci.Limits{MaxMemory: w.maxMemory.bytes},

		PrefetchLabel: w.prefetch,
	}}
	return l.Run(ctx, w.plan.Items, w.result)
}

// result tells of one image.
func (w *backfillWork) result(r backfill.Result) {
	if r.Err != nil {
		r.Err = explain(r.Err)
		w.failures = append(w.failures, r.Err)
	} else {
		w.done = append(w.done, *r.Item)
	}
	if w.output == outputJSON {
		// An output that cannot be written fails at the summary too.
		_ = writeJSONLine(w.cmd.OutOrStdout(), w.json(&r, w.outcome(&r)))
	}
	w.progress.image(w.line(&r))
}

func (w *backfillWork) outcome(r *backfill.Result) string {
	switch {
	case r.Err != nil:
		return "failed"
	case w.local:
		return "built"
	}
	return "handed-over"
}

// await waits for the SOCI indexes of what was handed over, if that is asked
// for.
func (w *backfillWork) await(ctx context.Context) error {
	if w.local || w.wait == 0 || len(w.done) == 0 {
		return nil
	}
	w.progress.end()
	w.progress = newBackfillProgress(w.cmd, len(w.done))
	w.progress.note(fmt.Sprintf("waiting for %s to be indexed, %s at most", count(len(w.done), "image"),
		w.wait.String()))
	w.progress.await()
	queue := &failedImages{url: w.stack.Outputs[deployed.OutFailureQueueURL], cfg: *w.look.config}
	began := time.Now()
	noted := false
	a := &backfill.Await{
		Source: func(repositories []string) inventory.Source {
			return inventory.ECR(*w.look.config, inventory.WithAccount(w.stack.Account),
				inventory.WithRepositories(repositories...),
				inventory.WithClientOptions(append(w.look.registry.options(w.cmd), ecrEndpoint()...)...))
		},
		Options:  w.options,
		For:      time.Duration(w.wait),
		Every:    min(30*time.Second, time.Duration(w.wait)/20),
		Progress: w.progress.set,
		Failed: func(ctx context.Context, left []backfill.Item) map[int]bool {
			failed, err := queue.failedSince(ctx, w.began, left)
			if err != nil && ctx.Err() == nil && !noted {
				noted = true
				w.progress.print(fmt.Sprintf("images that fail are waited for as well: %v", explain(err)))
			}
			for n, is := range failed {
				if is {
					w.lost = append(w.lost, keyOfItem(&left[n]))
				}
			}
			return failed
		},
	}
	var err error
	w.notIndexed, err = a.Run(ctx, w.done)
	w.waited = time.Since(began)
	return err
}

// end tells what became of everything, and returns the error for err and for
// what failed.
func (w *backfillWork) end(err error) error {
	stderr := w.cmd.ErrOrStderr()
	for _, failure := range w.plan.Errors {
		printError(stderr, w.look.registry.explain(w.cmd, failure))
	}
	for _, failure := range w.failures {
		printError(stderr, failure)
	}
	for n := range w.notIndexed {
		i := &w.notIndexed[n]
		if slices.Contains(w.lost, keyOfItem(i)) {
			printError(stderr, fmt.Errorf("%s: it failed for good, and waits in the failure queue", i.Name()))
			continue
		}
		printError(stderr, fmt.Errorf("%s: not indexed after %s", i.Name(), elapsed(w.waited)))
	}
	written := w.writeEnd()
	told := func(failure error) bool { return errors.Is(failure, err) }
	if err != nil && !errors.Is(err, backfill.ErrFailed) && !slices.ContainsFunc(w.failures, told) {
		return explain(err)
	}
	if len(w.plan.Errors)+len(w.failures)+len(w.notIndexed) > 0 {
		return cmp.Or(written, errReported)
	}
	return written
}
