package execution_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/testkit/awstest"
)

func watch(t *testing.T, stacks *awstest.CloudFormation, stack *awstest.Stack, token string) (*execution.Outcome,
	[]string, error) {
	t.Helper()
	server := awstest.Start(t)
	server.Handle("cloudformation", stacks)
	var seen []string
	w := &execution.Watch{Client: cloudformation.NewFromConfig(server.Config()), StackID: stack.ID(), Token: token,
		Patience: patience.Patience{Pause: time.Microsecond},
		Seen:     func(e execution.Event) { seen = append(seen, e.Status) }}
	outcome, err := w.Run(t.Context())
	return outcome, seen, err
}

func begin(statuses ...string) []awstest.StackEvent {
	var all []awstest.StackEvent
	for _, s := range statuses {
		all = append(all, awstest.StackEvent{Status: s})
	}
	return all
}

// Of an operation that somebody else began, its own events are seen, also those
// before the watch, and no earlier ones. Pages are small.
func TestWatchGoesOn(t *testing.T) {
	stack := awstest.NewStack("prod")
	stacks := awstest.NewCloudFormation(stack)
	stacks.PageSize = 2
	earlier := begin("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")
	stacks.Begin("prod", earlier...)
	if _, _, err := watch(t, stacks, stack, ""); err != nil && !errors.Is(err, execution.ErrIdle) {
		t.Fatal(err)
	}
	now := []string{"UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"}
	stacks.Begin("prod", begin(now...)...)
	outcome, seen, err := watch(t, stacks, stack, "")
	if err != nil || outcome.Status != "UPDATE_COMPLETE" || outcome.Failure != nil {
		t.Fatalf("%+v, %q, %v", outcome, seen, err)
	}
	if !slices.Equal(seen, now) {
		t.Errorf("%+v, %q, %v", outcome, seen, err)
	}
	if _, seen, err := watch(t, stacks, stack, ""); !errors.Is(err, execution.ErrIdle) || len(seen) > 0 {
		t.Errorf("%q, %v, want ErrIdle", seen, err)
	}
}

// A stack that fails by itself says why.
func TestStackFails(t *testing.T) {
	stack := awstest.NewStack("prod")
	stacks := awstest.NewCloudFormation(stack)
	stacks.Begin("prod", awstest.StackEvent{Status: "UPDATE_IN_PROGRESS", Reason: "User Initiated"},
		awstest.StackEvent{Status: "UPDATE_IN_PROGRESS"},
		awstest.StackEvent{Status: "UPDATE_ROLLBACK_IN_PROGRESS", Reason: "Stack update cancelled"},
		awstest.StackEvent{Status: "UPDATE_ROLLBACK_COMPLETE"})
	outcome, _, err := watch(t, stacks, stack, "")
	if err != nil || outcome.Failure == nil || outcome.Failure.Root.Reason != "Stack update cancelled" {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// The first cause is that of the resource that failed by itself, whatever came
// after.
func TestRootCause(t *testing.T) {
	stack := awstest.NewStack("prod")
	stacks := awstest.NewCloudFormation(stack)
	resource := func(id, status, reason string) awstest.StackEvent {
		return awstest.StackEvent{LogicalID: id, Type: "AWS::SQS::Queue", Status: status, Reason: reason}
	}
	stacks.Begin("prod", awstest.StackEvent{Status: "UPDATE_IN_PROGRESS"},
		awstest.StackEvent{Status: "UPDATE_IN_PROGRESS"},
		resource("A", "UPDATE_IN_PROGRESS", ""), resource("B", "UPDATE_IN_PROGRESS", ""),
		resource("A", "UPDATE_FAILED", "Resource update cancelled"), resource("B", "UPDATE_FAILED", "no such key"),
		resource("C", "CREATE_FAILED", "already exists"),
		awstest.StackEvent{Status: "UPDATE_ROLLBACK_IN_PROGRESS"},
		awstest.StackEvent{Status: "UPDATE_ROLLBACK_COMPLETE"})
	outcome, _, err := watch(t, stacks, stack, "")
	if err != nil || outcome.Failure == nil {
		t.Fatal(outcome, err)
	}
	f := outcome.Failure
	if f.Root.LogicalID != "B" || f.Cancelled != 1 {
		t.Errorf("%+v, want B, and one that was cancelled", f)
	}
	if len(f.Others) != 1 || f.Others[0].LogicalID != "C" {
		t.Errorf("others that failed are %+v, want C", f.Others)
	}
}
