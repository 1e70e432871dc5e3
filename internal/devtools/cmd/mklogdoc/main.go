// Command mklogdoc writes the queries of internal/logquery into docs/logs.md.
package main

import (
	"errors"
	"fmt"
	"os"

	"soci-index-builder/internal/devtools/marked"
	"soci-index-builder/internal/logquery"
)

var part = marked.Part{Name: "queries", Source: "internal/logquery"}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "mklogdoc: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes one argument, the file docs/logs.md")
	}
	return part.File(args[0], logquery.Markdown())
}
