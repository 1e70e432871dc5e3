package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"soci-index-builder/pkg/soci"
)

// judge fills in the record of one tag; enabled is the status of its SOCI-enabled
// image, nil for an image without a tag.
func (o *Options) judge(r *Record, status *soci.Status, enabled *soci.EnabledStatus) {
	r.Manifests = status.Manifests
	if enabled != nil {
		r.Enabled = *enabled
	}
	e := o.newEvidence(r.Enabled)
	if r.State, r.Reason = e.failure(status.Manifests); r.State != "" {
		return
	}
	for _, m := range status.Manifests {
		e.addManifest(&m)
	}
	r.BuildTools = slices.Sorted(maps.Keys(e.tools))
	r.Surplus = e.surplus
	r.V1 = e.coverage()
	if r.State, r.Reason = e.nothingToBuild(status.Manifests); r.State != "" {
		r.LacksTag = o.TagUnindexed && e.v2 && (r.State == StateNothing || r.State == StateUnindexable) &&
			e.enabled.State == soci.EnabledAbsent
		return
	}
	e.addEnabledImage()
	r.State, r.Reason = e.verdict(r.BeforeStack)
}

// evidence is what an image's manifests and its suffixed tag show, gathered to
// choose a state.
type evidence struct {
	o       *Options
	enabled soci.EnabledStatus // zero for an image without a tag
	v1, v2  bool               // the versions that are asked for, and possible

	images    int                     // image manifests
	missing   int                     // manifests that are listed and not in the repository
	indexable int                     // image manifests that have, or should have, a SOCI index
	covered   int                     // those of them with a sound SOCI index v1, by any tool
	barred    int                     // layers that are large enough and cannot be indexed
	skipped   map[soci.SkipReason]int // layers

	tools     map[string]bool // that built the SOCI indexes
	mine      bool            // one of the SOCI indexes counts as this tool's
	uncertain bool            // a manifest without SOCI index v1 may have one that is not known
	allV2     bool            // every indexable manifest has its SOCI index v2, by this tool

	surplus int // SOCI indexes v1 by this tool, beyond the first of each image manifest

	lacks    []string // what an index run would add
	unknown  string   // why a SOCI index v1 that is asked for may be there
	leftover []string // SOCI indexes that are wrong, and that an index run does not replace
}

func (o *Options) newEvidence(enabled soci.EnabledStatus) *evidence {
	return &evidence{
		o: o, enabled: enabled,
		v1:      o.IndexVersion != soci.V2,
		v2:      o.IndexVersion != soci.V1 && enabled.EnabledTag != "",
		skipped: map[soci.SkipReason]int{},
		tools:   map[string]bool{},
		allV2:   true,
	}
}

// own reports whether a SOCI index counts as this tool's.
func (e *evidence) own(f soci.FoundIndex) bool { return e.o.AnyTool || f.BuildTool == e.o.BuildTool }

// noRoom reports whether the tag is too long for the suffix.
func (e *evidence) noRoom() bool { return e.enabled.Tag != "" && e.enabled.EnabledTag == "" }

// failure returns StateFails, and why, for an image that an index run would fail
// for.
func (e *evidence) failure(manifests []soci.ManifestStatus) (State, string) {
	if e.o.IndexVersion == soci.V2 && e.noRoom() {
		return StateFails, e.enabled.Reason
	}
	for _, m := range manifests {
		if m.Failure != nil {
			return StateFails, fmt.Sprintf("manifest %s (%s): %v", m.Manifest.Digest, m.Platform, m.Failure)
		}
	}
	return "", ""
}

// addManifest adds what one manifest shows.
func (e *evidence) addManifest(m *soci.ManifestStatus) {
	if m.Missing {
		e.missing++
	}
	if m.Reason != "" {
		return
	}
	e.images++
	e.addLayers(m.Layers)
	v2, hasV2 := e.enabled.Indexes[m.Manifest.Digest]
	found := m.Indexes
	if hasV2 {
		found = append(slices.Clip(found), v2)
	}
	for _, f := range found {
		e.tools[f.BuildTool] = true
		e.mine = e.mine || e.own(f)
	}
	// A layer may be found to have a zTOC though its descriptor says otherwise.
	if !m.Indexable() && len(found) == 0 {
		return
	}
	e.indexable++
	mine := 0
	for _, f := range m.Indexes {
		if f.BuildTool == e.o.BuildTool {
			mine++
		}
	}
	e.surplus += max(mine-1, 0)
	e.addV1(m)
	e.addV2(m.Platform, v2, hasV2)
}

func (e *evidence) addLayers(layers []soci.LayerStatus) {
	for _, l := range layers {
		if l.Reason == "" {
			continue
		}
		e.skipped[l.Reason]++
		if l.Reason != soci.SkipTooSmall && l.Layer.Size >= max(e.o.MinLayerSize, 1) {
			e.barred++
		}
	}
}

// addV1 adds what the SOCI indexes v1 of an image manifest show.
func (e *evidence) addV1(m *soci.ManifestStatus) {
	if slices.ContainsFunc(m.Indexes, soci.FoundIndex.Sound) {
		e.covered++
	}
	if len(m.Indexes) == 0 && m.Unknown != "" {
		e.uncertain = true
	}
	sound := slices.ContainsFunc(m.Indexes, func(f soci.FoundIndex) bool { return e.own(f) && f.Sound() })
	replaceable := ""
	for _, f := range m.Indexes {
		switch {
		case f.Sound():
		case e.v1 && !sound && e.own(f) && mendable(f):
			replaceable = f.Trouble()
		default:
			e.leftover = append(e.leftover, f.Trouble())
		}
	}
	switch {
	case !e.v1 || sound:
	case replaceable != "":
		e.lacks = append(e.lacks, replaceable)
	case slices.ContainsFunc(m.Indexes, e.own):
		e.lacks = append(e.lacks, fmt.Sprintf("%s has no sound SOCI index v1", m.Platform))
	case m.Unknown != "":
		e.unknown = fmt.Sprintf("whether %s has its SOCI index v1 is not known: %s", m.Platform, m.Unknown)
	default:
		e.lacks = append(e.lacks, fmt.Sprintf("%s has no SOCI index v1%s", m.Platform, byThis(len(m.Indexes) > 0)))
	}
}

// addV2 adds what the SOCI-enabled image has for one platform.
func (e *evidence) addV2(platform string, f soci.FoundIndex, found bool) {
	if found && e.own(f) {
		return
	}
	e.allV2 = false
	madeOfThis := e.enabled.State == soci.EnabledMatches || e.enabled.State == soci.EnabledDiffers
	if e.v2 && madeOfThis {
		e.lacks = append(e.lacks, fmt.Sprintf("%s has no SOCI index v2 in %s%s", platform, e.enabled.EnabledTag,
			byThis(found)))
	}
}

// addEnabledImage adds what the suffixed tag lacks as a whole.
func (e *evidence) addEnabledImage() {
	if !e.v2 {
		return
	}
	tag := e.enabled.EnabledTag
	switch e.enabled.State {
	case soci.EnabledAbsent:
		e.lacks = append(e.lacks, fmt.Sprintf("there is no tag %s", tag))
	case soci.EnabledUnindexed:
		e.lacks = append(e.lacks, fmt.Sprintf("%s stands for an image without a layer to index", tag))
	case soci.EnabledForeign:
		e.lacks = append(e.lacks, fmt.Sprintf("%s is not a SOCI-enabled image: %s", tag, e.enabled.Reason))
	case soci.EnabledBroken:
		e.lacks = append(e.lacks, e.enabled.Reason)
	}
}

// coverage returns the coverage by SOCI indexes v1.
func (e *evidence) coverage() Coverage {
	switch {
	case e.uncertain:
		return CoverUnknown
	case e.covered == 0:
		return CoverNone
	case e.covered < e.indexable:
		return CoverPart
	}
	return CoverFull
}

// nothingToBuild returns the state of an image for which it does not matter what
// is lacking: it is stale, or has nothing to index. Else it returns "".
func (e *evidence) nothingToBuild(manifests []soci.ManifestStatus) (State, string) {
	switch {
	case e.images == 0 && e.missing > 0:
		return StateFails, "none of the image manifests that it lists is in the repository"
	case e.images == 0:
		return StateNoImage, "it leads to no image"
	case e.stale():
		return StateStale, e.enabled.EnabledTag + " " + e.enabled.Reason
	case e.indexable == 0 && e.barred > 0:
		return StateUnindexable, "no layer can be indexed" + counted(e.skipped)
	case e.indexable == 0:
		return StateNothing, "no layer to index" + counted(e.skipped)
	case len(e.tools) == 0 && e.enabled.Unindexable(manifests):
		// Reading the layers showed it.
		return StateUnindexable, fmt.Sprintf("no layer can be indexed, as %s says", e.enabled.EnabledTag)
	}
	return "", ""
}

// stale reports whether an index run would write the SOCI-enabled image again: it
// was made of another image, or by this tool in another way than it would be now.
func (e *evidence) stale() bool {
	if !e.v2 {
		return false
	}
	return e.enabled.State == soci.EnabledStale || e.enabled.State == soci.EnabledDiffers && e.allV2 && !e.o.AnyTool
}

// verdict chooses the state of an image that has something to index.
func (e *evidence) verdict(beforeStack bool) (State, string) {
	state, reason := e.presence(beforeStack)
	if len(e.leftover) > 0 {
		reason += "; " + strings.Join(e.leftover, "; ") + ": delete what is wrong (cleanup --broken)"
		reason = strings.TrimPrefix(reason, "; ")
	}
	return state, reason
}

// presence is the verdict without the words on what is left over.
func (e *evidence) presence(beforeStack bool) (State, string) {
	lacks := strings.Join(e.lacks, "; ")
	switch {
	case e.unknown != "":
		return StateUnknown, strings.Join(append([]string{e.unknown}, e.lacks...), "; ")
	case len(e.lacks) == 0 && e.o.IndexVersion == soci.Both && e.noRoom():
		return StateFails, "it has its SOCI index v1, but there can be no SOCI-enabled image: " + e.enabled.Reason
	case len(e.lacks) == 0 && len(e.leftover) == 0:
		return StateIndexed, ""
	case len(e.lacks) == 0:
		return StateBroken, ""
	case e.mine:
		return StateIncomplete, lacks
	case len(e.tools) > 0:
		return StateOtherTool, fmt.Sprintf("only by %q", strings.Join(slices.Sorted(maps.Keys(e.tools)), `", "`))
	case e.v2 && e.enabled.State == soci.EnabledForeign:
		return StateMissing, lacks // indexing fails with that (soci.ErrTagTaken): it must be seen
	case beforeStack:
		return StateMissing, "pushed before the stack was created, " + e.o.Deployed.UTC().Format(time.DateOnly)
	}
	return StateMissing, "no SOCI index"
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

// counted tells why layers are skipped.
func counted(skipped map[soci.SkipReason]int) string {
	if text := soci.SkippedText(skipped); text != "" {
		return ": " + text
	}
	return ""
}
