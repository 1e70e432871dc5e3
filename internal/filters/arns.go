package filters

import (
	"slices"
	"strings"
)

// RepositoryARNs returns the ECR repositories that the filters can choose from,
// as ARNs in which "*" stands for any run of characters, the way IAM reads
// them. They are sorted, none is covered by another, and there is just one
// when a filter names every repository. Exclusions do not narrow them.
func (f Filters) RepositoryARNs(partition, region, account string) []string {
	var patterns []string
	for _, one := range f.list {
		if !one.exclude {
			patterns = append(patterns, collapse(one.repository))
		}
	}
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)

	arns := make([]string, 0, len(patterns))
	for _, p := range patterns {
		covered := slices.ContainsFunc(patterns, func(wider string) bool {
			// A wildcard of p reaches match as a plain character that no
			// literal equals, so only a wildcard of the wider pattern takes
			// it. Two patterns that cover each other are the same, once runs
			// of wildcards are collapsed.
			return wider != p && match(wider, p)
		})
		if !covered {
			arns = append(arns, "arn:"+partition+":ecr:"+region+":"+account+":repository/"+p)
		}
	}
	return arns
}

// collapse makes one wildcard of each run of them.
func collapse(pattern string) string {
	var b strings.Builder
	for i := range len(pattern) {
		if i > 0 && pattern[i] == '*' && pattern[i-1] == '*' {
			continue
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}
