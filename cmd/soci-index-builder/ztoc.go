package main

import (
	"github.com/spf13/cobra"
)

func newZtocCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ztoc",
		Short: "Build or read the zTOC of one layer",
		Long: `Build or read the zTOC of one layer: the table of its files, and the checkpoints
from which they can be read.`,
		Args: needsCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newZtocCreateCommand(), newZtocInfoCommand())
	return cmd
}
