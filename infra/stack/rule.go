package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/ecrevent"
)

// EventBridge's retries of an event that Lambda does not accept, before it goes to
// the failure queue. Once Lambda has accepted it, Lambda retries.
const (
	deliveryAttempts = 185         // the most that EventBridge makes
	deliveryAge      = 6 * 60 * 60 // seconds; as long as Lambda keeps an event
)

// rule is one kind of event that reaches the filter.
type rule struct {
	resource  awsevents.CfnRule
	condition awscdk.CfnCondition // nil: the rule is always there
	used      awscdk.CfnCondition // nil: a rule that is there is used, and worth an alarm
}

// ifThere returns the value, or nothing where the rule is not there.
func (r rule) ifThere(value any) any {
	if r.condition == nil {
		return value
	}
	return ifOnly(r.condition, value)
}

// addRules adds a rule for each way in which an image arrives in the registry
// of this account and region. The filter decides on what they let pass.
//
// A rule comes after everything that an event goes through, and the policies
// that name the rule, of the filter and of the queue, right after the rule.
func addRules(s *builder) {
	// An image without a tag comes with an empty one. The rule spares the
	// filter such events, of which a multi-platform image makes several.
	tag := ifElse(s.conditions.untagged, awscdk.Aws_NO_VALUE(), []any{map[string]any{"anything-but": []any{""}}})

	addRule(s, "Push", nil, ecrevent.ImageAction, map[string]any{
		"action-type": []any{"PUSH"}, "result": []any{"SUCCESS"}, "image-tag": tag,
	})
	addRule(s, "Replication", s.conditions.replicated, ecrevent.ReplicationAction, map[string]any{
		"action-type": []any{"REPLICATE"}, "result": []any{"SUCCESS"}, "image-tag": tag,
	})
	addRule(s, "PullThroughCache", s.conditions.pullThrough, ecrevent.PullThroughCacheAction, map[string]any{
		"sync-status": []any{"SUCCESS"}, "image-tag": tag,
	})
}

func addRule(s *builder, id string, condition awscdk.CfnCondition, detailType string, detail map[string]any) {
	r := rule{condition: condition}
	r.resource = awsevents.NewCfnRule(s.stack, jsii.String(id+"Rule"), &awsevents.CfnRuleProps{
		EventPattern: map[string]any{
			"source":      []any{"aws.ecr"},
			"account":     []any{awscdk.Aws_ACCOUNT_ID()},
			"region":      []any{awscdk.Aws_REGION()},
			"detail-type": []any{detailType},
			"detail":      detail,
		},
		Targets: []any{&awsevents.CfnRule_TargetProperty{
			Id:  jsii.String("Filter"),
			Arn: s.filter.resource.AttrArn(),
			RetryPolicy: &awsevents.CfnRule_RetryPolicyProperty{MaximumRetryAttempts: jsii.Number(deliveryAttempts),
				MaximumEventAgeInSeconds: jsii.Number(deliveryAge)},
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: s.queue.AttrArn()},
		}},
	})
	if len(s.rules) > 0 {
		r.resource.AddResourceDependency(s.rules[0].resource, nil) // and so on all before it
	} else {
		for _, first := range s.first {
			r.resource.AddResourceDependency(first, nil)
		}
	}
	permission := awslambda.NewCfnPermission(s.stack, jsii.String(id+"RulePermission"), &awslambda.CfnPermissionProps{
		Action:       jsii.String("lambda:InvokeFunction"),
		FunctionName: s.filter.resource.Ref(),
		Principal:    jsii.String("events.amazonaws.com"),
		SourceArn:    r.resource.AttrArn(),
	})
	if condition != nil {
		r.resource.CfnOptions().SetCondition(condition)
		permission.CfnOptions().SetCondition(condition)
	}
	s.rules = append(s.rules, r)
}
