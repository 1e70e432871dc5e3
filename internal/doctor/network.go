package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/deployed"
)

// network looks whether the functions are in the private network that the stack
// has them in.
func (x *examination) network(ctx context.Context) ([]Finding, error) {
	var (
		found   []Finding
		errs    []error
		vpcs    []string
		private bool
	)
	for _, r := range x.of(typeFunction) {
		out, err := x.lambda.GetFunctionConfiguration(ctx,
			&lambda.GetFunctionConfigurationInput{FunctionName: &r.physical})
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			continue // said already
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the network of function %s: %w", r.physical, err))
			continue
		}
		is := out.VpcConfig
		if is == nil {
			is = &types.VpcConfigResponse{}
		}
		if id := aws.ToString(is.VpcId); id != "" && !slices.Contains(vpcs, id) {
			vpcs = append(vpcs, id)
		}
		for _, part := range []struct {
			what, name string
			is         []string
		}{{"subnets", "SubnetIds", is.SubnetIds}, {"security groups", "SecurityGroupIds", is.SecurityGroupIds}} {
			want := r.want.texts("VpcConfig", part.name)
			private = private || len(want) > 0
			if live := sorted(part.is); !slices.Equal(live, sorted(want)) {
				found = append(found, Finding{CheckNetwork, Problem, r.physical,
					fmt.Sprintf("its %s are %s, the stack's are %s", part.what, orNone(strings.Join(live, ", ")),
						orNone(strings.Join(sorted(want), ", "))), byHand})
			}
		}
	}
	if len(errs) > 0 || len(found) > 0 {
		return found, errors.Join(errs...)
	}
	if !private {
		return []Finding{{Check: CheckNetwork, Severity: OK, Found: "the functions are in no private network"}}, nil
	}
	return []Finding{{Check: CheckNetwork, Severity: OK,
		Found: "filter, generator and steps are in the stack's subnets of " + orNone(strings.Join(vpcs, ", "))}}, nil
}

// endpoints are the services that the functions call, by the names of their
// VPC endpoints, as far as the stack's parameters have them.
func (x *examination) endpoints() []string {
	all := []string{"ecr.api", "ecr.dkr", "s3", "lambda", "sqs"}
	if x.stack.EventBus() != "" {
		all = append(all, "events")
	}
	if from := x.stack.Parameters[deployed.ParamFanOutFromGiB]; from != "" && from != "0" {
		all = append(all, "states")
	}
	return all
}

// texts are the texts of a list.
func (p properties) texts(path ...string) []string {
	v, _ := p.at(path...).([]any)
	var out []string
	for _, one := range v {
		out = append(out, scalar(one))
	}
	return out
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
