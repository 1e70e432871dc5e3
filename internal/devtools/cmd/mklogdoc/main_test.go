package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"soci-index-builder/internal/logquery"
)

const document = "../../../../docs/logs.md"

// docs/logs.md has the queries as the stack saves them and the command line
// runs them.
func TestDocumentIsUpToDate(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := renew(b, logquery.Markdown())
	if err != nil {
		t.Fatal(err)
	}
	if string(renewed) != string(b) {
		t.Error("docs/logs.md is out of date: make generate renews it")
	}
}

func TestRenew(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"renewed", "a\n" + begin + "old\n" + end + "b\n", "a\n" + begin + "new\n" + end + "b\n"},
		{"empty before", begin + end, begin + "new\n" + end},
		{"no begin", "a\n" + end, ""},
		{"no end", begin + "old", ""},
		{"turned round", end + begin, ""},
		{"twice", begin + end + begin + end, ""},
		{"two ends", begin + end + end, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := renew([]byte(tt.in), "new\n")
			if string(got) != tt.want || errors.Is(err, errMarkers) != (tt.want == "") {
				t.Errorf("renew = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logs.md")
	if err := os.WriteFile(file, []byte(begin+"old\n"+end), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{file}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != begin+logquery.Markdown()+end {
		t.Errorf("the file has %q, %v", b, err)
	}
	if err := run(nil); err == nil {
		t.Error("it works without a file")
	}
	if err := run([]string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a missing file the error is %v", err)
	}
}
