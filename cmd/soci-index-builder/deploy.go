package main

import (
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"soci-index-builder/internal/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/embedded"
)

// Tests have other functions and less patience.
var (
	functionCode   = embedded.Function
	deployPatience patience.Patience
)

// dryRunFolder is where a dry run writes to.
const dryRunFolder = "soci-index-builder-deploy"

const deployLong = `Create the stack, or bring it to this version or to other parameters. The program
has all that is needed: the template and the functions.

What is done, in order: find out who deploys and where; bring the functions' code
to AWS, as far as it is not there; have CloudFormation make a change set, show it
and ask; execute it and watch; look at the stack as doctor does. All that can be
checked is checked before anything is written.

With --package zip the code goes as zip files into a bucket. With --package image it
goes as container images into repositories, built without Docker: those that
--repository names, or ones that deploy makes before, in a companion stack of their
own, which gets the same tags, role, topics and protection. Repositories that no
function needs any more are deleted at the end, after asking; where nobody can be
asked, only when a rollback does not need them either. Nothing is ever deleted in a
repository of yours. Images in the repositories of the functions' images are not
indexed. To change from one package to the other replaces the functions: events that
wait in their queues are lost.

Parameters that are not named keep the value that the stack has; new ones take
the template's default. A stack that the AWS CDK or the plain template deployed is
taken over; one of somebody else is refused. One that is being updated is watched
until that has ended. What is left of a creation that failed is deleted after
asking, or with --delete-failed; a rollback that failed is continued after asking,
or with --yes. Without a change nothing is done, which is a success.

Ctrl-C while CloudFormation works offers to cancel the update. A second one, or
the first without a terminal, leaves it running and says how to go on watching;
the exit code is then 130.

--dry-run writes nothing to AWS. It writes the template, the parameters, the
functions and the plan to a folder, without credentials as far as it can.

Without a terminal nothing is asked: --yes is needed, --capabilities
CAPABILITY_IAM acknowledges the stack's IAM roles, and --allow-replacement that a
queue or a function is replaced, whose waiting events are lost.

With --output json each line is one JSON object with a type:
  step       step
  line       text
  parameter  name, old, new, source (named, managed, kept, default)
  tag        text
  change     action (add, change, replace, may replace, remove), resource,
             resourceType, consequence, and properties: a list of path, old, new,
             replaces
  empty      there is no change
  event      time, resource, resourceType, status, reason
  failure    status (of the stack), resource, reason, others (a list of resource,
             reason), cancelled (how many), hooks, logGroup, lines, and missing:
             principal, action, resource, explicit, statement
  outputs    outputs, an object
  doctor     the object that doctor prints
  next       lines
  file       name, of a dry run

Whoever deploys needs what docs/deployer-policy.json allows. The rights on
cloudformation that are used: CancelUpdateStack, ContinueUpdateRollback,
CreateChangeSet, DeleteChangeSet, DeleteStack, DescribeChangeSet, DescribeEvents,
DescribeStackEvents, DescribeStacks, ExecuteChangeSet, GetTemplate, ListChangeSets,
ListStackResources, UpdateTerminationProtection; further logs:FilterLogEvents for
the log lines of a failure, and what doctor needs. With --package zip s3:GetObject,
s3:ListBucket and s3:PutObject on the bucket. With --package image
ecr:GetAuthorizationToken, and on the repositories ecr:BatchCheckLayerAvailability,
BatchGetImage, CompleteLayerUpload, DescribeRepositories, GetDownloadUrlForLayer,
InitiateLayerUpload, ListTagsForResource, PutImage and UploadLayerPart, further
ecr:DescribeImages before repositories are deleted, lambda:InvokeFunction to wake
the function behind the custom resource, and what CloudFormation needs to make
repositories: ecr:CreateRepository, DeleteRepository, DeleteRepositoryPolicy,
DescribeRepositories, PutImageScanningConfiguration, PutImageTagMutability,
PutLifecyclePolicy, SetRepositoryPolicy, TagResource and UntagResource.`

func newDeployCommand() *cobra.Command {
	var (
		from   awsFlags
		flags  deployFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Create or update the stack that indexes images",
		Long:  deployLong,
		Example: `  soci-index-builder deploy --bucket my-code --region eu-west-1
  soci-index-builder deploy --bucket my-code --filters 'prod/*:*,!*:*-debug'
  soci-index-builder deploy --bucket my-code --yes --capabilities CAPABILITY_IAM --output json
  soci-index-builder deploy --package image --region eu-west-1
  soci-index-builder deploy --bucket my-code --dry-run`,
		Args: takes(0, 0, "no argument"),
	}
	flags.add(cmd)
	from.add(cmd)
	output.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := flags.settings()
		if err != nil {
			return err
		}
		s.Region, s.Profile = from.region, from.profile
		m := deploy.Mode{Interactive: interactive(cmd), Yes: flags.yes, Detach: flags.detach, Patience: deployPatience,
			Interrupts: interrupts, Functions: functionCode, Registry: ecrEndpoint()}
		if flags.dryRun {
			m.Folder = flags.folder
		}
		screen := newDeployScreen(cmd, output)
		d, err := deploy.New(s, m, screen)
		if err != nil {
			return deployError(err)
		}
		if flags.dryRun {
			return dryRun(cmd, d, &from, screen)
		}
		if d.AWS, err = from.load(cmd); err != nil {
			return err
		}
		err = d.Run(cmd.Context())
		if errors.Is(err, deploy.ErrSetting) {
			return deployError(err)
		}
		return errors.Join(explain(err), screen.err)
	}
	return cmd
}

// deployError tells what of the command line is wrong from what went wrong.
func deployError(err error) error {
	if errors.Is(err, deploy.ErrSetting) || errors.Is(err, deploy.ErrConsent) {
		return usageErrorf("%s deploy: %w", programName, err)
	}
	return explain(err)
}

// dryRun plans with what AWS says, or without AWS if there is none.
func dryRun(cmd *cobra.Command, d *deploy.Deploy, from *awsFlags, screen *deployScreen) error {
	var err error
	if d.AWS, err = from.load(cmd); err != nil {
		if from.region != "" || from.profile != "" {
			return err
		}
		d.Mode.Offline = err
	}
	plan, files, err := d.DryRun(cmd.Context())
	if e := explain(err); !d.Offline() &&
		(errors.Is(e, awserror.ErrUnreachable) || errors.Is(e, awserror.ErrCredentials)) {
		d.Mode.Offline = e
		plan, files, err = d.DryRun(cmd.Context())
	}
	if err != nil {
		return deployError(err)
	}
	for _, p := range plan {
		if len(p.Lines) > 0 {
			screen.Step(p.Step)
		}
		for _, line := range p.Lines {
			screen.Say(line)
		}
	}
	screen.files(files)
	return screen.err
}

// interactive reports whether there is somebody to ask.
func interactive(cmd *cobra.Command) bool {
	f, ok := cmd.InOrStdin().(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// interrupts are the signals that are to end the program.
func interrupts() (<-chan struct{}, func()) {
	signals, out := make(chan os.Signal, 2), make(chan struct{})
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-signals:
			}
			select {
			case <-done:
				return
			case out <- struct{}{}:
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		close(done)
	}
}

// isLeft reports whether the user does not want to wait for what goes on.
func isLeft(err error) bool { return errors.Is(err, execution.ErrLeft) }

// keyValues reads flags of the form KEY=VALUE.
func keyValues(flag string, all []string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range all {
		key, value, ok := strings.Cut(one, "=")
		if !ok || key == "" {
			return nil, usageErrorf("%s deploy: %s %.200q: must be KEY=VALUE", programName, flag, one)
		}
		if old, twice := out[key]; twice && old != value {
			return nil, usageErrorf("%s deploy: %s %.200s: given twice", programName, flag, key)
		}
		out[key] = value
	}
	return out, nil
}
