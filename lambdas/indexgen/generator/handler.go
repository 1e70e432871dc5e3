// Package generator is the index generator's handler: it builds the SOCI index
// of the image that a push event names. It is a package of its own, since a
// main package cannot be imported by those who run the handler without Lambda.
package generator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/lambdafn"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Repository holds the image and takes the index. *ecrclient.Repository is
// one.
type Repository interface {
	soci.Source
	soci.Destination

	// Resolve gives the descriptor of a manifest by tag or digest. A manifest
	// or a repository that is not there is ecrclient.ErrNotFound.
	Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error)
}

// Handler works on one event after the other. It holds no state between them
// and may be used by several goroutines at once.
type Handler struct {
	// Open gives the repository that an event names. Required.
	Open func(ctx context.Context, e *ecrevent.Event) (Repository, error)

	// Options of the engine. Progress is the handler's own.
	Options soci.Options

	// Logger is required.
	Logger *slog.Logger

	// Margin is how long before its deadline an invocation stops, so that it
	// can still say how far it came; of a short invocation it is a tenth at
	// most. The default is 10 s.
	Margin time.Duration
}

const defaultMargin = 10 * time.Second

// Handle builds and pushes the index of the image that the event names. An
// image that is gone is a result, not an error. Its error is an *Error.
func (h *Handler) Handle(ctx context.Context, event []byte) (*Result, error) {
	e, err := ecrevent.Parse(event)
	if err != nil {
		h.Logger.ErrorContext(ctx, "event refused", "class", lambdafn.Permanent, "error", err)
		return nil, &Error{Class: lambdafn.Permanent, Err: err}
	}
	d := e.Detail
	logger := h.Logger.With("repository", d.RepositoryName, "digest", d.ImageDigest, "tag", d.ImageTag)

	start := time.Now()
	ctx, cancel := h.stopInTime(ctx)
	defer cancel()
	progress := newProgress()
	result, err := h.index(ctx, e, progress)
	switch {
	case err == nil:
		r := newResult(d, result)
		logResult(ctx, logger, result)
		return r, nil
	case errors.Is(err, errImageGone):
		logger.InfoContext(ctx, "image gone", "reason", err)
		return &Result{Repository: d.RepositoryName, Digest: d.ImageDigest, Tag: d.ImageTag, Outcome: OutcomeImageGone,
			Seconds: time.Since(start).Seconds()}, nil
	}
	if context.Cause(ctx) == ErrOutOfTime {
		// What failed because it was told to stop says nothing of its own.
		err = fmt.Errorf("image %s: %w, after %.1f s: %v", d.ImageDigest, ErrOutOfTime, time.Since(start).Seconds(), progress)
	}
	failure := &Error{Class: classify(err), Repository: d.RepositoryName, Digest: d.ImageDigest, Err: err}
	logger.ErrorContext(ctx, "image failed", append(progress.attrs(),
		"class", failure.Class, "seconds", time.Since(start).Seconds(), "error", err)...)
	return nil, failure
}

// stopInTime gives a context that ends before the invocation does, with
// ErrOutOfTime as its cause.
func (h *Handler) stopInTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := h.Margin
	if margin == 0 {
		margin = defaultMargin
	}
	margin = min(margin, time.Until(deadline)/10)
	return context.WithDeadlineCause(ctx, deadline.Add(-margin), ErrOutOfTime)
}

// errImageGone: the image was deleted after it had been pushed.
var errImageGone = errors.New("the image is not there any more")

func (h *Handler) index(ctx context.Context, e *ecrevent.Event, p *progress) (*soci.Result, error) {
	repository, err := h.Open(ctx, e)
	if err != nil {
		return nil, err
	}
	image, err := repository.Resolve(ctx, e.Detail.ImageDigest)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errImageGone, err)
	}
	if err != nil {
		return nil, err
	}
	options := h.Options
	options.Progress = p.read
	result, err := soci.IndexImage(ctx, repository, repository, image, options)
	if errors.Is(err, ecrclient.ErrNotFound) {
		// Deleted while it was read, or is just a part of it missing?
		if _, again := repository.Resolve(ctx, e.Detail.ImageDigest); errors.Is(again, ecrclient.ErrNotFound) {
			return nil, fmt.Errorf("%w: %w", errImageGone, err)
		}
	}
	return result, err
}
