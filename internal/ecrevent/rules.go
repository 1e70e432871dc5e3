package ecrevent

import (
	"regexp"
	"slices"
	"strings"
)

// A rule says what one field must be. Every pattern is anchored.
type rule struct {
	field   string
	value   func(*Event) string
	pattern *regexp.Regexp
	allowed string
	of      []string // the detail-types that it holds for; nil is every one
}

func (r rule) allows(value string) bool {
	if r.pattern == repositoryName && (len(value) < 2 || len(value) > 256) {
		return false
	}
	return r.pattern.MatchString(value)
}

var (
	repositoryName = regexp.MustCompile(`^[a-z0-9]+(?:(?:[./]|__?|-+)[a-z0-9]+)*$`)
	success        = regexp.MustCompile(`^SUCCESS$`)
)

var detailTypes = []string{ImageAction, ReplicationAction, PullThroughCacheAction, ReferrerAction}

const (
	region  = `[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}`
	account = `[0-9]{12}`
)

var rules = []rule{
	{"source", func(e *Event) string { return e.Source }, regexp.MustCompile(`^aws\.ecr$`), `"aws.ecr"`, nil},
	{"detail-type", func(e *Event) string { return e.DetailType },
		regexp.MustCompile(`^ECR (?:Image|Replication|Pull Through Cache|Referrer) Action$`),
		`"ECR Image Action", "ECR Replication Action", "ECR Pull Through Cache Action" or "ECR Referrer Action"`, nil},
	{"id", func(e *Event) string { return e.ID }, regexp.MustCompile(`^[!-~]{0,128}$`), "nothing, or up to 128 characters of ASCII without blanks", nil},
	{"account", func(e *Event) string { return e.Account }, regexp.MustCompile(`^` + account + `$`), "12 digits", nil},
	{"region", func(e *Event) string { return e.Region }, regexp.MustCompile(`^` + region + `$`), "the name of a region, such as eu-west-1", nil},

	{"detail.action-type", func(e *Event) string { return e.Detail.ActionType }, regexp.MustCompile(`^PUSH$`), `"PUSH"`, []string{ImageAction}},
	{"detail.action-type", func(e *Event) string { return e.Detail.ActionType }, regexp.MustCompile(`^REPLICATE$`), `"REPLICATE"`, []string{ReplicationAction}},
	{"detail.result", func(e *Event) string { return e.Detail.Result }, success, `"SUCCESS"`, []string{ImageAction, ReplicationAction}},
	{"detail.sync-status", func(e *Event) string { return e.Detail.SyncStatus }, success, `"SUCCESS"`, []string{PullThroughCacheAction}},

	{"detail.repository-name", func(e *Event) string { return e.Detail.RepositoryName }, repositoryName, "2 to 256 of a-z and 0-9, separated by one of / . _ __ or by hyphens", nil},
	{"detail.image-digest", func(e *Event) string { return e.Detail.ImageDigest }, regexp.MustCompile(`^sha256:[0-9a-f]{64}$`), "sha256: and 64 of 0-9 and a-f", nil},
	{"detail.image-tag", func(e *Event) string { return e.Detail.ImageTag }, regexp.MustCompile(`^(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$`), "nothing, or 1 to 128 of A-Z, a-z, 0-9, _, and, but not at its beginning, . and -", nil},

	{"detail.source-account", func(e *Event) string { return e.Detail.SourceAccount }, regexp.MustCompile(`^(?:` + account + `)?$`), "nothing, or 12 digits", []string{ReplicationAction}},
	{"detail.source-region", func(e *Event) string { return e.Detail.SourceRegion }, regexp.MustCompile(`^(?:` + region + `)?$`), "nothing, or the name of a region, such as eu-west-1", []string{ReplicationAction}},
}

// rulesOf gives the rules for events of a detail-type. What the detail of one
// that is not understood should look like nobody here can say.
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
