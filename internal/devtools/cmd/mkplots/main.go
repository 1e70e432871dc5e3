// Mkplots draws the pictures of the document with the benchmark's tables, which
// its argument names.
package main

import (
	"fmt"
	"os"

	"soci-index-builder/internal/devtools/bench/plot"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mkplots DOCUMENT")
		os.Exit(2)
	}
	if err := plot.Draw(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mkplots:", err)
		os.Exit(1)
	}
}
