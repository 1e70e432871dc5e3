package stack

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/names"
)

// parameter describes one parameter of the template.
type parameter struct {
	name        string
	kind        string // "String" when empty
	description string
	byDefault   any      // nil: it must be given
	pattern     string   // anchored; empty for none
	values      []string // allowed; nil for any
	low, high   *float64 // of a number
	constraint  string   // what is allowed, for the message about a value that is not; of values it is they
}

var (
	trueFalse = []string{"true", "false"}

	// retentions are the days that CloudWatch Logs takes.
	retentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
		3288, 3653}
)

// Partitions, regions and accounts as they stand in ARNs.
const (
	arnPartition = `arn:` + names.ShortPartition
	arnAccount   = names.Account

	signingProfile = arnPartition + ":signer:" + names.ShortRegion + ":" + arnAccount + `:/signing-profiles/\w{2,64}`
)

// list returns the parts of a parameter that is text with commas. It is no
// CommaDelimitedList, of which rules and conditions cannot tell that it is empty.
func (s *builder) list(name string) *[]*string {
	return awscdk.Fn_Split(jsii.String(","), s.param(name), nil)
}

// ids is the pattern of a list of EC2's ids, with commas, that may be empty.
func ids(kind string, most int) string {
	one := kind + "-[0-9a-f]{8,17}"
	return fmt.Sprintf("^(?:%s(?:,%s){0,%d})?$", one, one, most-1)
}

// everywhere are the parameters of every template.
var everywhere = []parameter{

	{
		name: deployed.ParamFilters, kind: "CommaDelimitedList",
		description: "Images to index. * is any run of characters, ! in front excludes, and the last filter that " +
			"matches decides",
		byDefault: "*:*", pattern: filters.Pattern,
		constraint: "comma-separated repository:tag, without a registry's host",
	},
	{
		name:        deployed.ParamIndexUntagged,
		description: "Index images pushed without a tag",
		byDefault:   "false", values: trueFalse,
	},
	{
		name:        deployed.ParamIndexReplicated,
		description: "Index images that ECR replication brings",
		byDefault:   "false", values: trueFalse,
	},
	{
		name:        deployed.ParamIndexPullThrough,
		description: "Index images of pull-through caches; filters name them with the rule's prefix",
		byDefault:   "false", values: trueFalse,
	},
	{
		// No Number: CloudFormation takes 1.5 for one, the generator does not.
		name:        deployed.ParamMinLayerSizeMiB,
		description: "Layers of fewer MiB (compressed) are not indexed",
		byDefault:   "10", pattern: `^(?:0|[1-9][0-9]{0,3}|[1-4][0-9]{4}|5[01][0-9]{3}|52000)$`,
		constraint: "a whole number from 0 to 52000",
	},

	{
		name:        deployed.ParamIndexVersion,
		description: "V1: a referrer. V2: a SOCI-enabled image under its own tag, which Fargate reads",
		byDefault:   "Both", values: []string{"V1", "V2", "Both"},
	},
	{
		name:        deployed.ParamTagSuffix,
		description: "What the tag of the SOCI-enabled image (V2) ends in",
		byDefault:   names.DefaultTagSuffix, pattern: "^" + names.TagSuffix + "$",
		constraint: names.TagSuffixAllowed,
	},
	{
		name:        deployed.ParamTagUnindexed,
		description: "Make the suffixed tag also when no layer can be indexed",
		byDefault:   "true", values: trueFalse,
	},
	{
		name:        deployed.ParamPrefetch,
		description: "Heed the image label soci-index-builder.prefetch. Needs soci-snapshotter 0.13 or later",
		byDefault:   "false", values: trueFalse,
	},

	{
		name:        deployed.ParamPlatforms,
		description: "Platforms to index: OS or OS/ARCHITECTURE",
		byDefault:   "linux", pattern: "^" + names.Platform + "(?:," + names.Platform + ")*$",
		constraint: "such as linux, or linux/amd64,windows",
	},

	{
		name: deployed.ParamGeneratorMemorySize, kind: "Number",
		description: fmt.Sprintf("MB of the function that builds SOCI indexes. %d is one processor",
			contract.MemoryPerCPU),
		byDefault: contract.MemoryPerCPU,
		low:       jsii.Number(contract.MinMemoryMB), high: jsii.Number(contract.MaxMemoryMB),
		constraint: fmt.Sprintf("a whole number from %d to %d", contract.MinMemoryMB, contract.MaxMemoryMB),
	},
	{
		name: deployed.ParamGeneratorConcurrency, kind: "Number",
		description: "Images worked on at once, set aside of the account's concurrency. 0: no bound",
		byDefault:   0, low: jsii.Number(0),
		constraint: "a whole number, 0 for none",
	},

	{
		// No Number either.
		name:        deployed.ParamFanOutFromGiB,
		description: "Images with more GiB of new layers are built by several functions at once. 0: never",
		byDefault:   "8", pattern: `^(?:0|[1-9][0-9]{0,4})$`,
		constraint: "a whole number from 0 to 99999",
	},
	{
		name:        deployed.ParamFanOutConcurrency,
		description: "Layers of such an image worked on at once",
		byDefault:   "20", pattern: `^(?:[1-9]|[123][0-9]|40)$`,
		constraint: "a whole number from 1 to 40",
	},
	{
		name: deployed.ParamStepsMemorySize, kind: "Number",
		description: "MB of the functions that build such an image",
		byDefault:   3008, low: jsii.Number(contract.MinMemoryMB), high: jsii.Number(contract.MaxMemoryMB),
		constraint: fmt.Sprintf("a whole number from %d to %d", contract.MinMemoryMB, contract.MaxMemoryMB),
	},

	{
		name:        deployed.ParamSubnets,
		description: "Subnets of the functions",
		byDefault:   "", pattern: ids("subnet", 16),
		constraint: "at most 16 subnet-ID, comma-separated",
	},
	{
		name:        deployed.ParamSecurityGroups,
		description: "Their security groups",
		byDefault:   "", pattern: ids("sg", 16),
		constraint: "at most 16 sg-ID, comma-separated",
	},
	{
		name:        deployed.ParamSigningProfiles,
		description: "Signer profiles of ECR's managed signing",
		byDefault:   "", pattern: "^(?:" + signingProfile + "(?:," + signingProfile + "){0,2})?$",
		constraint: "at most 3 ARNs, comma-separated",
	},

	{
		name:        deployed.ParamAlarmTopic,
		description: "SNS topic for alarms",
		byDefault:   "", pattern: `^(?:` + arnPartition + `:sns:` + names.ShortRegion + `:` + arnAccount +
			`:[A-Za-z0-9_-]{1,256})?$`,
		constraint: "the ARN of a standard SNS topic, or nothing",
	},
	{
		name:        deployed.ParamEventBus,
		description: "Event bus that SOCI indexes and permanent failures are announced on",
		byDefault:   "default", pattern: `^[A-Za-z0-9._/-]{0,256}$`,
		constraint: "the name of an event bus, not its ARN, or nothing",
	},
	{
		name: deployed.ParamLogRetentionDays, kind: "Number",
		description: "How many days logs are kept",
		byDefault:   "30", values: texts(retentions),
	},
	{
		name:        deployed.ParamLogLevel,
		description: "What the functions log at least",
		byDefault:   "INFO", values: []string{"DEBUG", "INFO", "WARN", "ERROR"},
	},
	{
		name:        deployed.ParamPermissionsBoundary,
		description: "IAM policy that bounds the functions' roles",
		byDefault:   "", pattern: `^(?:` + arnPartition + `:iam::(?:aws|` + arnAccount +
			`):policy/[A-Za-z0-9+=,.@_/-]{1,512})?$`,
		constraint: "the ARN of an IAM policy, or nothing",
	},
}

// inBucket are the parameters of the template whose functions are zip files
// in a bucket.
var inBucket = []parameter{
	{
		name:        deployed.ParamCodeBucket,
		description: "S3 bucket of this region with the functions' code",
		pattern:     `^` + names.Bucket + `$`,
		constraint:  "the name of a bucket: " + names.BucketAllowed,
	},
	{
		name: deployed.ParamCodeKeyPrefix,
		description: "What stands before filter.zip, indexgen.zip and reponame.zip in their keys. It must change " +
			"with the code",
		pattern:    `^[A-Za-z0-9._-][A-Za-z0-9._/-]{0,300}/$`,
		constraint: "at most 302 of A-Z, a-z, 0-9, ., _, - and /, a / at the end and none at the beginning",
	},
}

// imageParams has the parameter with each function's image.
var imageParams = map[string]string{
	"filter": deployed.ParamFilterImage, "indexgen": deployed.ParamGeneratorImage,
	"reponame": deployed.ParamRepositoryNameImage,
}

// asImages are the parameters of the template whose functions are images.
// Lambda finds out what a tag names when the function is updated, and
// CloudFormation updates it when the parameter changes: so an image is named by
// its digest.
var asImages = []parameter{
	imageParameter(deployed.ParamFilterImage), imageParameter(deployed.ParamGeneratorImage),
	imageParameter(deployed.ParamRepositoryNameImage),
}

func imageParameter(name string) parameter {
	return parameter{
		name:        name,
		description: "ECR image",
		pattern:     `^` + names.ShortECRHost + `/` + names.ShortRepository + `@` + names.Digest + `$`,
		constraint:  "HOST/NAME@sha256:DIGEST",
	}
}

// parameters are those of the template, where the functions' code is first.
func (p Props) parameters() []parameter {
	switch {
	case p.Images:
		return slices.Concat(asImages, everywhere)
	case p.CodeFolder == "":
		return slices.Concat(inBucket, everywhere)
	}
	return everywhere
}

// conditions on parameters, for what is optional.
type conditions struct {
	untagged, replicated, pullThrough           awscdk.CfnCondition // the parameter is true
	concurrency, alarmTopic, eventBus, boundary awscdk.CfnCondition // there is one
	network, signing                            awscdk.CfnCondition // there are subnets, signing profiles
	debug                                       awscdk.CfnCondition // the log level is DEBUG
	china, govCloud, europeanSovereign          awscdk.CfnCondition // the stack's partition
}

func addParameters(s *builder) {
	s.params = make(map[string]awscdk.CfnParameter)
	for _, p := range s.props.parameters() {
		s.params[p.name] = p.add(s.stack)
	}

	is := func(id, param, value string) awscdk.CfnCondition {
		return s.condition(id, awscdk.Fn_ConditionEquals(s.params[param].Value(), jsii.String(value)))
	}
	given := func(id, param, none string) awscdk.CfnCondition {
		return s.condition(id,
			awscdk.Fn_ConditionNot(awscdk.Fn_ConditionEquals(s.params[param].Value(), jsii.String(none))))
	}
	partition := func(id, name string) awscdk.CfnCondition {
		return s.condition(id, awscdk.Fn_ConditionEquals(awscdk.Aws_PARTITION(), jsii.String(name)))
	}
	s.conditions = conditions{
		untagged:    is("Untagged", deployed.ParamIndexUntagged, "true"),
		replicated:  is("Replicated", deployed.ParamIndexReplicated, "true"),
		pullThrough: is("Cached", deployed.ParamIndexPullThrough, "true"),
		debug:       is("Debug", deployed.ParamLogLevel, "DEBUG"),
		concurrency: given("Concurrency", deployed.ParamGeneratorConcurrency, "0"),
		alarmTopic:  given("Topic", deployed.ParamAlarmTopic, ""),
		eventBus:    given("EventBus", deployed.ParamEventBus, ""),
		boundary:    given("Boundary", deployed.ParamPermissionsBoundary, ""),
		network:     given("VPC", deployed.ParamSubnets, ""),
		signing:     given("Signing", deployed.ParamSigningProfiles, ""),

		china:             partition("China", "aws-cn"),
		govCloud:          partition("GovCloud", "aws-us-gov"),
		europeanSovereign: partition("Sovereign", "aws-eusc"),
	}
}

func (p parameter) add(stack awscdk.Stack) awscdk.CfnParameter {
	props := &awscdk.CfnParameterProps{
		Type:        jsii.String("String"),
		Description: jsii.String(p.description),
		Default:     p.byDefault,
		MinValue:    p.low,
		MaxValue:    p.high,
	}
	if p.kind != "" {
		props.Type = jsii.String(p.kind)
	}
	if p.constraint != "" {
		props.ConstraintDescription = jsii.String(p.constraint)
	}
	if p.pattern != "" {
		props.AllowedPattern = jsii.String(p.pattern)
	}
	if p.values != nil {
		props.AllowedValues = jsii.Strings(p.values...)
	}
	return awscdk.NewCfnParameter(stack, jsii.String(p.name), props)
}

func (s *builder) condition(id string, expression awscdk.ICfnConditionExpression) awscdk.CfnCondition {
	return awscdk.NewCfnCondition(s.stack, jsii.String(id), &awscdk.CfnConditionProps{Expression: expression})
}

// ifElse returns one of two values, as CloudFormation finds the condition.
func ifElse(c awscdk.CfnCondition, then, otherwise any) awscdk.ICfnRuleConditionExpression {
	return awscdk.Fn_ConditionIf(c.LogicalId(), then, otherwise)
}

// ifOnly returns the value, or nothing at all.
func ifOnly(c awscdk.CfnCondition, then any) awscdk.ICfnRuleConditionExpression {
	return ifElse(c, then, awscdk.Aws_NO_VALUE())
}

func texts(numbers []int) []string {
	all := make([]string, len(numbers))
	for i, n := range numbers {
		all[i] = strconv.Itoa(n)
	}
	return all
}
