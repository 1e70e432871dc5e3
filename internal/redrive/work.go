package redrive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// Why a message cannot be worked on. It stays in the queue.
var (
	// ErrUnknownFormat: the message names neither event nor function.
	ErrUnknownFormat = errors.New(
		"it has none of the formats of this queue, so it can only be discarded, and only by --id")

	// ErrEventCut: the message has only the beginning of its event.
	ErrEventCut = errors.New(
		"its event was too large for the queue and was cut, so there is nothing to invoke the function with: push " +
			"the image again, or run backfill")

	// ErrNoEvent: the message says what failed, but not with which event.
	ErrNoEvent = errors.New("it has no event")

	// ErrOtherFunction: the message is about a function of another stack, or
	// of this one before it was made again.
	ErrOtherFunction = errors.New("it names a function that is not of this stack")

	// ErrLapsed: it became visible to others before it was worked on.
	ErrLapsed = errors.New("the queue has given it free meanwhile: run the command again")
)

// Invoker invokes Lambda functions. AWS's client is one.
type Invoker interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Functions are the ARNs of a stack's functions, and of its state machine.
// Steps and Machine are empty of a stack without them.
type Functions struct{ Filter, Generator, Steps, Machine string }

// Of returns the ARN to invoke with the event of m. Its errors are
// ErrUnknownFormat, ErrEventCut, ErrNoEvent and ErrOtherFunction.
func (f Functions) Of(m *Message) (string, error) {
	switch {
	case m.Origin == Unknown:
		return "", ErrUnknownFormat
	case m.Cut != nil:
		return "", ErrEventCut
	case m.Event == nil:
		return "", ErrNoEvent
	case m.Origin == Bare:
		return f.Filter, nil
	}
	// Lambda names the version, and the policies of the callers do not.
	arn := strings.TrimSuffix(m.FunctionARN, ":$LATEST")
	for _, ours := range []string{f.Filter, f.Generator} {
		if arn == ours || strings.HasPrefix(arn, ours+":") {
			return arn, nil
		}
	}
	if arn != "" && (arn == f.Steps || arn == f.Machine) {
		return f.Generator, nil // which hands the image over again
	}
	return "", fmt.Errorf("%w: %s", ErrOtherFunction, m.FunctionARN)
}

// Retry invokes the function with the event of m, asynchronously, and deletes
// m once Lambda has accepted the invocation. An interruption of ctx does not
// cut a retry in two.
func (l *Lease) Retry(ctx context.Context, m *Message, f Functions, invoker Invoker) error {
	arn, err := f.Of(m)
	if err != nil {
		return fmt.Errorf("message %s: %w", m.ID, err)
	}
	ctx, cancel, err := l.begin(ctx, m)
	if err != nil {
		return err
	}
	defer cancel()
	out, err := invoker.Invoke(ctx, &lambda.InvokeInput{
		FunctionName:   aws.String(arn),
		InvocationType: lambdatypes.InvocationTypeEvent,
		Payload:        m.Event,
	})
	if err != nil {
		return fmt.Errorf("message %s: invoking %s: %w", m.ID, arn, err)
	}
	// An asynchronous invocation is accepted or it has not happened.
	if out.StatusCode != 202 {
		return fmt.Errorf("message %s: invoking %s: status %d, want 202", m.ID, arn, out.StatusCode)
	}
	if err := l.delete(ctx, m); err != nil {
		// A second invocation changes nothing.
		return fmt.Errorf("message %s was retried, but is still in the queue: %w", m.ID, err)
	}
	return nil
}

// Discard deletes m.
func (l *Lease) Discard(ctx context.Context, m *Message) error {
	ctx, cancel, err := l.begin(ctx, m)
	if err != nil {
		return err
	}
	defer cancel()
	if err := l.delete(ctx, m); err != nil {
		return fmt.Errorf("message %s: deleting it: %w", m.ID, err)
	}
	return nil
}

// begin returns a context that outlives an interruption, unless there was one
// already, or m is not ours any more.
func (l *Lease) begin(ctx context.Context, m *Message) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if !l.Holds(m) {
		return nil, nil, fmt.Errorf("message %s: %w", m.ID, ErrLapsed)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	return ctx, cancel, nil
}
