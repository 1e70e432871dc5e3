package main

import (
	"github.com/spf13/cobra"

	"soci-index-builder/internal/demo"
)

func newDemoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it happen on this machine, without AWS, Docker or a network",
		Long: `See the whole way on this machine: a registry is started on a free loopback port,
an image pushed to it, and the event that Amazon ECR would send is given to the
filter's and the generator's handlers, the same that run in AWS Lambda. Then the
SOCI index is in the registry, as a referrer of the image. It is verified file by
file, and one file is read out of the biggest layer without the rest of it.

The image is made of the Go installation, unless files or an image are named.
Everything is kept in a temporary directory, which is removed at the end.`,
		Example: `  soci-index-builder demo
  soci-index-builder demo --files /usr/share
  soci-index-builder demo --image ubuntu.tar
  soci-index-builder demo --image public.ecr.aws/docker/library/python:3.13`,
		Args: takes(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Files != "" && o.Image != "" {
				return usageErrorf("%s: --files and --image exclude each other", cmd.CommandPath())
			}
			o.Logger = logger(cmd)
			return demo.Run(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().StringVar(&o.Files, "files", "", "directory to make the image of")
	cmd.Flags().StringVar(&o.Image, "image", "",
		"image to use: an OCI layout directory, a docker-save tar or a registry reference")
	_ = cmd.MarkFlagDirname("files")
	_ = cmd.MarkFlagFilename("image")
	return cmd
}
