package filters

import (
	"slices"
	"strings"

	"soci-index-builder/internal/names"
)

// Image is what a push, or a listing, tells of an image: enough to decide
// whether it is indexed.
type Image struct {
	Repository string // without the registry's host
	Tag        string // empty for none

	// ArtifactType is the media type of the manifest's config, as far as it is
	// told.
	ArtifactType string

	// Referrer: the manifest refers to another one.
	Referrer bool
}

// DeploymentRecord is the artifact type of the records of deployments that
// deploy keeps beside the functions' images.
const DeploymentRecord = "application/vnd.soci-index-builder.deployment.v1+json"

// own reports whether the image is an artifact of this project, or of another
// SOCI builder, that must never be indexed in turn, and why: the artifact type
// tells a SOCI index or a record, and tagSuffix the tag of an image that was made from
// another one. An empty tagSuffix matches no tag.
func (i Image) own(tagSuffix string) (why string, own bool) {
	switch t := strings.ToLower(i.ArtifactType); t {
	case names.SociIndexV1, names.SociIndexV2, DeploymentRecord:
		return "artifact media type " + t, true
	}
	// The suffix by itself is not a <tag><suffix>.
	if tag, ok := strings.CutSuffix(i.Tag, tagSuffix); ok && tagSuffix != "" && tag != "" {
		return "tag suffix " + tagSuffix, true
	}
	return "", false
}

// Rules decide which images are indexed, from what an event or a listing tells
// of them: the same for the filter function, for the generator, and for whoever
// asks what they would do. Start with [Rules.Decide].
type Rules struct {
	Filters   Filters
	TagSuffix string // of SOCI-enabled images; empty matches no tag
	Untagged  bool   // whether images without a tag are indexed

	// OwnRepositories are the names of those that the functions' own images
	// are in. Nothing in them is indexed: Lambda runs no image that was indexed.
	OwnRepositories []string
}

// Decision says what is done with an image.
type Decision string

// The decisions.
const (
	// Matched: the image is indexed.
	Matched Decision = "matched"
	// NotMatched: no filter chooses the image, or one excludes it.
	NotMatched Decision = "not-matched"
	// OwnArtifact: a SOCI index, an image that was made with one, or what is in a
	// repository of the functions' images.
	OwnArtifact Decision = "own-artifact"
	// Referrer: an artifact that refers to an image, such as a signature.
	Referrer Decision = "referrer"
	// Untagged: an image without a tag, which is not asked for.
	Untagged Decision = "untagged"
)

// Decisions returns all of them.
func Decisions() []Decision { return []Decision{Matched, NotMatched, OwnArtifact, Referrer, Untagged} }

// Text is the decision for people; what made it says the Verdict.
func (d Decision) Text() string {
	switch d {
	case NotMatched:
		return "not matched"
	case OwnArtifact:
		return "left alone"
	}
	return string(d)
}

// Verdict is a decision and what made it.
type Verdict struct {
	Decision Decision
	Filter   string // that decided, for Matched and NotMatched; empty when none matches
	Reason   string // for OwnArtifact: what gave it away; empty where the decision says it all
}

// Decide judges an image. What must never be indexed comes before the filters,
// which cannot choose it.
func (r Rules) Decide(i Image) Verdict {
	if why, own := i.own(r.TagSuffix); own {
		return Verdict{Decision: OwnArtifact, Reason: why}
	}
	if slices.Contains(r.OwnRepositories, i.Repository) {
		return Verdict{Decision: OwnArtifact, Reason: "repository of the functions' images"}
	}
	if i.Referrer {
		return Verdict{Decision: Referrer}
	}
	if i.Tag == "" && !r.Untagged {
		return Verdict{Decision: Untagged}
	}
	filter, ok := r.Filters.Match(i.Repository, i.Tag)
	if !ok {
		return Verdict{Decision: NotMatched, Filter: filter}
	}
	return Verdict{Decision: Matched, Filter: filter}
}
