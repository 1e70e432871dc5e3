package redrive

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Waiting returns the messages of the queue, at most limit, which stay in it. An
// empty queue, as far as SQS knows, is not read. The caller needs
// sqs:GetQueueAttributes and, if there are messages, sqs:ReceiveMessage and
// sqs:ChangeMessageVisibility.
func (q *Queue) Waiting(ctx context.Context, limit int) ([]*Message, error) {
	if n, err := q.Count(ctx); err != nil || n == 0 {
		return nil, err
	}
	lease, err := q.Receive(ctx, limit)
	if err != nil {
		return nil, err
	}
	if err := lease.Return(ctx); err != nil && !errors.Is(err, ErrNotReturned) {
		return nil, err
	}
	return lease.Messages(), nil
}

// Count returns about how many messages the queue has, but for those that are
// held. The caller needs sqs:GetQueueAttributes.
func (q *Queue) Count(ctx context.Context) (int, error) {
	name := types.QueueAttributeNameApproximateNumberOfMessages
	out, err := q.Client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(q.URL), AttributeNames: []types.QueueAttributeName{name}})
	if err != nil {
		return 0, fmt.Errorf("looking at the queue %s: %w", q.URL, err)
	}
	return strconv.Atoi(out.Attributes[string(name)])
}
