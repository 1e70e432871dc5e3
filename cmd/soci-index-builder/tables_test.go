package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
)

// withTables are the commands that write tables.
var withTables = []string{"index", "inspect", "verify", "estimate", "status", "cleanup", "backfill", "redrive", "logs",
	"doctor", "filters test", "ztoc info", "deploy", "rollback"}

// All commands with tables have --no-trunc, and make their tables by way of it.
func TestTablesCanBeWhole(t *testing.T) {
	for _, cmd := range visible(newRootCommand()) {
		name := strings.TrimPrefix(cmd.CommandPath(), programName+" ")
		if has := cmd.Flags().Lookup("no-trunc") != nil; has != slices.Contains(withTables, name) {
			t.Errorf("that %s has --no-trunc is %t", name, has)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") && file != "printer.go" &&
			strings.Contains(string(text), ".NewTable(") {
			t.Errorf("%s makes a table that --no-trunc does not know of", file)
		}
	}
}

// Digests are short where there is no terminal, too, and whole with --no-trunc.
func TestDigestsAreShort(t *testing.T) {
	server := registrytest.Start(t)
	server.PushImage(t, "team/app", "1", registrytest.Image{
		Layers: []registrytest.Layer{{Content: storedLayers(t)["writer/go-6"]}}})
	repository := server.Host() + "/team/app"
	w := newStackOnTerminal(t)
	for _, variable := range w.env {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	const stack = "--stack=soci-index-builder"
	whole := regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	for _, args := range [][]string{
		{"index", "--min-layer-size", "0", "--index-version", "Both", repository + ":1"},
		{"inspect", repository + ":1"},
		{"verify", repository + ":1"},
		{"estimate", "--path", "/**", repository + ":1"},
		{"cleanup", "--any-tag", repository},
		{"filters", "test", "--filters", "*:*", "team/app@sha256:" + strings.Repeat("0123456789abcdef", 4)},
		{"redrive", stack, "--reason", "corrupt"},
	} {
		text := regexp.MustCompile(programName+" .*").ReplaceAllString(output(t, args...), "") // commands are whole
		if found := whole.FindString(text); found != "" {
			t.Errorf("%q writes %s:\n%s", args, found, text)
		}
		if text := output(t, append(args, "--no-trunc")...); !whole.MatchString(text) {
			t.Errorf("%q --no-trunc writes no whole digest:\n%s", args, text)
		}
	}
}
