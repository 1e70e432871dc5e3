package settings

import (
	"fmt"
	"strings"
)

// Markdown returns the table of all settings for docs/deploy-file.md, from the
// same source as the flags.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| key | value in the file | flag | meaning |\n|---|---|---|---|\n")
	for _, t := range table {
		flag := "--" + t.name
		if t.value != "" {
			flag += " " + strings.ReplaceAll(t.value, "|", `\|`)
		}
		usage := strings.TrimSuffix(t.usage, "; may be given several times")
		if t.kind() == kindList || t.kind() == kindTable {
			flag += " ..."
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", t.name, t.kind(), flag, usage)
	}
	b.WriteString("\n")
	return b.String()
}
