package ecrevent

import (
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// A rule says what one field must be.
type rule struct {
	field   string
	value   func(*Event) string
	allows  func(value string) bool
	allowed string
	of      []string // the detail-types that it holds for; nil is every one
}

var (
	detailTypes = []string{ImageAction, ReplicationAction, PullThroughCacheAction, ReferrerAction}

	eventID = lazyregexp.New(`^[!-~]{0,128}$`)
)

var rules = []rule{
	{"source", func(e *Event) string { return e.Source }, is("aws.ecr"), `"aws.ecr"`, nil},
	{"detail-type", func(e *Event) string { return e.DetailType }, is(detailTypes...),
		oneOf(detailTypes), nil},
	{"id", func(e *Event) string { return e.ID }, eventID.MatchString,
		"nothing, or up to 128 characters of ASCII without blanks", nil},
	{"account", func(e *Event) string { return e.Account }, names.IsAccount, names.AccountAllowed, nil},
	{"region", func(e *Event) string { return e.Region }, names.IsRegion, names.RegionAllowed, nil},

	{"detail.action-type", func(e *Event) string { return e.Detail.ActionType }, is("PUSH"), `"PUSH"`,
		[]string{ImageAction}},
	{"detail.action-type", func(e *Event) string { return e.Detail.ActionType }, is("REPLICATE"), `"REPLICATE"`,
		[]string{ReplicationAction}},
	{"detail.result", func(e *Event) string { return e.Detail.Result }, is("SUCCESS"), `"SUCCESS"`,
		[]string{ImageAction, ReplicationAction}},
	{"detail.sync-status", func(e *Event) string { return e.Detail.SyncStatus }, is("SUCCESS"), `"SUCCESS"`,
		[]string{PullThroughCacheAction}},

	{"detail.repository-name", func(e *Event) string { return e.Detail.RepositoryName }, names.IsECRRepository,
		names.ECRRepositoryAllowed, nil},
	{"detail.image-digest", func(e *Event) string { return e.Detail.ImageDigest }, names.IsECRDigest,
		names.ECRDigestAllowed, nil},
	{"detail.image-tag", func(e *Event) string { return e.Detail.ImageTag }, orNothing(names.IsTag),
		"nothing, or " + names.TagAllowed, nil},

	{"detail.source-account", func(e *Event) string { return e.Detail.SourceAccount }, orNothing(names.IsAccount),
		"nothing, or " + names.AccountAllowed, []string{ReplicationAction}},
	{"detail.source-region", func(e *Event) string { return e.Detail.SourceRegion }, orNothing(names.IsRegion),
		"nothing, or " + names.RegionAllowed, []string{ReplicationAction}},
}

// oneOf lists words: "a", "b" or "c".
func oneOf(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

func is(words ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(words, value) }
}

func orNothing(allows func(string) bool) func(string) bool {
	return func(value string) bool { return value == "" || allows(value) }
}

// rulesOf returns the rules for events of a detail-type. For an unknown
// detail-type nothing is known about the detail.
func rulesOf(detailType string) []rule {
	understood := slices.Contains(detailTypes, detailType)
	var some []rule
	for _, r := range rules {
		if strings.HasPrefix(r.field, "detail.") && !understood {
			continue
		}
		if r.of == nil || slices.Contains(r.of, detailType) {
			some = append(some, r)
		}
	}
	return some
}
