package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/text/terminal"
)

// output runs the command line in this process.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var b bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&b)
	root.SetErr(&b)
	if err := root.Execute(); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return b.String()
}

// visible returns all commands that people see.
func visible(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			all = append(all, visible(c)...)
		}
	}
	return all
}

// The help of every command fits a terminal of 80 columns, and its first screen
// says how the command is used.
func TestHelpFits(t *testing.T) {
	commands := visible(newRootCommand())
	if len(commands) < 20 {
		t.Fatalf("only %d commands", len(commands))
	}
	for _, cmd := range commands {
		path := strings.Fields(cmd.CommandPath())[1:]
		text := output(t, append([]string{"help"}, path...)...)
		if len(path) == 0 || path[0] != "help" {
			if other := output(t, append(slices.Clone(path), "--help")...); other != text {
				t.Errorf("help %s and --help differ", cmd.CommandPath())
			}
		}
		if _, fields := splitHelp(cmd.Long); fields != "" {
			if strings.Contains(text, jsonParagraph) || !strings.Contains(text, "help json") {
				t.Errorf("the JSON fields of %s are in its help, or there is no pointer to them", cmd.CommandPath())
			}
			text += output(t, append([]string{"help", "json"}, path...)...)
		}
		for line := range strings.SplitSeq(text, "\n") {
			if n := terminal.Width(line); n > helpWidth {
				t.Errorf("the help of %s has a line of %d columns: %q", cmd.CommandPath(), n, line)
			}
		}
		at := -1
		for _, heading := range []string{"\nUsage:\n", "\nExamples:\n", "\nFlags:\n", "\nAbout:\n"} {
			i := strings.Index(text, heading)
			if i >= 0 && i < at {
				t.Errorf("the help of %s has %q too early", cmd.CommandPath(), heading)
			}
			at = max(at, i)
		}
	}
}

// Every command with JSON output has a page on its fields, which "help json"
// lists.
func TestJSONHelp(t *testing.T) {
	list := output(t, "help", "json")
	for _, cmd := range visible(newRootCommand()) {
		_, fields := splitHelp(cmd.Long)
		f := cmd.LocalFlags().Lookup("output")
		hasJSON := f != nil && strings.Contains(f.Value.Type(), "json")
		if hasJSON && fields == "" {
			t.Errorf("%s has --output json, and no page on it", cmd.CommandPath())
		}
		if listed := strings.Contains(list, "  "+jsonHelpCommand(cmd)+"\n"); listed != (fields != "") {
			t.Errorf("%s: it is %t that the list has it", cmd.CommandPath(), listed)
		}
		if fields != "" && f.Shorthand != "o" {
			t.Errorf("%s has no -o", cmd.CommandPath())
		}
	}
	if page := output(t, "help", "json", "filters", "test"); !strings.HasPrefix(page, jsonParagraph) ||
		!strings.Contains(page, "not-matched") {
		t.Errorf("the page of filters test is %q", page)
	}
	if page := output(t, "help", "json", "rollback"); !strings.HasPrefix(page, jsonParagraph) {
		t.Errorf("the page of rollback is %q", page)
	}
}

// Reflow keeps every word.
func TestReflow(t *testing.T) {
	for _, cmd := range visible(newRootCommand()) {
		if got, want := strings.Fields(reflow(cmd.Long)), strings.Fields(cmd.Long); !slices.Equal(got, want) {
			t.Errorf("%s: the words change: %q", cmd.CommandPath(), reflow(cmd.Long))
		}
	}
	const long = "a word that is said again and again and again"
	for _, tt := range []struct{ text, want string }{
		{"one\ntwo\n\nthree", "one two\n\nthree"},
		{"  key  " + long + " " + long + "\n       more\n  other  text", "  key  " + long +
			" a word that is said again\n       and again and again more\n  other  text"},
		{"  " + long + " " + long + " of it\n  more",
			"  " + long + " a word that is said again and\n  again and again of it more"},
		{"  " + long + " " + long, "  " + long + " a word that is said again and\n  again and again"},
		{"one:\n  a\n    b\nprose", "one:\n  a\n    b\nprose"},
	} {
		if got := reflow(tt.text); got != tt.want {
			t.Errorf("%q becomes\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
}

// Short names of flags mean the same in every command, but for ztoc create,
// whose -o is a file.
func TestShorthands(t *testing.T) {
	means := map[string]string{"h": "help", "v": "verbose", "o": "output", "q": "quiet", "y": "yes"}
	for _, cmd := range visible(newRootCommand()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Shorthand != "" && means[f.Shorthand] != f.Name {
				t.Errorf("%s has -%s for --%s", cmd.CommandPath(), f.Shorthand, f.Name)
			}
			if f.Name == "yes" && f.Shorthand == "" {
				t.Errorf("%s has --yes and no -y", cmd.CommandPath())
			}
		})
	}
}

// A 0 means the same in all commands that take it, and each says so: no limit, or
// as many as there are processors. A flag with a number that is new has to be
// listed here.
func TestZero(t *testing.T) {
	const all, processors = "0 means all", "0 means the number of processors"
	means := map[string]string{"rate": "0 means as fast as ", "limit": all,
		"concurrency": processors, "parallel": processors, "layer-workers": processors}
	found := map[string]int{}
	for _, cmd := range visible(newRootCommand()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			what, listed := means[f.Name]
			if listed == !slices.Contains([]string{"int", "int64", "uint", "float64"}, f.Value.Type()) {
				t.Errorf("%s has --%s, a %s; 0 should mean %q", cmd.CommandPath(), f.Name, f.Value.Type(), what)
			}
			if !listed {
				return
			}
			found[f.Name]++
			if !strings.Contains(f.Usage, what) {
				t.Errorf("%s --%s: %q does not say %q", cmd.CommandPath(), f.Name, f.Usage, what)
			}
			if err := f.Value.Set("0"); err != nil {
				t.Errorf("%s --%s 0: %v", cmd.CommandPath(), f.Name, err)
			}
		})
	}
	if want := map[string]int{"rate": 2, "limit": 3, "concurrency": 4, "parallel": 1,
		"layer-workers": 2}; !maps.Equal(found, want) {
		t.Errorf("found are %v, want %v", found, want)
	}
}
