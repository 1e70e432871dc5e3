package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/target"
)

// where finds out the caller and the target, and brings the stack into a state from
// which it can be deployed.
type where struct {
	unmatched []string // a line about filters that match nothing
}

func (*where) Name() string { return "who and where" }

func (w *where) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	if d.Offline() {
		if err := d.resolve(); err != nil {
			return nil, err
		}
		return append([]string{"AWS is not asked: " + d.Mode.Offline.Error(),
			"stack " + d.Settings.Stack + " is taken for one that does not exist yet"}, d.settingLines()...), nil
	}
	var err error
	if d.Target, err = target.Look(ctx, d.AWS, d.Settings.Stack); err != nil {
		return nil, err
	}
	t := d.Target
	s := t.Stack
	if id := d.Mode.StackID; id != "" && (s == nil || s.ID != id) {
		has := "there is no such stack"
		if s != nil {
			has = "the stack of this name is " + s.ID
		}
		return nil, settingf("--stack %s: in account %s, region %s %s", id, t.Account, t.Region, has)
	}
	if s != nil {
		if err := s.Mine(); err != nil {
			return nil, err
		}
	}
	if err := d.resolve(); err != nil {
		return nil, err
	}
	lines := append([]string{d.who()}, d.settingLines()...)
	w.unmatched = d.unmatched(ctx)
	lines = append(lines, w.unmatched...)
	if s == nil {
		return append(lines, "stack "+d.Settings.Stack+" does not exist yet"), nil
	}
	more, err := d.planState(s)
	return append(lines, more...), err
}

// planState says how a stack of the program is brought into a state from which it can
// be deployed.
func (d *Deploy) planState(s *target.Stack) ([]string, error) {
	is := fmt.Sprintf("stack %s is %s", s.Name, s.Status)
	switch s.Condition() {
	case target.Absent, target.Ready:
		return []string{is}, nil
	case target.InProgress:
		return []string{is + ": somebody works on it", "wait until that has ended"}, nil
	case target.RollbackFailed:
		if !d.Mode.Interactive && !d.Mode.Yes && !d.Mode.DryRun() {
			return nil, fmt.Errorf("%s: %w: give --yes to continue the rollback", is, ErrConsent)
		}
		return []string{is, "continue the rollback, after asking"}, nil
	}
	if s.Protected {
		return nil, fmt.Errorf("%w: %s, so it must be deleted first, and termination protection forbids that: %s",
			ErrState, is, unprotect(s.Name, d.AWS.Region))
	}
	if !d.Settings.DeleteFailed && (!d.Mode.Interactive || d.Mode.Yes) && !d.Mode.DryRun() {
		return nil, fmt.Errorf(
			"%s: a stack in this state can only be deleted%s: %w: give --delete-failed to have that done",
			is, waiting(s), ErrConsent)
	}
	return []string{is + reason(s), "delete what is left of it" + waiting(s) + ", after asking"}, nil
}

// unprotect is the command that lifts the termination protection of a stack.
func unprotect(stack, region string) string {
	return "aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name " + stack +
		" --region " + region
}

func (d *Deploy) who() string {
	return fmt.Sprintf("account %s, region %s, as %s", d.Target.Account, d.Target.Region, d.Target.Caller)
}

func reason(s *target.Stack) string {
	if s.Reason == "" {
		return ""
	}
	return ": " + s.Reason
}

// maxStates is how many states a stack may go through until it is ready: an update by
// another deploy, its rollback that fails, a deletion.
const maxStates = 6

func (w *where) Do(ctx context.Context, d *Deploy) error {
	say := d.Screen.Say
	if d.asks() {
		say = d.Screen.Tell // the questions do not say where
	}
	say(d.who())
	for _, line := range w.unmatched {
		d.Screen.Tell(line)
	}
	err := d.settle(ctx, func() *target.Stack { return d.Target.Stack }, func(ctx context.Context) error {
		_, err := w.Plan(ctx, d)
		return err
	})
	if s := d.Target.Stack; err == nil && s == nil {
		d.Screen.Say("stack " + d.Settings.Stack + " does not exist yet")
	} else if err == nil {
		d.Screen.Say("stack " + s.Name + " is " + s.Status)
	}
	return err
}

// settle brings a stack of the program into a state from which it can be
// deployed, or deletes what is left of it. is returns the stack, nil for none;
// again looks at it once more, and asks for the answers to the questions that
// its state then needs.
func (d *Deploy) settle(ctx context.Context, is func() *target.Stack, again func(context.Context) error) error {
	for range maxStates {
		s := is()
		var err error
		switch s.Condition() {
		case target.Absent, target.Ready:
			return nil
		case target.InProgress:
			d.Screen.Say(fmt.Sprintf("stack %s is %s: somebody works on it, waiting until that has ended", s.Name,
				s.Status))
			err = d.wait(ctx, s)
		case target.RollbackFailed:
			err = d.continueRollback(ctx, s)
		case target.Leftover:
			err = d.remove(ctx, s)
		}
		if err != nil {
			return err
		}
		d.stale = true
		// A state that came up only now may need a flag that was not needed before.
		if err := again(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s is %s, and does not come to rest", ErrState, is().Name, is().Status)
}

func (d *Deploy) wait(ctx context.Context, s *target.Stack) error {
	outcome, err := d.watch(ctx, s.ID, "")
	if errors.Is(err, execution.ErrIdle) || errors.Is(err, execution.ErrDeleted) {
		return nil // it has ended meanwhile
	}
	if err == nil {
		d.Screen.Say("that ended: " + outcome.Status)
	}
	return err
}

func (d *Deploy) continueRollback(ctx context.Context, s *target.Stack) error {
	if !d.Mode.Yes {
		yes, err := d.Screen.Ask(ctx, fmt.Sprintf("The rollback of stack %s failed%s. Continue it?", s.Name, reason(s)))
		if err != nil {
			return err
		}
		if !yes {
			return fmt.Errorf("stack %s is %s: %w", s.Name, s.Status, ErrDeclined)
		}
	}
	token := changeset.Token()
	in := &cloudformation.ContinueUpdateRollbackInput{StackName: &s.ID, ClientRequestToken: &token}
	if d.Settings.RoleARN != "" {
		in.RoleARN = &d.Settings.RoleARN
	}
	err := d.Mode.Patience.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := d.cloudFormation().ContinueUpdateRollback(ctx, in)
		return true, err
	})
	if err != nil {
		return fmt.Errorf("continuing the rollback of stack %s: %w", s.Name, err)
	}
	outcome, err := d.watch(ctx, s.ID, token)
	if err != nil {
		return err
	}
	if outcome.Status != "UPDATE_ROLLBACK_COMPLETE" {
		d.Screen.Failed(outcome)
		return fmt.Errorf("the rollback of stack %s %w again: it is %s", s.Name, ErrFailed, outcome.Status)
	}
	return nil
}

func (d *Deploy) remove(ctx context.Context, s *target.Stack) error {
	if !d.Settings.DeleteFailed {
		yes, err := d.Screen.Ask(ctx,
			fmt.Sprintf("Stack %s is %s%s: it can only be deleted%s. Delete what is left of it?",
				s.Name, s.Status, reason(s), waiting(s)))
		if err != nil {
			return err
		}
		if !yes {
			return fmt.Errorf("stack %s is %s: %w", s.Name, s.Status, ErrDeclined)
		}
	}
	if d.Settings.DeleteFailed {
		if err := d.checkWaiting(ctx, s); err != nil {
			return err
		}
	}
	// Meanwhile another deploy may have created it after all. The status comes last: an
	// execution removes the change set and changes the status at once.
	now, err := target.Status(ctx, d.cloudFormation(), s.ID)
	if err != nil || now.Condition() != target.Leftover {
		return err
	}
	d.Screen.Tell(fmt.Sprintf("stack %s is %s%s: deleting it%s", s.Name, s.Status, reason(s), waiting(s)))
	return d.deleteStack(ctx, s)
}

// checkWaiting refuses to delete a stack, without anyone having been asked, that has
// a change set which another deploy may be about to execute.
func (d *Deploy) checkWaiting(ctx context.Context, s *target.Stack) error {
	now, err := target.Find(ctx, d.cloudFormation(), s.ID)
	if err != nil || now == nil {
		return err
	}
	for _, set := range now.ChangeSets {
		if set.Made.After(d.Mode.Now().Add(-fresh)) {
			return fmt.Errorf("%w: %s is %s, and somebody may be about to execute the change set %s, made at %s: wait "+
				"until it is an hour old, or delete the stack", ErrState, s.Name, now.Status, set.Name,
				set.Made.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
	}
	return nil
}

// waiting names the change sets of a stack that was never deployed, to follow the
// reason why it is to be deleted; empty for none.
func waiting(s *target.Stack) string {
	if len(s.ChangeSets) == 0 {
		return ""
	}
	var names []string
	for _, set := range s.ChangeSets {
		names = append(names, set.Name)
	}
	return fmt.Sprintf(", and with it the change set %s, which somebody may be about to execute",
		strings.Join(names, ", "))
}

// deleteStack deletes a stack and waits until it is gone.
func (d *Deploy) deleteStack(ctx context.Context, s *target.Stack) error {
	token := changeset.Token()
	in := &cloudformation.DeleteStackInput{StackName: &s.ID, ClientRequestToken: &token}
	if d.Settings.RoleARN != "" {
		in.RoleARN = aws.String(d.Settings.RoleARN)
	}
	err := d.Mode.Patience.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := d.cloudFormation().DeleteStack(ctx, in)
		return true, err
	})
	if err != nil {
		return fmt.Errorf("deleting stack %s: %w", s.Name, err)
	}
	outcome, err := d.watch(ctx, s.ID, token)
	if errors.Is(err, execution.ErrDeleted) {
		return nil
	}
	if err != nil {
		d.left(s.Name)
		return err
	}
	if outcome.Failure != nil {
		d.Screen.Failed(outcome)
		return fmt.Errorf("deleting stack %s %w: it is %s", s.Name, ErrFailed, outcome.Status)
	}
	return nil
}
