package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
	// StateBroken: beside what should be there, or in its place, is a SOCI index
	// that clients cannot use, or not rightly, and that an index run leaves: it
	// has to be deleted.
	StateBroken State = "broken"
	// StateFails: an index run cannot succeed, since the content is at fault
	// or the tag has no room for the suffix.
	StateFails State = "fails"
	// StateUnindexable: the image has layers that are large enough, and none of
	// them can be indexed, by its media type or its content.
	StateUnindexable State = "unindexable"
	// StateNothing: the image has no layer that is large enough.
	StateNothing State = "nothing-to-index"
	// StateOptedOut: the image's label asks to leave it alone.
	StateOptedOut State = "opted-out"
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
	StateNothing, StateOptedOut, StateExcluded, StateUntagged, StateNoImage,
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
// rightly, whatever the cause.
func (s State) Lacking() bool {
	switch s {
	case StatePartial, StateBroken, StateFails, StateUnindexable:
		return true
	}
	return s.ToIndex() && s != StateUnknown
}

// Chosen reports whether the image is one that the rules choose.
func (s State) Chosen() bool {
	return s.Lacking() || s == StateUnknown || s == StateIndexed || s == StateNothing || s == StateOptedOut
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

	// What there is, whatever version was asked for, by any tool. Enabled is
	// zero for an image without a tag.
	V1         Coverage // empty when it was not looked into
	Enabled    soci.EnabledStatus
	BuildTools []string // identifiers of the SOCI indexes found, sorted

	Manifests []soci.ManifestStatus

	// BeforeStack: the image was pushed before the stack was there.
	BeforeStack bool
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

// judge fills in what was found for one tag, which enabled is about; nil is an
// image without a tag.
func (o *Options) judge(r *Record, status *soci.Status, enabled *soci.EnabledStatus) {
	r.Manifests = status.Manifests
	tools := map[string]bool{}
	var (
		own       = func(f soci.FoundIndex) bool { return o.AnyTool || f.BuildTool == o.BuildTool }
		v1        = o.IndexVersion != soci.V2
		v2        = o.IndexVersion != soci.V1 && enabled != nil
		indexable int
		skipped   = map[soci.SkipReason]int{}
		covered   int
		lacks     []string
		unknown   string   // why SOCI indexes v1 may be there that are not known
		leftover  []string // SOCI indexes that are wrong, and that an index run does not mend
		barred    int      // layers that are large enough, and cannot be indexed
		any, mine bool     // SOCI indexes by any tool, by this one
		images    int
		ours      = true // every SOCI index v2 that there should be is there, by this tool
		missing   int    // manifests that are listed and not there
	)
	if enabled != nil {
		r.Enabled = *enabled
	}
	if v2 && enabled.EnabledTag == "" {
		v2 = false
		if o.IndexVersion == soci.V2 {
			r.State, r.Reason = StateFails, enabled.Reason
			return
		}
	}
	for _, m := range status.Manifests {
		if m.Failure != nil {
			r.State, r.Reason = StateFails, fmt.Sprintf("manifest %s (%s): %v", m.Manifest.Digest, m.Platform, m.Failure)
			return
		}
		if m.Missing {
			missing++
		}
		if m.Reason != "" {
			continue
		}
		images++
		for _, l := range m.Layers {
			if l.Reason == "" {
				continue
			}
			skipped[l.Reason]++
			if l.Reason != soci.SkipTooSmall && l.Layer.Size >= max(o.MinLayerSize, 1) {
				barred++
			}
		}
		for _, f := range m.Indexes {
			tools[f.BuildTool], any, mine = true, true, mine || own(f)
		}
		ofEnabled, there := r.Enabled.Indexes[m.Manifest.Digest]
		if there {
			tools[ofEnabled.BuildTool], any, mine = true, true, mine || own(ofEnabled)
		}
		// A layer may be found to have a zTOC though its descriptor says
		// otherwise.
		if !m.Indexable() && len(m.Indexes) == 0 && !there {
			continue
		}
		indexable++
		if slices.ContainsFunc(m.Indexes, soci.FoundIndex.Sound) {
			covered++
		}
		if len(m.Indexes) == 0 && m.Unknown != "" {
			r.V1 = CoverUnknown
		}
		sound := slices.ContainsFunc(m.Indexes, func(f soci.FoundIndex) bool { return own(f) && f.Sound() })
		trouble := ""
		for _, f := range m.Indexes {
			switch {
			case f.Sound():
			case v1 && !sound && own(f) && mendable(f):
				trouble = f.Trouble()
			default:
				leftover = append(leftover, f.Trouble())
			}
		}
		switch {
		case !v1 || sound:
		case trouble != "":
			lacks = append(lacks, trouble)
		case slices.ContainsFunc(m.Indexes, own):
			lacks = append(lacks, fmt.Sprintf("%s has no sound SOCI index v1", m.Platform))
		case m.Unknown != "":
			unknown = fmt.Sprintf("whether %s has its SOCI index v1 is not known: %s", m.Platform, m.Unknown)
		default:
			lacks = append(lacks, fmt.Sprintf("%s has no SOCI index v1%s", m.Platform, byThis(len(m.Indexes) > 0)))
		}
		listed := r.Enabled.State == soci.EnabledMatches || r.Enabled.State == soci.EnabledDiffers
		ours = ours && there && own(ofEnabled)
		if v2 && listed && (!there || !own(ofEnabled)) {
			lacks = append(lacks, fmt.Sprintf("%s has no SOCI index v2 in %s%s", m.Platform, r.Enabled.EnabledTag,
				byThis(there)))
		}
	}
	r.BuildTools = slices.Sorted(maps.Keys(tools))
	if r.V1 == "" {
		r.V1 = CoverNone
	}
	if covered > 0 && r.V1 == CoverNone {
		if r.V1 = CoverPart; covered == indexable {
			r.V1 = CoverFull
		}
	}
	// What this tool wrote otherwise than it would now is written anew.
	stale := v2 && (r.Enabled.State == soci.EnabledStale || r.Enabled.State == soci.EnabledDiffers && ours && !o.AnyTool)
	switch {
	case images == 0 && missing > 0:
		r.State, r.Reason = StateFails, "none of the image manifests that it lists is in the repository"
		return
	case images == 0:
		r.State, r.Reason = StateNoImage, "it leads to no image"
		return
	case stale:
		r.State, r.Reason = StateStale, r.Enabled.EnabledTag+" "+r.Enabled.Reason
		return
	case indexable == 0 && barred > 0:
		r.State, r.Reason = StateUnindexable, "no layer can be indexed"+counted(skipped)
		return
	case indexable == 0:
		r.State, r.Reason = StateNothing, "no layer to index"+counted(skipped)
		return
	case r.Enabled.State == soci.EnabledUnindexed && !any:
		// Reading the layers showed it.
		r.State, r.Reason = StateUnindexable, fmt.Sprintf("no layer can be indexed, as %s says", r.Enabled.EnabledTag)
		return
	}
	if v2 {
		switch r.Enabled.State {
		case soci.EnabledAbsent:
			lacks = append(lacks, fmt.Sprintf("there is no tag %s", r.Enabled.EnabledTag))
		case soci.EnabledUnindexed:
			lacks = append(lacks, fmt.Sprintf("%s stands for an image without a layer to index", r.Enabled.EnabledTag))
		case soci.EnabledForeign:
			lacks = append(lacks, fmt.Sprintf("%s is not a SOCI-enabled image: %s", r.Enabled.EnabledTag, r.Enabled.Reason))
		case soci.EnabledBroken:
			lacks = append(lacks, r.Enabled.Reason)
		}
	}
	r.Reason = strings.Join(lacks, "; ")
	if len(leftover) > 0 {
		defer func() {
			r.Reason += "; " + strings.Join(leftover, "; ") + ": delete what is wrong (cleanup --broken)"
			r.Reason = strings.TrimPrefix(r.Reason, "; ")
		}()
	}
	switch {
	case unknown != "":
		r.State, r.Reason = StateUnknown, strings.Join(append([]string{unknown}, lacks...), "; ")
	case len(lacks) == 0 && len(leftover) == 0:
		r.State = StateIndexed
	case len(lacks) == 0:
		r.State = StateBroken
	case mine:
		r.State = StateIncomplete
	case any:
		r.State = StateOtherTool
		r.Reason = fmt.Sprintf("only by %q", strings.Join(r.BuildTools, `", "`))
	default:
		r.State = StateMissing
		switch {
		case v2 && r.Enabled.State == soci.EnabledForeign:
			// Indexing fails with that (soci.ErrTagTaken): nobody should miss it.
		case r.BeforeStack:
			r.Reason = "pushed before the stack was created, " + o.Deployed.UTC().Format(time.DateOnly)
		default:
			r.Reason = "no SOCI index"
		}
	}
}

// mendable reports whether an index run that pushes the same zTOCs mends a SOCI
// index.
func mendable(f soci.FoundIndex) bool {
	return !slices.ContainsFunc(f.Faults, func(z soci.ZtocFault) bool { return !z.Mendable() })
}

func byThis(another bool) string {
	if another {
		return " by this tool"
	}
	return ""
}

// counted tells why layers are skipped, sorted by reason.
func counted(skipped map[soci.SkipReason]int) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		parts = append(parts, fmt.Sprintf("%d %s", skipped[reason], reason))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
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
