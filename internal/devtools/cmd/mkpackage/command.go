package main

import (
	"regexp"
	"strings"

	"soci-index-builder/internal/deployed"
)

// maxBody is the size in bytes from which on the AWS CLI takes a template from
// S3 alone, CloudFormation's limit for one within a request.
const maxBody = 51_200

// command is what to paste: the AWS CLI's deploy with the code at prefix.
func (o *options) command(t *template, prefix string) string {
	lines := []string{
		"aws cloudformation deploy",
		"--template-file " + quote(o.template),
		"--stack-name " + quote(o.stack),
		"--capabilities CAPABILITY_NAMED_IAM",
	}
	if t.size > maxBody {
		lines = append(lines, "--s3-bucket "+quote(o.bucket)+" --s3-prefix "+quote(strings.TrimSuffix(prefix, "/")))
	}
	if o.region != "" {
		lines = append(lines, "--region "+quote(o.region))
	}
	if o.profile != "" {
		lines = append(lines, "--profile "+quote(o.profile))
	}
	// One word each: the AWS CLI splits at the first =, and CloudFormation at
	// the commas.
	lines = append(lines, "--parameter-overrides",
		"  "+quote(deployed.ParamCodeBucket+"="+o.bucket),
		"  "+quote(deployed.ParamCodeKeyPrefix+"="+prefix),
		"  "+quote(deployed.ParamFilters+"="+o.filters))
	return strings.Join(lines, " \\\n  ")
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote makes one word of a POSIX shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
