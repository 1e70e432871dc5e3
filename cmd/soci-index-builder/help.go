package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/names/lazyregexp"
	"soci-index-builder/internal/text/terminal"
)

// helpWidth is how wide a help text is at most, in columns.
const helpWidth = 80

// writeHelp writes the help of a command: what is looked up most comes first.
// The fields of the JSON output are on a page of their own.
func writeHelp(cmd *cobra.Command, _ []string) {
	p := newPrinter(cmd.OutOrStdout())
	p.asIs(strings.Join(terminal.Wrap(cmd.Short, helpWidth), "\n") + "\n")
	section := func(name, text string) {
		if text = strings.Trim(text, "\n"); text != "" {
			p.asIs("\n" + p.screen.Paint(terminal.Bold, name+":") + "\n" + text + "\n")
		}
	}
	if cmd.Runnable() && !cmd.HasAvailableSubCommands() {
		section("Usage", hanging(cmd.UseLine()))
	} else {
		section("Usage", "  "+cmd.CommandPath()+" COMMAND")
	}
	for _, g := range cmd.Groups() {
		section(g.Title, commandList(cmd, g.ID))
	}
	others := "Commands"
	if len(cmd.Groups()) > 0 {
		others = "Others"
	}
	section(others, commandList(cmd, ""))
	section("Examples", cmd.Example)
	section("Flags", cmd.LocalFlags().FlagUsagesWrapped(helpWidth))
	section("Flags of all commands", cmd.InheritedFlags().FlagUsagesWrapped(helpWidth))
	about, fields := splitHelp(cmd.Long)
	section("About", reflow(about))
	if fields != "" {
		p.asIs("\nThe fields of --output json:\n  " + jsonHelpCommand(cmd) + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		p.asIs("\nThe help of a command:\n  " + programName + " help" +
			strings.TrimPrefix(cmd.CommandPath(), programName) +
			" COMMAND\n")
	}
}

// hanging breaks a line of use.
func hanging(use string) string {
	return "  " + strings.Join(terminal.Wrap(use, helpWidth-6), "\n      ")
}

// commandList lists the commands of a group below another.
func commandList(cmd *cobra.Command, group string) string {
	var b strings.Builder
	for _, c := range cmd.Commands() {
		if c.GroupID == group && c.IsAvailableCommand() {
			name := fmt.Sprintf("  %-*s ", cmd.NamePadding(), c.Name())
			lines := terminal.Wrap(c.Short, helpWidth-len(name))
			b.WriteString(name + strings.Join(lines, "\n"+strings.Repeat(" ", len(name))) + "\n")
		}
	}
	return b.String()
}

const (
	jsonTopic     = "json"
	jsonParagraph = "With --output json"
)

// splitHelp returns a description without the paragraph on the JSON output, and
// that paragraph, if there is one.
func splitHelp(long string) (about, fields string) {
	before, after, ok := strings.Cut(long, "\n\n"+jsonParagraph)
	if !ok {
		return long, ""
	}
	fields, rest, more := strings.Cut(jsonParagraph+after, "\n\n")
	if more {
		before += "\n\n" + rest
	}
	return before, fields
}

// jsonHelpCommand returns the command that shows the fields of a command's JSON
// output.
func jsonHelpCommand(cmd *cobra.Command) string {
	return programName + " help " + jsonTopic + strings.TrimPrefix(cmd.CommandPath(), programName)
}

// writeJSONHelp writes the page on a command's JSON output; for the root, which
// pages there are.
func writeJSONHelp(cmd *cobra.Command) error {
	p := newPrinter(cmd.OutOrStdout())
	_, fields := splitHelp(cmd.Long)
	switch pages := jsonPages(cmd); {
	case fields != "":
		p.asIs(reflow(fields) + "\n")
	case len(pages) > 0:
		p.asIs("The fields of --output json, by command:\n")
		for _, page := range pages {
			p.asIs("  " + page + "\n")
		}
	default:
		return usageErrorf("%s has no --output json", cmd.CommandPath())
	}
	return p.err
}

// jsonPages returns the commands that show the pages of the commands below one.
func jsonPages(cmd *cobra.Command) []string {
	var pages []string
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		if _, fields := splitHelp(c.Long); fields != "" {
			pages = append(pages, jsonHelpCommand(c))
		}
		pages = append(pages, jsonPages(c)...)
	}
	return pages
}

// gapped is an indented line with a word, and what is said of it further right.
var gapped = lazyregexp.New(`^ +\S+(?: \S+)* {2,}`)

// reflow fits a description to helpWidth: it breaks prose again, and of what is
// indented the lines that are too wide, whose rest goes to the line that
// continues them.
func reflow(text string) string {
	var lines, prose []string
	carry, hang, deeper := "", -1, 0 // of the line before: what did not fit, and where it continues, or else
	release := func() {
		lines = append(lines, terminal.Wrap(strings.Join(prose, " "), helpWidth)...)
		if carry != "" {
			lines = append(lines, strings.Repeat(" ", hang)+carry)
		}
		prose, carry, hang = nil, "", -1
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && line[0] != ' ' {
			if carry != "" {
				release()
			}
			prose = append(prose, line)
			continue
		}
		at := len(line) - len(strings.TrimLeft(line, " "))
		gap := len(gapped.Compiled().FindString(line))
		if carry == "" || at != hang && at != deeper || gap > 0 {
			release()
			hang, deeper = at, at+2
			if gap > 0 {
				hang, deeper = gap, gap
			}
		} else {
			hang, deeper = at, at
			line = strings.Repeat(" ", at) + carry + " " + strings.TrimLeft(line, " ")
			carry = ""
		}
		fits := len(line)
		for terminal.Width(line[:fits]) > helpWidth {
			space := strings.LastIndexByte(line[:fits], ' ')
			if space < hang {
				break
			}
			fits = space
		}
		if fits < len(line) {
			line, carry = line[:fits], strings.TrimLeft(line[fits:], " ")
		}
		lines = append(lines, line)
	}
	release()
	return strings.Join(lines, "\n")
}
