// Package rights finds out, before anything is made, which permissions a deploy
// will lack. Each [Question] is a request that changes nothing: AWS refuses it,
// since the permission or what the request names is missing.
//
// AWS decides who may do something by the request alone, before a service looks
// whether what it names exists:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
// So ECR answers a caller with the permission that a repository does not exist, and
// one without that the call is denied. Where a service goes about it the other way
// round, the answer tells nothing, and the deploy goes on as if it had not been
// asked: only a refusal that names the action counts.
//
// iam:SimulatePrincipalPolicy is not asked. It knows neither the policies of the
// session nor those of the resources, and denies what depends on a condition that
// it is not told; and few deployers may call it.
//
// Start with the functions that return questions, then [Ask].
package rights

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/permission/deployer"
)

// Question asks for one right.
type Question struct {
	Action string         // of IAM
	Scope  deployer.Scope // what it is needed on

	// Values are those of the placeholders in the scope's ARNs that
	// deployer.Names does not have.
	Values map[string]string

	// Ask sends the request. Its error is AWS's, or nil.
	Ask func(context.Context) error
}

// Missing is a right that the caller lacks.
type Missing struct {
	Question
	execution.Missing       // as AWS says it; the principal may be empty
	Err               error // AWS's
}

// Limits of what is asked.
const (
	atOnce = 8
	// patient is how long all questions together may take. What has not been
	// answered by then counts as allowed.
	patient = 20 * time.Second
)

// Ask asks all questions and returns what is missing, in their order. An answer
// that does not clearly deny the right counts as one that allows it.
func Ask(ctx context.Context, questions []Question) []Missing {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	answers := make([]error, len(questions))
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i, q := range questions {
		all.Go(func() error {
			answers[i] = q.Ask(ctx)
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	var missing []Missing
	for i, err := range answers {
		if m := refusal(questions[i], err); m != nil {
			missing = append(missing, *m)
		}
	}
	return missing
}

// refusal reads an answer; nil when it does not deny the right.
func refusal(q Question, err error) *Missing {
	if err == nil || !errors.Is(awserror.Explain(err), awserror.ErrDenied) {
		return nil
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return nil
	}
	said := execution.ParseMissing(api.ErrorMessage())
	switch {
	case said == nil && q.Action == writeObject && api.ErrorCode() == "AccessDenied":
		// S3 often says no more than this.
		return &Missing{q, execution.Missing{Action: q.Action}, err}
	case said == nil:
		return nil
	case said.Action == "iam:PassRole":
		q.Action, q.Scope = said.Action, deployer.ServiceRole
	case said.Action == "cloudformation:TagResource":
		q.Action = said.Action
	case said.Action != q.Action:
		return nil // another right that the answer would have taken
	}
	return &Missing{q, *said, err}
}

// once returns a configuration that sends each request only once: no answer is
// treated like an inconclusive one.
func once(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return cfg
}
