// Package selection decides which images are indexed, from what an event or a
// listing tells of them: the same for the filter function and for those who
// ask what it would do.
//
// Start with [Rules.Decide].
package selection

import (
	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
)

// Rules are what a decision depends on.
type Rules struct {
	Filters   filters.Filters
	TagSuffix string // of SOCI-enabled images; empty matches no tag
	Untagged  bool   // whether images without a tag are indexed
}

// Decision says what is done with an image.
type Decision string

// The decisions.
const (
	// Matched: the image is indexed.
	Matched Decision = "matched"
	// NotMatched: no filter chooses the image, or one excludes it.
	NotMatched Decision = "not-matched"
	// OwnArtifact: a SOCI index, or an image that was made with one.
	OwnArtifact Decision = "own-artifact"
	// Referrer: an artifact that refers to an image, such as a signature.
	Referrer Decision = "referrer"
	// Untagged: an image without a tag, which is not asked for.
	Untagged Decision = "untagged"
)

// Verdict is a decision and what made it.
type Verdict struct {
	Decision Decision
	Filter   string // that decided, for Matched and NotMatched; empty when none matches
	Reason   string // for OwnArtifact: what gave it away
}

// Decide judges the image of a valid event. What the event alone tells comes
// before the filters, which cannot choose what must not be indexed.
func (r Rules) Decide(e *ecrevent.Event) Verdict {
	if why, own := e.Own(r.TagSuffix); own {
		return Verdict{Decision: OwnArtifact, Reason: why}
	}
	if e.DetailType == ecrevent.ReferrerAction {
		return Verdict{Decision: Referrer}
	}
	if e.Detail.ImageTag == "" && !r.Untagged {
		return Verdict{Decision: Untagged}
	}
	filter, ok := r.Filters.Match(e.Detail.RepositoryName, e.Detail.ImageTag)
	if !ok {
		return Verdict{Decision: NotMatched, Filter: filter}
	}
	return Verdict{Decision: Matched, Filter: filter}
}
