package generator

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/pkg/soci"
)

// fail says that the event failed, to everybody who should know. Its error is
// what Lambda gets, nil when the queue has the event.
func (i *invocation) fail(ctx context.Context, event []byte, f *failure.Error) (*Result, error) {
	i.logger.ErrorContext(ctx, "image failed", append(i.progress.attrs(),
		"class", f.Class, "reason", f.Reason, "permission", f.Permission, "seconds", i.seconds(), "error", f)...)
	// The announcement comes first: when the bus does not take it, the event
	// is tried again, and is not in the queue twice.
	if err := i.announceFailure(ctx, f); err != nil {
		failed := failure.Of(err)
		i.logger.ErrorContext(ctx, "failure not announced", "class", failed.Class, "reason", failed.Reason, "permission", failed.Permission, "error", failed)
		return nil, &failure.Error{Class: failed.Class, Reason: failed.Reason, Permission: failed.Permission,
			Err: fmt.Errorf("%w; the event had failed for good: %v", failed, f)}
	}
	if err := i.Queue.Settle(ctx, i.logger, event, f); err != nil {
		return nil, err
	}
	if i.built == nil {
		return i.passedOver(OutcomeFailed, string(f.Reason)), nil
	}
	r := newResult(i.detail, i.built)
	r.Outcome, r.Reason = OutcomeFailed, string(f.Reason)
	return r, nil
}

// announceFailure tells the bus of a permanent failure of an image. An event
// that is not valid names none.
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

// announce tells the bus what an image can now be started with, if there is
// anything.
func (i *invocation) announce(ctx context.Context) (announced bool, err error) {
	if i.Bus == nil || !startable(i.built) {
		return false, nil
	}
	return true, i.Bus.Created(ctx, created(i.detail, i.built))
}

// measure writes the metrics of the invocation; f is nil unless it failed, r
// is nil if Lambda gets an error.
func (i *invocation) measure(ctx context.Context, r *Result, f *failure.Error) {
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
		m.AddBy("Class", string(f.Class), "ImagesFailed", metrics.Count, 1)
	case r.Outcome == soci.OutcomeIndexed:
		m.Add("ImagesIndexed", metrics.Count, 1)
	default:
		m.AddBy("Reason", string(r.Outcome), "ImagesSkipped", metrics.Count, 1)
	}
	_, _, read := i.progress.sum()
	if i.built != nil {
		read = i.built.BytesRead // the progress of a reused layer is that of one read
		built, reused, skipped := countLayers(i.built.Manifests...)
		m.Add("LayersBuilt", metrics.Count, float64(built))
		m.Add("LayersReused", metrics.Count, float64(reused))
		m.Add("LayersSkipped", metrics.Count, float64(sum(skipped)))
		m.Add("LayersSkippedZstd", metrics.Count, float64(skipped[soci.SkipZstd]))
		m.Set("LayersSkippedByReason", skipped)
	}
	m.Add("BytesRead", metrics.Bytes, float64(read))
	m.Add("Duration", metrics.Seconds, i.seconds())
	if peak, ok := metrics.PeakMemory(); ok {
		m.Add("PeakMemory", metrics.Bytes, float64(peak))
	}
	if err := i.Metrics.Emit(&m); err != nil {
		i.Logger.ErrorContext(ctx, "metrics not written", "error", err)
	}
}

// countLayers counts the layers of manifests, each once, by what became of
// them.
func countLayers(manifests ...soci.ManifestResult) (built, reused int, skipped map[soci.SkipReason]int) {
	seen := map[digest.Digest]bool{}
	skipped = map[soci.SkipReason]int{}
	for _, m := range manifests {
		for _, l := range m.Layers {
			switch {
			case seen[l.Layer.Digest]:
			case l.Reused && l.Indexed():
				reused++
			case l.Indexed():
				built++
			default:
				skipped[l.Reason]++
			}
			seen[l.Layer.Digest] = true
		}
	}
	return built, reused, skipped
}

func sum(counts map[soci.SkipReason]int) (n int) {
	for _, one := range counts {
		n += one
	}
	return n
}
