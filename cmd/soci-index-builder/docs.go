package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/reference"
)

//go:generate go run . docs markdown ../../docs/cli.md

// newDocsCommand is for those who build and pack the program.
func newDocsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "docs",
		Short:  "Write the reference of the command line",
		Hidden: true,
		Args:   needsCommand,
		RunE:   func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "markdown FILE",
			Short: "Write the reference as one Markdown document",
			Args:  takes(1, 1, "one FILE"),
			RunE: func(cmd *cobra.Command, args []string) error {
				return writeFile(args[0], referenceOf(cmd.Root()).Markdown("`make generate`"))
			},
		},
		&cobra.Command{
			Use:   "man DIR",
			Short: "Write a manual page for each command",
			Args:  takes(1, 1, "one DIR"),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := os.MkdirAll(args[0], 0o777); err != nil {
					return err
				}
				for _, page := range referenceOf(cmd.Root()).ManPages(version) {
					if err := writeFile(filepath.Join(args[0], page.Name), page.Content); err != nil {
						return err
					}
				}
				return nil
			},
		},
	)
	return cmd
}

func referenceOf(root *cobra.Command) *reference.Reference {
	return reference.Of(root, exitCodes, exitCodeHelp)
}
