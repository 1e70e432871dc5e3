package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/embedded"
)

// changes makes the change set, shows it and has it consented to.
type changes struct{}

const changeSetStep = "change set"

func (*changes) Name() string { return changeSetStep }

func (*changes) Plan(_ context.Context, d *Deploy) ([]string, error) {
	provisional, err := d.choose()
	if err != nil {
		return nil, err
	}
	verb := "update"
	if d.stack() == nil {
		verb = "create"
	}
	lines := []string{fmt.Sprintf("%s stack %s with the template, %d bytes", verb, d.Settings.Stack, len(d.Template))}
	for _, c := range d.Choices {
		if old, value := c.Shown(); c.Changed() {
			if !c.Had {
				old = ""
			}
			if old != value { // not an empty one of a new stack
				lines = append(lines, fmt.Sprintf("parameter %s: %s (%s)", c.Name, d.difference(old, value),
					d.origin(c.Name, string(c.Source))))
			}
		}
	}
	if provisional {
		lines = append(lines, "where the code is, is known only after the upload: what stands there now is provisional")
	}
	for _, change := range d.TagChanges() {
		lines = append(lines, "tag "+change)
	}
	return lines, nil
}

// choose works out the template and the value of each of its parameters.
// Provisional is whether one is known only after the upload.
func (d *Deploy) choose() (provisional bool, err error) {
	if d.restored != nil {
		d.Template = []byte(d.restored.Template)
	} else if d.Template, err = embedded.Template(d.Settings.Package, d.Settings.Architecture); err != nil {
		return false, settingf("--arch %w", err)
	}
	if d.template, err = parameters.Parse(d.Template); err != nil {
		return false, err
	}
	var had map[string]string
	if s := d.stack(); s != nil {
		had = s.Parameters
	}
	managed, provisional := d.Artifacts.Parameters()
	named := d.named()
	if d.restored != nil {
		named = nil
	}
	if d.Choices, err = d.template.Choose(named, managed, had); err != nil {
		return false, fmt.Errorf("%w: %w", ErrSetting, err)
	}
	if d.restored != nil {
		for i := range d.Choices {
			if d.Choices[i].Source == parameters.Managed {
				d.Choices[i].Source = parameters.Recorded
			}
		}
	}
	return provisional, nil
}

// difference writes "old -> new", whole if the user wants that.
func (d *Deploy) difference(old, value string) string {
	return changeset.Difference(old, value, d.Mode.Full)
}

// TagChanges are the stack's tags that change, each as "key: old -> new".
func (d *Deploy) TagChanges() []string {
	had := map[string]string{}
	if s := d.stack(); s != nil {
		had = s.Tags
	}
	var all []string
	tags := d.tags()
	for key, value := range tags {
		if old, ok := had[key]; !ok || old != value {
			all = append(all, key+": "+d.difference(old, value))
		}
	}
	for key, old := range had {
		if _, ok := tags[key]; !ok {
			all = append(all, key+": "+d.difference(old, ""))
		}
	}
	slices.Sort(all)
	return all
}

func (c *changes) Do(ctx context.Context, d *Deploy) (err error) {
	s := d.stack()
	r := changeset.Request{
		Stack: d.Settings.Stack, Create: s == nil, Template: d.Template, Parameters: parameters.Request(d.Choices),
		Tags: d.tags(), Capabilities: d.Settings.Capabilities, RoleARN: d.Settings.RoleARN,
		NotificationARNs: d.Settings.NotificationARNs,
	}
	if s != nil {
		r.Stack = s.ID
		if d.restored != nil {
			r.NotificationARNs = s.NotificationARNs
		}
		if r.NotificationARNs == nil { // an empty list clears what the stack has
			r.NotificationARNs = []string{}
		}
	}
	if d.asks() && !acknowledged(r.Capabilities) {
		// Creating the change set creates no role; the user is asked before it is
		// executed.
		r.Capabilities = append(slices.Clone(r.Capabilities), capabilityIAM)
	}
	for _, choice := range d.Choices {
		if choice.NoEcho && choice.Source == parameters.Named {
			r.Secrets = append(r.Secrets, choice.Value)
		}
	}
	if d.ChangeSet, err = changeset.Make(ctx, d.cloudFormation(), r, d.Mode.Patience); err != nil {
		return err
	}
	defer func() {
		if err != nil || d.ChangeSet.Empty {
			err = errors.Join(err, d.ChangeSet.Discard(context.WithoutCancel(ctx), d.cloudFormation(), r.Create))
		}
	}()
	d.Screen.Changes(d)
	if d.ChangeSet.Empty {
		if s != nil && halfway(s) {
			return d.unfinished(s)
		}
		if d.Settings.FailOnEmpty && len(d.sets) == 0 {
			return fmt.Errorf("stack %s: %w", d.Settings.Stack, ErrEmpty)
		}
		d.stale = true // there is nothing to execute
		return nil
	}
	return c.consent(ctx, d)
}

// unfinished is the error of a stack whose failed update a change set would not
// finish: it has no changes, and some resources do not have what the stack names.
func (d *Deploy) unfinished(s *target.Stack) error {
	return fmt.Errorf("%w: %s is %s, since an update failed halfway, and CloudFormation finds nothing to change: roll "+
		"the update back, and deploy again: aws cloudformation rollback-stack --stack-name %[2]s --region %[4]s",
		ErrState, s.Name, s.Status, d.AWS.Region)
}

// unchanged reports whether the change set has turned out to be empty.
func (d *Deploy) unchanged() bool { return d.ChangeSet != nil && d.ChangeSet.Empty }

// asks reports whether the user is asked.
func (d *Deploy) asks() bool { return d.Mode.Interactive && !d.Mode.Yes }

// consent has the user agree to the changes: by words on a terminal, by flags
// elsewhere.
func (*changes) consent(ctx context.Context, d *Deploy) error {
	lossy := d.ChangeSet.NeedConsent()
	var losses []string
	for _, one := range lossy {
		losses = append(losses, fmt.Sprintf("%s (%s): %s", one.LogicalID, one.Action, one.Consequence))
	}
	if !d.asks() {
		if len(lossy) > 0 && !d.Settings.AllowReplacement {
			return fmt.Errorf("stack %s: %s: %w: give --allow-replacement to have that done", d.Settings.Stack,
				strings.Join(losses, ", "), ErrConsent)
		}
		return nil
	}
	question := "Deploy this (" + d.ChangeSet.Counts() + ")?"
	if iam := d.ChangeSet.IAM(); len(iam) > 0 {
		var names []string
		for _, one := range iam {
			names = append(names, one.LogicalID)
		}
		question = "IAM roles and policies are made or changed: " + strings.Join(names, ", ") + ".\n" + question
	}
	if len(losses) > 0 {
		question = "This loses something: " + strings.Join(losses, ", ") + ".\n" + question
	}
	yes, err := d.Screen.Ask(ctx, question)
	if err == nil && !yes {
		return declinedError{d.Settings.Stack, d.stack() == nil}
	}
	return err
}

// declinedError is ErrDeclined when the code has been brought to AWS already.
type declinedError struct {
	stack  string
	create bool
}

func (declinedError) Is(target error) bool { return target == ErrDeclined }

func (e declinedError) Error() string {
	what := "changed"
	if e.create {
		what = "created"
	}
	return fmt.Sprintf("stack %s was not %s; the functions' code stays where it was brought, for the next deploy",
		e.stack, what)
}
