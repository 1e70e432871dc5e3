package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"soci-index-builder/internal/function/fanout"
)

const document = "../../../../docs/performance.md"

// docs/performance.md has the table as the model reckons now.
func TestDocumentIsUpToDate(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := part.Renew(b, fanout.Markdown())
	if err != nil {
		t.Fatal(err)
	}
	if string(renewed) != string(b) {
		t.Error("docs/performance.md is out of date: make generate renews it")
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
