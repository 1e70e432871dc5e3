package generator

import (
	"context"
	"fmt"
	"time"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/report"
	"soci-index-builder/pkg/soci"
)

// fail reports that the event failed: to the log, the bus and the queue.
// Its error is what Lambda gets, nil if the queue has the event.
func (i *invocation) fail(ctx context.Context, event []byte, f *failure.Error) (*report.Image, error) {
	i.logger.ErrorContext(ctx, messages.Failed, append(i.progress.attrs(),
		"class", f.Class, "reason", f.Reason, "permission", f.Permission, "seconds", i.seconds(), "error", f)...)
	// The announcement comes first: when the bus does not take it, the event
	// is tried again, and is not in the queue twice.
	if err := i.announceFailure(ctx, f); err != nil {
		failed := failure.Of(err)
		i.logger.ErrorContext(ctx, "failure not announced", "class", failed.Class, "reason", failed.Reason,
			"permission",
			failed.Permission, "error", failed)
		return nil, &failure.Error{Class: failed.Class, Reason: failed.Reason, Permission: failed.Permission,
			Err: fmt.Errorf("%w; the event had failed for good: %v", failed, f)}
	}
	if err := i.Queue.Settle(ctx, i.logger, event, f); err != nil {
		return nil, err
	}
	if i.built == nil {
		return i.passedOver(soci.OutcomeFailed, string(f.Reason)), nil
	}
	r := i.report(i.built)
	r.Outcome, r.Reason = soci.OutcomeFailed, string(f.Reason)
	return r, nil
}

// announceFailure sends a permanent failure of an image to the bus. An event that is not
// valid names no image.
func (i *invocation) announceFailure(ctx context.Context, f *failure.Error) error {
	if i.Bus == nil || f.Class != failure.Permanent || i.detail.ImageDigest == "" {
		return nil
	}
	return i.Bus.Failed(ctx, announce.Failed{
		Repository: i.detail.RepositoryName,
		Tag:        i.detail.ImageTag,
		Digest:     i.detail.ImageDigest,
		Reason:     f.Reason,
		Message:    f.Error(),
		RequestID:  lambdafn.RequestID(ctx),
	})
}

// announce sends to the bus what an image can now be started with, if there is anything.
func (i *invocation) announce(ctx context.Context) (announced bool, err error) {
	if i.Bus == nil || !startable(i.built) {
		return false, nil
	}
	return true, i.Bus.Created(ctx, created(i.detail, i.built))
}

// measure writes the metrics of the invocation; f is nil unless it failed, r
// is nil if Lambda gets an error.
func (i *invocation) measure(ctx context.Context, r *report.Image, f *failure.Error) {
	if i.Metrics == nil {
		return
	}
	var m metrics.Invocation
	m.Set("Function", "indexgen")
	m.Set("RequestId", lambdafn.RequestID(ctx))
	m.Set("Repository", i.detail.RepositoryName)
	m.Set("Digest", i.detail.ImageDigest)
	m.Set("Tag", i.detail.ImageTag)
	switch {
	case f != nil:
		m.Set("FailureReason", string(f.Reason))
		m.AddBy(metrics.Class, string(f.Class), metrics.ImagesFailed, metrics.Count, 1)
	case r.Outcome == OutcomeHandedOver:
		if !i.joined { // counted when its execution began
			m.Add(metrics.ImagesHandedOver, metrics.Count, 1)
		}
	case r.Outcome == soci.OutcomeIndexed:
		m.Add(metrics.ImagesIndexed, metrics.Count, 1)
		if i.sincePush >= 0 {
			m.Add(metrics.PushToIndex, metrics.Seconds, i.sincePush)
		}
	default:
		m.AddBy(metrics.Reason, string(r.Outcome), metrics.ImagesSkipped, metrics.Count, 1)
	}
	_, _, read := i.progress.sum()
	if i.built != nil {
		read = i.built.BytesRead + i.read // the progress of a reused layer is that of one read
		layers := report.CountLayers(i.built.Manifests...)
		m.Add(metrics.LayersBuilt, metrics.Count, float64(layers.Built))
		m.Add(metrics.LayersReused, metrics.Count, float64(layers.Reused))
		m.Add(metrics.LayersSkipped, metrics.Count, float64(layers.WithoutZtoc()))
		m.Add(metrics.LayersSkippedZstd, metrics.Count, float64(layers.Skipped[soci.SkipZstd]))
		m.Set("LayersSkippedByReason", layers.Skipped)
	}
	m.Add(metrics.BytesRead, metrics.Bytes, float64(read))
	m.Add(metrics.Duration, metrics.Seconds, i.seconds())
	if peak, ok := metrics.MostMemory(); ok {
		m.Add(metrics.PeakMemory, metrics.Bytes, float64(peak))
	}
	if err := i.Metrics.Emit(&m); err != nil {
		i.Logger.ErrorContext(ctx, "metrics not written", "error", err)
	}
}

// secondsSincePush returns the seconds from the image's arrival to the SOCI index
// that was just pushed, at least 0 as clocks differ. It returns -1 if the event does
// not tell when that was, and if all was there before: a duplicate of an event
// would measure its own delay. Of an image whose zTOCs others have built the
// SOCI index is new, though an earlier attempt of the last step may have pushed it.
func (i *invocation) secondsSincePush(e *ecrevent.Event) float64 {
	arrival, ok := e.Arrival()
	if !ok || i.built.Outcome() != soci.OutcomeIndexed || i.built.BytesPushed == 0 && !i.others {
		return -1
	}
	return max(time.Since(arrival).Seconds(), 0)
}
