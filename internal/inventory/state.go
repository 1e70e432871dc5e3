package inventory

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/filters"
	"soci-index-builder/pkg/soci"
)

// State says whether an image under one of its tags has the SOCI indexes that
// it should have, and if not, what keeps it.
type State string

// The states of an image that the rules choose.
const (
	// StateIndexed: every platform with a layer to index has its SOCI index,
	// and the suffixed tag names the image's SOCI-enabled image, as far as the
	// version asks for either.
	StateIndexed State = "indexed"
	// StateMissing: there is nothing yet.
	StateMissing State = "missing"
	// StateIncomplete: a part is there.
	StateIncomplete State = "incomplete"
	// StateStale: the suffixed tag names what was made of another image, which
	// had the tag before, or of this one as it was; the reason says which.
	StateStale State = "stale"
	// StateOtherTool: there are SOCI indexes, by another build tool alone.
	StateOtherTool State = "other-tool"
	// StatePartial: a SOCI-enabled image that has no SOCI index for some of its
	// platforms. It is left alone as any other, so those stay without.
	StatePartial State = "partly-enabled"
	// StateUnknown: the registry does not tell whether there is a SOCI index v1.
	StateUnknown State = "unknown"
	// StateBroken: there is a SOCI index that clients cannot use correctly,
	// alone or besides the right ones, and an index run does not replace it: it
	// has to be deleted.
	StateBroken State = "broken"
	// StateFails: an index run cannot succeed, since the content is at fault
	// or the tag has no room for the suffix; with soci.Both such an image may have
	// its SOCI index v1.
	StateFails State = "fails"
	// StateUnindexable: the image has layers that are large enough, and none of
	// them can be indexed, by its media type or its content.
	StateUnindexable State = "unindexable"
	// StateNothing: the image has no layer that is large enough.
	StateNothing State = "nothing-to-index"
	// StateOptedOut: the image's label asks to leave it alone.
	StateOptedOut State = "opted-out"
	// StatePlatformNotChosen: none of its platforms is among those chosen.
	StatePlatformNotChosen State = "platform-not-chosen"
	// StateArchived: the image is in ECR's archive storage class, or is being
	// restored from it, so that nobody can pull it.
	StateArchived State = "archived"
)

// The states of what is not to be indexed.
const (
	// StateExcluded: no filter chooses the tag, a filter excludes it, or it
	// ends like the tag of a SOCI-enabled image.
	StateExcluded State = "excluded"
	// StateUntagged: an image without a tag, which is not asked for.
	StateUntagged State = "untagged"
	// StateNoImage: a SOCI artifact, a signature or another artifact.
	StateNoImage State = "no-image"
)

// States are all of them, in the order in which they are counted up.
var States = []State{
	StateIndexed, StateMissing, StateIncomplete, StateStale, StateOtherTool, StateUnknown, StatePartial, StateBroken,
	StateFails, StateUnindexable,
	StateNothing, StateOptedOut, StatePlatformNotChosen, StateArchived, StateExcluded, StateUntagged, StateNoImage,
}

// ToIndex reports whether indexing the image would bring what is missing, or
// may be.
func (s State) ToIndex() bool {
	switch s {
	case StateMissing, StateIncomplete, StateStale, StateOtherTool, StateUnknown:
		return true
	}
	return false
}

// Lacking reports whether the image should be indexed and is not, or not
// correctly, whatever the cause.
func (s State) Lacking() bool {
	switch s {
	case StatePartial, StateBroken, StateFails, StateUnindexable:
		return true
	}
	return s.ToIndex() && s != StateUnknown
}

// Chosen reports whether the image is one that the rules choose.
func (s State) Chosen() bool {
	return s.Lacking() || s == StateUnknown || s == StateIndexed || s == StateNothing || s == StateOptedOut ||
		s == StatePlatformNotChosen || s == StateArchived
}

// Coverage tells how many of the platforms with a layer to index have one that
// nothing is known to be wrong with.
type Coverage string

// The coverages.
const (
	CoverNone Coverage = "none"
	CoverPart Coverage = "part"
	CoverFull Coverage = "full"

	// CoverUnknown: not all have one that is known, and the registry does not
	// tell.
	CoverUnknown Coverage = "unknown"
)

// Record is an image under one of its tags, or without any, and its state.
type Record struct {
	Image
	Tag    string    // the one this record is about; empty for none
	Kind   soci.Kind // empty when it was not looked into
	State  State
	Reason string // for people; empty for StateIndexed
	Filter string // that chose or excluded it; empty when none matches

	// Descriptor is that of the manifest; zero when it was not looked into.
	Descriptor ocispec.Descriptor

	// The SOCI indexes that exist, by any tool and whatever version was asked for.
	// Enabled is zero for an image without a tag.
	V1         Coverage // empty when it was not looked into
	Enabled    soci.EnabledStatus
	BuildTools []string // identifiers of the SOCI indexes found, sorted

	Manifests []soci.ManifestStatus

	// Surplus counts the SOCI indexes v1, by this tool, of which an image
	// manifest has more than one. A client may choose any of them.
	Surplus int

	// LacksTag: an image with no layer to index lacks the suffixed tag that it
	// should have by Options.TagUnindexed.
	LacksTag bool

	// BeforeStack: the image was pushed before the stack was there.
	BeforeStack bool
}

// ToIndex reports whether indexing the image would bring what is missing, or may
// be, if only its suffixed tag.
func (r *Record) ToIndex() bool { return r.State.ToIndex() || r.LacksTag }

// FixPlatforms says what to do about an image none of whose platforms is chosen.
const FixPlatforms = "to have it indexed, add its platform to the stack's parameter Platforms"

// Hint is Fix, or FixPlatforms for an image that needs that.
func (r *Record) Hint() string {
	if r.State == StatePlatformNotChosen {
		return FixPlatforms
	}
	return r.Fix()
}

// Fix says what the image's maker can do about the layers that cannot be
// indexed; empty if there is nothing to say.
func (r *Record) Fix() string {
	for _, m := range r.Manifests {
		for _, l := range m.Layers {
			if fix := l.Reason.Fix(); fix != "" {
				return fix
			}
		}
	}
	return ""
}

// ToRead returns the layers that an index run could have to read, each once, and
// their compressed bytes. Those whose zTOC it finds it does not read.
func (r *Record) ToRead() (layers int, bytes int64) {
	seen := map[digest.Digest]bool{}
	for _, m := range r.Manifests {
		for _, l := range m.Layers {
			if l.Reason == "" && !seen[l.Layer.Digest] {
				seen[l.Layer.Digest] = true
				layers++
				bytes += l.Layer.Size
			}
		}
	}
	return layers, bytes
}

// explain says why the rules do not choose an image.
func explain(v filters.Verdict) string {
	switch {
	case v.Decision == filters.NotMatched && v.Filter == "":
		return "no filter matches"
	case v.Decision == filters.NotMatched:
		return fmt.Sprintf("the filter %s excludes it", v.Filter)
	}
	return v.Reason
}
