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
		Long: `Run the whole flow on this machine: start a registry on a free loopback port, push
an image to it, and pass the event that Amazon ECR would send to the filter's and
the generator's handlers, which are those that run in AWS Lambda. The SOCI index is
then in the registry, as a referrer of the image. It is verified file by file, and
one file is read from the largest layer without the rest of it.

The image is made from the Go installation; without Go from files of the system,
such as /usr/share; unless files or an image are named. Nothing need be installed.
All data is in a temporary directory, which is removed at the end.`,
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
	cmd.Flags().StringVar(&o.Files, "files", "", "directory to make the image from")
	cmd.Flags().StringVar(&o.Image, "image", "",
		"image to use: an OCI layout directory, a docker-save tar or a registry reference")
	_ = cmd.MarkFlagDirname("files")
	_ = cmd.MarkFlagFilename("image")
	return cmd
}
