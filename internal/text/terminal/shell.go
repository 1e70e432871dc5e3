package terminal

import (
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// plainWord is what means itself to every shell. A word that begins with = is the path
// of a command to one of them.
var plainWord = lazyregexp.New(`^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+:,./=-]*$`)

// ShellWord returns a text as one word of a shell, quoted where it must be.
func ShellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
