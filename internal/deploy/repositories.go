package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/embedded"
)

// repositories makes the companion stack, with a repository for the image of
// each function that has none of the user's own, or brings it up to date.
// Repositories that it has already stay: the last version of the main stack may
// still name them.
type repositories struct {
	stack *target.Stack // nil: there is none
	body  []byte        // its template; nil when there is nothing to be done to it
}

func (*repositories) Name() string { return "repositories" }

func (r *repositories) Plan(ctx context.Context, d *Deploy) (lines []string, err error) {
	d.choosePackage()
	r.stack, r.body = nil, nil
	managed := d.managedFunctions()
	if d.Settings.Package != embedded.Image || len(managed) == 0 {
		return nil, nil
	}
	name := companion.StackName(d.Settings.Stack)
	if d.Offline() {
		return []string{fmt.Sprintf("create stack %s with %d repositories, unless it is there", name, len(managed))},
			nil
	}
	var has []companion.Repository
	if r.stack, has, err = d.findCompanion(ctx); err != nil {
		return nil, err
	}
	if r.stack.Condition() != target.Absent && r.stack.Condition() != target.Ready {
		if lines, err = d.planState(r.stack); err != nil {
			return nil, err
		}
	}
	functions := slices.Clone(managed)
	var fresh []string
	if r.stack.Condition() == target.Leftover {
		has = nil // they go with it
	} else {
		for _, f := range managed {
			if !slices.ContainsFunc(has, func(one companion.Repository) bool { return one.Function == f }) {
				fresh = append(fresh, companion.RepositoryName(d.Settings.Stack, f))
			}
		}
		if err := checkLeft(ctx, d, name, fresh); err != nil {
			return nil, err
		}
	}
	for _, one := range has {
		functions = append(functions, one.Function)
	}
	slices.Sort(functions)
	body, err := companion.Template(d.Settings.Stack, slices.Compact(functions)...)
	if err != nil {
		return nil, err
	}
	if r.stack.Condition() == target.Ready && !halfway(r.stack) && bytes.Equal(body, r.stack.Template) &&
		maps.Equal(d.tags(), r.stack.Tags) {
		return append(append(lines, "stack "+name+" has the repositories"), d.planProtection(r.stack)...), nil
	}
	r.body = body
	verb := "update"
	if c := r.stack.Condition(); c == target.Absent || c == target.Leftover {
		verb = "create"
		fresh = nil
		for _, f := range managed {
			fresh = append(fresh, companion.RepositoryName(d.Settings.Stack, f))
		}
	}
	lines = append(lines, verb+" stack "+name)
	for _, one := range fresh {
		lines = append(lines, "make the repository "+one)
	}
	return append(lines, d.planProtection(r.stack)...), nil
}

// findCompanion returns the companion stack and its repositories; nil when there
// is none. A stack of that name that is not the program's is ours.ErrForeign.
func (d *Deploy) findCompanion(ctx context.Context) (*target.Stack, []companion.Repository, error) {
	s, err := target.Find(ctx, d.cloudFormation(), companion.StackName(d.Settings.Stack))
	if s == nil || err != nil {
		return nil, nil, err
	}
	if s.Template == nil { // it has change sets alone
		for _, set := range s.ChangeSets {
			if of, _, err := companion.Repositories(set.Template); err != nil || of != d.Settings.Stack {
				return nil, nil, fmt.Errorf("stack %s (%s) %w", s.Name, s.Status, ours.ErrForeign)
			}
		}
		return s, nil, nil
	}
	if err := ours.Check("the stack "+s.Name, s.Tags); err != nil {
		return nil, nil, err
	}
	of, all, err := companion.Repositories(s.Template)
	if err != nil || of != d.Settings.Stack {
		return nil, nil, errors.Join(fmt.Errorf("stack %s (%s) %w", s.Name, s.Status, ours.ErrForeign), err)
	}
	return s, all, nil
}

// checkLeft looks for repositories that are in the way of those that are to be
// made.
func checkLeft(ctx context.Context, d *Deploy, stack string, repositories []string) error {
	left, err := companion.Check(ctx, d.AWS, repositories...)
	if err != nil || len(left) == 0 {
		return err
	}
	var commands []string
	for _, name := range left {
		commands = append(commands,
			fmt.Sprintf("aws ecr delete-repository --force --repository-name %s --region %s", name,
				d.AWS.Region))
	}
	return fmt.Errorf("%w: the stack %s, which is gone or incomplete, has left repositories behind: delete them "+
		"with  %s",
		ErrState, stack, strings.Join(commands, "; "))
}

// protected is whether the companion stack is to be protected from termination:
// as the main stack is, or will be.
func (d *Deploy) protected() bool {
	if want := d.Settings.TerminationProtection; want != nil {
		return *want
	}
	s := d.stack()
	return s != nil && s.Protected
}

// planProtection says what changes in the protection of the companion stack; s is nil
// if the stack is to be created.
func (d *Deploy) planProtection(s *target.Stack) []string {
	if had := s != nil && s.Condition() != target.Leftover && s.Protected; had != d.protected() {
		return []string{"termination protection: " + map[bool]string{true: "switch it on, as for the main stack",
			false: "switch it off, as for the main stack"}[d.protected()]}
	}
	return nil
}

func (r *repositories) Do(ctx context.Context, d *Deploy) error {
	if d.Settings.Package != embedded.Image || len(d.managedFunctions()) == 0 {
		return nil
	}
	err := d.settle(ctx, func() *target.Stack { return r.stack }, func(ctx context.Context) error {
		_, err := r.Plan(ctx, d)
		return err
	})
	if err != nil {
		return err
	}
	name := companion.StackName(d.Settings.Stack)
	if r.body == nil {
		d.Screen.Say("stack " + name + " has the repositories")
	} else if err := d.changeCompanion(ctx, r.stack, r.body, "Make these repositories"); err != nil {
		return err
	}
	if r.stack, _, err = d.findCompanion(ctx); err != nil {
		return err
	}
	if err := d.checkOutputs(r.stack); err != nil {
		return err
	}
	if len(d.planProtection(r.stack)) == 0 {
		return nil
	}
	want := d.protected()
	_, err = d.cloudFormation().UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{
		StackName: aws.String(name), EnableTerminationProtection: &want})
	if err != nil {
		return fmt.Errorf("setting the termination protection of stack %s: %w", name, err)
	}
	return nil
}

// checkOutputs compares where the repositories are with where they should be.
func (d *Deploy) checkOutputs(s *target.Stack) error {
	if s == nil {
		return fmt.Errorf("the stack %s was deleted meanwhile", companion.StackName(d.Settings.Stack))
	}
	managed := d.managedFunctions()
	is, err := companion.URIs(s.Outputs, managed...)
	if err != nil {
		return err
	}
	want, err := d.repositoryURIs()
	if err != nil {
		return err
	}
	for _, f := range managed {
		if is[f] != want[f] {
			return fmt.Errorf("stack %s has the repository of %s at %.300s, not at %s", s.Name, f, is[f], want[f])
		}
	}
	return nil
}

// changeCompanion creates or updates the companion stack by a change set, after
// asking.
func (d *Deploy) changeCompanion(ctx context.Context, s *target.Stack, body []byte, question string) error {
	name, client := companion.StackName(d.Settings.Stack), d.cloudFormation()
	r := changeset.Request{Stack: name, Create: s.Condition() == target.Absent, Template: body, Tags: d.tags(),
		RoleARN: d.Settings.RoleARN, NotificationARNs: d.Settings.NotificationARNs}
	if s != nil {
		r.Stack = s.ID
	}
	if main := d.stack(); main != nil {
		if r.RoleARN == "" && s == nil {
			r.RoleARN = main.RoleARN
		}
		if r.NotificationARNs == nil {
			r.NotificationARNs = main.NotificationARNs
		}
	}
	set, err := changeset.Make(ctx, client, r, d.Mode.Patience)
	if err != nil {
		return err
	}
	discard := func(err error) error {
		return errors.Join(err, set.Discard(context.WithoutCancel(ctx), client, r.Create))
	}
	if set.Empty {
		if s != nil && halfway(s) {
			return discard(d.unfinished(s))
		}
		return discard(nil)
	}
	var table bytes.Buffer
	if err := changeset.Write(&table, set.Changes, d.Mode.Full); err != nil {
		return discard(err)
	}
	for line := range strings.Lines(table.String()) {
		d.Screen.Tell(strings.TrimRight(line, " \n"))
	}
	if err := d.agree(ctx, fmt.Sprintf("%s, in stack %s (%s)?", question, name, set.Counts())); err != nil {
		return discard(err)
	}
	token := changeset.Token()
	if err := set.Execute(ctx, client, token, d.Settings.DisableRollback, d.Mode.Patience); err != nil {
		return discard(err)
	}
	d.stale = true
	outcome, err := d.watch(ctx, set.StackID, token)
	if err != nil {
		d.left(name)
		return awserror.Explain(err)
	}
	if outcome.Failure != nil {
		d.Screen.Failed(outcome)
		return Failure(name, outcome)
	}
	return nil
}

// agree asks the question, if there is a terminal to ask on. No is ErrDeclined.
func (d *Deploy) agree(ctx context.Context, question string) error {
	if !d.asks() {
		return nil
	}
	yes, err := d.Screen.Ask(ctx, question)
	if err == nil && !yes {
		err = ErrDeclined
	}
	return err
}
