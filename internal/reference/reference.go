// Package reference writes down what a command line can do, from its cobra
// commands alone: as one Markdown document and as manual pages. The same
// commands give the same bytes.
//
// Start with [Of].
package reference

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ExitCode is one of the numbers with which the program ends.
type ExitCode struct {
	Code    int
	Meaning string
}

// Reference is what there is to say about a command line.
type Reference struct {
	root      *cobra.Command
	commands  []*cobra.Command // root first, then by path, without hidden ones
	exitCodes []ExitCode
	intro     string // the description of root without the exit codes
}

// Of gives the reference of root and the commands below it. The exit codes get
// a table of their own, so exitCodeHelp is left out of root's description.
func Of(root *cobra.Command, exitCodes []ExitCode, exitCodeHelp string) *Reference {
	r := &Reference{root: root, exitCodes: exitCodes}
	r.intro = strings.TrimSpace(strings.Replace(description(root), exitCodeHelp, "", 1))
	r.collect(root)
	return r
}

func (r *Reference) collect(cmd *cobra.Command) {
	r.commands = append(r.commands, cmd)
	below := slices.Clone(cmd.Commands())
	slices.SortFunc(below, func(a, b *cobra.Command) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, c := range below {
		if c.IsAvailableCommand() {
			r.collect(c)
		}
	}
}

// describe gives the description of a command for its own place.
func (r *Reference) describe(cmd *cobra.Command) string {
	if cmd == r.root {
		return r.intro
	}
	return description(cmd)
}

func description(cmd *cobra.Command) string {
	if long := strings.TrimSpace(cmd.Long); long != "" {
		return long
	}
	return cmd.Short
}

// synopsis gives the command's line of use.
func synopsis(cmd *cobra.Command) string {
	if !cmd.Runnable() || cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

// option is one flag as it is documented.
type option struct {
	name     string // "-o, --output"
	value    string // "text|json", "" for a switch
	fallback string // the default, "" for none
	required bool
	meaning  string
}

// flagsOf gives the flags of a command that are its own, by name; --help is
// every command's.
func flagsOf(cmd *cobra.Command) []option {
	var out []option
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "version" {
			out = appendFlag(out, f)
		}
	})
	return out
}

// commonFlags gives the flags that every command has.
func commonFlags(root *cobra.Command) []option {
	out := []option{
		{name: "-h, --help", meaning: "print what the command does, and its flags"},
		{name: "--version", meaning: "print the program's version (without a command)"},
	}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "version" {
			out = appendFlag(out, f)
		}
	})
	slices.SortFunc(out, func(a, b option) int { return cmp.Compare(longName(a), longName(b)) })
	return out
}

func longName(f option) string { return f.name[strings.Index(f.name, "--"):] }

func appendFlag(out []option, f *pflag.Flag) []option {
	if f.Hidden || f.Deprecated != "" {
		return out
	}
	value, meaning := pflag.UnquoteUsage(f)
	value = strings.TrimSuffix(strings.TrimSuffix(value, "Array"), "Slice") // given again, not lists
	one := option{name: "--" + f.Name, value: value, fallback: f.DefValue, meaning: meaning}
	if f.Shorthand != "" && f.ShorthandDeprecated == "" {
		one.name = "-" + f.Shorthand + ", " + one.name
	}
	if one.fallback == "[]" || f.NoOptDefVal == "true" && one.fallback == "false" {
		one.fallback = ""
	}
	_, one.required = f.Annotations[cobra.BashCompOneRequiredFlag]
	return append(out, one)
}
