package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
	"soci-index-builder/pkg/ecrclient"
)

// The errors of the checks say only what is allowed: the caller adds the flag, or
// the line of the file, and the value.
var (
	errStack  = errors.New("must be " + names.StackAllowed)
	errRegion = errors.New("must be " + names.RegionAllowed)
	errRole   = errors.New("must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/deploy")
	errTopic  = errors.New(
		"must be the ARN of a standard SNS topic, such as arn:aws:sns:eu-west-1:123456789012:deployments")
	errProfile = errors.New("must be the name of a profile of the AWS configuration: printable characters, one line")
	errTagKey  = errors.New(
		"must be 1 to 128 letters, digits, blanks and + - = . _ : / @, without aws: at the beginning")
	errTagText = errors.New("must be at most 256 letters, digits, blanks and + - = . _ : / @")
	errURI     = errors.New("must be the URI of an ECR repository without tag and digest, such as " +
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/filter; Lambda takes no FIPS or dual-stack host")
	errEnvironment = errors.New("must be 1 to 64 of A-Z, a-z, 0-9, - and _, a letter or digit at the beginning")
)

// How many tags and topics there can be.
const (
	managedTags = 2  // ours.TagKey, and the companion stack's name on what it has
	maxTags     = 50 // that CloudFormation takes for a stack
	maxTopics   = 5  // likewise
)

var (
	architectures = []string{"arm64", "amd64"} // the first is the default
	packages      = []string{string(embedded.Zip), string(embedded.Image)}
	capabilities  = []string{"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}

	roleARN = lazyregexp.New(`^arn:` + names.Partition + `:iam::` + names.Account +
		`:role/(?:[!-~]{1,510}/)?[A-Za-z0-9_+=,.@-]{1,64}$`)
	topicARN = lazyregexp.New(`^arn:` + names.Partition + `:sns:` + names.Region + `:` + names.Account +
		`:[A-Za-z0-9_-]{1,256}$`)
	tagText     = lazyregexp.New(`^[\p{L}\p{Z}\p{N}_.:/=+@-]*$`)
	environment = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	printable   = lazyregexp.New(`^[^\x00-\x1f\x7f]{1,256}$`)
)

func unless(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

func oneOf(allowed []string) func(string) error {
	return func(s string) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return errors.New("must be " + strings.Join(allowed, " or "))
	}
}

func checkStack(s string) error  { return unless(names.IsStack(s), errStack) }
func checkRegion(s string) error { return unless(names.IsRegion(s), errRegion) }
func checkRole(s string) error   { return unless(roleARN.MatchString(s), errRole) }
func checkTopic(s string) error  { return unless(topicARN.MatchString(s), errTopic) }
func checkProfile(s string) error {
	return unless(utf8.ValidString(s) && printable.MatchString(s), errProfile)
}

func checkEnvironment(s string) error { return unless(environment.MatchString(s), errEnvironment) }

func checkBucket(s string) error {
	return unless(codebucket.CheckBucketName(s) == nil, codebucket.ErrBucketName)
}

// checkFilters also asks what CloudFormation does, which bounds the length.
func checkFilters(s string) error {
	if len(s) > parameters.MaxBytes {
		return fmt.Errorf("must have at most %d bytes, as CloudFormation allows, and has %d", parameters.MaxBytes,
			len(s))
	}
	_, err := filters.Parse(s)
	return err
}

func checkTag(key, value string) error {
	switch {
	case key == ours.TagKey:
		return fmt.Errorf("the tag %s is set by deploy itself: choose another key", ours.TagKey)
	case key == "", !isTagText(key, 128), strings.HasPrefix(strings.ToLower(key), "aws:"):
		return fmt.Errorf("the tag's key %.200q %w", key, errTagKey)
	case !isTagText(value, 256):
		return fmt.Errorf("the value of the tag %s %w", key, errTagText)
	}
	return nil
}

func isTagText(s string, longest int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= longest && tagText.MatchString(s)
}

func checkRepository(function, uri string) error {
	if known := Functions(); !slices.Contains(known, function) {
		return fmt.Errorf("there is no function %.100q%s: the functions are %s", function, didYouMean(function, known),
			strings.Join(known, ", "))
	}
	if _, ok := parseURI(uri); !ok {
		return fmt.Errorf("the repository of %s %w", function, errURI)
	}
	return nil
}

// parseURI takes the host of a repository's URI apart.
func parseURI(uri string) (ecrclient.ECRHost, bool) {
	image, err := names.ParseECR(uri)
	if err != nil || image.Tag != "" || image.Digest != "" {
		return ecrclient.ECRHost{}, false
	}
	host, ok := ecrclient.ParseECRHost(image.Host)
	return host, ok && !host.FIPS && !host.DualStack
}

// CheckText returns the check of a setting that is a text, for questions about it:
// "stack", "region", "package", "filters" and so on. Its errors say what the
// value must be, and do not name it.
func CheckText(name string) func(value string) error {
	t := settingOf(name)
	return func(value string) error { return t.check("", value) }
}

// CheckEntry checks a key and its value of a setting that is a table: of
// "parameter", "repository" or "tag".
func CheckEntry(name, key, value string) error { return settingOf(name).check(key, value) }
