package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/text/plural"
)

// attributes reads attributes of the failure queue.
func (x *examination) attributes(ctx context.Context, names ...types.QueueAttributeName) (map[string]string, error) {
	out, err := x.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(x.stack.Outputs[deployed.OutFailureQueueURL]), AttributeNames: names,
	})
	if err != nil {
		return nil, fmt.Errorf("reading the failure queue: %w", err)
	}
	return out.Attributes, nil
}

func (x *examination) queueName() string {
	return queueName(x.stack.Outputs[deployed.OutFailureQueueURL])
}

// queue looks whether the rules can leave their events in the failure queue,
// and for how long it keeps them.
func (x *examination) queue(ctx context.Context) ([]Finding, error) {
	attributes, err := x.attributes(ctx, types.QueueAttributeNamePolicy, types.QueueAttributeNameKmsMasterKeyId,
		types.QueueAttributeNameMessageRetentionPeriod)
	if _, gone := errors.AsType[*types.QueueDoesNotExist](err); gone {
		return []Finding{x.deleted(CheckQueue, Problem, x.queueName())}, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Finding
	add := func(s Severity, what, hint string) {
		found = append(found, Finding{CheckQueue, s, x.queueName(), what, hint})
	}
	url := x.stack.Outputs[deployed.OutFailureQueueURL]
	if key := attributes[string(types.QueueAttributeNameKmsMasterKeyId)]; key != "" {
		add(Problem, "is encrypted under KMS key "+key+
			", under which EventBridge cannot write unless the key's policy lets it",
			"aws sqs set-queue-attributes --queue-url "+url+" --attributes KmsMasterKeyId=,SqsManagedSseEnabled=true"+
				x.region())
	}
	var policy iampolicy.Policy
	if text := attributes[string(types.QueueAttributeNamePolicy)]; text != "" {
		if policy, err = iampolicy.Parse([]byte(text)); err != nil {
			return found, fmt.Errorf("reading the failure queue's policy: %w", err)
		}
	}
	var refused []string
	for _, r := range x.of(typeRule) {
		arn, _ := x.attribute(typeRule, r.physical, "Arn")
		if !allows(policy, "sqs:SendMessage", "events.amazonaws.com", arn.(string)) {
			refused = append(refused, r.physical)
		}
	}
	if len(refused) > 0 {
		add(Problem, "takes nothing from the rules "+strings.Join(refused, ", "),
			"put the statement DeadLettersOfTheRules of the stack's template back into the queue's policy")
	}
	for _, r := range x.of(typeQueue) {
		want, ok := r.want.number("MessageRetentionPeriod")
		is := attributes[string(types.QueueAttributeNameMessageRetentionPeriod)]
		if n, err := strconv.Atoi(is); ok && (err != nil || n != want) {
			add(Warning, fmt.Sprintf("keeps events for %s, the stack's time is %s", time.Duration(n)*time.Second,
				time.Duration(want)*time.Second),
				fmt.Sprintf("aws sqs set-queue-attributes --queue-url %s --attributes MessageRetentionPeriod=%d%s", url,
					want, x.region()))
		}
	}
	return wellOr(found, CheckQueue, "takes the events of the rules and functions"), nil
}

// messages looks whether something failed for good.
func (x *examination) messages(ctx context.Context) ([]Finding, error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	attributes, err := x.attributes(ctx, names...)
	if _, gone := errors.AsType[*types.QueueDoesNotExist](err); gone {
		return nil, nil // said already
	}
	if err != nil {
		return nil, err
	}
	n := 0
	for _, name := range names {
		one, _ := strconv.Atoi(attributes[string(name)])
		n += one
	}
	if n == 0 {
		return []Finding{{Check: CheckMessages, Severity: OK, Found: "the failure queue is empty"}}, nil
	}
	f := Finding{CheckMessages, Problem, x.queueName(),
		plural.Count(n, "event that failed waits", "events that failed wait") + " in the failure queue",
		"see why, and try them again: soci-index-builder redrive --stack " + x.stack.Name + x.region()}
	age, err := x.oldestMessage(ctx)
	if age > 0 {
		f.Found += ", the oldest for " + days(age)
	}
	return []Finding{f}, err
}

// days writes an age for people.
func days(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return plural.Count(int(d/time.Minute), "minute", "minutes")
}
