package terminal

import (
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// part is a piece of a text: prose, or a command that is to be pasted into a shell.
type part struct {
	text    string
	command bool
}

// A command in a text stands behind a colon, an arrow, two spaces or at the
// beginning, and ends with a semicolon or the text. What is in brackets is how a
// command is used, and no command.
var commandStart = lazyregexp.New(`(?:^(?:-> )?|: |  )(?:aws|soci-index-builder) [a-z][a-z0-9-]*(?: |;|$)`)

// goesOn are words behind the program's name, which a stack can have too, that are
// no verbs of it.
var goesOn = map[string]bool{"and": true, "or": true, "is": true, "was": true, "has": true, "of": true, "in": true}

// parts splits a text at its commands.
func parts(text string) []part {
	var all []part
	prose := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, part{s, false})
		}
	}
	rest, from := text, 0
	for {
		at := commandStart.Compiled().FindStringIndex(rest[from:])
		if at == nil {
			break
		}
		at[0], at[1] = at[0]+from, at[1]+from
		if next := strings.TrimRight(rest[at[0]:at[1]], " ;"); goesOn[next[strings.LastIndexByte(next, ' ')+1:]] {
			from = at[1] - 1 // a stack or the program, and no command
			continue
		}
		start := at[0] + len(rest[at[0]:]) - len(strings.TrimLeft(rest[at[0]:], ": "))
		command, after, _ := strings.Cut(rest[start:], "; ")
		if strings.Contains(command, " [") {
			break
		}
		// An example within parentheses goes on as prose.
		if strings.Count(command, ")") > strings.Count(command, "(") {
			break
		}
		prose(rest[:start])
		all = append(all, part{command, true})
		rest, from = after, 0
	}
	prose(rest)
	return all
}

// proseOf returns a text without its commands.
func proseOf(text string) string {
	var b strings.Builder
	for _, p := range parts(text) {
		if !p.command {
			b.WriteString(p.text + " ")
		}
	}
	return b.String()
}
