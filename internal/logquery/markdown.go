package logquery

import (
	"fmt"
	"strings"
)

// Markdown returns the queries as sections of docs/logs.md.
func Markdown() string {
	var b strings.Builder
	for _, q := range queries {
		fmt.Fprintf(&b, "### %s\n\n", q.Question)
		fmt.Fprintf(&b, "`%s`, over %s.", q.Name, groupsText(q.Groups))
		switch q.Image {
		case RequiredImage:
			b.WriteString(" Needs `--image`.")
		case OptionalImage:
			b.WriteString(" Takes `--image`.")
		case NoImage:
		}
		if q.Note != "" {
			b.WriteString(" " + q.Note)
		}
		fmt.Fprintf(&b, "\n\n```\n%s\n```\n\n", q.Sample())
	}
	return b.String()
}

// groupsText names log groups by their functions.
func groupsText(groups []Group) string {
	names := map[Group]string{Filter: "filter", Generator: "indexgen", Repositories: "reponame"}
	parts := make([]string, len(groups))
	for i, g := range groups {
		parts[i] = names[g]
	}
	if len(parts) == 1 {
		return "the log group of " + parts[0]
	}
	last := len(parts) - 1
	return "the log groups of " + strings.Join(parts[:last], ", ") + " and " + parts[last]
}
