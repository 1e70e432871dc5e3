package main

import (
	"errors"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/names"
)

const destroyLong = `Delete a stack and what deploy made for it. First all that goes and all that stays is
listed, and somebody is asked. Then, in this order: the main stack, the companion
stack with the repositories of the functions' images, the zip files and records that
no other stack of the account needs, and the bucket that deploy made, if no other
stack uses it. What is still in the failure queue goes with it.

SOCI indexes and SOCI-enabled images stay; soci-index-builder cleanup deletes them. A
bucket or repositories of yours stay. Images in deploy's own repositories, or objects
in its own bucket, that soci-index-builder did not put there stop it, unless
--delete-foreign is given. A stack with termination protection is not deleted, and
then nothing else is.

When something fails, what comes after it is not deleted. A second destroy finishes
what a first could not; one that finds nothing is a success. The stack alone names a
bucket of yours, so once it is gone, also after --keep-code, --bucket names the bucket
whose zip files and records are to go. Of a bucket of yours only zip files that a
record of the stack names are deleted, and these records; one that cannot be read is
listed, and stays.

Without a terminal nothing is asked: --yes is needed. Ctrl-C while CloudFormation works
does not cancel a deletion; the second one, or the first without a terminal, leaves it
running, and the exit code is 130.

With --output json each line is one JSON object with a type: goes, stays (with a
text), step, line, event and failure, as "help json deploy" shows.

The permissions used: cloudformation:DeleteStack, DescribeEvents,
DescribeStackEvents, DescribeStacks (of all stacks), GetTemplate, ListChangeSets and
ListStackResources; ecr:BatchGetImage, DescribeImages and GetDownloadUrlForLayer on
the companion's repositories; s3:DeleteBucket, DeleteObjectVersion, GetBucketTagging,
GetObject, ListAllMyBuckets, ListBucket and ListBucketVersions on the bucket;
sqs:GetQueueAttributes on the failure queue; and what CloudFormation needs to delete
what the stacks have, which docs/deployer-policy.json allows.`

func newDestroyCommand() *cobra.Command {
	var (
		from    awsFlags
		stack   stackFlag
		output  outputFlag
		options deploy.DestroyOptions
		yes     bool
	)
	cmd := &cobra.Command{
		Use:   "destroy --stack NAME",
		Short: "Delete a stack and what deploy made for it",
		Long:  destroyLong,
		Example: `  soci-index-builder destroy --stack soci-index-builder --region eu-west-1
  soci-index-builder destroy --stack soci-index-builder --yes --keep-code
  soci-index-builder destroy --stack soci-index-builder --bucket my-code-bucket`,
		Args: takes(0, 0, "no argument"),
	}
	stack.add(cmd)
	takeDefaults(cmd, never)
	addYes(cmd, &yes, "delete without a question")
	cmd.Flags().BoolVar(&options.KeepCode, "keep-code", false,
		"keep the functions' code and the records: repositories, zip files, the bucket")
	cmd.Flags().StringVar(&options.Bucket, "bucket", "",
		"the `name` of your bucket with the code of a stack that is gone")
	cmd.Flags().BoolVar(&options.DeleteForeign, "delete-foreign", false,
		"delete also what others put into deploy's own repositories and bucket")
	from.add(cmd)
	output.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if stack.name == "" {
			return usageErrorf("%s: --stack is required, the name of the stack", cmd.CommandPath())
		}
		// Everything that belongs to a stack is found by the stack's name.
		if options.Stack = stack.name; !names.IsStack(stack.name) {
			return usageErrorf("%s: --stack %s: must be the stack's name, not its ARN", cmd.CommandPath(), stack.name)
		}
		if cmd.Flags().Changed("bucket") {
			if err := codebucket.CheckBucketName(options.Bucket); err != nil {
				return usageErrorf("%s: --bucket %w", cmd.CommandPath(), err)
			}
		}
		terminal := openTerminal(cmd.InOrStdin(), cmd.ErrOrStderr())
		screen := newDeployScreen(cmd, output, terminal)
		m := deploy.Mode{Interactive: terminal != nil, Yes: yes, Patience: deployPatience, Interrupts: interrupts,
			Registry: ecrEndpoint()}
		x, err := deploy.NewDestroy(options, m, screen)
		if err != nil {
			return usageErrorf("%s destroy: %w", programName, err)
		}
		if x.Deploy().AWS, err = from.load(cmd); err != nil {
			return err
		}
		err = x.Run(cmd.Context())
		if errors.Is(err, deploy.ErrSetting) {
			return deployError("destroy", err)
		}
		return errors.Join(explainDeploy(err), screen.err)
	}
	return cmd
}

// Listed shows what a destroy is about to do.
func (s *deployScreen) Listed(goes, stays []string) {
	for _, list := range []struct {
		kind, title string
		lines       []string
	}{{"goes", "goes", goes}, {"stays", "stays", stays}} {
		for i, line := range list.lines {
			switch {
			case s.json:
				s.line(lineJSON{list.kind, line})
				continue
			case i == 0:
				s.write("%s\n", list.title)
			}
			s.write("  %s\n", line)
		}
	}
}
