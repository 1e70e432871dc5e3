package deploy

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
)

// protection sets the stack's protection from termination, when the user has
// decided on it.
type protection struct{}

func (*protection) Name() string { return "termination protection" }

func (*protection) Plan(_ context.Context, d *Deploy) ([]string, error) {
	want := d.Settings.TerminationProtection
	if want == nil {
		return nil, nil
	}
	s := d.stack()
	if s != nil && s.Protected == *want || s == nil && !*want {
		return nil, nil
	}
	if s == nil && d.Mode.Detach {
		return []string{"left off because of --detach: a creation that fails must be deleted, which it forbids; the " +
			"next deploy with the setting switches it on"}, nil
	}
	return []string{map[bool]string{true: "switch it on", false: "switch it off"}[*want]}, nil
}

func (p *protection) Do(ctx context.Context, d *Deploy) error {
	todo, err := p.Plan(ctx, d)
	if err != nil || len(todo) == 0 {
		return err
	}
	if d.stack() == nil && d.Mode.Detach {
		d.Screen.Tell(todo[0])
		return nil
	}
	_, err = d.cloudFormation().UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{
		StackName: aws.String(d.Settings.Stack), EnableTerminationProtection: d.Settings.TerminationProtection})
	if err != nil {
		return fmt.Errorf("setting the termination protection of stack %s: %w", d.Settings.Stack, err)
	}
	return nil
}

// after prints what was deployed, and what to do next.
type after struct{}

func (*after) Name() string { return "after" }

func (*after) Plan(_ context.Context, d *Deploy) ([]string, error) {
	if d.Mode.Detach || d.idle() {
		return nil, nil
	}
	return []string{"look at the stack as soci-index-builder doctor does"}, nil
}

func (*after) Do(ctx context.Context, d *Deploy) error {
	if d.idle() {
		return nil
	}
	stack, err := deployed.Find(ctx, d.AWS, d.ChangeSet.StackID)
	if err != nil {
		return err
	}
	d.Screen.Outputs(stack.Outputs)
	report, err := doctor.Examine(ctx, d.AWS, stack, d.Mode.Now())
	if err != nil { // the deploy itself went well
		d.Screen.Tell(fmt.Sprintf("the stack could not be examined: %v", awserror.Explain(err)))
	} else {
		d.Screen.Findings(report)
	}
	at := fmt.Sprintf("--stack %s --region %s", stack.Name, stack.Region)
	d.Screen.Next([]string{
		"push an image that the filters " + stack.Filters.String() + " match: it is indexed within minutes",
		"index the images that are there already: soci-index-builder backfill " + at,
		"see how far it is: soci-index-builder status " + at,
	})
	return nil
}
