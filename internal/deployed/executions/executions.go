// Package executions tells which images the state machine of a stack works on,
// and how an execution ended. Start with [Running] or [Ended].
package executions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/names"
)

// API is what is asked of AWS Step Functions. AWS's client is one.
type API interface {
	ListExecutions(context.Context, *sfn.ListExecutionsInput, ...func(*sfn.Options)) (*sfn.ListExecutionsOutput, error)
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (
		*sfn.DescribeExecutionOutput, error)
}

// Image is what an execution works on.
type Image struct{ Repository, Digest, Tag string }

// Execution is one that runs.
type Execution struct {
	Name    string
	Started time.Time
}

// most bounds how many executions are looked at, the latest first.
const most = 200

// Running returns the executions of a state machine that run, by their images,
// the latest 200 of them. One whose input is no event of ECR is left out. The
// caller needs states:ListExecutions and states:DescribeExecution.
func Running(ctx context.Context, api API, machine string) (map[Image]Execution, error) {
	found := map[Image]Execution{}
	n := 0
	pages := sfn.NewListExecutionsPaginator(api, &sfn.ListExecutionsInput{StateMachineArn: &machine,
		StatusFilter: types.ExecutionStatusRunning})
	for pages.HasMorePages() && n < most {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the executions of %s: %w", machine, err)
		}
		for _, x := range page.Executions {
			if n++; n > most {
				break
			}
			out, err := api.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: x.ExecutionArn})
			if err != nil {
				return nil, fmt.Errorf("looking at the execution %s: %w", aws.ToString(x.Name), err)
			}
			e, err := ecrevent.Parse([]byte(aws.ToString(out.Input)))
			if err != nil {
				continue
			}
			image := Image{e.Detail.RepositoryName, e.Detail.ImageDigest, e.Detail.ImageTag}
			if _, later := found[image]; !later {
				found[image] = Execution{aws.ToString(x.Name), aws.ToTime(x.StartDate)}
			}
		}
	}
	return found, nil
}

// Ended says in words how an execution of a state machine ended without telling
// so itself, and why: it failed, ran out of time or was stopped. It returns ""
// for one that runs, that came to its own end, or that is not known any more. The
// caller needs states:DescribeExecution.
func Ended(ctx context.Context, api API, machine, name string) (string, error) {
	arn := names.ExecutionARN(machine, name)
	out, err := api.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if _, gone := errors.AsType[*types.ExecutionDoesNotExist](err); gone {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking at the execution %s: %w", name, err)
	}
	var text string
	switch out.Status {
	case types.ExecutionStatusTimedOut:
		text = "timed out"
	case types.ExecutionStatusAborted:
		text = "was stopped"
	case types.ExecutionStatusFailed:
		text = "failed"
	default:
		return "", nil
	}
	for _, why := range []string{aws.ToString(out.Error), aws.ToString(out.Cause)} {
		if why != "" {
			text += fmt.Sprintf(": %.300s", why)
		}
	}
	return text, nil
}
