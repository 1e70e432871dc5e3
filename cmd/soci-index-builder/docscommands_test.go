package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/shellwords"
)

// shownCommand finds the program's commands in a text: at the beginning of a line or
// of a command within it, up to what ends them.
var shownCommand = regexp.MustCompile(
	`(?m)(?:^ *(?:\$ )?|\| *|\$\(|&& *|if [a-z]+=\$\()(?:\./)?soci-index-builder +([a-z][^\n]*)`)

// commandsIn returns the commands of a text as their arguments.
func commandsIn(text string) [][]string {
	text = strings.NewReplacer("\\\n", " ", `"$region"`, "eu-west-1").Replace(text)
	var all [][]string
	for _, m := range shownCommand.FindAllStringSubmatch(text, -1) {
		all = append(all, shellwords.Split(m[1]))
	}
	return all
}

// Every command that a document or a help text shows is one that the program takes.
func TestDocumentedCommands(t *testing.T) {
	texts := map[string]string{}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	fenced := regexp.MustCompile("(?ms)^ *```(?:sh|console|)\n(.*?)^ *```$")
	for _, file := range append(files, "../../README.md", "../../SECURITY.md") {
		if filepath.Base(file) == "cli.md" { // generated, with how each is used
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fenced.FindAllSubmatch(content, -1) {
			texts[file] += string(m[1]) + "\n"
		}
	}
	for _, cmd := range visible(newRootCommand()) {
		texts["the examples of "+cmd.CommandPath()] = cmd.Example
	}
	checked := 0
	for where, text := range texts {
		for _, args := range commandsIn(text) {
			checked++
			root := newRootCommand()
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == root {
				t.Errorf("%s: %q: %v", where, args, err)
				continue
			}
			cmd.InitDefaultHelpFlag()
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", where, args, err)
				continue
			}
			if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
				t.Errorf("%s: %q: %v", where, args, err)
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d commands were found", checked)
	}
}
