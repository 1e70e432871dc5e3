package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"soci-index-builder/internal/deployed"
)

// machines looks whether the state machine that works on large images is there,
// active, and the stack's.
func (x *examination) machines(ctx context.Context) ([]Finding, error) {
	var (
		found []Finding
		errs  []error
	)
	all := x.of(typeMachine)
	for _, r := range all {
		out, err := x.states.DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: &r.physical})
		if _, gone := errors.AsType[*types.StateMachineDoesNotExist](err); gone {
			found = append(found, x.deleted(CheckMachine, Problem, r.physical))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("describing the state machine %s: %w", r.physical, err))
			continue
		}
		found = append(found, x.machine(r, out)...)
	}
	if len(all) > 0 {
		found = append(found, x.stepsMemory()...)
	}
	switch {
	case len(errs) > 0 || len(found) > 0:
	case len(all) == 0:
		found = []Finding{{Check: CheckMachine, Severity: OK,
			Found: "the stack has none: an image is built by one function"}}
	default:
		found = wellOr(found, CheckMachine, "active, with the stack's definition and role")
	}
	return found, errors.Join(errs...)
}

// stepsMemory looks whether large images get less memory than others.
func (x *examination) stepsMemory() []Finding {
	whole, steps := x.stack.MemorySize(), x.stack.StepsMemorySize()
	if x.stack.FanOutFrom() == 0 || steps >= whole {
		return nil
	}
	return []Finding{{CheckMachine, Warning, "",
		fmt.Sprintf("%s is %d, less than %s, %d: an image that is handed over for its size has less memory than "+
			"one that is not", deployed.ParamStepsMemorySize, steps, deployed.ParamGeneratorMemorySize, whole),
		fmt.Sprintf("soci-index-builder deploy --stack %s%s --parameter %s=%d", x.stack.Name, x.region(),
			deployed.ParamStepsMemorySize, whole)}}
}

func (x *examination) machine(r resource, out *sfn.DescribeStateMachineOutput) []Finding {
	var found []Finding
	update := "aws stepfunctions update-state-machine --state-machine-arn " + r.physical
	if out.Status != types.StateMachineStatusActive {
		found = append(found, Finding{CheckMachine, Problem, r.physical,
			"is " + string(out.Status) + ": large images are not indexed", "update the stack, or deploy it again"})
	}
	if want := r.want.text("RoleArn"); aws.ToString(out.RoleArn) != want {
		found = append(found, Finding{CheckMachine, Problem, r.physical,
			fmt.Sprintf("has the role %s, the stack's is %s", orNone(aws.ToString(out.RoleArn)), want),
			update + " --role-arn " + want + x.region()})
	}
	var is, should any
	want := r.want.text("DefinitionString")
	if json.Unmarshal([]byte(want), &should) == nil &&
		(json.Unmarshal([]byte(aws.ToString(out.Definition)), &is) != nil || !reflect.DeepEqual(is, should)) {
		found = append(found, Finding{CheckMachine, Problem, r.physical, "its definition is not the stack's",
			update + " --definition '" + want + "'" + x.region()})
	}
	return found
}
