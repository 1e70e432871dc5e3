package generator

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/pkg/soci"
)

// Outcomes beside those of soci.Result.
const (
	// OutcomeImageGone: the image was deleted before its index could be built.
	OutcomeImageGone soci.Outcome = "image-gone"
	// OutcomeReferrer: an artifact that refers to an image.
	OutcomeReferrer soci.Outcome = "referrer"
	// OutcomeFailed: it failed for good, and the failure queue has the event.
	OutcomeFailed = soci.OutcomeFailed
)

// Result says what became of the image of an event.
type Result struct {
	Repository  string       `json:"repository,omitempty"` // empty if the event is not valid
	Digest      string       `json:"digest,omitempty"`
	Tag         string       `json:"tag,omitempty"`
	Outcome     soci.Outcome `json:"outcome"`
	Reason      string       `json:"reason,omitempty"`           // why it was left alone; of OutcomeFailed a failure.Reason
	Enabled     *Enabled     `json:"sociEnabledImage,omitempty"` // unless only V1 was asked for
	Manifests   []Manifest   `json:"manifests,omitempty"`
	BytesRead   int64        `json:"bytesRead"`   // compressed bytes of layers
	BytesPushed int64        `json:"bytesPushed"` // zTOCs and SOCI indexes that were new
	Seconds     float64      `json:"seconds"`

	// LayersOmitted counts the layers of the image that are not listed, since
	// a result is listed up to maxLayers only.
	LayersOmitted int `json:"layersOmitted,omitempty"`
}

// maxLayers keeps a result of the largest image under what Lambda hands on
// from an asynchronous invocation, 256 KiB in the narrowest case.
const maxLayers = 500

// Enabled is the SOCI-enabled image of SOCI index v2.
type Enabled struct {
	Outcome soci.Outcome `json:"outcome"`
	Reason  string       `json:"reason,omitempty"`
	Tag     string       `json:"tag,omitempty"`
	Digest  string       `json:"digest,omitempty"`
}

// Manifest says what became of one manifest of the image.
type Manifest struct {
	Digest        string         `json:"digest"`
	Platform      string         `json:"platform,omitempty"` // "linux/arm64/v8"
	Outcome       soci.Outcome   `json:"outcome"`
	Reason        string         `json:"reason,omitempty"`        // why it has no SOCI index
	IndexDigest   string         `json:"indexDigest,omitempty"`   // of the SOCI index v1
	IndexV2Digest string         `json:"indexV2Digest,omitempty"` // of the SOCI index v2
	LayersIndexed []IndexedLayer `json:"layersIndexed,omitempty"`
	LayersSkipped []SkippedLayer `json:"layersSkipped,omitempty"`
}

// IndexedLayer is a layer that has a zTOC.
type IndexedLayer struct {
	Digest     string  `json:"digest"`
	Size       int64   `json:"size"` // compressed bytes
	ZtocDigest string  `json:"ztocDigest"`
	Reused     bool    `json:"reused,omitempty"` // the zTOC was there before, the layer was not read
	Seconds    float64 `json:"seconds"`
}

// SkippedLayer is a layer that has none.
type SkippedLayer struct {
	Digest string          `json:"digest"`
	Size   int64           `json:"size"` // compressed bytes
	Reason soci.SkipReason `json:"reason"`
	Detail string          `json:"detail,omitempty"`
}

func newResult(d ecrevent.Detail, r *soci.Result) *Result {
	result := &Result{
		Repository:  d.RepositoryName,
		Digest:      d.ImageDigest,
		Tag:         d.ImageTag,
		Outcome:     r.Outcome(),
		Reason:      r.Reason,
		BytesRead:   r.BytesRead,
		BytesPushed: r.BytesPushed,
		Seconds:     r.Seconds,
	}
	if e := r.Enabled; e.Outcome != "" {
		result.Enabled = &Enabled{Outcome: e.Outcome, Reason: e.Reason, Tag: e.Tag, Digest: e.Image.Digest.String()}
	}
	listed := 0
	for _, m := range r.Manifests {
		manifest := Manifest{
			Digest:        m.Manifest.Digest.String(),
			Platform:      m.Platform,
			Outcome:       m.Outcome,
			Reason:        m.Reason,
			IndexDigest:   m.Index.Digest.String(),
			IndexV2Digest: m.IndexV2.Digest.String(),
		}
		for _, l := range m.Layers {
			if listed == maxLayers {
				result.LayersOmitted++
				continue
			}
			listed++
			if l.Indexed() {
				manifest.LayersIndexed = append(manifest.LayersIndexed, IndexedLayer{
					Digest: l.Layer.Digest.String(), Size: l.Layer.Size, ZtocDigest: l.Ztoc.Digest.String(), Reused: l.Reused, Seconds: l.Seconds})
			} else {
				manifest.LayersSkipped = append(manifest.LayersSkipped, SkippedLayer{
					Digest: l.Layer.Digest.String(), Size: l.Layer.Size, Reason: l.Reason, Detail: cut(l.Detail, 200)})
			}
		}
		result.Manifests = append(result.Manifests, manifest)
	}
	return result
}

// cut bounds a text that holds names from inside an image.
func cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}

// logManifests writes one line for each manifest. A layer that could have been
// indexed, had it been packed otherwise, has one too.
func logManifests(ctx context.Context, logger *slog.Logger, r *soci.Result) {
	for _, m := range r.Manifests {
		logger := logger.With("manifest", m.Manifest.Digest.String(), "platform", m.Platform)
		var (
			indexed int
			reused  int
			bytes   int64
			seconds float64
			skipped = map[soci.SkipReason]int{}
		)
		for _, l := range m.Layers {
			if l.Reused && l.Indexed() {
				reused++
			}
			if l.Indexed() {
				indexed++
				bytes += l.Layer.Size
				seconds += l.Seconds
				continue
			}
			skipped[l.Reason]++
			logger.Log(ctx, skipLevel(l.Reason), "layer skipped",
				"layer", l.Layer.Digest.String(), "size", l.Layer.Size, "reason", l.Reason, "detail", cut(l.Detail, 200), "hint", hints[l.Reason])
		}
		reasons := make([]any, 0, len(skipped))
		for _, reason := range slices.Sorted(maps.Keys(skipped)) {
			reasons = append(reasons, slog.Int(string(reason), skipped[reason]))
		}
		level := slog.LevelInfo
		switch m.Outcome {
		case soci.OutcomeFailed, soci.OutcomeMissing, soci.OutcomeUnreadable:
			level = slog.LevelWarn
		}
		logger.Log(ctx, level, "manifest finished",
			"outcome", m.Outcome, "reason", m.Reason, "indexDigest", m.Index.Digest.String(), "indexV2Digest", m.IndexV2.Digest.String(),
			"layersIndexed", indexed, "layersReused", reused, slog.Group("layersSkipped", reasons...),
			"bytes", bytes, "seconds", seconds)
	}
	if r.SearchError != nil {
		logger.WarnContext(ctx, "reusable zTOCs not all found", "error", cut(r.SearchError.Error(), 2000))
	}
}

// logResult writes the line of the image.
func logResult(ctx context.Context, logger *slog.Logger, r *soci.Result, announced bool) {
	level := slog.LevelInfo
	if len(r.Lacking) > 0 {
		level = slog.LevelWarn
	}
	logger.Log(ctx, level, "image finished", "outcome", r.Outcome(), "reason", r.Reason, "manifests", len(r.Manifests),
		"sociTag", r.Enabled.Tag, "sociDigest", r.Enabled.Image.Digest.String(), "sociOutcome", r.Enabled.Outcome, "sociReason", r.Enabled.Reason,
		"bytesRead", r.BytesRead, "bytesPushed", r.BytesPushed, "seconds", r.Seconds, "announced", announced)
}

// hints say what the image's maker can do about a skipped layer.
var hints = map[soci.SkipReason]string{
	soci.SkipZstd: "build the image with gzip layers: docker buildx build --output type=image,push=true,compression=gzip,force-compression=true",
}

// skipLevel is WARN where the image's maker can do something about it.
func skipLevel(reason soci.SkipReason) slog.Level {
	switch reason {
	case soci.SkipTooSmall, soci.SkipNotALayer, soci.SkipForeign:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
