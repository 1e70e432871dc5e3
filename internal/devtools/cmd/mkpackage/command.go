package main

import (
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/text/terminal"
)

// maxBody is the size in bytes from which on the AWS CLI takes a template from
// S3 alone, CloudFormation's limit for one within a request.
const maxBody = 51_200

// command is what to paste: the AWS CLI's deploy with the code at prefix.
func (o *options) command(t *template, prefix string) string {
	lines := []string{
		"aws cloudformation deploy",
		"--template-file " + terminal.ShellWord(o.template),
		"--stack-name " + terminal.ShellWord(o.stack),
		"--capabilities CAPABILITY_NAMED_IAM",
	}
	if t.size > maxBody {
		lines = append(lines, "--s3-bucket "+terminal.ShellWord(o.bucket)+
			" --s3-prefix "+terminal.ShellWord(strings.TrimSuffix(prefix, "/")))
	}
	if o.region != "" {
		lines = append(lines, "--region "+terminal.ShellWord(o.region))
	}
	if o.profile != "" {
		lines = append(lines, "--profile "+terminal.ShellWord(o.profile))
	}
	// One word each: the AWS CLI splits at the first =, and CloudFormation at
	// the commas.
	lines = append(lines, "--parameter-overrides",
		"  "+terminal.ShellWord(deployed.ParamCodeBucket+"="+o.bucket),
		"  "+terminal.ShellWord(deployed.ParamCodeKeyPrefix+"="+prefix),
		"  "+terminal.ShellWord(deployed.ParamFilters+"="+o.filters))
	return strings.Join(lines, " \\\n  ")
}
