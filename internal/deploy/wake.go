package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
)

// maxWaking is how long a function may take to wake.
const maxWaking = 5 * time.Minute

// wake wakes the function behind the custom resource. Lambda puts functions that are
// images to sleep if they are not called for weeks, as is usual between two deploys,
// and the next call only wakes them. If that fails, it is no failure of the deploy:
// CloudFormation calls more than once.
func (d *Deploy) wake(ctx context.Context) error {
	s := d.stack()
	if s == nil {
		return nil
	}
	name := s.Outputs[deployed.OutRepositoryFunctionName]
	if kind, _ := codeOf(s.Template); kind != embedded.Image || name == "" {
		return nil
	}
	client := lambda.NewFromConfig(d.AWS)
	state := func(ctx context.Context) (types.State, error) {
		out, err := client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		if err != nil {
			return "", err
		}
		return out.State, nil
	}
	is, err := state(ctx)
	if err == nil && is == types.StateInactive {
		d.Screen.Say(fmt.Sprintf("function %s has not run for weeks, and sleeps: waking it", name))
		// This call fails; without waiting for an answer Lambda would try it again.
		_, denied := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte("{}")},
			func(o *lambda.Options) { o.RetryMaxAttempts = 1 })
		if denied = awserror.Explain(denied); errors.Is(denied, awserror.ErrDenied) {
			d.Screen.Tell(fmt.Sprintf("function %s is left to CloudFormation to wake: %v", name, denied))
			return nil
		}
		patience := d.Mode.Patience
		patience.Limit = maxWaking
		err = patience.Until(ctx, func(ctx context.Context) (bool, error) {
			is, err := state(ctx)
			return is != types.StateInactive && is != types.StatePending, err
		})
	}
	if err != nil && ctx.Err() == nil {
		d.Screen.Tell(fmt.Sprintf("whether function %s sleeps is not known: %v", name, awserror.Explain(err)))
		return nil
	}
	return err
}
