package dist

import (
	"path"
	"regexp"
	"strings"
)

var (
	// cloneOnly are the parts of a document that need the sources.
	cloneOnly = regexp.MustCompile(`(?s)<!-- clone -->\n.*?<!-- end of clone -->\n`)
	fenced    = regexp.MustCompile("(?ms)^```.*?^```$")
	linked    = regexp.MustCompile(`\[([^\]\n]*(?:\n[^\]\n]*)?)\]\(([^)\s]+)\)`)
)

// standalone returns a document as it stands in an archive: without the parts
// for a clone, and with links to files that the archive does not have replaced
// by their text. name is the document's in the archive; has reports whether a
// file or folder is in it.
func standalone(name, document string, has func(string) bool) string {
	document = cloneOnly.ReplaceAllString(document, "")
	var b strings.Builder
	rest := 0
	for _, block := range fenced.FindAllStringIndex(document, -1) {
		b.WriteString(unlink(name, document[rest:block[0]], has))
		b.WriteString(document[block[0]:block[1]])
		rest = block[1]
	}
	b.WriteString(unlink(name, document[rest:], has))
	return b.String()
}

func unlink(name, text string, has func(string) bool) string {
	return linked.ReplaceAllStringFunc(text, func(link string) string {
		m := linked.FindStringSubmatch(link)
		target, _, _ := strings.Cut(m[2], "#")
		if target == "" || strings.Contains(target, "://") || has(path.Join(path.Dir(name), target)) {
			return link
		}
		return m[1]
	})
}
