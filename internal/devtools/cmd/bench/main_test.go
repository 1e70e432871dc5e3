package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/devtools/bench"
	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/testkit/testlayers"
)

func TestMain(m *testing.M) {
	child.Main(bench.Work())
	os.Exit(m.Run())
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	plain := filepath.Join(dir, "plain.md")
	if err := os.WriteFile(plain, []byte("no markers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		args []string
		want string
		err  error
	}{
		{"argument", []string{"layers"}, `argument "layers"`, nil},
		{"section", []string{"-sections", "layers,none"}, `section "none" is not one of machine, layers`,
			bench.ErrInvalidOption},
		{"rounds", []string{"-rounds", "0"}, "0 rounds", bench.ErrInvalidOption},
		{"layer size", []string{"-layer-size", "10MB"}, `flag -layer-size: invalid size "10MB"`, nil},
		{"speed", []string{"-speed", "fast"}, `flag -speed: invalid size "fast"`, nil},
		{"no speed", []string{"-speed", "0"}, "connections of 0 bytes", bench.ErrInvalidOption},
		{"directory", []string{"-lib", "/," + none}, "flag -lib: stat " + none, os.ErrNotExist},
		{"document", []string{"-markdown", none}, "flag -markdown: open " + none, os.ErrNotExist},
		{"document without markers", []string{"-markdown", plain}, plain, table.ErrMarkers},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), append([]string{"-work", filepath.Join(dir, "work")}, row.args...), &out,
				io.Discard)
			if err == nil || !strings.Contains(err.Error(), row.want) || row.err != nil && !errors.Is(err, row.err) {
				t.Errorf("the error is %v, want %q in it", err, row.want)
			}
			if out.Len() != 0 {
				t.Errorf("it printed %q", out.String())
			}
			if _, err := os.Stat(filepath.Join(dir, "work")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it began to work: %v", err)
			}
		})
	}
}

func TestSections(t *testing.T) {
	usual, _, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(usual.Sections, "profile") || !slices.Contains(usual.Sections, "layers") {
		t.Errorf("without flags the sections are %q", usual.Sections)
	}
	profile, _, err := parse([]string{"-profile"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(profile.Sections, bench.SectionNames()) {
		t.Errorf("with -profile the sections are %q", profile.Sections)
	}
	some, _, err := parse([]string{"-profile", "-sections", "kinds,layers", "-full", "-layer-size", "1MiB"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(some.Sections, []string{"kinds", "layers", "profile"}) {
		t.Errorf("the sections are %q", some.Sections)
	}
	if some.Sizes.Layer != 1<<20 || some.Sizes.BigLayer != bench.Full.BigLayer {
		t.Errorf("the sizes are %+v", some.Sizes)
	}
}

// TestMarkdown renews the part of a document that was measured, and no other.
func TestMarkdown(t *testing.T) {
	dir := t.TempDir()
	document := filepath.Join(dir, "performance.md")
	const layers = "<!-- bench:layers:begin -->\nstays\n<!-- bench:layers:end -->\n"
	text := "# Title\n\n<!-- bench:machine:begin -->\nold\n<!-- bench:machine:end -->\n" + layers
	if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(),
		[]string{"-work", filepath.Join(dir, "work"), "-sections", "machine", "-markdown", document}, &out,
		io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); strings.Contains(got, "old") || !strings.Contains(got, "- Go: go1.") ||
		!strings.HasSuffix(got, layers) {
		t.Errorf("the document is\n%s", got)
	}
	if !strings.Contains(out.String(), "  Go: go1.") {
		t.Errorf("it printed %q", out.String())
	}
}

// The tables of layers and of workers come from one run.
func TestMarkdownOfLayersAndWorkers(t *testing.T) {
	dir := t.TempDir()
	document := filepath.Join(dir, "performance.md")
	var text string
	for _, name := range []string{"machine", "layers", "workers", "kinds"} {
		text += "<!-- bench:" + name + ":begin -->\nold " + name + "\n<!-- bench:" + name + ":end -->\n"
	}
	if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(dir, "files")
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "text"), testlayers.Text(1, 300_000), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-work", filepath.Join(dir, "work"), "-sections", "machine,layers,workers", "-markdown", document,
		"-rounds", "1", "-layer-size", "100KiB", "-python", files, "-lib", files, "-share", files}
	if err := run(t.Context(), args, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{
		"old": 1, "old kinds": 1, "- Go: go1.": 1, "**Whole job, Marshal included": 1, "**One layer by workers": 1,
		"**Layers with which": min(1, runtime.NumCPU()-1),
	} {
		if n := strings.Count(string(b), what); n != want {
			t.Errorf("%q is there %d times, not %d:\n%s", what, n, want, b)
		}
	}
}

// TestDocument keeps docs/performance.md a document that can be renewed.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(filepath.FromSlash("../../../../docs/performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []table.Section
	for _, name := range bench.SectionNames() {
		all = append(all, table.Section{Name: name})
	}
	if _, err := table.Renew(b, all); err != nil {
		t.Error(err)
	}
}
