package fanout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/soci"
)

// API is what a Starter asks of AWS Step Functions. AWS's client is one.
type API interface {
	StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (
		*sfn.DescribeExecutionOutput, error)
}

// Starter starts executions of one state machine. It may be used by several
// goroutines at once.
type Starter struct {
	API API
	ARN string // of the state machine
}

// Open returns the state machine with an ARN.
func Open(cfg aws.Config, arn string) *Starter {
	return &Starter{API: sfn.NewFromConfig(cfg), ARN: arn}
}

// Name returns the name that all executions for an event have in common: 40
// hexadecimal digits of a SHA-256 over the event's id, repository, digest and
// tag, and the settings that decide on the result. Another push of the same
// image has another id.
func Name(e *ecrevent.Event, o soci.Options) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q %q %q %d %d %t", e.ID, e.Detail.RepositoryName, e.Detail.ImageDigest,
		e.Detail.ImageTag, o.BuildToolIdentifier, o.IndexVersion, o.TagSuffix, o.SpanSize, o.MinLayerSize,
		o.TagUnindexed)
	if o.PrefetchLabel {
		fmt.Fprint(h, " prefetch")
	}
	fmt.Fprintf(h, " %q", slices.Compact(slices.Sorted(slices.Values(o.Choice))))
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// maxExecutions is how many executions there may be of one event. Each was
// started by an attempt of Lambda or by redrive.
const maxExecutions = 50

// ErrTooManyExecutions: an event has had maxExecutions executions.
var ErrTooManyExecutions = errors.New("the event has had too many executions")

// ErrOutOfReach: the start of an execution was not permitted, or no answer came to it,
// as in a network without a way to Step Functions.
var ErrOutOfReach = errors.New("the state machine is out of reach")

// unreached is an ErrOutOfReach with the text of the error that says so.
type unreached struct{ error }

func (e unreached) Unwrap() error        { return e.error }
func (e unreached) Is(target error) bool { return target == ErrOutOfReach }

// maxWait bounds how long one start may take, all attempts included: where nothing
// answers, an image is to be built by other means.
const maxWait = 30 * time.Second

// Execution is one of the state machine.
type Execution struct {
	Name string

	// Joined: it was running already, as far as Step Functions tells. What began
	// within the second before may pass for new.
	Joined bool
}

// Start has the state machine work on an event. Its execution is named name and
// a number from 1: the name of a closed execution stays taken for 90 days, so
// it gets the next number; one that is running is joined. The error is that of
// AWS, which may match ErrOutOfReach, or matches ErrTooManyExecutions.
func (s *Starter) Start(ctx context.Context, name string, event []byte) (Execution, error) {
	for n := 1; n <= maxExecutions; n++ {
		x := Execution{Name: fmt.Sprintf("%s-%d", name, n)}
		var err error
		if x.Joined, err = s.start(ctx, x.Name, event); err == nil {
			return x, nil
		}
		if _, exists := errors.AsType[*types.ExecutionAlreadyExists](err); !exists {
			return x, err
		}
		d, err := s.API.DescribeExecution(ctx,
			&sfn.DescribeExecutionInput{ExecutionArn: aws.String(names.ExecutionARN(s.ARN, x.Name))})
		if _, gone := errors.AsType[*types.ExecutionDoesNotExist](err); gone {
			continue // deleted a moment ago, at the end of its 90 days
		}
		if err != nil {
			return x, fmt.Errorf("looking at the execution %s of %s: %w", x.Name, s.ARN, err)
		}
		if d.Status == types.ExecutionStatusRunning {
			x.Joined = true
			return x, nil
		}
	}
	return Execution{}, fmt.Errorf("%w: %d, named %s-1 and so on", ErrTooManyExecutions, maxExecutions, name)
}

// start asks for one execution. For one that is running with the same input Step
// Functions answers as for a new one, but for the time of its start.
func (s *Starter) start(ctx context.Context, name string, event []byte) (joined bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	began := time.Now()
	out, err := s.API.StartExecution(bounded, &sfn.StartExecutionInput{
		StateMachineArn: aws.String(s.ARN), Name: aws.String(name), Input: aws.String(string(event)),
	})
	if err != nil {
		err = fmt.Errorf("starting the execution %s of %s: %w", name, s.ARN, err)
		if ctx.Err() == nil && outOfReach(err) {
			err = unreached{err}
		}
		return false, err
	}
	// Both times are of AWS's clock, that of the answer in whole seconds.
	answered, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	return ok && out.StartDate != nil && answered.Sub(*out.StartDate) > time.Since(began)+time.Second, nil
}

func outOfReach(err error) bool {
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	answered := ok && answer.HTTPStatusCode() > 0
	return !answered || failure.Of(err).Reason == failure.AccessDenied
}
