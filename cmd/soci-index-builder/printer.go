package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/internal/verify"
)

// printer writes lines of text that fit the screen, and keeps the first error of
// writing.
type printer struct {
	w      io.Writer
	screen terminal.Screen
	begun  string // a line that has no end yet
	err    error
}

func newPrinter(w io.Writer) *printer { return &printer{w: w, screen: terminal.Of(w)} }

// printf writes one line, with its end, or part of one: the line is written when
// its end comes.
func (p *printer) printf(format string, args ...any) {
	text := p.begun + fmt.Sprintf(format, args...)
	if n := len(text) - 1; n >= 0 && text[n] != '\n' {
		p.begun = text
		return
	}
	p.begun = ""
	p.asIs(p.screen.FillLines(text))
}

// asIs writes a text that is not to be broken, such as a command to be copied.
func (p *printer) asIs(text string) {
	text, p.begun = p.begun+text, ""
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
}

func (p *printer) differences(all []verify.Difference, omitted int) {
	difference := p.screen.Paint(terminal.Bad, "DIFFERENCE")
	for _, d := range all {
		p.printf("  %s: %s\n", difference, d)
	}
	if omitted > 0 {
		p.printf("  %s: and %d more\n", difference, omitted)
	}
}

// fullFlag is --no-trunc. What people read of digests and tables goes by it: without
// it digests are short, on a terminal and elsewhere, and tables fit the terminal. Every
// command with a table has it.
type fullFlag bool

func (f *fullFlag) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar((*bool)(f), "no-trunc", false,
		"show whole digests, and names and texts that are too wide for the terminal")
}

// digest returns a digest for people.
func (f fullFlag) digest(d digest.Digest) string {
	if f {
		return d.String()
	}
	return names.ShortDigest(d.String())
}

// image returns the name of an image for people.
func (f fullFlag) image(name string) string {
	at := strings.LastIndexByte(name, '@')
	if f || at < 0 {
		return name
	}
	return name[:at+1] + names.ShortDigest(name[at+1:])
}

func (f fullFlag) table(w io.Writer, indent string) *terminal.Table {
	return terminal.NewTable(w, indent, bool(f))
}
