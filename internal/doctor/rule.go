package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/text/plural"
)

// rules looks at every rule and its targets.
func (x *examination) rules(ctx context.Context) ([]Finding, error) {
	var (
		rules, targets []Finding
		errs           []error
	)
	all := x.of(typeRule)
	for _, r := range all {
		out, err := x.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &r.physical})
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			rules = append(rules, x.deleted(CheckRule, Problem, r.physical))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("describing rule %s: %w", r.physical, err))
		} else {
			rules = append(rules, x.rule(r, out)...)
		}
		found, err := x.targets(ctx, r)
		targets = append(targets, found...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		rules = wellOr(rules, CheckRule, "%d enabled, with the stack's pattern", len(all))
		targets = wellOr(targets, CheckTarget,
			"the filter function, with the failure queue behind it; of the state machine "+
				"the queue itself")
	}
	return append(rules, targets...), errors.Join(errs...)
}

// events says what a rule passes on, and to what.
func (r resource) events() (what, target string) {
	for _, t := range r.want.list("Targets") {
		if strings.HasPrefix(serviceOf(t.text("Arn")), "sqs:") {
			return "failed execution", "the failure queue"
		}
	}
	return "event", "the filter function"
}

// serviceOf returns an ARN from its service on.
func serviceOf(arn string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(arn, "arn:"), ":")
	return rest
}

func (x *examination) rule(r resource, out *eventbridge.DescribeRuleOutput) []Finding {
	var found []Finding
	if out.State == types.RuleStateDisabled {
		what, target := r.events()
		found = append(found, Finding{CheckRule, Problem, r.physical, "is disabled: no " + what + " reaches " + target,
			"aws events enable-rule --name " + r.physical + x.region()})
	}
	var pattern any
	want := r.want.at("EventPattern")
	if err := json.Unmarshal([]byte(aws.ToString(out.EventPattern)), &pattern); err != nil ||
		!reflect.DeepEqual(pattern, want) {
		b, _ := json.Marshal(want) // it came from JSON
		found = append(found, Finding{CheckRule, Problem, r.physical,
			"its event pattern is not the stack's: " + aws.ToString(out.EventPattern),
			"aws events put-rule --name " + r.physical + " --event-pattern '" + string(b) + "'" + x.region()})
	}
	return found
}

func (x *examination) targets(ctx context.Context, r resource) ([]Finding, error) {
	live := map[string]types.Target{}
	for token := (*string)(nil); ; {
		out, err := x.events.ListTargetsByRule(ctx,
			&eventbridge.ListTargetsByRuleInput{Rule: &r.physical, NextToken: token})
		if err != nil {
			return nil, fmt.Errorf("listing the targets of rule %s: %w", r.physical, err)
		}
		for _, t := range out.Targets {
			live[aws.ToString(t.Arn)] = t
		}
		if token = out.NextToken; token == nil {
			break
		}
	}
	var found []Finding
	_, to := r.events()
	for _, want := range r.want.list("Targets") {
		add := func(s Severity, what string) {
			b, _ := json.Marshal([]properties{want})
			found = append(found, Finding{CheckTarget, s, r.physical, what,
				"aws events put-targets --rule " + r.physical + " --targets '" + string(b) + "'" + x.region()})
		}
		t, ok := live[want.text("Arn")]
		delete(live, want.text("Arn"))
		if !ok {
			add(Problem, "does not pass its events to "+to+" "+want.text("Arn"))
			continue
		}
		if t.Input != nil || t.InputPath != nil || t.InputTransformer != nil {
			add(Problem, "changes the events before "+to+" gets them")
		}
		queue := ""
		if t.DeadLetterConfig != nil {
			queue = aws.ToString(t.DeadLetterConfig.Arn)
		}
		if queue != want.text("DeadLetterConfig", "Arn") {
			add(Problem, "has dead-letter queue "+orNone(queue)+
				": events that cannot be delivered do not reach the failure queue")
		}
		policy := t.RetryPolicy
		if policy == nil {
			policy = &types.RetryPolicy{}
		}
		for _, p := range []struct {
			name string
			is   *int32
		}{{"MaximumRetryAttempts", policy.MaximumRetryAttempts},
			{"MaximumEventAgeInSeconds", policy.MaximumEventAgeInSeconds}} {
			if n, ok := want.number("RetryPolicy", p.name); ok && (p.is == nil || int(*p.is) != n) {
				add(Warning, fmt.Sprintf("has %s %s, the stack's is %d", p.name, optional(p.is), n))
			}
		}
	}
	if len(live) > 0 {
		found = append(found, Finding{CheckTarget, Warning, r.physical,
			fmt.Sprintf("has %s than the stack's", plural.Count(len(live), "more target")),
			"if nobody needs them: aws events list-targets-by-rule --rule " + r.physical + x.region()})
	}
	return found, nil
}

func optional(n *int32) string {
	if n == nil {
		return "none"
	}
	return fmt.Sprint(*n)
}

// permissions looks whether each rule may invoke the filter function.
func (x *examination) permissions(ctx context.Context) ([]Finding, error) {
	var (
		found []Finding
		errs  []error
	)
	all := x.of(typePermission)
	for _, r := range all {
		function, source := r.want.text("FunctionName"), r.want.text("SourceArn")
		out, err := x.lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &function})
		var policy iampolicy.Policy
		if _, none := errors.AsType[*lambdatypes.ResourceNotFoundException](err); err != nil && !none {
			errs = append(errs, fmt.Errorf("reading the policy of function %s: %w", function, err))
			continue
		} else if err == nil {
			if policy, err = iampolicy.Parse([]byte(aws.ToString(out.Policy))); err != nil {
				errs = append(errs, fmt.Errorf("reading the policy of function %s: %w", function, err))
				continue
			}
		}
		if !allows(policy, r.want.text("Action"), r.want.text("Principal"), source) {
			found = append(found, Finding{CheckPermission, Problem, function, "may not be invoked by " + source,
				"aws lambda add-permission --function-name " + function + " --statement-id " + r.id + " --action " +
					r.want.text("Action") +
					" --principal " + r.want.text("Principal") + " --source-arn " + source + x.region()})
		}
	}
	if len(errs) == 0 {
		found = wellOr(found, CheckPermission, "every rule may invoke the filter function")
	}
	return found, errors.Join(errs...)
}

// allows reports whether a resource's policy lets a service do something on
// behalf of a source. Statements that deny it matter when they have no
// condition.
func allows(p iampolicy.Policy, action, service, source string) bool {
	allowed := false
	for _, s := range p.Statements {
		if !s.HasAction(action) || !s.HasService(service) {
			continue
		}
		if s.Deny && s.Condition == nil {
			return false
		}
		allowed = allowed || !s.Deny && fromSource(s, source)
	}
	return allowed
}

// fromSource reports whether a statement's conditions, of which only those on
// the source are understood, let the source pass.
func fromSource(s iampolicy.Statement, source string) bool {
	for _, keys := range s.Condition {
		for key, values := range keys {
			if !strings.EqualFold(key, "aws:SourceArn") {
				continue
			}
			pass := false
			for _, v := range values {
				pass = pass || iampolicy.Match(v, source)
			}
			if !pass {
				return false
			}
		}
	}
	return true
}
