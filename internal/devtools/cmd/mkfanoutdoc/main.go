// Command mkfanoutdoc writes the table of internal/function/fanout into docs/performance.md.
package main

import (
	"errors"
	"fmt"
	"os"

	"soci-index-builder/internal/devtools/marked"
	"soci-index-builder/internal/function/fanout"
)

var part = marked.Part{Name: "fan-out", Source: "internal/function/fanout"}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "mkfanoutdoc: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes one argument, the file docs/performance.md")
	}
	return part.File(args[0], fanout.Markdown())
}
