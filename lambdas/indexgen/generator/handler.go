// Package generator is the index generator's handler: it builds the SOCI index
// of the image that an event of ECR names. It is separate from the main
// package, which cannot be imported, so that the handler can run without
// Lambda.
package generator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/report"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Outcomes of an image beside those of soci.Result. One that failed for good,
// so that the failure queue has the event, is soci.OutcomeFailed with a
// failure.Reason.
const (
	// OutcomeImageGone: the image was deleted before its index could be built.
	OutcomeImageGone soci.Outcome = "image-gone"
	// OutcomeReferrer: an artifact that refers to an image.
	OutcomeReferrer soci.Outcome = "referrer"
	// OutcomeHandedOver: the stack's state machine works on the image.
	OutcomeHandedOver soci.Outcome = "handed-over"
)

// Repository holds the image and takes the index. *ecrclient.Repository is
// one.
type Repository interface {
	soci.Source

	// Resolve of a Tagger takes a digest too. A manifest or a repository that
	// is not there is ecrclient.ErrNotFound.
	soci.Tagger

	// Catalog finds what earlier builds left.
	Catalog(ecrclient.CatalogOptions) *ecrclient.Catalog
}

// Handler works on one event after the other. It holds no state between them
// and may be used by several goroutines at once.
type Handler struct {
	// Open returns the repository that an event names. Required.
	Open func(ctx context.Context, e *ecrevent.Event) (Repository, error)

	// Options of the engine. Progress, Tag and Catalog are the handler's own.
	Options soci.Options

	// FanOut hands large images over to the state machine. Without it (nil)
	// every image is built here.
	FanOut *FanOut

	// Logger is required.
	Logger *slog.Logger

	// Queue takes the events that fail for good. Without one (nil) their
	// failure is returned as any other.
	Queue *failurequeue.Queue

	// Bus receives an event for every index that is ready and for every image
	// that will have none. Without it (nil) no events are sent.
	Bus *announce.Bus

	// Metrics measures. Without one (nil) nothing is measured.
	Metrics *metrics.Emitter

	// Margin is how long before its deadline an invocation stops, so that it
	// can still say how far it came; of a short invocation it is a tenth at
	// most. The default is 10 s.
	Margin time.Duration
}

const defaultMargin = 10 * time.Second

// Handle builds and pushes the index of the image that the event names. What
// is not to be indexed is a result, not an error; so is a failure that the
// queue has taken. Its error is a *failure.Error, worth another attempt unless
// there is no queue for it.
func (h *Handler) Handle(ctx context.Context, event []byte) (*report.Image, error) {
	i := h.invocation()
	r, err := i.run(ctx, event, i.index)
	var f *failure.Error
	if err != nil {
		f = failure.Of(err)
		r, err = i.fail(ctx, event, f)
	}
	i.measure(ctx, r, f)
	return r, err
}

func (h *Handler) invocation() *invocation {
	return &invocation{Handler: h, start: time.Now(), progress: newProgress(), logger: h.Logger, sincePush: -1}
}

// invocation is the work on one event.
type invocation struct {
	*Handler
	start    time.Time
	progress *progress
	logger   *slog.Logger    // names the image, once it is known
	detail   ecrevent.Detail // of a valid event
	built    *soci.Result    // once the engine is done, also with a part of the image
	read     int64           // bytes of layers that other invocations have read for this image
	others   bool            // other invocations have built zTOCs for it
	joined   bool            // it was handed over before, by another attempt

	// sincePush is the seconds from the push to a SOCI index that was not there
	// before; negative if there is none, or if the event does not tell.
	sincePush float64
}

func (i *invocation) seconds() float64 { return time.Since(i.start).Seconds() }

// parse reads the event, which names the image from then on.
func (i *invocation) parse(event []byte) (*ecrevent.Event, error) {
	e, err := ecrevent.Parse(event)
	if err != nil {
		return nil, err
	}
	i.detail = e.Detail
	i.logger = i.Logger.With("repository", i.detail.RepositoryName, "digest", i.detail.ImageDigest, "tag",
		i.detail.ImageTag, "eventId", e.ID)
	return e, nil
}

// job is what an event asks for.
type job struct {
	input      []byte // the event's bytes
	event      *ecrevent.Event
	repository Repository
	image      ocispec.Descriptor
	options    soci.Options // complete
}

// run works on an event; index has the image indexed. Its error is a *handedOver if
// the state machine continues the work.
func (i *invocation) run(ctx context.Context, event []byte,
	index func(context.Context, *job) (*soci.Result, error)) (*report.Image, error) {
	e, err := i.parse(event)
	if err != nil {
		return nil, err
	}

	// The filter passes none of these on, but it is not the only one that can
	// invoke this function.
	switch v := i.rules().Decide(e.Image()); v.Decision {
	case filters.OwnArtifact:
		i.logger.InfoContext(ctx, messages.OwnArtifact, "reason", v.Reason)
		return i.passedOver(soci.OutcomeOwnArtifact, v.Reason), nil
	case filters.Referrer:
		i.logger.InfoContext(ctx, messages.Referrer, "artifactType", i.detail.ArtifactMediaType)
		return i.passedOver(OutcomeReferrer, ""), nil
	}
	work, cancel := i.stopInTime(ctx)
	defer cancel()
	result, err := i.onImage(work, &job{input: event, event: e}, index)
	handed, over := errors.AsType[*handedOver](err)
	switch {
	case over:
		i.joined = handed.Joined
		i.logger.InfoContext(ctx, messages.HandedOver, "execution", handed.Name, "joined", handed.Joined,
			"layers", handed.layers, "bytes", handed.bytes, "reason", handed.why, "seconds", i.seconds())
		return i.passedOver(OutcomeHandedOver, handed.Error()), nil
	case errors.Is(err, errImageGone):
		i.logger.InfoContext(ctx, messages.Gone, "reason", err)
		return i.passedOver(OutcomeImageGone, ""), nil
	case err != nil && context.Cause(work) == failure.ErrOutOfTime:
		// An operation that failed because it was cancelled has no cause of its
		// own.
		return nil, fmt.Errorf("repository %s: image %s: %w, after %.1f s: %v",
			i.detail.RepositoryName, i.detail.ImageDigest, failure.ErrOutOfTime, i.seconds(), i.progress)
	case err != nil:
		if i.built = result; result != nil {
			logManifests(ctx, i.logger, result)
		}
		return nil, fmt.Errorf("repository %s: %w", i.detail.RepositoryName, err) // err names the image
	}
	i.built = result
	announced, err := i.announce(ctx)
	if err != nil {
		return nil, fmt.Errorf("repository %s: image %s: %w", i.detail.RepositoryName, i.detail.ImageDigest, err)
	}
	logManifests(ctx, i.logger, result)
	i.sincePush = i.secondsSincePush(e)
	logResult(ctx, i.logger, result, announced, i.sincePush)
	return i.report(result), nil
}

// rules are those of the filter function that do not depend on its filters and
// on its environment: which images are chosen is decided there.
func (i *invocation) rules() filters.Rules {
	return filters.Rules{Filters: filters.Every(), TagSuffix: i.tagSuffix(), Untagged: true}
}

// tagSuffix returns the suffix by which the tags of SOCI-enabled images are recognised,
// unless they were made with another suffix.
func (i *invocation) tagSuffix() string {
	return cmp.Or(i.Options.TagSuffix, soci.DefaultTagSuffix)
}

// report is what the engine made of the image, in the function's answer.
func (i *invocation) report(built *soci.Result) *report.Image {
	r := report.New(built)
	r.Repository, r.Tag = i.detail.RepositoryName, i.detail.ImageTag
	r.Bound()
	return r
}

// passedOver is the report of an image that the engine has not seen.
func (i *invocation) passedOver(outcome soci.Outcome, reason string) *report.Image {
	return &report.Image{
		Repository: i.detail.RepositoryName, Digest: digest.Digest(i.detail.ImageDigest), Tag: i.detail.ImageTag,
		Outcome: outcome, Reason: reason, Seconds: i.seconds(),
	}
}

// stopInTime returns a context that ends before the invocation does, with
// failure.ErrOutOfTime as its cause.
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
	return context.WithDeadlineCause(ctx, deadline.Add(-margin), failure.ErrOutOfTime)
}

// errImageGone: the image was deleted after it had been pushed.
var errImageGone = errors.New("the image is not there any more")

// onImage finds the image of an event and has index work on it.
func (i *invocation) onImage(ctx context.Context, j *job,
	index func(context.Context, *job) (*soci.Result, error)) (*soci.Result, error) {
	repository, err := i.Open(ctx, j.event)
	if err != nil {
		return nil, err
	}
	image, err := repository.Resolve(ctx, i.detail.ImageDigest)
	if missing(err) {
		return nil, fmt.Errorf("%w: %w", errImageGone, err)
	}
	if err != nil {
		return nil, err
	}
	j.repository, j.image, j.options = repository, image, i.Options
	j.options.Progress = i.progress.read
	j.options.Tag = i.detail.ImageTag
	j.options.Catalog = repository.Catalog(ecrclient.CatalogOptions{Tag: i.detail.ImageTag, TagSuffix: i.tagSuffix()})
	result, err := index(ctx, j)
	if missing(err) {
		// Deleted while it was read, or is just a part of it missing?
		if _, again := repository.Resolve(ctx, i.detail.ImageDigest); missing(again) {
			return nil, fmt.Errorf("%w: %w", errImageGone, err)
		}
	}
	return result, err
}

// missing reports whether the registry has not what was asked for. A web page of
// something before it says nothing of that.
func missing(err error) bool {
	return errors.Is(err, ecrclient.ErrNotFound) && !errors.Is(err, ecrclient.ErrNotRegistry)
}

// index indexes an image, or hands it over to the state machine.
func (i *invocation) index(ctx context.Context, j *job) (*soci.Result, error) {
	w, err := soci.Plan(ctx, j.repository, j.repository, j.image, j.options)
	if err != nil {
		return nil, err
	}
	layers := w.Layers()
	if err := i.handOver(ctx, j, layers); err != nil {
		return nil, err
	}
	r, err := w.Index(ctx)
	if short, ok := errors.AsType[*soci.MemoryError](err); ok {
		err = i.handOverShort(ctx, j, layers, err, short)
	}
	return r, err
}
