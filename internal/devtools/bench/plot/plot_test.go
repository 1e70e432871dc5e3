package plot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/devtools/bench/table"
)

const document = "# Title\n![a](images/throughput.svg) ![b](images/memory.svg) ![c](images/seconds.svg)\n" +
	"<!-- bench:layers:begin -->\n**T**\n\n| layer | compressed MB | wall s, ours, 2 cores | wall s, upstream " +
	"|\n|---|---:|---:|---:|\n" +
	"| lib | 1,200 | 4.0 | 24 |\n\n- note\n<!-- bench:layers:end -->\n" +
	"<!-- bench:sizes:begin -->\n| layer | uncompressed MB | peak MB | upstream, peak MB |\n|---|---:|---:|---:|\n" +
	"| a | 67 | 31 | 34 |\n| b | 268 | 35 | 41 |\n<!-- bench:sizes:end -->\n" +
	"<!-- bench:layer-count:begin -->\n| layers | compressed MB | wall s |\n|---|---:|---:|\n| 1 | 13 | 0.048 |\n" +
	"| 1, upstream | 13 | 0.180 |\n<!-- bench:layer-count:end -->\n"

func TestDraw(t *testing.T) {
	draw := func() map[string][]byte {
		path := filepath.Join(t.TempDir(), "a.md")
		if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Draw(path); err != nil {
			t.Fatal(err)
		}
		got := make(map[string][]byte)
		for _, name := range []string{"throughput.svg", "memory.svg", "seconds.svg"} {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(path), Folder, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = content
		}
		return got
	}
	first, second := draw(), draw()
	for name, labels := range map[string][]string{
		"throughput.svg": {"lib, 1,200 MB", "300", "50"},
		"memory.svg":     {"67 MB", "268 MB", "31", "34", "35", "41"},
		"seconds.svg":    {"13 MB", "0.048", "0.18"},
	} {
		for _, label := range append(labels, "SOCI Index Builder", "upstream") {
			if !bytes.Contains(first[name], []byte(">"+label)) {
				t.Errorf("%s has no label %q", name, label)
			}
		}
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s differs from run to run", name)
		}
	}
}

func TestDrawFails(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		want           error
		text           string
	}{
		{"no section", "bench:sizes:begin", "bench:size:begin", table.ErrMarkers, "bench:sizes:begin"},
		{"no column", "| upstream, peak MB |", "| theirs |", ErrTable,
			`sizes, row a: there is no column "upstream, peak MB"`},
		{"no number", "| 4.0 |", "| – |", ErrTable, `layers, row lib: "–" is not a number`},
		{"no rows", "| lib | 1,200 | 4.0 | 24 |\n", "", ErrTable, "layers: it has no rows"},
		{"a cell too few", "| 67 | 31 | 34 |", "| 67 | 31 |", table.ErrMarkers,
			"sizes has a row of 3 cells below 4 columns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.md")
			changed := strings.Replace(document, tt.old, tt.new, 1)
			if changed == document {
				t.Fatal("nothing changed")
			}
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Draw(path); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}
