// Package eventfilter is the filter function's handler: it decides which events
// of ECR reach the generator. It is separate from the main package, which
// cannot be imported, so that the handler can run without Lambda.
package eventfilter

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/function/metrics"
)

// Invoker invokes Lambda functions. AWS's client is one.
type Invoker interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Handler decides on one event after the other. It may be used by several
// goroutines at once.
type Handler struct {
	// Config, Invoker and Logger are required.
	Config  Config
	Invoker Invoker
	Logger  *slog.Logger

	// Queue takes the events that fail for good. Without one (nil) their
	// failure is returned as any other.
	Queue *failurequeue.Queue

	// Metrics counts. Without one (nil) nothing is counted.
	Metrics *metrics.Emitter
}

// Decision says what was done with an event.
type Decision = filters.Decision

// The decisions.
const (
	// Matched: the event was handed to the generator.
	Matched = filters.Matched
	// NotMatched: no filter chooses the image, or one excludes it.
	NotMatched = filters.NotMatched
	// OwnArtifact: a SOCI index, an image that was made with one, or what is in a
	// repository of the functions' images.
	OwnArtifact = filters.OwnArtifact
	// Referrer: an artifact that refers to an image, such as a signature.
	Referrer = filters.Referrer
	// Untagged: an image without a tag, which is not asked for.
	Untagged = filters.Untagged
	// Failed: the event failed for good, and the failure queue has it.
	Failed Decision = "failed"
)

// Result of an event.
type Result struct {
	Decision   Decision `json:"decision"`
	Filter     string   `json:"filter,omitempty"` // that decided; empty when none matches
	Reason     string   `json:"reason,omitempty"` // for OwnArtifact: what gave it away; for Failed: a failure.Reason
	Repository string   `json:"repository,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	Tag        string   `json:"tag,omitempty"`

	event string // its id
}

// Handle decides on an event and, when it matches, invokes the generator
// asynchronously with the same bytes. Its error is a *failure.Error, worth
// another attempt unless there is no queue for it.
func (h *Handler) Handle(ctx context.Context, event []byte) (*Result, error) {
	r := &Result{}
	err := h.decide(ctx, event, r)
	var f *failure.Error
	if err != nil {
		f = failure.Of(err)
		h.logger(r).ErrorContext(ctx, messages.EventFailed, "class", f.Class, "reason", f.Reason,
			"permission", f.Permission, "filter", r.Filter, "error", f)
		if err = h.Queue.Settle(ctx, h.logger(r), event, f); err == nil {
			r.Decision, r.Reason = Failed, string(f.Reason)
		}
	}
	h.count(ctx, r, f)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (h *Handler) logger(r *Result) *slog.Logger {
	return h.Logger.With("repository", r.Repository, "digest", r.Digest, "tag", r.Tag, "eventId", r.event)
}

// decide fills r. Its error says why the event is neither passed on nor left
// alone.
func (h *Handler) decide(ctx context.Context, event []byte, r *Result) error {
	e, err := ecrevent.Parse(event)
	if err != nil {
		return err
	}
	r.Repository, r.Digest, r.Tag, r.event = e.Detail.RepositoryName, e.Detail.ImageDigest, e.Detail.ImageTag, e.ID
	logger := h.logger(r).With("detailType", e.DetailType)

	return h.carryOut(ctx, h.Config.rules().Decide(e.Image()), event, e.Detail.ArtifactMediaType, r, logger)
}

// carryOut does with an event what was decided on its image.
func (h *Handler) carryOut(ctx context.Context, v filters.Verdict, event []byte, artifactType string, r *Result,
	logger *slog.Logger) error {
	r.Filter, r.Reason = v.Filter, v.Reason
	if v.Decision != Matched {
		r.Decision = v.Decision
		logLeftAlone(ctx, logger, v, artifactType)
		return nil
	}
	if err := h.invoke(ctx, event); err != nil {
		return fmt.Errorf("image %s@%s: %w", r.Repository, r.Digest, err)
	}
	r.Decision = Matched
	logger.InfoContext(ctx, messages.PassedOn, "filter", v.Filter)
	return nil
}

// logLeftAlone logs why an event is not passed on.
func logLeftAlone(ctx context.Context, logger *slog.Logger, v filters.Verdict, artifactType string) {
	switch v.Decision {
	case OwnArtifact:
		logger.InfoContext(ctx, messages.OwnArtifact, "reason", v.Reason)
	case Referrer:
		logger.InfoContext(ctx, messages.Referrer, "artifactType", artifactType)
	case Untagged:
		logger.InfoContext(ctx, messages.Untagged)
	default:
		logger.InfoContext(ctx, messages.NotChosen, "filter", v.Filter)
	}
}

// maxWait bounds how long the generator's invocation may take, all attempts
// included.
const maxWait = 30 * time.Second

func (h *Handler) invoke(ctx context.Context, event []byte) error {
	ctx, cancel := lambdafn.LastMoments(ctx, maxWait)
	defer cancel()
	out, err := h.Invoker.Invoke(ctx, &lambda.InvokeInput{
		FunctionName:   aws.String(h.Config.GeneratorARN),
		InvocationType: types.InvocationTypeEvent,
		Payload:        event,
	})
	if err != nil {
		return fmt.Errorf("invoking the generator %s: %w", h.Config.GeneratorARN, err)
	}
	// An asynchronous invocation is accepted or it has not happened.
	if out.StatusCode != 202 {
		return fmt.Errorf("invoking the generator %s: status %d, want 202", h.Config.GeneratorARN, out.StatusCode)
	}
	return nil
}

// count writes the metrics of one event; f is nil unless it failed.
func (h *Handler) count(ctx context.Context, r *Result, f *failure.Error) {
	if h.Metrics == nil {
		return
	}
	var m metrics.Invocation
	m.Set("Function", "filter")
	m.Set("RequestId", lambdafn.RequestID(ctx))
	m.Set("Repository", r.Repository)
	m.Set("Digest", r.Digest)
	m.Set("Tag", r.Tag)
	switch {
	case f != nil:
		m.Set("FailureReason", string(f.Reason))
		m.AddBy(metrics.Class, string(f.Class), metrics.ImagesFailed, metrics.Count, 1)
	case r.Decision == Matched:
		m.Add(metrics.ImagesMatched, metrics.Count, 1)
	default:
		m.AddBy(metrics.Reason, string(r.Decision), metrics.ImagesSkipped, metrics.Count, 1)
	}
	if err := h.Metrics.Emit(&m); err != nil {
		h.Logger.ErrorContext(ctx, "metrics not written", "error", err)
	}
}
