// Package execution watches what CloudFormation does with a stack, by the
// stack's events, and finds out why it failed.
//
// Start with [Watch.Run].
package execution

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/target"
)

// Errors that end a watch before the operation ends.
var (
	// ErrLeft: the user does not want to wait. The operation is still running.
	ErrLeft = errors.New("left while it goes on")

	// ErrDeleted: somebody else has deleted the stack.
	ErrDeleted = errors.New("the stack was deleted meanwhile")

	// ErrIdle: no operation is running on the stack.
	ErrIdle = errors.New("nothing goes on")
)

// maxPages bounds what is read of a stack's events at once, of 100 each.
const maxPages = 100

// maxIdle is how often a stack whose events have no tokens may be found with
// nothing going on until the operation is held for ended.
const maxIdle = 3

// Watch is one operation on a stack that is watched.
type Watch struct {
	Client *cloudformation.Client
	Logs   *cloudwatchlogs.Client // for the lines of a custom resource that fails

	StackID string // ARN
	Token   string // that began it; empty: the operation that goes on

	Patience patience.Patience
	Seen     func(Event)     // takes each event once, in order
	Tick     func(time.Time) // is called with each question; nil: it is not

	// Interrupts are the user's wishes to stop. With the first one Offer asks
	// whether the operation is to be cancelled; without Offer, and with the second
	// one, Run ends with ErrLeft.
	Interrupts <-chan struct{}
	Offer      func(ctx context.Context, cancellable bool) bool

	seen   map[string]bool
	begun  bool
	tokens bool // CloudFormation writes tokens into its events
	idle   int  // questions to which nothing went on
	events []Event
	tried  map[string]bool // failed custom resources whose lines were asked for
	lines  map[string]Lines
	answer chan bool
	cancel bool // the update was cancelled by the user
}

// Outcome is how an operation ended.
type Outcome struct {
	Status    string // of the stack
	Events    []Event
	Cancelled bool     // by the user
	Failure   *Failure // nil when it did what it was to do
}

// Run watches until the operation ends. The error is of this package, of AWS,
// or of the context; the outcome has what was seen also then.
func (w *Watch) Run(ctx context.Context) (*Outcome, error) {
	w.seen, w.tried, w.lines = map[string]bool{}, map[string]bool{}, map[string]Lines{}
	w.answer = make(chan bool, 1)
	bear := w.Patience.Bear()
	for {
		status, err := w.look(ctx)
		if err == nil && status != "" {
			return w.outcome(ctx, status), nil
		}
		if ctx.Err() != nil {
			return w.outcome(ctx, ""), ctx.Err()
		}
		if err = bear.Take(err); err != nil {
			return w.outcome(ctx, ""), err
		}
		if w.Tick != nil {
			w.Tick(time.Now())
		}
		if err := w.pause(ctx); err != nil {
			return w.outcome(ctx, ""), err
		}
	}
}

// pause waits for the next question, and takes what the user wants.
func (w *Watch) pause(ctx context.Context) error {
	next := time.NewTimer(w.Patience.Every())
	defer next.Stop()
	for {
		select {
		case <-next.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-w.Interrupts:
			if !ok {
				w.Interrupts = nil
				continue
			}
			if w.Offer == nil {
				return ErrLeft
			}
			offer := w.Offer
			w.Offer = nil
			cancellable := slices.ContainsFunc(w.events, func(e Event) bool {
				return e.OfStack && e.Status == string(types.StackStatusUpdateInProgress)
			})
			go func() { w.answer <- offer(ctx, cancellable) }()
		case yes := <-w.answer:
			if yes {
				if err := w.cancelUpdate(ctx); err != nil {
					return err
				}
			}
		}
	}
}

func (w *Watch) cancelUpdate(ctx context.Context) error {
	token := "cancel-" + w.Token
	err := w.Patience.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := w.Client.CancelUpdateStack(ctx, &cloudformation.CancelUpdateStackInput{StackName: &w.StackID,
			ClientRequestToken: &token})
		return true, err
	})
	if awscode.Of(err) == "ValidationError" {
		return nil // it has ended, or rolls back already: the events tell
	}
	if err != nil {
		return fmt.Errorf("cancelling the update: %w", err)
	}
	w.cancel = true
	return nil
}

// look reads new events. The status is empty until the operation has ended.
func (w *Watch) look(ctx context.Context) (status string, err error) {
	now, err := w.Client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &w.StackID})
	if target.Missing(err) || err == nil && len(now.Stacks) == 0 {
		return "", fmt.Errorf("stack %s: %w", w.StackID, ErrDeleted)
	}
	if err != nil {
		return "", fmt.Errorf("describing stack %s: %w", w.StackID, err)
	}
	fresh, err := w.fresh(ctx)
	if err != nil {
		return "", err
	}
	for _, e := range fresh {
		w.seen[e.ID] = true
		w.events = append(w.events, e)
		if w.Seen != nil {
			w.Seen(e)
		}
		w.begun = true
		if e.Ends() { // what comes after it is another operation's
			break
		}
	}
	w.readLines(ctx)
	if n := len(w.events); n > 0 && w.events[n-1].Ends() {
		return w.events[n-1].Status, nil
	}
	is := string(now.Stacks[0].StackStatus)
	switch {
	case (is == string(types.StackStatusDeleteComplete) || is == string(types.StackStatusDeleteInProgress)) &&
		!w.deletes():
		return "", fmt.Errorf("stack %s: %w", w.StackID, ErrDeleted)
	case w.Token != "" && !w.begun && !w.tokens && target.Settled(is) && is != inReview:
		// Emulators write no tokens, and may be done before they are asked.
		if w.idle++; w.idle > maxIdle {
			return is, nil
		}
	case w.Token == "" && !w.begun && target.Settled(is):
		return "", fmt.Errorf("stack %s is %s: %w", aws.ToString(now.Stacks[0].StackName), is, ErrIdle)
	}
	return "", nil
}

// deletes reports whether the operation is a deletion.
func (w *Watch) deletes() bool {
	return slices.ContainsFunc(w.events, func(e Event) bool {
		return e.OfStack && e.Status == string(types.StackStatusDeleteInProgress)
	})
}

// fresh returns the events of the operation that were not seen before, the
// oldest first. CloudFormation has the newest first.
func (w *Watch) fresh(ctx context.Context) ([]Event, error) {
	var all []Event
	pages := cloudformation.NewDescribeStackEventsPaginator(w.Client,
		&cloudformation.DescribeStackEventsInput{StackName: &w.StackID})
	for n := 0; pages.HasMorePages() && n < maxPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the events of stack %s: %w", w.StackID, err)
		}
		for _, in := range page.StackEvents {
			e := readEvent(in)
			w.tokens = w.tokens || e.token != ""
			if w.seen[e.ID] || w.before(e, len(all) == 0 && !w.begun) {
				return w.begin(all), nil
			}
			all = append(all, e)
		}
	}
	return w.begin(all), nil
}

// begin returns events, the oldest first, unless the operation that is watched
// has not begun. One has then the token; later ones, of a cancellation, may
// have another.
func (w *Watch) begin(newestFirst []Event) []Event {
	if w.Token != "" && !w.begun &&
		!slices.ContainsFunc(newestFirst, func(e Event) bool { return e.token == w.Token }) {
		return nil
	}
	slices.Reverse(newestFirst)
	return newestFirst
}

// before reports whether an event is of an operation before the one that is
// watched; newest is that nothing newer is known.
func (w *Watch) before(e Event, newest bool) bool {
	switch {
	case !e.OfStack:
		return false
	case e.Status == inReview:
		return true
	case w.Token != "":
		return !w.begun && e.token != w.Token && e.Ends()
	}
	// An operation's end comes before the next one's beginning; if it is the newest
	// event of all, no operation is running.
	return e.Ends() && (newest || !w.begun)
}
