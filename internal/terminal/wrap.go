package terminal

import (
	"slices"
	"strings"
)

// Wrap breaks a text at its spaces into lines of at most width columns. A word
// that is longer has a line of its own, and so has a command to be pasted.
func Wrap(s string, width int) []string { return wrap(words(s), width, width) }

// word is what is not broken.
type word struct {
	text string
	gap  string // before it, on the same line
}

// programs begin the commands that texts have for people to paste.
var programs = []string{"aws", "soci-index-builder"}

// words takes a text apart. A command is one word: it begins with the name of a
// program, behind a colon, an arrow or two spaces, and ends with the text or
// with a semicolon.
func words(s string) []word {
	var all []word
	var command bool
	for rest := s; rest != ""; {
		text := strings.TrimLeft(rest, " \n\t")
		gap := strings.Repeat(" ", len(rest)-len(text))
		end := strings.IndexAny(text, " \n\t")
		if end < 0 {
			end = len(text)
		}
		w := word{text[:end], gap}
		if rest = text[end:]; w.text == "" {
			break
		}
		last := len(all) - 1
		switch {
		case command:
			all[last].text += " " + w.text
		case slices.Contains(programs, w.text):
			verb, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
			begins := len(gap) > 1 || last >= 0 && (strings.HasSuffix(all[last].text, ":") || all[last].text == "->")
			command = begins && verb != "" && verb[0] >= 'a' && verb[0] <= 'z' && !strings.HasSuffix(verb, ":")
			if command && last >= 0 && all[last].text == "->" {
				all[last].text += " " + w.text
				break
			}
			all = append(all, w)
		default:
			all = append(all, w)
		}
		command = command && !strings.HasSuffix(w.text, ";")
	}
	return all
}

// wrap breaks words into lines of at most so many columns.
func wrap(all []word, first, others int) []string {
	var lines []string
	line, at, width := "", 0, first
	for _, w := range all {
		n := Width(w.text)
		if line != "" && at+len(w.gap)+n > width {
			lines, line, at, width = append(lines, line), "", 0, others
		}
		if line != "" {
			line, at = line+w.gap, at+len(w.gap)
		}
		line, at = line+w.text, at+n
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Fill breaks a line that is wider than the screen at its spaces; what follows
// is indented further than the line.
func (s Screen) Fill(line string) string {
	if s.Width == 0 || Width(line) <= s.Width {
		return line
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	lines := wrap(words(line), s.Width-len(indent), s.Width-len(indent)-4)
	return indent + strings.Join(lines, "\n"+indent+"    ")
}

// FillLines is [Screen.Fill] for each line of a text. Blanks at the end of a line
// stay, as a prompt has them.
func (s Screen) FillLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		words := strings.TrimRight(line, " ")
		lines[i] = s.Fill(words) + line[len(words):]
	}
	return strings.Join(lines, "\n")
}
