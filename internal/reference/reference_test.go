package reference

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "renew the files of testdata")

const exitHelp = "Exit codes:\n  0  well\n  3  not | so well"

// program is a command line with all that is awkward in Markdown and roff.
func program() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{
		Use: "tool", Version: "1", Short: "Do *things* with_names", Run: run,
		Long: "Do things.\n\n" + exitHelp,
	}
	root.PersistentFlags().BoolP("verbose", "v", false, "log more")
	verb := &cobra.Command{
		Use: "zap REF[:TAG]...", Short: "Zap <one> or more | all", Run: run,
		Long: `Zap what the filter *:* matches, app_one_two
and [others]; ` + "`quoted`" + ` and a \ too.

There is one object:
  name, of the thing,
    its parts

  after an empty line

.so this line begins with a dot.
- a list
- of two`,
		Example: "  tool zap 'a:*' | jq '.[0]'\n\n    # deeper\n  tool zap --all",
	}
	f := verb.Flags()
	f.StringP("output", "o", "text", "a `text|json` form | other")
	f.Bool("all", false, "all *of* them")
	f.Bool("on", true, "switched on")
	f.StringArray("only", nil, "these")
	f.Int("number", 0, "how many")
	f.String("secret", "", "not told")
	f.String("must", "", "has to be given")
	f.String("old", "", "was")
	_ = f.MarkHidden("secret")
	_ = f.MarkDeprecated("old", "gone")
	_ = verb.MarkFlagRequired("must")
	group := &cobra.Command{Use: "group", Short: "Hold others"}
	group.AddCommand(&cobra.Command{Use: "one", Short: "The first", Run: run})
	hidden := &cobra.Command{Use: "hidden", Short: "Not for people", Hidden: true, Run: run}
	root.AddCommand(verb, group, hidden)
	return root
}

func of() *Reference {
	return Of(program(), []ExitCode{{0, "well"}, {3, "not | so well"}}, exitHelp)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (renew it with -update); it is now:\n%s", path, got)
	}
}

func TestMarkdown(t *testing.T) {
	got := of().Markdown("`make x`")
	golden(t, "tool.md", got)
	if !bytes.Equal(got, of().Markdown("`make x`")) {
		t.Error("two runs differ")
	}
	for _, absent := range []string{"hidden", "secret", "--old", "Exit codes:"} {
		if bytes.Contains(got, []byte(absent)) {
			t.Errorf("it tells of %q", absent)
		}
	}
}

func TestManPages(t *testing.T) {
	pages := of().ManPages("v9")
	var names []string
	for _, p := range pages {
		names = append(names, p.Name)
		if p.Name == "tool-zap.1" || p.Name == "tool.1" {
			golden(t, p.Name, p.Content)
		}
	}
	if want := []string{"tool.1", "tool-group.1", "tool-group-one.1", "tool-zap.1"}; !slices.Equal(names, want) {
		t.Errorf("the pages are %q, want %q", names, want)
	}
	for i, again := range of().ManPages("v9") {
		if !bytes.Equal(again.Content, pages[i].Content) {
			t.Errorf("%s: two runs differ", again.Name)
		}
	}
}

func TestProse(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"running text", "one\ntwo", "one\ntwo\n\n"},
		{"two paragraphs", "one\n\ntwo", "one\n\ntwo\n\n"},
		{"block at the end", "one:\n  a\n    b", "one:\n\n```\na\n  b\n```\n\n"},
		{"block between", "one:\n  a\ntwo", "one:\n\n```\na\n```\n\ntwo\n\n"},
		{"block with an empty line", "one:\n\n  a\n\n  b\n\ntwo", "one:\n\n```\na\n\nb\n```\n\ntwo\n\n"},
		{"tabs", "\tcd x", "```\ncd x\n```\n\n"},
		{"marks", "a*b_c <d>", "a\\*b\\_c \\<d\\>\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := prose(tt.text); got != tt.want {
				t.Errorf("%q gives\n%q, want\n%q", tt.text, got, tt.want)
			}
			if strings.Count(prose(tt.text), "```")%2 != 0 {
				t.Error("a block is left open")
			}
		})
	}
}
