package terminal

import "strings"

// Wrap breaks a text at its spaces into lines of at most width columns. A word
// that is longer has a line of its own, and so has a command to be pasted.
func Wrap(s string, width int) []string { return fill(s, width, width) }

// fill wraps a text whose first line has another width than those below it.
func fill(s string, first, others int) []string {
	var lines []string
	for _, p := range parts(s) {
		switch {
		case p.command:
			lines = append(lines, p.text)
		case len(lines) > 0:
			lines = append(lines, wrap(words(p.text), others, others)...)
		default:
			lines = wrap(words(p.text), first, others)
		}
	}
	return lines
}

// word is what is not broken.
type word struct {
	text string
	gap  string // before it, on the same line
}

// words takes a text apart.
func words(s string) []word {
	var all []word
	for rest := s; ; {
		text := strings.TrimLeft(rest, " \n\t")
		if text == "" {
			return all
		}
		end := strings.IndexAny(text, " \n\t")
		if end < 0 {
			end = len(text)
		}
		all = append(all, word{text[:end], strings.Repeat(" ", len(rest)-len(text))})
		rest = text[end:]
	}
}

// wrap breaks words into lines, the first of at most first columns and all others
// of others. A mark of one column stays with what it is the mark of.
func wrap(all []word, first, others int) []string {
	var lines []string
	line, at, width := "", 0, first
	for i, w := range all {
		n := Width(w.text)
		if line != "" && at+len(w.gap)+n > width && (i > 1 || at > 1) {
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
	text := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(text)]
	lines := fill(text, s.Width-len(indent), s.Width-len(indent)-4)
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
