package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/backfill/pace"
	"soci-index-builder/internal/ecrevent"
)

// Invoker invokes Lambda functions. AWS's client is one.
type Invoker interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Handover sends items to the filter function of a stack, as ECR's events
// would.
type Handover struct {
	Invoker         Invoker
	FilterARN       string
	Account, Region string // of the images
	Rate            Rate

	// Watcher, if set, is asked now and then whether the generator keeps up.
	Watcher *Watcher

	// Pacer and Now are the clock's by default.
	Pacer *pace.Pacer
	Now   func() time.Time
}

// maxWait bounds how long one invocation may take, all attempts included.
const maxWait = time.Minute

// Run hands over one item after the other, and reports each. Its error is that
// of ctx, ErrFailed when items failed, or one for which it gave up since all
// others would have failed as well.
func (h *Handover) Run(ctx context.Context, items []Item, report func(Result)) error {
	now := h.Now
	if now == nil {
		now = time.Now
	}
	pacer := h.Pacer
	if pacer == nil {
		pacer = &pace.Pacer{}
	}
	// One run of this program, for those who read logs.
	run := now().UTC().Format("20060102T150405Z")
	failures := 0
	for n := range items {
		i := &items[n]
		slow := 1
		if h.Watcher != nil {
			slow = h.Watcher.Factor(ctx, now())
		}
		if err := pacer.Wait(ctx, h.Rate.Interval(i)*time.Duration(slow)); err != nil {
			return err
		}
		r := Result{Item: i, EventID: fmt.Sprintf("%s%s-%06d", ecrevent.BackfillPrefix, run, n+1)}
		r.Err = h.invoke(ctx, i, r.EventID, now())
		report(r)
		if r.Err == nil {
			continue
		}
		failures++
		// A fault of the caller or the function is the same for every item.
		if _, gone := errors.AsType[*lambdatypes.ResourceNotFoundException](r.Err); gone || hopeless(r.Err) {
			return r.Err
		}
	}
	return failed(failures, len(items))
}

func hopeless(err error) bool {
	err = awserror.Explain(err)
	return errors.Is(err, awserror.ErrDenied) || errors.Is(err, awserror.ErrCredentials)
}

// invoke hands over one item. An interruption does not cut it in two.
func (h *Handover) invoke(ctx context.Context, i *Item, id string, now time.Time) error {
	event, err := h.event(i, id, now)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name(), err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxWait)
	defer cancel()
	out, err := h.Invoker.Invoke(ctx, &lambda.InvokeInput{
		FunctionName:   aws.String(h.FilterARN),
		InvocationType: lambdatypes.InvocationTypeEvent,
		Payload:        event,
	})
	if err != nil {
		return fmt.Errorf("%s: invoking %s: %w", i.Name(), h.FilterARN, err)
	}
	if out.StatusCode != 202 {
		return fmt.Errorf("%s: invoking %s: status %d, want 202", i.Name(), h.FilterARN, out.StatusCode)
	}
	return nil
}

// event is that of a push of the item.
func (h *Handover) event(i *Item, id string, now time.Time) ([]byte, error) {
	b, err := json.Marshal(ecrevent.Event{
		Version: "0", ID: id, DetailType: ecrevent.ImageAction, Source: "aws.ecr",
		Account: h.Account, Time: now.UTC().Format(time.RFC3339), Region: h.Region, Resources: []string{},
		Detail: ecrevent.Detail{
			RepositoryName: i.Repository, ImageDigest: i.Digest.String(), ImageTag: i.Tag,
			Result: "SUCCESS", ActionType: "PUSH",
			ManifestMediaType: i.Descriptor.MediaType, ArtifactMediaType: i.Artifact,
		},
	})
	if err != nil {
		return nil, err
	}
	// An event that the filter would refuse is not sent.
	_, err = ecrevent.Parse(b)
	return b, err
}
