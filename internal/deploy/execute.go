package deploy

import (
	"context"
	"errors"
	"fmt"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/execution"
)

// execute has CloudFormation make the changes, and watches.
type execute struct{}

func (*execute) Name() string { return "execution" }

func (*execute) Plan(_ context.Context, d *Deploy) ([]string, error) {
	if d.unchanged() {
		return nil, nil
	}
	lines := []string{"have CloudFormation make the changes"}
	if d.Settings.DisableRollback {
		lines = append(lines, "leave the stack as it is when that fails")
	}
	if d.Mode.Detach {
		return append(lines, "do not wait for it"), nil
	}
	return append(lines, "watch until it has ended"), nil
}

func (*execute) Do(ctx context.Context, d *Deploy) error {
	if d.unchanged() {
		return nil
	}
	client, created := d.cloudFormation(), d.stack() == nil
	// CloudFormation does not check whose bucket it takes the code from.
	if err := d.Artifacts.Check(ctx, d); err != nil {
		return errors.Join(err, d.ChangeSet.Discard(context.WithoutCancel(ctx), client, created))
	}
	if err := d.wake(ctx); err != nil {
		return errors.Join(err, d.ChangeSet.Discard(context.WithoutCancel(ctx), client, created))
	}
	token := changeset.Token()
	d.records.begun = true
	if err := d.ChangeSet.Execute(ctx, client, token, d.Settings.DisableRollback, d.Mode.Patience); err != nil {
		return errors.Join(err, d.ChangeSet.Discard(context.WithoutCancel(ctx), client, created))
	}
	if d.Mode.Detach {
		d.Left = true
		d.Screen.Tell("it goes on without this program; to watch it: " + d.WatchCommand())
		return nil
	}
	outcome, err := d.watch(ctx, d.ChangeSet.StackID, token)
	d.Outcome = outcome
	switch {
	case errors.Is(err, execution.ErrDeleted):
		return err
	case err != nil:
		d.Left = true
		d.left(d.Settings.Stack)
		return awserror.Explain(err)
	case outcome.Failure != nil:
		d.Screen.Failed(outcome)
		d.sayInTheWay(outcome.Failure)
		return Failure(d.Settings.Stack, outcome)
	}
	return nil
}

// sayInTheWay says how to get rid of a log group that has the name of one of the
// stack's, which are fixed: CloudFormation does not take it over. That of another
// stack is in use.
func (d *Deploy) sayInTheWay(f *execution.Failure) {
	group, stack := f.LogGroupThere()
	switch {
	case group == "":
	case stack != "":
		d.Screen.Tell(fmt.Sprintf("the log group %s belongs to the stack %s: deploy under another name, or, if "+
			"nothing needs that stack, delete it first", group, stack))
	default:
		d.Screen.Tell(fmt.Sprintf("the log group %s was there before: if nothing needs it, delete it, with its lines, "+
			"and deploy again: aws logs delete-log-group --log-group-name %[1]s --region %[2]s", group, d.AWS.Region))
	}
}

// Failure is the error of an operation that failed, in a sentence.
func Failure(stack string, o *execution.Outcome) error {
	if o.Cancelled {
		return fmt.Errorf("stack %s: the update was cancelled and is now %s", stack, o.Status)
	}
	why := o.Failure.Root.Reason
	if id := o.Failure.Root.LogicalID; id != "" && !o.Failure.Root.OfStack {
		why = id + ": " + why
	}
	return fmt.Errorf("stack %s: it %w and is now %s: %s", stack, ErrFailed, o.Status, why)
}
