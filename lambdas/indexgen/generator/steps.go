package generator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/report"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// Step names what the state machine asks for.
type Step string

// The steps, in their order. StepFail takes the place of what is left when one
// fails.
const (
	StepPlan    Step = "plan"
	StepLayer   Step = "layer"
	StepPublish Step = "publish"
	StepFail    Step = "fail"
)

// stepRequest is what the state machine sends. Event is always there, and is
// what began the execution.
type stepRequest struct {
	Step    Step            `json:"step"`
	Event   json.RawMessage `json:"event"`
	Layer   *fanout.Item    `json:"layer"`   // of StepLayer
	Items   []fanout.Item   `json:"items"`   // of StepPublish, as StepPlan has answered
	Results []fanout.Result `json:"results"` // of StepPublish, those of the items
	Error   string          `json:"error"`   // of StepFail, the name of the error
	Cause   string          `json:"cause"`   // of StepFail, what is said of it
}

// planned is the answer of StepPlan.
type planned struct {
	Items []fanout.Item `json:"items"`
}

// errStep: the request is not one of a step.
var errStep = errors.New("is not a step of the state machine")

// Steps does the steps of the state machine that works on large images. Its
// failures are left to the state machine until StepFail reports them.
type Steps struct {
	*Handler

	// MemorySizeMiB is the function's memory, 0 when it is not known.
	MemorySizeMiB int64
}

// Handle does one step. Its error is a *failure.Error, whose reason the state
// machine decides by.
func (s *Steps) Handle(ctx context.Context, request []byte) (any, error) {
	i := s.invocation()
	r, err := s.handle(ctx, i, request)
	if err != nil {
		f := failure.Of(err)
		i.logger.WarnContext(ctx, "step failed", append(i.progress.attrs(), "class", f.Class, "reason", f.Reason,
			"permission", f.Permission, "seconds", i.seconds(), "error", f)...)
		return nil, f
	}
	return r, nil
}

func (s *Steps) handle(ctx context.Context, i *invocation, request []byte) (any, error) {
	var r stepRequest
	d := json.NewDecoder(bytes.NewReader(request))
	d.DisallowUnknownFields() // an event of ECR is no step
	if err := d.Decode(&r); err != nil {
		return nil, permanent(failure.InvalidEvent, fmt.Errorf("%.100q %w: %w", request, errStep, err))
	}
	i.logger = i.logger.With("step", r.Step)
	switch {
	case r.Step == StepPlan:
		return s.plan(ctx, i, &r)
	case r.Step == StepLayer && r.Layer != nil:
		return s.layer(ctx, i, &r)
	case r.Step == StepPublish:
		return s.publish(ctx, i, &r)
	case r.Step == StepFail:
		return s.fail(ctx, i, &r)
	}
	return nil, permanent(failure.InvalidEvent, fmt.Errorf("%q %w", r.Step, errStep))
}

func permanent(reason failure.Reason, err error) *failure.Error {
	return &failure.Error{Class: failure.Permanent, Reason: reason, Err: err}
}

// onEvent runs work on the event of a request, and stops it in time.
func (s *Steps) onEvent(ctx context.Context, i *invocation, r *stepRequest,
	work func(context.Context, *ecrevent.Event) error) error {
	e, err := i.parse(r.Event)
	if err != nil {
		return err
	}
	i.logger = i.logger.With("step", r.Step)
	inTime, cancel := i.stopInTime(ctx)
	defer cancel()
	if err := work(inTime, e); err != nil {
		if context.Cause(inTime) == failure.ErrOutOfTime {
			err = fmt.Errorf("%w, after %.1f s: %v", failure.ErrOutOfTime, i.seconds(), i.progress)
		}
		return fmt.Errorf("repository %s: %w", i.detail.RepositoryName, err)
	}
	return nil
}

// plan finds the layers to be read. An image that has gone or is left alone has
// none, which StepPublish finds out again.
func (s *Steps) plan(ctx context.Context, i *invocation, r *stepRequest) (*planned, error) {
	p := &planned{Items: []fanout.Item{}}
	err := s.onEvent(ctx, i, r, func(ctx context.Context, e *ecrevent.Event) error {
		_, err := i.onImage(ctx, &job{input: r.Event, event: e},
			func(ctx context.Context, j *job) (*soci.Result, error) {
				w, err := soci.Plan(ctx, j.repository, j.repository, j.image, j.options)
				if err != nil {
					return nil, err
				}
				items := fanout.Items(w.Layers())
				if err := s.possible(ctx, items, len(r.Event)); err != nil {
					return nil, fmt.Errorf("image %s: %w", i.detail.ImageDigest, err)
				}
				if err := w.Probe(ctx); err != nil {
					return nil, err
				}
				p.Items = items
				return nil, nil
			})
		if errors.Is(err, errImageGone) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var sum int64
	for _, item := range p.Items {
		sum += item.Size
	}
	attrs, level := []any{"layers", len(p.Items), "bytes", sum, "seconds", i.seconds()}, slog.LevelInfo
	if hint := s.doubtful(p.Items); hint != "" {
		attrs, level = append(attrs, "hint", hint), slog.LevelWarn
	}
	i.logger.Log(ctx, level, "image planned", attrs...)
	return p, nil
}

// possible returns an error, before anything is read, for what cannot be done however
// well layers compress: it names the value of the parameter that would do.
func (s *Steps) possible(ctx context.Context, items []fanout.Item, event int) error {
	if len(items) == 0 {
		return nil
	}
	if !fanout.Fits(items, event) {
		return fmt.Errorf("%w: its plan of %d layers does not fit the state machine; index it with the command line",
			soci.ErrLimit, len(items))
	}
	largest, span := items[0], cmp.Or(s.Options.SpanSize, soci.DefaultSpanSize)
	if deadline, ok := ctx.Deadline(); ok && fanout.Time(largest.Size) > time.Until(deadline) {
		return fmt.Errorf(
			"%w: layer %s of %s would take about %s, longer than a function runs; index it with the command "+
				"line", soci.ErrLimit, largest.Layer, bytesize.Format(largest.Size),
			fanout.Time(largest.Size).Round(time.Second))
	}
	budget := s.Options.Limits.MaxMemory
	if least := fanout.Memory(largest.Size, 1, span); budget > 0 && least > budget {
		return fmt.Errorf("%w: layer %s of %s needs at least %s of memory, and a function of %d MB has %s for it; %s",
			soci.ErrLimit, largest.Layer, bytesize.Format(largest.Size), bytesize.Format(least), s.MemorySizeMiB,
			bytesize.Format(budget), s.memoryFor(largest))
	}
	return nil
}

// layer builds one zTOC. A failure that no second attempt changes is a result:
// the image's other manifests may do without the layer.
func (s *Steps) layer(ctx context.Context, i *invocation, r *stepRequest) (*fanout.Result, error) {
	var result fanout.Result
	layer := r.Layer.Descriptor()
	err := s.onEvent(ctx, i, r, func(ctx context.Context, e *ecrevent.Event) error {
		repository, err := i.Open(ctx, e)
		if err != nil {
			return err
		}
		o := i.Options
		o.Progress = i.progress.read
		out, err := soci.BuildLayer(ctx, repository, repository, layer, o)
		if err != nil {
			return withParameter(err, stepsMemory)
		}
		result, err = fanout.Built(out, i.Options)
		return err
	})
	if err != nil {
		f := failure.Of(err)
		if f.Class != failure.Permanent {
			return nil, err
		}
		i.logger.WarnContext(ctx, "layer failed", "layer", layer.Digest, "size", layer.Size, "class", f.Class, "reason",
			f.Reason, "seconds", i.seconds(), "error", f)
		if short := shortOfMemory(err); short != nil {
			f = permanent(f.Reason, short)
		}
		result = fanout.Failed(layer.Digest, f, i.Options)
		return &result, nil
	}
	i.logger.InfoContext(ctx, "layer finished", "layer", layer.Digest, "size", layer.Size, "ztocSize", result.ZtocSize,
		"skipped", result.Skip, "seconds", i.seconds())
	return &result, nil
}

// publish makes the SOCI indexes of the zTOCs. It reports the image as the generator
// reports one that it has indexed; StepFail reports failures.
func (s *Steps) publish(ctx context.Context, i *invocation, r *stepRequest) (*report.Image, error) {
	outcomes, err := fanout.Outcomes(r.Items, r.Results, i.Options)
	if err != nil {
		return nil, permanent(failure.InvalidEvent, err)
	}
	if n := len(r.Items) - len(outcomes); n > 0 {
		i.logger.WarnContext(ctx, "results of other settings", "layers", n)
	}
	for n, item := range r.Items {
		if r.Results[n].Failure == "" {
			i.read += item.Size
			i.others = i.others || r.Results[n].Ztoc != ""
		}
	}
	image, err := i.run(ctx, r.Event, func(ctx context.Context, j *job) (*soci.Result, error) {
		r, err := soci.Publish(ctx, j.repository, j.repository, j.image, j.options, outcomes)
		return r, withParameter(err, stepsMemory)
	})
	if err != nil {
		return nil, err
	}
	i.measure(ctx, image, nil)
	return image, nil
}

// fail reports the failure that ended an execution, as the generator reports its own:
// no other attempt follows.
func (s *Steps) fail(ctx context.Context, i *invocation, r *stepRequest) (*report.Image, error) {
	if _, err := i.parse(r.Event); err != nil {
		i.logger.WarnContext(ctx, "event of the execution not valid", "error", err)
	}
	f := permanent(reasonOf(r.Error), errors.New(textOf(r.Error, r.Cause)))
	f.Once = failure.ClassOf(f.Reason) == failure.Transient && !failure.TriedAgain(r.Error)
	image, err := i.fail(ctx, r.Event, f)
	if err == nil {
		i.measure(ctx, image, f)
	}
	return image, err
}

// reasonOf returns the reason of an error's name in a state machine: a reason
// of this function, or what Lambda or Step Functions calls it.
func reasonOf(name string) failure.Reason {
	switch {
	case failure.ClassOf(failure.Reason(name)) != "":
		return failure.Reason(name)
	case name == "Sandbox.Timedout", name == "States.Timeout":
		return failure.OutOfTime
	case name == "Runtime.OutOfMemory":
		return failure.LimitExceeded
	case name == "Lambda.TooManyRequestsException":
		return failure.Throttled
	case strings.HasPrefix(name, "Lambda.") && name != "Lambda.Unknown":
		return failure.Unavailable
	}
	return failure.Unexpected
}

// textOf returns what an error says: the message of the function's answer if it
// was the function that failed, and otherwise all that is known.
func textOf(name, cause string) string {
	var answer struct {
		ErrorMessage string `json:"errorMessage"`
	}
	if err := json.Unmarshal([]byte(cause), &answer); err == nil && answer.ErrorMessage != "" {
		cause = answer.ErrorMessage
		if failure.ClassOf(failure.Reason(name)) != "" {
			return cause
		}
	}
	return name + ": " + cause
}
