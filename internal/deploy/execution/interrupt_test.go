package execution_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/testkit/awstest"
)

// going is an operation on a stack, which goes on for some requests, or for as long as
// it is held.
type going struct {
	*awstest.Server
	stacks *awstest.CloudFormation
	watch  *execution.Watch
	wishes chan struct{}
	seen   []string
}

func newGoing(t *testing.T, what string) *going {
	statuses := append(slices.Repeat([]string{what + "_IN_PROGRESS"}, 6), what+"_COMPLETE")
	stack := awstest.NewStack("prod")
	g := &going{Server: awstest.Start(t), stacks: awstest.NewCloudFormation(stack), wishes: make(chan struct{}, 2)}
	g.Handle("cloudformation", g.stacks)
	g.stacks.Begin("prod", begin(statuses...)...)
	g.watch = &execution.Watch{Client: cloudformation.NewFromConfig(g.Config()), StackID: stack.ID(),
		Patience: patience.Patience{Pause: 5 * time.Millisecond}, Interrupts: g.wishes,
		Seen: func(e execution.Event) { g.seen = append(g.seen, e.Status) }}
	return g
}

// then calls f when an event with the status is seen.
func (g *going) then(status string, f func()) {
	g.watch.Seen = func(e execution.Event) {
		if g.seen = append(g.seen, e.Status); e.Status == status && f != nil {
			f()
			f = nil
		}
	}
}

// The end of the operation is the end, also when the next one has begun before
// anybody looked.
func TestNextOperation(t *testing.T) {
	g := newGoing(t, "UPDATE")
	g.then("UPDATE_IN_PROGRESS", func() {
		g.stacks.Begin("prod", begin("UPDATE_COMPLETE")...)
		g.stacks.Begin("prod",
			begin("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE")...)
	})
	outcome, err := g.watch.Run(t.Context())
	if err != nil || outcome.Status != "UPDATE_COMPLETE" || outcome.Failure != nil {
		t.Fatalf("%+v, %q, %v", outcome, g.seen, err)
	}
	if g.seen[len(g.seen)-1] != "UPDATE_COMPLETE" {
		t.Errorf("%+v, %q, %v", outcome, g.seen, err)
	}
}

// The first wish to stop offers to cancel the update, the second one leaves.
func TestInterrupted(t *testing.T) {
	hold := func(g *going) {
		g.stacks.Hold("prod", true)
		g.wishes <- struct{}{}
	}
	t.Run("cancelled", func(t *testing.T) {
		g := newGoing(t, "UPDATE")
		g.then("UPDATE_IN_PROGRESS", func() { hold(g) })
		g.watch.Offer = func(_ context.Context, cancellable bool) bool { return cancellable }
		outcome, err := g.watch.Run(t.Context())
		if err != nil || !outcome.Cancelled || outcome.Status != "UPDATE_ROLLBACK_COMPLETE" {
			t.Errorf("%+v, %v", outcome, err)
		}
	})
	t.Run("too late", func(t *testing.T) {
		g := newGoing(t, "UPDATE")
		g.Fail("cloudformation", "CancelUpdateStack", 1, &awstest.Error{Status: 400, Code: "ValidationError",
			Message: "CancelUpdateStack cannot be called from current stack status"})
		g.then("UPDATE_IN_PROGRESS", func() { hold(g) })
		g.watch.Offer = func(context.Context, bool) bool {
			g.stacks.Hold("prod", false)
			return true
		}
		outcome, err := g.watch.Run(t.Context())
		if err != nil || outcome.Cancelled || outcome.Status != "UPDATE_COMPLETE" {
			t.Errorf("%+v, %v", outcome, err)
		}
	})
	t.Run("cannot be cancelled", func(t *testing.T) {
		g := newGoing(t, "UPDATE")
		g.Fail("cloudformation", "CancelUpdateStack", 1,
			&awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
		g.then("UPDATE_IN_PROGRESS", func() { hold(g) })
		g.watch.Offer = func(context.Context, bool) bool { return true }
		if outcome, err := g.watch.Run(t.Context()); err == nil || errors.Is(err, execution.ErrLeft) {
			t.Errorf("%+v, %v", outcome, err)
		}
	})
	t.Run("left", func(t *testing.T) {
		g := newGoing(t, "UPDATE")
		g.then("UPDATE_IN_PROGRESS", func() { hold(g) })
		offered := 0
		g.watch.Offer = func(ctx context.Context, _ bool) bool {
			offered++
			g.wishes <- struct{}{} // in place of an answer
			<-ctx.Done()
			return false
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if outcome, err := g.watch.Run(ctx); !errors.Is(err, execution.ErrLeft) || offered != 1 {
			t.Errorf("%+v, %v, offered %d times", outcome, err, offered)
		}
	})
}

// A deletion is watched to its end; somebody else's ends the watch.
func TestDeletions(t *testing.T) {
	g := newGoing(t, "DELETE")
	outcome, err := g.watch.Run(t.Context())
	if err != nil || outcome.Status != "DELETE_COMPLETE" || !slices.Contains(g.seen, "DELETE_IN_PROGRESS") {
		t.Errorf("%+v, %q, %v", outcome, g.seen, err)
	}
	for _, status := range []string{"DELETE_IN_PROGRESS", "DELETE_COMPLETE"} {
		g = newGoing(t, "UPDATE")
		g.then("UPDATE_IN_PROGRESS", func() {
			g.stacks.Hold("prod", true)
			g.stacks.Change("prod", func(s *awstest.Stack) { s.Status = status })
		})
		if outcome, err := g.watch.Run(t.Context()); !errors.Is(err, execution.ErrDeleted) {
			t.Errorf("%s: %+v, %v", status, outcome, err)
		}
	}
}

// Where events have no tokens, as in emulators, a stack in which nothing goes on some
// times in a row is done; one that has only a change set is not.
func TestIdle(t *testing.T) {
	for _, status := range []string{"UPDATE_COMPLETE", "REVIEW_IN_PROGRESS"} {
		stack := awstest.NewStack("prod")
		stack.Status = status
		server := awstest.Start(t)
		server.Handle("cloudformation", awstest.NewCloudFormation(stack))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ticks := 0
		w := &execution.Watch{Client: cloudformation.NewFromConfig(server.Config()), StackID: stack.ID(),
			Token:    "token",
			Patience: patience.Patience{Pause: time.Millisecond}, Tick: func(time.Time) {
				if ticks++; ticks == 8 {
					cancel()
				}
			}}
		outcome, err := w.Run(ctx)
		asked := server.Count("cloudformation", "DescribeStacks")
		if status == "UPDATE_COMPLETE" && (err != nil || outcome.Status != status || asked != 4) {
			t.Errorf("%+v, %v, after %d questions, want %s after 4", outcome, err, asked, status)
		}
		if status != "UPDATE_COMPLETE" && (!errors.Is(err, context.Canceled) || asked != 8) {
			t.Errorf("%s: %+v, %v, after %d questions", status, outcome, err, asked)
		}
	}
}
