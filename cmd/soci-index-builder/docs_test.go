package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestReferenceIsUpToDate(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "cli.md")
	if code := run([]string{"docs", "markdown", fresh}); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	want, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i, line := range wantLines {
		if i >= len(gotLines) || gotLines[i] != line {
			t.Fatalf("docs/cli.md is out of date from line %d on, which should be %q: run make generate", i+1, line)
		}
	}
	t.Fatal("docs/cli.md has lines too many: run make generate")
}

// Every command can be found out about from the command line alone.
func TestCommandsExplainThemselves(t *testing.T) {
	root := newRootCommand()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			if !c.Hidden && c.Name() != "help" {
				visit(c)
			}
		}
		if cmd.HasAvailableSubCommands() {
			return
		}
		t.Run(cmd.CommandPath(), func(t *testing.T) { explains(t, cmd) })
	}
	visit(root)
}

func explains(t *testing.T, cmd *cobra.Command) {
	if cmd.Short == "" || cmd.Long == "" {
		t.Error("it has no description")
	}
	if !strings.Contains(cmd.Example, cmd.CommandPath()) {
		t.Errorf("its examples do not show it: %q", cmd.Example)
	}
	for line := range strings.Lines(cmd.Long) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 {
			t.Errorf("a line of the description has %d characters, more than a terminal shows: %q", n, line)
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" {
			t.Errorf("--%s is not described", f.Name)
		}
	})
}

func TestMarkdown(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"prose", "one\ntwo\n\nthree", "one\ntwo\n\nthree"},
		{"code at the end", "one:\n  a\n    b", "one:\n\n      a\n        b"},
		{"code between", "one:\n  a*\ntwo*", "one:\n\n      a*\n\ntwo\\*"},
		{"code with an empty line", "one:\n\n  a\n\n  b\n\ntwo", "one:\n\n\n      a\n\n      b\n\n\ntwo"},
		{"marks", "a*b_c <d> [e](f)", "a\\*b\\_c \\<d\\> \\[e\\](f)"},
	}
	for _, tt := range tests {
		if got := markdown(tt.text); got != tt.want {
			t.Errorf("%s: %q becomes\n%q, want\n%q", tt.name, tt.text, got, tt.want)
		}
	}
}

// The same program has the same pages, one for each command that is not hidden.
func TestManPages(t *testing.T) {
	var all [2]map[string]string
	for i := range all {
		dir := filepath.Join(t.TempDir(), "man1")
		if code := run([]string{"docs", "man", dir}); code != exitOK {
			t.Fatalf("exit code %d", code)
		}
		pages, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = map[string]string{}
		for _, page := range pages {
			content, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			all[i][filepath.Base(page)] = string(content)
		}
	}
	if !maps.Equal(all[0], all[1]) {
		t.Error("two runs differ")
	}
	for name, page := range all[0] {
		if strings.Contains(page, "Auto generated") || !strings.Contains(page, `"1" "" "soci-index-builder `) {
			t.Errorf("%s has a date, or no version: %.200s", name, page)
		}
		if strings.Contains(name, "-docs") {
			t.Errorf("there is a page %s of a hidden command", name)
		}
	}
	for _, want := range []string{"soci-index-builder.1", "soci-index-builder-index.1",
		"soci-index-builder-ztoc-create.1"} {
		if all[0][want] == "" {
			t.Errorf("there is no page %s", want)
		}
	}
}
