package stack

import (
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
)

// parameter describes one parameter of the template.
type parameter struct {
	name        string
	label       string // in the console
	kind        string // "String" when empty
	description string
	byDefault   any      // nil: it must be given
	pattern     string   // anchored; empty for none
	values      []string // allowed; nil for any
	low, high   *float64 // of a number
	constraint  string   // what is allowed, for the message about a value that is not
}

// group is what the console shows together.
type group struct {
	label      string
	parameters []parameter
}

var (
	trueFalse   = []string{"true", "false"}
	onlyBoolean = "true or false"

	// retentions are the days that CloudWatch Logs takes.
	retentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)

// Partitions, regions and accounts as they stand in ARNs.
const (
	arnPartition = `arn:aws[a-z-]*`
	arnAccount   = names.Account
)

// groups are the parameters of every template, in the order of the console.
var groups = []group{
	{"Which images", []parameter{
		{
			name: deployed.ParamFilters, label: "Filters", kind: "CommaDelimitedList",
			description: "Which images are indexed: a comma-separated list of repository:tag, in which * stands for any run of characters." +
				" A filter that begins with ! excludes; the last filter that matches decides. Example: prod/*:*,!*:*-debug",
			byDefault: "*:*", pattern: filters.Pattern,
			constraint: "a comma-separated list of repository:tag with lowercase repository names, without a registry's host, such as *:* or prod/*:*,!*:*-debug",
		},
		{
			name: deployed.ParamIndexUntagged, label: "Images without a tag",
			description: "Whether images that are pushed without a tag are indexed too. The platforms of a multi-platform image are such; they are indexed with its tag in any case.",
			byDefault:   "false", values: trueFalse, constraint: onlyBoolean,
		},
		{
			name: deployed.ParamIndexReplicated, label: "Replicated images",
			description: "Whether images that ECR replication copies into this registry are indexed here.",
			byDefault:   "false", values: trueFalse, constraint: onlyBoolean,
		},
		{
			name: deployed.ParamIndexPullThrough, label: "Images from a pull-through cache",
			description: "Whether images that a pull-through cache rule brings into this registry are indexed. Filters name them with the rule's prefix.",
			byDefault:   "false", values: trueFalse, constraint: onlyBoolean,
		},
		{
			// No Number: CloudFormation takes 1.5 for one, the generator does not.
			name: deployed.ParamMinLayerSizeMiB, label: "Least size of a layer, in MiB",
			description: "Layers of fewer MiB (compressed) are not indexed. 0 indexes every layer.",
			byDefault:   "10", pattern: `^(?:0|[1-9][0-9]{0,3}|[1-4][0-9]{4}|5[01][0-9]{3}|52000)$`,
			constraint: "a whole number from 0 to 52000",
		},
	}},
	{"What is pushed", []parameter{
		{
			name: deployed.ParamIndexVersion, label: "Version of the SOCI index",
			description: "V1: a referrer of the image. V2: a SOCI-enabled image under a tag of its own, which AWS Fargate and soci-snapshotter read by default. Both: both.",
			byDefault:   "Both", values: []string{"V1", "V2", "Both"}, constraint: "V1, V2 or Both",
		},
		{
			name: deployed.ParamTagSuffix, label: "Suffix of the SOCI-enabled image's tag",
			description: "What the tag of the SOCI-enabled image has after the image's tag. Only with V2 and Both.",
			byDefault:   names.DefaultTagSuffix, pattern: "^" + names.TagSuffix + "$",
			constraint: "1 to 127 of A-Z, a-z, 0-9, ., _ and -",
		},
		{
			name: deployed.ParamTagUnindexed, label: "Suffixed tag in any case",
			description: "Whether the suffixed tag is made also for an image with no layer to index, so that deployments can rely on it. Only with V2 and Both.",
			byDefault:   "true", values: trueFalse, constraint: onlyBoolean,
		},
	}},
	{"The generator", []parameter{
		{
			name: deployed.ParamGeneratorMemorySize, label: "Memory, in MB", kind: "Number",
			description: "Memory of the function that builds the SOCI indexes. Processors come with it: 1769 is one.",
			byDefault:   1769, low: jsii.Number(512), high: jsii.Number(10240),
			constraint: "a whole number from 512 to 10240",
		},
		{
			name: deployed.ParamGeneratorConcurrency, label: "Reserved concurrency", kind: "Number",
			description: "How many images may be worked on at once; as much of the account's concurrency is set aside. 0 sets nothing aside and no bound but the account's.",
			byDefault:   0, low: jsii.Number(0),
			constraint: "a whole number, 0 for none",
		},
	}},
	{"Operation", []parameter{
		{
			name: deployed.ParamAlarmTopic, label: "Topic for alarms",
			description: "ARN of an SNS topic that is told of alarms. Empty: the alarms are there and tell nobody.",
			byDefault:   "", pattern: `^(?:` + arnPartition + `:sns:[a-z0-9-]+:` + arnAccount + `:[A-Za-z0-9_-]{1,256})?$`,
			constraint: "the ARN of a standard SNS topic, or nothing",
		},
		{
			name: deployed.ParamEventBus, label: "Event bus for announcements",
			description: "Name of the EventBridge event bus, in this account and region, on which SOCI indexes and permanent failures are announced. Empty: nothing is announced.",
			byDefault:   "default", pattern: `^[A-Za-z0-9._/-]{0,256}$`,
			constraint: "the name of an event bus, not its ARN, or nothing",
		},
		{
			name: deployed.ParamLogRetentionDays, label: "Retention of logs, in days", kind: "Number",
			description: "How many days the functions' logs are kept.",
			byDefault:   "30", values: texts(retentions),
			constraint: "a number of days that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653",
		},
		{
			name: deployed.ParamLogLevel, label: "Log level",
			description: "What the functions log at least. Metrics do not depend on it.",
			byDefault:   "INFO", values: []string{"DEBUG", "INFO", "WARN", "ERROR"}, constraint: "DEBUG, INFO, WARN or ERROR",
		},
		{
			name: deployed.ParamPermissionsBoundary, label: "Permissions boundary",
			description: "ARN of the IAM policy that bounds the functions' roles. Empty: none.",
			byDefault:   "", pattern: `^(?:` + arnPartition + `:iam::(?:aws|` + arnAccount + `):policy/[A-Za-z0-9+=,.@_/-]{1,512})?$`,
			constraint: "the ARN of an IAM policy, or nothing",
		},
	}},
}

// codeGroup are the parameters that only the plain template has.
var codeGroup = group{"The functions' code", []parameter{
	{
		name: deployed.ParamCodeBucket, label: "Bucket",
		description: "S3 bucket in this region that has the functions' code, as make package leaves it.",
		pattern:     `^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`,
		constraint:  "the name of a bucket: 3 to 63 of a-z, 0-9, . and -",
	},
	{
		name: deployed.ParamCodeKeyPrefix, label: "Prefix of the keys",
		description: "What stands before filter.zip, indexgen.zip and reponame.zip in their keys, as make package prints it. It must change with the code.",
		pattern:     `^[A-Za-z0-9._-][A-Za-z0-9._/-]{0,300}/$`,
		constraint:  "at most 302 of A-Z, a-z, 0-9, ., _, - and /, a / at the end and none at the beginning",
	},
}}

// conditions on parameters, for what is optional.
type conditions struct {
	untagged, replicated, pullThrough           awscdk.CfnCondition // the parameter is true
	concurrency, alarmTopic, eventBus, boundary awscdk.CfnCondition // there is one
	debug                                       awscdk.CfnCondition // the log level is DEBUG
	china, govCloud, europeanSovereign          awscdk.CfnCondition // the stack's partition
}

func addParameters(s *builder) {
	all := groups
	if s.props.CodeFolder == "" {
		all = append([]group{codeGroup}, groups...)
	}
	s.params = make(map[string]awscdk.CfnParameter)
	var shown []any
	labels := make(map[string]any)
	for _, g := range all {
		var names []string
		for _, p := range g.parameters {
			s.params[p.name] = p.add(s.stack)
			names = append(names, p.name)
			labels[p.name] = map[string]any{"default": p.label}
		}
		shown = append(shown, map[string]any{"Label": map[string]any{"default": g.label}, "Parameters": names})
	}
	s.stack.AddMetadata(jsii.String("AWS::CloudFormation::Interface"), map[string]any{
		"ParameterGroups": shown, "ParameterLabels": labels,
	})

	is := func(id, param, value string) awscdk.CfnCondition {
		return s.condition(id, awscdk.Fn_ConditionEquals(s.params[param].Value(), jsii.String(value)))
	}
	given := func(id, param, none string) awscdk.CfnCondition {
		return s.condition(id, awscdk.Fn_ConditionNot(awscdk.Fn_ConditionEquals(s.params[param].Value(), jsii.String(none))))
	}
	partition := func(id, name string) awscdk.CfnCondition {
		return s.condition(id, awscdk.Fn_ConditionEquals(awscdk.Aws_PARTITION(), jsii.String(name)))
	}
	s.conditions = conditions{
		untagged:    is("IndexesUntagged", deployed.ParamIndexUntagged, "true"),
		replicated:  is("IndexesReplicated", deployed.ParamIndexReplicated, "true"),
		pullThrough: is("IndexesPullThroughCache", deployed.ParamIndexPullThrough, "true"),
		debug:       is("LogsDebug", deployed.ParamLogLevel, "DEBUG"),
		concurrency: given("HasReservedConcurrency", deployed.ParamGeneratorConcurrency, "0"),
		alarmTopic:  given("HasAlarmTopic", deployed.ParamAlarmTopic, ""),
		eventBus:    given("HasEventBus", deployed.ParamEventBus, ""),
		boundary:    given("HasPermissionsBoundary", deployed.ParamPermissionsBoundary, ""),

		china:             partition("InChina", "aws-cn"),
		govCloud:          partition("InGovCloud", "aws-us-gov"),
		europeanSovereign: partition("InEuropeanSovereignCloud", "aws-eusc"),
	}
}

func (p parameter) add(stack awscdk.Stack) awscdk.CfnParameter {
	props := &awscdk.CfnParameterProps{
		Type:                  jsii.String("String"),
		Description:           jsii.String(p.description),
		Default:               p.byDefault,
		ConstraintDescription: jsii.String(p.constraint),
		MinValue:              p.low,
		MaxValue:              p.high,
	}
	if p.kind != "" {
		props.Type = jsii.String(p.kind)
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

// ifElse gives one of two values, as CloudFormation finds the condition.
func ifElse(c awscdk.CfnCondition, then, otherwise any) awscdk.ICfnRuleConditionExpression {
	return awscdk.Fn_ConditionIf(c.LogicalId(), then, otherwise)
}

// ifOnly gives the value, or nothing at all.
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
