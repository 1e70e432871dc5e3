// Package failurequeue sends events that failed for good to an Amazon SQS
// queue, in the form that Lambda uses for events that it gives up on, so that
// one reader understands both. Start with [Queue.Send].
package failurequeue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/lambdafn"
)

// MaxSize bounds a message, in bytes: what every queue takes.
const MaxSize = 256 << 10 // 256 KiB

// maxText bounds the error's text in a message, in bytes.
const maxText = 8 << 10 // 8 KiB

// Condition is what requestContext.condition says of a message that a function
// sent itself. Lambda's own are RetriesExhausted and EventAgeExceeded.
const Condition = "PermanentFailure"

// The conditions of a message about an image that the state machine worked on, when
// another attempt may succeed.
const (
	// ConditionSteps: a step was tried again, and failed for a transient reason each
	// time.
	ConditionSteps = "StepRetriesExhausted"
	// ConditionStep: a step ended without an answer, as in a crash, and was not tried
	// again.
	ConditionStep = "StepFailed"
)

// Message is what the queue gets: a Lambda invocation record, and why no
// second attempt helps.
type Message struct {
	Version         string          `json:"version"`   // "1.0"
	Timestamp       time.Time       `json:"timestamp"` // of the failure
	RequestContext  RequestContext  `json:"requestContext"`
	RequestPayload  any             `json:"requestPayload"` // the event, or its text if it is not JSON; null if cut
	ResponsePayload ResponsePayload `json:"responsePayload"`

	// Class is "permanent", or "transient" with ConditionSteps and ConditionStep.
	Class  failure.Class  `json:"class"`
	Reason failure.Reason `json:"reason"`

	// EventCut is there when the event did not fit.
	EventCut *EventCut `json:"eventCut,omitempty"`
}

// RequestContext says which invocation failed.
type RequestContext struct {
	RequestID   string `json:"requestId"`
	FunctionARN string `json:"functionArn"`
	Condition   string `json:"condition"` // Condition, ConditionSteps or ConditionStep
}

// ResponsePayload is the failure as a function's answer.
type ResponsePayload struct {
	ErrorMessage string `json:"errorMessage"`
	ErrorType    string `json:"errorType"` // the reason
}

// EventCut stands for an event that is too large for the queue.
type EventCut struct {
	Begin  string `json:"begin"`  // as much of its text as fits
	Size   int    `json:"size"`   // of the whole event, in bytes
	SHA256 string `json:"sha256"` // of the whole event, in hexadecimal digits
}

// NewMessage makes the message of at most MaxSize bytes for an event that
// failed in the invocation of ctx.
func NewMessage(ctx context.Context, event []byte, f *failure.Error, now time.Time) ([]byte, error) {
	m := Message{
		Version:        "1.0",
		Timestamp:      now.UTC().Round(time.Millisecond),
		RequestContext: RequestContext{Condition: Condition},
		ResponsePayload: ResponsePayload{
			ErrorMessage: begin(f.Error(), maxText),
			ErrorType:    string(f.Reason),
		},
		Class:  f.Class,
		Reason: f.Reason,
	}
	if failure.ClassOf(f.Reason) == failure.Transient { // final all the same
		m.Class, m.RequestContext.Condition = failure.Transient, ConditionSteps
		if f.Once {
			m.RequestContext.Condition = ConditionStep
		}
	}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		m.RequestContext.RequestID, m.RequestContext.FunctionARN = lc.AwsRequestID, lc.InvokedFunctionArn
	}
	if json.Valid(event) && utf8.Valid(event) {
		m.RequestPayload = json.RawMessage(event)
	} else {
		m.RequestPayload = string(event)
	}
	b, err := encode(m)
	if err != nil {
		return nil, err
	}
	for keep := MaxSize / 2; len(b) > MaxSize; keep /= 2 { // JSON can make six bytes of one
		sum := sha256.Sum256(event)
		m.RequestPayload = nil
		m.EventCut = &EventCut{Begin: begin(string(event), keep), Size: len(event), SHA256: hex.EncodeToString(sum[:])}
		if b, err = encode(m); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// encode writes m in the characters that a queue takes, which JSON has two
// more of.
func encode(m Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the message: %w", err)
	}
	b = bytes.ReplaceAll(b, []byte("\uFFFE"), []byte(`\ufffe`))
	return bytes.ReplaceAll(b, []byte("\uFFFF"), []byte(`\uffff`)), nil
}

// begin returns the first n bytes of s, less those of a character cut in two.
func begin(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n]
	for range utf8.UTFMax - 1 {
		if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// Sender sends messages to queues. AWS's client is one.
type Sender interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, opts ...func(*sqs.Options)) (*sqs.SendMessageOutput,
		error)
}

// Queue is one queue. All fields are required; it may be used by several
// goroutines at once.
type Queue struct {
	Sender Sender
	URL    string
	Now    func() time.Time // time.Now outside of tests
}

// Open returns the queue at url, nil if that is empty.
func Open(cfg aws.Config, url string) *Queue {
	if url == "" {
		return nil
	}
	return &Queue{Sender: sqs.NewFromConfig(cfg), URL: url, Now: time.Now}
}

// maxWait bounds how long a message may take, all attempts included.
const maxWait = 30 * time.Second

// Send hands over an event that failed for good. Only when its error is nil
// has the queue taken it.
func (q *Queue) Send(ctx context.Context, event []byte, f *failure.Error) error {
	body, err := NewMessage(ctx, event, f, q.Now())
	if err != nil {
		return err
	}
	ctx, cancel := lambdafn.LastMoments(ctx, maxWait)
	defer cancel()
	if _, err := q.Sender.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:    aws.String(q.URL),
		MessageBody: aws.String(string(body)),
	}); err != nil {
		return fmt.Errorf("handing the event to the queue %s: %w", q.URL, err)
	}
	return nil
}

// Settle decides what a function answers to an event that failed. A nil error
// means that the queue has the event, so that the function can report success;
// otherwise the error is for Lambda, which tries again: f itself when it is
// transient or when there is no queue (q is nil), else why the queue did not
// take the event.
func (q *Queue) Settle(ctx context.Context, logger *slog.Logger, event []byte, f *failure.Error) error {
	if q == nil || f.Class != failure.Permanent {
		return f
	}
	if err := q.Send(ctx, event, f); err != nil {
		failed := failure.Of(err)
		logger.ErrorContext(ctx, "event not queued", "queue", q.URL, "class", failed.Class, "reason", failed.Reason,
			"error", failed)
		// Not joined with f, which would make it permanent.
		return &failure.Error{Class: failed.Class, Reason: failed.Reason, Permission: failed.Permission,
			Err: fmt.Errorf("%w; the event had failed for good: %v", failed.Err, f)}
	}
	logger.InfoContext(ctx, "event queued", "queue", q.URL)
	return nil
}
