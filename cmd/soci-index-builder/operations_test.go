package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// docs/operations.md shows what a script has shown: each command of a console
// block is one of the script, and each line of output is in a file that the
// script compares with. Every other command line is one that the program takes.
func TestOperationsAreReal(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := txtar.ParseFile("testdata/operations.txtar")
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(string(script.Comment), "\n")
	var output []string
	for _, f := range script.Files {
		output = append(output, strings.Split(string(f.Data), "\n")...)
	}
	blocks := regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```$").FindAllStringSubmatch(string(page), -1)
	shown, named := 0, 0
	for _, block := range blocks {
		indent := block[2][:len(block[2])-len(strings.TrimLeft(block[2], " "))]
		for line := range strings.Lines(block[2]) {
			line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), indent)
			command, isCommand := strings.CutPrefix(line, "$ ")
			switch {
			case block[1] == "console" && isCommand:
				shown++
				if !slices.Contains(commands, "exec "+command) && !slices.Contains(commands, "! exec "+command) {
					t.Errorf("testdata/operations.txtar does not run: %s", command)
				}
			case block[1] == "console":
				if !slices.Contains(output, line) {
					t.Errorf("testdata/operations.txtar does not have the output: %s", line)
				}
			}
			for _, m := range regexp.MustCompile(programName+` ([^|&<>$#]+)`).FindAllStringSubmatch(line, -1) {
				if block[1] == "sh" {
					named++
					checkCommandLine(t, m[1])
				}
			}
		}
	}
	if shown < 4 || named < 15 {
		t.Errorf("%d commands with output, %d without: fewer than there were", shown, named)
	}
}

// checkCommandLine fails unless the program knows the command and its flags.
func checkCommandLine(t *testing.T, line string) {
	t.Helper()
	cmd, args, err := newRootCommand().Find(strings.Fields(strings.ReplaceAll(line, "'", "")))
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil && cmd.Args != nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil || !cmd.HasParent() {
		t.Errorf("%s: %v", line, err)
	}
}
