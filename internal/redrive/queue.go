// Package redrive processes the failure queue: it reads messages in all formats
// found there, and invokes the functions again with their events, or discards
// them. No message is lost: while it is being processed no one else receives
// it; it is deleted only after its invocation was accepted; otherwise it
// returns to the queue at once.
//
// Start with [Queue.Receive].
package redrive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Client is what is asked of Amazon SQS. AWS's client is one.
type Client interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput,
		...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput,
		...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// Queue is the failure queue of a stack.
type Queue struct {
	Client Client
	URL    string

	// Hold is how long a received message is hidden from other receivers; half
	// of that before its end it is renewed. The default is 2 minutes, in whole
	// seconds.
	Hold time.Duration

	// Ticks returns the times to renew at, one each d. The default is a
	// time.Ticker.
	Ticks func(d time.Duration) (ticks <-chan time.Time, stop func())
}

const (
	defaultHold = 2 * time.Minute
	batch       = 10               // messages, what SQS takes at once
	longPoll    = 2                // seconds; a short poll can miss messages
	lastWords   = 30 * time.Second // for what must be said after an interruption
)

// ErrNotReturned: messages stay invisible until their time is over. None is
// lost.
var ErrNotReturned = errors.New("messages are invisible for some minutes, since the queue did not take them back")

// Lease holds messages that are hidden from other receivers until Return.
type Lease struct {
	queue    *Queue
	messages []*Message
	complete bool

	mu   sync.Mutex
	held map[string]*Message // by id; those not deleted

	stop func() // ends the renewing, and waits for it
}

// Receive reads the queue until it is empty, or has given limit messages (0:
// no limit), and holds them. After an error nothing is held.
func (q *Queue) Receive(ctx context.Context, limit int) (*Lease, error) {
	l := &Lease{queue: q, held: map[string]*Message{}}
	l.renew(ctx)
	err := l.receive(ctx, limit)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the queue %s: %w", q.URL, err), l.Return(ctx))
	}
	slices.SortFunc(l.messages, func(a, b *Message) int {
		return cmp.Or(a.Failed.Compare(b.Failed), strings.Compare(a.ID, b.ID))
	})
	return l, nil
}

func (q *Queue) hold() time.Duration {
	if q.Hold == 0 {
		return defaultHold
	}
	return q.Hold
}

func (l *Lease) receive(ctx context.Context, limit int) error {
	for {
		most := batch
		if limit > 0 {
			most = min(most, limit-len(l.messages))
		}
		if most == 0 {
			return nil
		}
		out, err := l.queue.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl:                    aws.String(l.queue.URL),
			MaxNumberOfMessages:         int32(most),
			VisibilityTimeout:           int32(l.queue.hold() / time.Second),
			WaitTimeSeconds:             longPoll,
			MessageAttributeNames:       []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if _, full := errors.AsType[*types.OverLimit](err); full && len(l.messages) > 0 {
			return nil // no more may be held at once
		}
		if err != nil {
			return err
		}
		if len(out.Messages) == 0 {
			l.complete = true
			return nil
		}
		l.add(out.Messages)
	}
}

func (l *Lease) add(all []types.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range all {
		m := parse(one)
		// A standard queue can deliver a message twice; the later receipt is
		// the one that counts.
		if known := l.held[m.ID]; known != nil {
			known.receipt, known.Received, known.lapsed = m.receipt, m.Received, false
			continue
		}
		l.held[m.ID] = m
		l.messages = append(l.messages, m)
	}
}

// Messages returns them by the time of their failure.
func (l *Lease) Messages() []*Message { return l.messages }

// Complete reports whether these are all messages that the queue would give.
func (l *Lease) Complete() bool { return l.complete }

// Elsewhere estimates how many messages of the queue are not among these:
// visible ones, and those held by other receivers.
func (l *Lease) Elsewhere(ctx context.Context) (visible, held int, err error) {
	out, err := l.queue.Client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(l.queue.URL),
		AttributeNames: []types.QueueAttributeName{
			types.QueueAttributeNameApproximateNumberOfMessages,
			types.QueueAttributeNameApproximateNumberOfMessagesNotVisible},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("counting the messages of %s: %w", l.queue.URL, err)
	}
	visible, _ = strconv.Atoi(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessages)])
	held, _ = strconv.Atoi(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)])
	l.mu.Lock()
	defer l.mu.Unlock()
	return visible, max(0, held-len(l.held)), nil
}

// renew keeps the messages held, until stop.
func (l *Lease) renew(ctx context.Context) {
	ticks := l.queue.Ticks
	if ticks == nil {
		ticks = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(d)
			return t.C, t.Stop
		}
	}
	// An interruption does not end it: what is under way then still needs its
	// message.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	at, end := ticks(l.queue.hold() / 2)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-at:
				// One that could not be renewed is tried again at the next
				// tick, before its time is over.
				_ = l.visibility(ctx, l.queue.hold())
			case <-ctx.Done():
				return
			}
		}
	})
	l.stop = func() {
		cancel()
		end()
		done.Wait()
	}
}

// visibility sets how long all held messages stay invisible. Its error joins
// those of the batches, and names the messages that failed.
func (l *Lease) visibility(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	ids := make([]string, 0, len(l.held))
	for _, m := range l.messages {
		if l.held[m.ID] != nil && !m.lapsed {
			ids = append(ids, m.ID)
		}
	}
	l.mu.Unlock()
	var errs []error
	for some := range slices.Chunk(ids, batch) {
		errs = append(errs, l.visibilityOf(ctx, some, d))
	}
	return errors.Join(errs...)
}

func (l *Lease) visibilityOf(ctx context.Context, ids []string, d time.Duration) error {
	l.mu.Lock()
	var entries []types.ChangeMessageVisibilityBatchRequestEntry
	for i, id := range ids {
		if m := l.held[id]; m != nil { // not deleted meanwhile
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(m.receipt),
				VisibilityTimeout: int32(d / time.Second),
			})
		}
	}
	l.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	out, err := l.queue.Client.ChangeMessageVisibilityBatch(ctx,
		&sqs.ChangeMessageVisibilityBatchInput{QueueUrl: aws.String(l.queue.URL), Entries: entries})
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range out.Failed {
		i, err := strconv.Atoi(aws.ToString(f.Id))
		if err != nil || i < 0 || i >= len(ids) {
			continue
		}
		if l.gone(ids[i], aws.ToString(f.Code)) {
			continue
		}
		errs = append(errs, fmt.Errorf("message %s: %s: %s", ids[i], aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return errors.Join(errs...)
}

// notHeld are the answers that the message is not ours any more: its time was
// over, or it was deleted.
var notHeld = []string{"MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue",
	"ReceiptHandleIsInvalid"}

// gone notes that a message is visible again, if that is what the code says.
func (l *Lease) gone(id, code string) bool {
	if !slices.Contains(notHeld, code) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.held[id]; m != nil {
		m.lapsed = true
	}
	return true
}

// Holds reports whether a message is still held: neither deleted, nor visible
// again because it could not be renewed in time.
func (l *Lease) Holds(m *Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[m.ID] != nil && !m.lapsed
}

// delete takes a message out of the queue for good.
func (l *Lease) delete(ctx context.Context, m *Message) error {
	l.mu.Lock()
	receipt := m.receipt
	l.mu.Unlock()
	if _, err := l.queue.Client.DeleteMessage(ctx,
		&sqs.DeleteMessageInput{QueueUrl: aws.String(l.queue.URL), ReceiptHandle: aws.String(receipt)}); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, m.ID)
	return nil
}

// returnAttempts is how often messages are offered to the queue.
const returnAttempts = 3

// Return puts all messages that were not deleted back, so that everyone sees
// them at once. It works also after ctx was interrupted. It is to be called
// once; its error matches ErrNotReturned.
func (l *Lease) Return(ctx context.Context) error {
	l.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	var err error
	for range returnAttempts {
		if err = l.visibility(ctx, 0); err == nil {
			return nil
		}
		// In the next attempt SQS reports the messages that went back as not held.
	}
	return fmt.Errorf("%w: %w", ErrNotReturned, err)
}
