// Package shellwords reads, for tests, the commands that documents show.
package shellwords

import "strings"

// Split returns the words of the first command of a line: up to a comment, a
// pipe, a redirection, or the end of a substitution or of code in a sentence.
// Quotes are taken away. A placeholder such as <a name> is part of one word.
func Split(line string) []string {
	var (
		words []string
		word  strings.Builder
		until rune // the end of a quotation or a placeholder
		in    bool
	)
	end := func() {
		if in {
			words = append(words, word.String())
		}
		word.Reset()
		in = false
	}
	for i, r := range line {
		switch {
		case until == '>' || until != 0 && r != until:
			word.WriteRune(r)
			if r == until {
				until = 0
			}
		case until != 0:
			until = 0
		case r == '\'' || r == '"':
			in, until = true, r
		case r == '<' && isPlaceholder(line[i+1:]):
			in, until = true, '>'
			word.WriteRune(r)
		case r == ' ' || r == '\t':
			end()
		case strings.ContainsRune("|;&)<>`", r), r == '#' && !in:
			end()
			return words
		default:
			in = true
			word.WriteRune(r)
		}
	}
	end()
	return words
}

// isPlaceholder reports whether what follows a "<" makes it a placeholder, and
// no redirection.
func isPlaceholder(rest string) bool {
	text, _, ok := strings.Cut(rest, ">")
	return ok && text != "" && !strings.ContainsAny(text[:1], " \t&(<")
}
