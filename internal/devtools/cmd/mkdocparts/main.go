// Command mkdocparts renews the parts of the documents that packages generate:
// the settings of deploy, the table of fan-out, and the log queries.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/devtools/marked"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/logquery"
)

//go:generate go run . ../../../../docs

// parts are the generated parts, each with its document's name in docs.
var parts = []struct {
	document string
	marked.Part
	content func() string
}{
	{"deploy-file.md", marked.Part{Name: "settings", Source: "internal/deploy/settings"}, settings.Markdown},
	{"performance.md", marked.Part{Name: "fan-out", Source: "internal/function/fanout"}, fanout.Markdown},
	{"logs.md", marked.Part{Name: "queries", Source: "internal/logquery"}, logquery.Markdown},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "mkdocparts: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes one argument, the folder docs")
	}
	for _, p := range parts {
		if err := p.File(filepath.Join(args[0], p.document), p.content()); err != nil {
			return err
		}
	}
	return nil
}
