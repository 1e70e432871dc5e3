package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/text/terminal"
)

// didYouMean returns a clause with those of the known words that a word may be
// mistyped for, ", did you mean ...?"; empty if there are none. What is similar
// is cobra's to say.
func didYouMean(word string, known []string) string {
	parent := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, k := range known {
		parent.AddCommand(&cobra.Command{Use: k, Run: func(*cobra.Command, []string) {}})
	}
	similar := parent.SuggestionsFor(word)
	if word == "" || len(similar) == 0 || len(similar) > 3 {
		return ""
	}
	return ", did you mean " + strings.Join(similar, " or ") + "?"
}

// flagError makes a usage error of one about flags, and adds which flag, or
// which value of it, may be meant.
func flagError(cmd *cobra.Command, err error) error {
	hint := ""
	// With a command that does not exist, flags are those of its parent.
	if words := cmd.Flags().Args(); len(words) > 0 && cmd.HasAvailableSubCommands() {
		if _, unknown := commandOf(cmd, words[0]); unknown != nil {
			return unknown
		}
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		if name := unknown.GetSpecifiedName(); len(name) > 1 {
			hint = strings.ReplaceAll(strings.ReplaceAll(didYouMean(name, known), "mean ", "mean --"), " or ", " or --")
		}
	}
	if lacking, ok := errors.AsType[*pflag.ValueRequiredError](err); ok && lacking.GetFlag() != nil {
		hint = ": --" + lacking.GetFlag().Name + " takes " + kindOf(lacking.GetFlag())
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok && invalid.GetFlag() != nil {
		f := invalid.GetFlag()
		if value := invalid.GetValue(); len(value) > mostShown {
			err = fmt.Errorf("invalid argument %q for \"--%s\" flag: %w", terminal.Shorten(value, mostShown), f.Name,
				errors.Unwrap(err))
		}
		if strings.Contains(f.Value.Type(), "|") {
			hint = valueMeant(invalid.GetValue(), strings.Split(f.Value.Type(), "|"))
		}
		if text := numberText(err, f.Value.Type()); text != "" {
			err = fmt.Errorf("invalid argument %q for \"--%s\" flag: %s", invalid.GetValue(), f.Name, text)
		}
	}
	return usageErrorf("%s: %w%s", cmd.CommandPath(), err, hint)
}

// mostShown is how much of a wrong value is shown.
const mostShown = 200

// kindOf names what a flag takes.
func kindOf(f *pflag.Flag) string {
	kind := f.Value.Type()
	switch {
	case strings.Contains(kind, "|"):
		return strings.ReplaceAll(kind, "|", " or ")
	case strings.HasPrefix(kind, "string"):
		return "a value"
	case kind == "int", strings.HasPrefix(kind, "float"):
		return "a number"
	}
	return "a " + kind
}

// valueMeant is didYouMean for the values of a flag, which the error lists: it
// names one alone.
func valueMeant(value string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, value) {
			return ", did you mean " + k + "?"
		}
	}
	if hint := didYouMean(value, known); !strings.Contains(hint, " or ") {
		return hint
	}
	return ""
}

// numberText says what a flag of a type takes that package strconv could not read;
// empty for any other error.
func numberText(err error, kind string) string {
	number, ok := errors.AsType[*strconv.NumError](err)
	switch {
	case !ok:
		return ""
	case kind == "bool":
		return "must be true or false"
	case errors.Is(number, strconv.ErrRange):
		return "the number is out of range"
	}
	return "must be a whole number"
}

// newHelpCommand is cobra's, but a command that does not exist is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | json [COMMAND]]",
		Short: "Show the help of a command, or the fields of its JSON output",
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			topic := len(args) > 0 && args[0] == jsonTopic
			if topic {
				args = args[1:]
			}
			at, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names := commandNames(at)
			if len(args) == 0 && !topic {
				names = append(names, jsonTopic)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.Root()
			topic := len(args) > 0 && args[0] == jsonTopic
			if topic {
				args = args[1:]
			}
			for _, name := range args {
				next, err := commandOf(at, name)
				if err != nil {
					return err
				}
				at = next
			}
			if topic {
				return writeJSONHelp(at)
			}
			at.InitDefaultHelpFlag()
			at.InitDefaultVersionFlag()
			return at.Help()
		},
	}
}

// commandOf returns a command below another, or the usage error that there is
// none.
func commandOf(cmd *cobra.Command, name string) (*cobra.Command, error) {
	for _, c := range cmd.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return c, nil
		}
	}
	known := commandNames(cmd)
	if len(known) == 0 {
		return nil, usageErrorf("%s has no commands, and so no %q", cmd.CommandPath(), name)
	}
	return nil, usageErrorf("%s: unknown command %q%s", cmd.CommandPath(), name,
		fmt.Sprintf("%s the commands are %s", separator(didYouMean(name, known)), strings.Join(known, ", ")))
}

// separator ends a hint before what follows it.
func separator(hint string) string {
	if hint == "" {
		return ","
	}
	return hint
}

// commandNames are those of the commands below another that people see.
func commandNames(cmd *cobra.Command) []string {
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			known = append(known, c.Name())
		}
	}
	return known
}
