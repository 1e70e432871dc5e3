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
	"soci-index-builder/internal/imagefile"
	"soci-index-builder/internal/names"
)

type demoCommand struct {
	registry imageFlags
	image    string
	options  demo.Options
}

func newDemoCommand() *cobra.Command {
	c := &demoCommand{}
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
All data is in a temporary directory, which is removed at the end.

--image names an image as "inspect" takes it, with its host: of any registry, with
the credentials of "docker login", or of the AWS SDK for Amazon ECR; or in a file,
as ./app.tar, with :TAG or @DIGEST if the file holds several. It is copied as it is.`,
		Example: `  soci-index-builder demo
  soci-index-builder demo --keep
  soci-index-builder demo --files /usr/share
  soci-index-builder demo --image ubuntu.tar
  soci-index-builder demo --image public.ecr.aws/docker/library/python:3.13`,
		Args: takes(0, 0, "no argument"),
		RunE: c.run,
	}
	cmd.Flags().StringVar(&c.options.Files, "files", "", "directory to make the image from")
	cmd.Flags().StringVar(&c.image, "image", "",
		"image to use: a registry reference, an OCI layout directory, an OCI archive or a docker-save tar")
	cmd.Flags().BoolVar(&c.options.Keep, "keep", false, "leave the registry running until Ctrl-C")
	c.registry.add(cmd)
	_ = cmd.MarkFlagDirname("files")
	_ = cmd.MarkFlagFilename("image")
	return cmd
}

func (c *demoCommand) run(cmd *cobra.Command, _ []string) error {
	o := &c.options
	if o.Files != "" && c.image != "" {
		return usageErrorf("%s: --files and --image exclude each other", cmd.CommandPath())
	}
	if err := c.check(cmd); err != nil {
		return err
	}
	if c.image != "" {
		ref := c.image
		if c.isFile() && !names.IsPath(ref) {
			ref = "./" + ref // an image without a host is none of a registry here
		}
		if err := c.registry.aws.forECR(cmd, []string{ref}); err != nil {
			return err
		}
		from, _, manifest, err := c.registry.find(cmd, ref)
		if err != nil {
			return err
		}
		o.Image = &demo.Image{Name: ref, From: from, Manifest: manifest}
	}
	o.Logger, o.Program = logger(cmd), callable()
	o.Busy = func(image string) func() {
		began := time.Now()
		return newActivity(cmd, func() string {
			return fmt.Sprintf("%s: copying %s", elapsed(time.Since(began).Truncate(time.Second)), image)
		}).end
	}
	o.Clone = len(embedded.Architectures()) == 0
	return demo.Run(cmd.Context(), cmd.OutOrStdout(), *o)
}

// isFile reports whether --image names a file or folder that is there.
func (c *demoCommand) isFile() bool {
	path, _ := imagefile.Split(c.image)
	_, err := os.Stat(path)
	return err == nil
}

// check looks for mistakes in what the image is to be made of.
func (c *demoCommand) check(cmd *cobra.Command) error {
	for _, name := range []string{"plain-http", "profile", "region"} {
		if c.image == "" && cmd.Flags().Changed(name) {
			return usageErrorf("%s: --%s is for --image", cmd.CommandPath(), name)
		}
	}
	for _, name := range []string{"files", "image"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usageErrorf("%s: invalid argument \"\" for \"--%s\" flag: must be the %s", cmd.CommandPath(), name,
				f.Usage)
		}
	}
	if files := c.options.Files; isFile(files) {
		return usageErrorf("%s: invalid argument %q for \"--files\" flag: is a file; must be a folder",
			cmd.CommandPath(), files)
	} else if _, err := os.Stat(files); files != "" && err != nil {
		return usageErrorf("%s: invalid argument %q for \"--files\" flag: there is no such folder", cmd.CommandPath(),
			files)
	}
	if c.image == "" || c.isFile() {
		return nil
	}
	wrong := ""
	image, err := names.Parse(c.image)
	unnamed, _ := errors.AsType[*names.Error](err)
	switch {
	case names.IsPath(c.image):
		wrong = "there is no such file or folder; an image in a registry is named HOST/REPOSITORY[:TAG]"
	case err != nil && unnamed.Whole != "":
		wrong = unnamed.Whole
	case err != nil:
		wrong = unnamed.Reason() + "; an image is named HOST/REPOSITORY[:TAG]"
	case image.Host == "":
		wrong = "it names no host; on Docker Hub it is " + onDockerHub(c.image)
	}
	if wrong != "" {
		return usageErrorf("%s: invalid argument %.200q for \"--image\" flag: %s", cmd.CommandPath(),
			names.WithoutSecrets(c.image), wrong)
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
