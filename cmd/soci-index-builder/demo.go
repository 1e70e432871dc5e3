package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/demo"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
)

func newDemoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it happen on this machine, without AWS, Docker or a network",
		Long: `Run the whole flow on this machine: start a registry on a free loopback port, push
an image to it, and pass the event that Amazon ECR would send to the filter's and
the generator's handlers, which are those that run in AWS Lambda. The SOCI index is
then in the registry in both versions: as a referrer of the image (V1), and in the
SOCI-enabled image under the suffixed tag (V2). Both are verified file by file, and
one file is read from the largest layer without the rest of it. Bytes and seconds of a
start that reads this file are compared with those of a pull of the whole image, as
"estimate" does. At the end demo says what to do next. With --keep the registry runs
until Ctrl-C, so that "inspect", "status", "verify" and "estimate" can be tried with it.

The image is made from the Go installation; without Go from files of the system,
such as /usr/share; unless files or an image are named. Nothing need be installed.
All data is in a temporary directory, which is removed at the end.`,
		Example: `  soci-index-builder demo
  soci-index-builder demo --keep
  soci-index-builder demo --files /usr/share
  soci-index-builder demo --image ubuntu.tar
  soci-index-builder demo --image public.ecr.aws/docker/library/python:3.13`,
		Args: takes(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Files != "" && o.Image != "" {
				return usageErrorf("%s: --files and --image exclude each other", cmd.CommandPath())
			}
			if err := checkDemo(cmd, o); err != nil {
				return err
			}
			o.Logger, o.Program = logger(cmd), callable()
			o.Busy = func(image string) func() {
				began := time.Now()
				return newActivity(cmd, func() string {
					return fmt.Sprintf("copying %s: %s", image, elapsed(time.Since(began).Truncate(time.Second)))
				}).end
			}
			o.Clone = len(embedded.Architectures()) == 0
			return demo.Run(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().StringVar(&o.Files, "files", "", "directory to make the image from")
	cmd.Flags().StringVar(&o.Image, "image", "",
		"image to use: an OCI layout directory, a docker-save tar or a registry reference")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave the registry running until Ctrl-C")
	_ = cmd.MarkFlagDirname("files")
	_ = cmd.MarkFlagFilename("image")
	return cmd
}

// checkDemo looks for mistakes in what the image is to be made of.
func checkDemo(cmd *cobra.Command, o demo.Options) error {
	for _, name := range []string{"files", "image"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usageErrorf("%s: invalid argument \"\" for \"--%s\" flag: must be the %s", cmd.CommandPath(), name,
				f.Usage)
		}
	}
	if info, err := os.Stat(o.Files); o.Files != "" && (err != nil || !info.IsDir()) {
		return usageErrorf("%s: invalid argument %q for \"--files\" flag: there is no such folder", cmd.CommandPath(),
			o.Files)
	}
	if _, err := os.Stat(o.Image); o.Image == "" || err == nil {
		return nil
	}
	wrong := ""
	image, err := names.Parse(o.Image)
	unnamed, _ := errors.AsType[*names.Error](err)
	switch {
	case names.IsPath(o.Image):
		wrong = "there is no such file or folder; an image in a registry is named HOST/REPOSITORY[:TAG]"
	case err != nil && unnamed.Whole != "":
		wrong = unnamed.Whole
	case err != nil:
		wrong = unnamed.Reason() + "; an image is named HOST/REPOSITORY[:TAG]"
	case image.Host == "":
		wrong = "it names no host; on Docker Hub it is " + onDockerHub(o.Image)
	}
	if wrong != "" {
		return usageErrorf("%s: invalid argument %.200q for \"--image\" flag: %s", cmd.CommandPath(),
			names.WithoutSecrets(o.Image), wrong)
	}
	return nil
}

// callable returns what to type to run this program: its name if that is found,
// else its path. "go run" has it in a temporary directory while it runs.
func callable() string {
	if _, err := exec.LookPath(programName); err == nil {
		return programName
	}
	if path, err := os.Executable(); err == nil {
		return path
	}
	return programName
}
