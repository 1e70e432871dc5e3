package main

import (
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/embedded"
)

// defaultStack is the name of the stack when none is given.
const defaultStack = "soci-index-builder"

// deployFlags are those of deploy.
type deployFlags struct {
	s                settings.Settings
	kind             string
	parameters, tags []string
	repositories     []string
	protection       bool
	changed          func(flag string) bool

	yes, detach, dryRun bool
	folder              string
}

func (f *deployFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.changed = flags.Changed
	flags.StringVar(&f.s.Stack, "stack", defaultStack, "name of the stack")
	flags.StringVar(&f.s.Filters, "filters", "",
		"images to index, as the parameter SociRepositoryImageTagFilters has them")
	flags.StringArrayVar(&f.parameters, "parameter", nil, "`KEY=VALUE` of a parameter of the template; can be repeated")
	flags.StringVar(&f.kind, "package", string(embedded.Zip),
		"how the functions' code comes to Lambda: zip files in a bucket, or container images (zip or image)")
	flags.StringVar(&f.s.Architecture, "arch", "",
		"of the functions, arm64 or amd64; the default is what the stack has, or arm64")
	flags.StringVar(&f.s.Bucket, "bucket", "", "S3 `bucket` in the stack's region, for the functions' code")
	flags.StringArrayVar(&f.repositories, "repository", nil,
		"`FUNCTION=URI` of an ECR repository of yours for a function's image; can be repeated")
	flags.StringVar(&f.s.RoleARN, "role-arn", "", "`ARN` of the IAM role that CloudFormation is to work with")
	flags.StringArrayVar(&f.tags, "tag", nil, "`KEY=VALUE` of a tag of the stack and its resources; can be repeated")
	flags.StringArrayVar(&f.s.NotificationARNs, "notification-arn", nil,
		"`ARN` of an SNS topic that is told of the stack's events; can be repeated")
	flags.BoolVar(&f.protection, "termination-protection", false, "protect the stack from deletion, or with =false do not")
	flags.BoolVar(&f.s.DisableRollback, "disable-rollback", false, "leave the stack as it is when the deploy fails")
	flags.BoolVar(&f.s.FailOnEmpty, "fail-on-empty", false, "a deploy without a change is a failure")
	flags.StringArrayVar(&f.s.Capabilities, "capabilities", nil,
		"`CAPABILITY_IAM` acknowledges the stack's IAM roles where nobody can be asked")
	flags.BoolVar(&f.s.AllowReplacement, "allow-replacement", false,
		"replace a queue or a function without a question; its waiting events are lost")
	flags.BoolVar(&f.s.DeleteFailed, "delete-failed", false,
		"delete what is left of a creation that failed without a question")
	flags.BoolVar(&f.yes, "yes", false, "deploy without a question")
	flags.BoolVar(&f.detach, "detach", false, "do not wait for CloudFormation")
	flags.BoolVar(&f.dryRun, "dry-run", false, "write nothing to AWS; write what would be deployed to --output-dir")
	flags.StringVar(&f.folder, "output-dir", dryRunFolder, "`folder` that --dry-run writes to")
}

// settings returns what the flags say.
func (f *deployFlags) settings() (settings.Settings, error) {
	s := f.s
	var err error
	if s.Parameters, err = keyValues("--parameter", f.parameters); err != nil {
		return s, err
	}
	if s.Tags, err = keyValues("--tag", f.tags); err != nil {
		return s, err
	}
	if s.Repositories, err = keyValues("--repository", f.repositories); err != nil {
		return s, err
	}
	s.Package = embedded.Package(f.kind)
	if f.changed("termination-protection") {
		s.TerminationProtection = &f.protection
	}
	if f.dryRun && f.folder == "" {
		return s, usageErrorf("%s deploy: --output-dir must name a folder", programName)
	}
	if !f.dryRun && f.changed("output-dir") {
		return s, usageErrorf("%s deploy: --output-dir is for --dry-run", programName)
	}
	return s, nil
}
