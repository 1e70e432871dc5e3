package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const docs = "../../../../docs"

// The documents are as make generate leaves them.
func TestDocumentsAreUpToDate(t *testing.T) {
	for _, p := range parts {
		t.Run(p.document, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(docs, p.document))
			if err != nil {
				t.Fatal(err)
			}
			renewed, err := p.Renew(b, p.content())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(renewed, b) {
				t.Errorf("docs/%s is out of date: make generate renews it", p.document)
			}
		})
	}
}

func TestRun(t *testing.T) {
	if err := run(nil); err == nil {
		t.Error("it works without a folder")
	}
	dir := t.TempDir()
	if err := run([]string{dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the documents the error is %v", err)
	}
	// Whatever the generated parts held before, they are renewed.
	want := make(map[string]string)
	for _, p := range parts {
		b, err := os.ReadFile(filepath.Join(docs, p.document))
		if err != nil {
			t.Fatal(err)
		}
		want[p.document] = string(b)
		spoiled := strings.Replace(string(b), p.content(), "old\n", 1)
		if spoiled == string(b) {
			t.Fatalf("docs/%s does not have what is generated", p.document)
		}
		if err := os.WriteFile(filepath.Join(dir, p.document), []byte(spoiled), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{dir}); err != nil {
		t.Fatal(err)
	}
	for name, content := range want {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != content {
			t.Errorf("docs/%s is not renewed: %v", name, err)
		}
	}
}
