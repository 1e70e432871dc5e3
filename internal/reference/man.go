package reference

import (
	"fmt"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
)

// Page is a manual page in roff.
type Page struct {
	Name    string // of the file: "soci-index-builder-index.1"
	Content []byte
}

// ManPages gives a page of section 1 for every command. They say which version
// of the program they belong to, and no date.
func (r *Reference) ManPages(version string) []Page {
	pages := make([]Page, len(r.commands))
	for i, cmd := range r.commands {
		pages[i] = Page{Name: pageName(cmd) + ".1", Content: md2man.Render([]byte(r.page(cmd, version)))}
	}
	return pages
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page gives a manual page in the Markdown that becomes roff.
func (r *Reference) page(cmd *cobra.Command, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%% %q \"1\" \"\" %q \"\"\n", strings.ToUpper(pageName(cmd)), r.root.Name()+" "+version)
	fmt.Fprintf(&b, "# NAME\n\n%s \\- %s\n\n", pageName(cmd), escape(cmd.Short, false))
	fmt.Fprintf(&b, "# SYNOPSIS\n\n**%s**\n\n", escape(synopsis(cmd), false))
	fmt.Fprintf(&b, "# DESCRIPTION\n\n%s", prose(r.describe(cmd)))
	if below := r.below(cmd); len(below) > 0 {
		b.WriteString("# COMMANDS\n\n")
		for _, c := range below {
			definition(&b, "**"+escape(subPath(c), false)+"**", c.Short)
		}
	}
	flags := flagsOf(cmd)
	if cmd == r.root {
		flags = commonFlags(cmd)
	}
	if len(flags) > 0 {
		b.WriteString("# OPTIONS\n\n")
		for _, f := range flags {
			term := "**" + escape(f.name, false) + "**"
			if f.value != "" {
				term += " *" + escape(f.value, false) + "*"
			}
			meaning := f.meaning
			switch {
			case f.required:
				meaning += " (required)"
			case f.fallback != "":
				meaning += fmt.Sprintf(" (default %s)", f.fallback)
			}
			definition(&b, term, meaning)
		}
	}
	b.WriteString("# EXIT STATUS\n\n")
	for _, c := range r.exitCodes {
		definition(&b, fmt.Sprintf("**%d**", c.Code), c.Meaning)
	}
	if example := dedent(cmd.Example); example != "" {
		fmt.Fprintf(&b, "# EXAMPLES\n\n```\n%s\n```\n\n", example)
	}
	if see := r.seeAlso(cmd); len(see) > 0 {
		fmt.Fprintf(&b, "# SEE ALSO\n\n%s\n", strings.Join(see, ", "))
	}
	return b.String()
}

func definition(b *strings.Builder, term, text string) {
	fmt.Fprintf(b, "%s\n: %s\n\n", term, strings.ReplaceAll(escape(text, false), "\n", " "))
}

// seeAlso names the pages of the command above and those below.
func (r *Reference) seeAlso(cmd *cobra.Command) []string {
	var see []string
	if cmd.HasParent() {
		see = append(see, fmt.Sprintf("**%s**(1)", pageName(cmd.Parent())))
	}
	for _, c := range r.below(cmd) {
		see = append(see, fmt.Sprintf("**%s**(1)", pageName(c)))
	}
	return see
}
