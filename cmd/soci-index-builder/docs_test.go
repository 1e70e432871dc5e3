package main

import (
	"bytes"
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
