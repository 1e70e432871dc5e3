package generator

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/report"
	"soci-index-builder/pkg/soci"
)

// logManifests writes one line for each manifest. A layer that could have been
// indexed, had it been packed otherwise, has one too.
func logManifests(ctx context.Context, logger *slog.Logger, r *soci.Result) {
	for _, m := range r.Manifests {
		logger := logger.With("manifest", m.Manifest.Digest.String(), "platform", m.Platform)
		for _, l := range m.Layers {
			if !l.Indexed() {
				logger.Log(ctx, skipLevel(l.Reason), "layer skipped",
					"layer", l.Layer.Digest.String(), "size", l.Layer.Size, "reason", l.Reason,
					"detail", report.Cut(l.Detail, 200), "hint", l.Reason.Fix())
			}
		}
		layers := report.CountLayers(m)
		reasons := make([]any, 0, len(layers.Skipped))
		for _, reason := range slices.Sorted(maps.Keys(layers.Skipped)) {
			reasons = append(reasons, slog.Int(string(reason), layers.Skipped[reason]))
		}
		level := slog.LevelInfo
		switch m.Outcome {
		case soci.OutcomeFailed, soci.OutcomeMissing, soci.OutcomeUnreadable:
			level = slog.LevelWarn
		}
		logger.Log(ctx, level, "manifest finished",
			"outcome", m.Outcome, "reason", m.Reason,
			"indexDigest", m.Index.Digest.String(), "indexV2Digest", m.IndexV2.Digest.String(),
			"layersIndexed", layers.Indexed(), "layersReused", layers.Reused, slog.Group("layersSkipped", reasons...),
			"prefetchFiles", prefetchFiles(&m), "bytes", layers.Bytes, "seconds", layers.Seconds)
	}
	for _, warning := range r.Warnings {
		logger.WarnContext(ctx, "not prefetched", "detail", report.Cut(warning, 2000))
	}
	if r.SearchError != nil {
		logger.WarnContext(ctx, "reusable zTOCs not all found", "error", report.Cut(r.SearchError.Error(), 2000))
	}
}

// prefetchFiles counts the files that clients may prefetch of a manifest.
func prefetchFiles(m *soci.ManifestResult) int {
	if m.Prefetch == nil {
		return 0
	}
	return m.Prefetch.Files
}

// logResult writes the line of the image.
func logResult(ctx context.Context, logger *slog.Logger, r *soci.Result, announced bool, sincePush float64) {
	level := slog.LevelInfo
	if len(r.Lacking) > 0 {
		level = slog.LevelWarn
	}
	if sincePush >= 0 {
		logger = logger.With("pushToIndexSeconds", sincePush)
	}
	logger.Log(ctx, level, messages.Finished, "outcome", r.Outcome(), "reason", r.Reason, "manifests", len(r.Manifests),
		"sociTag", r.Enabled.Tag, "sociDigest", r.Enabled.Image.Digest.String(),
		"sociOutcome", r.Enabled.Outcome, "sociReason", r.Enabled.Reason,
		"bytesRead", r.BytesRead, "bytesPushed", r.BytesPushed, "seconds", r.Seconds, "announced", announced)
}

// skipLevel is WARN where the image's maker can do something about it.
func skipLevel(reason soci.SkipReason) slog.Level {
	switch reason {
	case soci.SkipTooSmall, soci.SkipNotALayer, soci.SkipForeign:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
