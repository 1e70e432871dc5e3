package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"
)

// failureRetention is how long a failed event is kept, in seconds: the maximum
// of SQS.
const failureRetention = 14 * 24 * 60 * 60

// addQueue adds the queue in which every event ends that got no SOCI index and
// will not get one by itself: from the rules, whose target could not be
// called; from Lambda, when the attempts are used up; and from the functions,
// when no other attempt can help.
func addQueue(s *builder) {
	s.queue = awssqs.NewCfnQueue(s.stack, jsii.String("FailureQueue"), &awssqs.CfnQueueProps{
		MessageRetentionPeriod: jsii.Number(failureRetention),
		// SQS's own key: EventBridge cannot write to a queue under the key
		// that AWS manages in KMS.
		SqsManagedSseEnabled: jsii.Bool(true),
	})
}

// addQueuePolicy says who may write to the queue besides the functions' roles.
func addQueuePolicy(s *builder) {
	arn := s.queue.AttrArn()
	var rules []any
	for _, r := range s.rules {
		rules = append(rules, r.ifThere(r.resource.AttrArn()))
	}
	awssqs.NewCfnQueuePolicy(s.stack, jsii.String("FailureQueuePolicy"), &awssqs.CfnQueuePolicyProps{
		Queues: &[]*string{s.queue.Ref()},
		PolicyDocument: policy(
			map[string]any{
				"Sid": "TlsOnly", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn,
				"Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
			},
			map[string]any{
				"Sid": "DeadLetters", "Effect": "Allow",
				"Principal": map[string]any{"Service": "events.amazonaws.com"},
				"Action":    "sqs:SendMessage", "Resource": arn,
				"Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": rules}},
			},
		),
	})
}
