package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"soci-index-builder/internal/deploy/settings"
)

const document = "../../../../docs/deploy-file.md"

// docs/deploy-file.md has the settings as the flags and the file take them.
func TestDocumentIsUpToDate(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := part.Renew(b, settings.Markdown())
	if err != nil {
		t.Fatal(err)
	}
	if string(renewed) != string(b) {
		t.Error("docs/deploy-file.md is out of date: make generate renews it")
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
