package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"soci-index-builder/internal/logquery"
)

const document = "../../../../docs/logs.md"

// docs/logs.md has the queries as the stack saves them and the command line runs them.
func TestDocumentIsUpToDate(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := part.Renew(b, logquery.Markdown())
	if err != nil {
		t.Fatal(err)
	}
	if string(renewed) != string(b) {
		t.Error("docs/logs.md is out of date: make generate renews it")
	}
}

func TestRun(t *testing.T) {
	if err := run(nil); err == nil {
		t.Error("it works without a file")
	}
	if err := run([]string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a missing file the error is %v", err)
	}
}
