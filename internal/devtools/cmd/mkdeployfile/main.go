// Command mkdeployfile writes the settings of internal/deploy/settings into docs/deploy-file.md.
package main

import (
	"errors"
	"fmt"
	"os"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/devtools/marked"
)

var part = marked.Part{Name: "settings", Source: "internal/deploy/settings"}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "mkdeployfile: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes one argument, the file docs/deploy-file.md")
	}
	return part.File(args[0], settings.Markdown())
}
