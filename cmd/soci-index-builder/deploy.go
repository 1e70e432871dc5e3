package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/permission/deployer"
)

// Tests have other functions, less patience, and terminals of another kind.
var (
	functionCode   = embedded.Function
	deployPatience patience.Patience
	openTerminal   = guided.OpenTerminal
)

// dryRunFolder is where a dry run writes to.
const dryRunFolder = "soci-index-builder-deploy"

const deployLong = `Create the stack, or bring it to this version or to other parameters. The program
has all that is needed: the template and the functions.

What is done, in order: find out who deploys and where; make the bucket for code,
or put it right; write a record of this deploy, and bring the functions' code to
AWS, as far as it is not there; have CloudFormation make a change set, show it
and ask; execute it and watch; mark the record, and delete code that nothing names
any more; look at the stack as doctor does. All that can be checked is checked
before anything is written, permissions too: AWS is asked to work on something that
does not exist, and its error shows whether the permission is missing.
docs/artifacts.md lists what is made and kept.

Settings come from flags, then from answers, then from soci-index-builder.toml in
this folder (docs/deploy-file.md), then from what the stack has. --guided asks for
them, shows what the filters choose, what that costs and which permissions are
used, and saves the answers; so does the first deploy on a terminal without a
settings file. --save writes what the flags say to the file.

Without --bucket the code goes to a bucket that deploy makes for itself, one for
all stacks of an account in a region; a stack whose code is in a bucket of yours
stays there.

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
asking, or with --delete-failed, which leaves a stack that has only a change set of
the last hour: somebody may be about to execute that. A rollback that failed is
continued after asking, or with --yes. Without a change nothing is done, which is a
success.

Ctrl-C while CloudFormation works offers to cancel the update. A second one, or
the first without a terminal, leaves it running and says how to go on watching;
the exit code is then 130.

--code-only changes the functions' code in place, in seconds, and nothing else; it
refuses, with a list, when more than the code differs. The next deploy without it
puts the code back that the stack names, unless it brings other code. rollback
deploys the version that ran before.

--detach does not wait for CloudFormation. Termination protection is set all the
same, but not on a new stack, which must be deleted if its creation fails: the next
deploy with the setting sets it. What needs the end of the update is left to a later
deploy: doctor, the mark of the record, old code, repositories that no function needs
any more, and code that was changed in place. Where code is left that way, deploy
says so.

--dry-run writes nothing to AWS. It writes the template, the parameters, the
functions and the plan to a folder, without credentials as far as it can.

Without a terminal nothing is asked: --yes is needed, --capabilities
CAPABILITY_IAM acknowledges the stack's IAM roles, and --allow-replacement that a
queue or a function is replaced, whose waiting events are lost.

With --output json each line is one JSON object with a type:
  step       step
  line       text
  parameter  name, old, new, source (named, managed, kept, default, recorded)
  tag        text
  change     action (add, change, replace, may replace, remove), resource,
             resourceType, consequence, and properties: a list of path, old, new,
             replaces
  empty      there is no change
  event      time, resource, resourceType, status, reason
  failure    status (of the stack), resource, reason, others (a list of resource,
             reason), cancelled (how many), hooks, logGroup, lines, and
             missingPermission: principal, action, resource, explicit, statement
  outputs    outputs, an object
  doctor     the object that doctor prints
  next       lines
  file       name, of a dry run

The permissions that deploying needs are listed in docs/permissions.md: the policies
deployer-policy.json, deployer-policy-commands.json and the one of the package mode,
which --guided names. Of cloudformation these are used: CancelUpdateStack,
ContinueUpdateRollback, CreateChangeSet, DeleteChangeSet, DeleteStack,
DescribeChangeSet, DescribeEvents, DescribeStackEvents, DescribeStacks (on all
stacks, to know which code is named), ExecuteChangeSet, GetTemplate, ListChangeSets,
ListStackResources, UpdateTerminationProtection; further logs:FilterLogEvents for
the log lines of a failure, lambda:GetFunctionConfiguration, lambda:GetFunction with
images, lambda:UpdateFunctionCode for --code-only and what it left, and what doctor
needs. On the bucket: s3:DeleteObjectVersion, s3:GetObject, s3:ListBucket,
s3:ListBucketVersions and s3:PutObject; on one that deploy makes also
s3:CreateBucket, s3:Get... and s3:Put... of BucketPolicy, BucketPublicAccessBlock,
BucketTagging, BucketVersioning, EncryptionConfiguration and LifecycleConfiguration,
and s3:ListAllMyBuckets where S3 has no account-regional namespace. With --package
image ecr:GetAuthorizationToken, and on the repositories
ecr:BatchCheckLayerAvailability, BatchGetImage, CompleteLayerUpload,
DescribeRepositories, GetDownloadUrlForLayer, InitiateLayerUpload, ListImages,
ListTagsForResource, PutImage and UploadLayerPart, further ecr:BatchDeleteImage and
DescribeImages to delete old images, lambda:InvokeFunction to wake the function
behind the custom resource, and what CloudFormation needs to make repositories:
ecr:CreateRepository, DeleteRepository, DeleteRepositoryPolicy,
DescribeRepositories, PutImageScanningConfiguration, PutImageTagMutability,
PutLifecyclePolicy, SetRepositoryPolicy, TagResource and UntagResource.`

// deployOptions are the flags of deploy that are no settings.
type deployOptions struct {
	settings settings.Flags
	output   outputFlag
	full     fullFlag

	yes, detach, dryRun, codeOnly, guided, save bool

	folder string
}

func (o *deployOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.settings.Bind(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" {
			_ = cmd.MarkFlagFilename(f.Name, "toml")
		}
	})
	flags.BoolVar(&o.guided, "guided", false, "ask for the settings, on a terminal")
	flags.BoolVar(&o.save, "save", false, "write the settings that flags and answers give to the settings file")
	addYes(cmd, &o.yes, "deploy without a question")
	flags.BoolVar(&o.detach, "detach", false, "do not wait for CloudFormation")
	flags.BoolVar(&o.codeOnly, "code-only", false, "change the functions' code in place, and nothing else")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write nothing to AWS; write what would be deployed to --output-dir")
	flags.StringVar(&o.folder, "output-dir", dryRunFolder, "`folder` that --dry-run writes to")
	_ = cmd.MarkFlagDirname("output-dir")
	o.output.add(cmd)
	o.full.add(cmd)
}

// check checks flags that depend on each other.
func (o *deployOptions) check(cmd *cobra.Command) error {
	switch {
	case o.dryRun && o.folder == "":
		return usageErrorf("%s deploy: --output-dir must name a folder", programName)
	case o.dryRun && isFile(o.folder):
		return usageErrorf("%s deploy: --output-dir %s: is a file, must be a folder", programName, o.folder)
	case !o.dryRun && cmd.Flags().Changed("output-dir"):
		return usageErrorf("%s deploy: --output-dir is for --dry-run", programName)
	case o.codeOnly && o.detach:
		return usageErrorf("%s deploy: --detach does not wait for CloudFormation, which --code-only does not use",
			programName)
	}
	return nil
}

func newDeployCommand() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Create or update the stack that indexes images",
		Long:  deployLong,
		Example: `  soci-index-builder deploy --guided
  soci-index-builder deploy --stack soci --region eu-west-1 \
      --filters 'prod/*:*,!*:*-debug'
  soci-index-builder deploy --stack soci --yes \
      --capabilities CAPABILITY_IAM -o json
  soci-index-builder deploy --stack soci --package image
  soci-index-builder deploy --env prod --dry-run
  soci-index-builder deploy --env staging --code-only`,
		Args: takes(0, 0, "no argument"),
	}
	o.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		terminal := openTerminal(cmd.InOrStdin(), cmd.ErrOrStderr())
		given, env, account, err := o.decide(cmd, terminal)
		if err != nil {
			return deployError("deploy", err)
		}
		m := deploy.Mode{Interactive: terminal != nil, Yes: o.yes, Detach: o.detach, CodeOnly: o.codeOnly,
			Full: bool(o.full), Patience: deployPatience, Interrupts: interrupts, Functions: functionCode,
			Registry: ecrEndpoint()}
		if o.dryRun {
			m.Folder = o.folder
		}
		screen := newDeployScreen(cmd, o.output, terminal)
		screen.full = o.full
		d, err := deploy.New(given, m, screen)
		if err != nil {
			return deployError("deploy", err)
		}
		if o.save {
			if err := save(screen, env, given); err != nil {
				return deployError("deploy", err)
			}
		}
		if o.dryRun {
			return dryRun(cmd, d, account, screen)
		}
		if d.AWS, err = account.load(given); err != nil {
			return err
		}
		return runDeploy(cmd, d, screen)
	}
	return cmd
}

// runDeploy does the steps of a deploy or of a rollback.
func runDeploy(cmd *cobra.Command, d *deploy.Deploy, screen *deployScreen) error {
	err := d.Run(cmd.Context())
	if errors.Is(err, deploy.ErrSetting) || errors.Is(err, deploy.ErrConsent) {
		return deployError(cmd.Name(), err)
	}
	return errors.Join(explainDeploy(err), screen.err)
}

// statementError says which statement of the policies for deployers allows what
// was denied.
type statementError struct {
	error
	statements []string
}

func (e *statementError) Unwrap() error { return e.error }

func (e *statementError) Error() string {
	return fmt.Sprintf("%v, as the statement %s allows it", e.error, strings.Join(e.statements, " or "))
}

// explainDeploy is explain for the verbs that have policies of their own.
func explainDeploy(err error) error {
	err = explain(err)
	e, ok := errors.AsType[*awserror.Error](err)
	if !ok || e.Kind != awserror.ErrDenied || !strings.HasSuffix(err.Error(), e.Action) {
		return err
	}
	// Of more than two it cannot be told which one is meant.
	if statements := deployer.Allowing(e.Action); len(statements) == 1 || len(statements) == 2 {
		return &statementError{err, statements}
	}
	return err
}

// deployError tells what of the command line, or of the settings file, is wrong
// from what went wrong.
func deployError(command string, err error) error {
	if errors.Is(err, deploy.ErrSetting) || errors.Is(err, deploy.ErrConsent) || errors.Is(err, settings.ErrInvalid) {
		return usageErrorf("%s %s: %w", programName, command, err)
	}
	return explainDeploy(err)
}

// save writes the settings file.
func save(screen *deployScreen, env *settings.Environment, given settings.Given) error {
	changed, err := env.Save(given)
	if err == nil && changed {
		screen.Tell("saved to " + env.String())
	}
	return err
}

// dryRun plans with what AWS says, or without AWS if there is none.
func dryRun(cmd *cobra.Command, d *deploy.Deploy, account *accountLoader, screen *deployScreen) error {
	var err error
	if d.AWS, err = account.load(d.Given); err != nil {
		_, none := errors.AsType[*awsconfig.CredentialsError](err)
		if byFlag(d.Given, "profile") || byFlag(d.Given, "region") && !none {
			return err
		}
		d.Mode.Offline, d.AWS.Region = err, cmp.Or(d.AWS.Region, d.Given.Region)
	}
	plan, files, err := d.DryRun(cmd.Context())
	if e := explain(err); !d.Offline() &&
		(errors.Is(e, awserror.ErrUnreachable) || errors.Is(e, awserror.ErrCredentials)) {
		d.Mode.Offline = e
		plan, files, err = d.DryRun(cmd.Context())
	}
	if err != nil {
		return deployError("deploy", err)
	}
	screen.quiet = false // the plan is the result
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
