// Package eventfilter is the filter function's handler: it decides which push
// events reach the generator. It is a package of its own, since a main package
// cannot be imported by those who run the handler without Lambda.
package eventfilter

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/lambdafn"
)

// Invoker invokes Lambda functions. AWS's client is one.
type Invoker interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Handler decides on one event after the other. All fields are required; it
// may be used by several goroutines at once.
type Handler struct {
	Config  Config
	Invoker Invoker
	Logger  *slog.Logger
}

// Decision says what was done with an event.
type Decision string

// The decisions.
const (
	// Matched: the event was handed to the generator.
	Matched Decision = "matched"
	// NotMatched: no filter chooses the image, or one excludes it.
	NotMatched Decision = "not-matched"
	// OwnArtifact: a SOCI index, or an image that was made with one.
	OwnArtifact Decision = "own-artifact"
)

// Result of an event.
type Result struct {
	Decision   Decision `json:"decision"`
	Filter     string   `json:"filter,omitempty"` // that decided; empty when none matches
	Reason     string   `json:"reason,omitempty"` // for OwnArtifact: what gave it away
	Repository string   `json:"repository"`
	Digest     string   `json:"digest"`
	Tag        string   `json:"tag,omitempty"`
}

// Handle decides on an event and, when it matches, invokes the generator
// asynchronously with the same bytes. Its error matches ecrevent.ErrInvalid
// for an event that no retry helps; any other is worth one.
func (h *Handler) Handle(ctx context.Context, event []byte) (*Result, error) {
	e, err := ecrevent.Parse(event)
	if err != nil {
		h.Logger.ErrorContext(ctx, "event refused", "class", lambdafn.Permanent, "error", err)
		return nil, err
	}
	r := &Result{
		Repository: e.Detail.RepositoryName,
		Digest:     e.Detail.ImageDigest,
		Tag:        e.Detail.ImageTag,
	}
	logger := h.Logger.With("repository", r.Repository, "digest", r.Digest, "tag", r.Tag)

	if why, own := e.Own(h.Config.TagSuffix); own {
		r.Decision, r.Reason = OwnArtifact, why
		logger.InfoContext(ctx, "own artifact left alone", "reason", why)
		return r, nil
	}
	filter, ok := h.Config.Filters.Match(r.Repository, r.Tag)
	r.Filter = filter
	if !ok {
		r.Decision = NotMatched
		logger.InfoContext(ctx, "image not chosen", "filter", filter)
		return r, nil
	}
	r.Decision = Matched
	if err := h.invoke(ctx, event); err != nil {
		logger.ErrorContext(ctx, "generator not invoked", "filter", filter, "class", lambdafn.Transient, "error", err)
		return nil, fmt.Errorf("image %s@%s: %w", r.Repository, r.Digest, err)
	}
	logger.InfoContext(ctx, "image passed on", "filter", filter)
	return r, nil
}

func (h *Handler) invoke(ctx context.Context, event []byte) error {
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
