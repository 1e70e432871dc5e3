package settings

import (
	"errors"
	"slices"

	"soci-index-builder/internal/filters"
)

// setting is one of the table from which flags, keys of the file and the
// reference come.
type setting struct {
	name  string // of the flag, after --, and of the key
	value string // what stands for the value in a help text
	usage string

	// check reports whether the value is allowed. The key is empty but for
	// settings that are a table.
	check func(key, value string) error

	// normal returns the form in which a value is kept; nil leaves it as it is.
	normal func(value string) string

	// field is where it is kept: *string, *[]string, *map[string]string, *bool
	// or **bool.
	field func(*Settings) any
}

func text(check func(string) error) func(string, string) error {
	return func(_, value string) error { return check(value) }
}

// Help of flags that other verbs have too.
const (
	UsageRegion = "AWS region; the default is SOCI_INDEX_BUILDER_REGION or AWS_REGION, else that of the profile or " +
		"EC2 instance"
	UsageProfile = "profile of the AWS configuration; the default is AWS_PROFILE"
)

// table has the settings in the order of the reference.
var table = []*setting{
	{
		name: "stack", value: "name", usage: "name of the stack", check: text(checkStack),
		field: func(s *Settings) any { return &s.Stack },
	},
	{
		name: "region", value: "region",
		usage: UsageRegion,
		check: text(checkRegion), field: func(s *Settings) any { return &s.Region },
	},
	{
		name: "profile", value: "name", usage: UsageProfile,
		check: text(checkProfile), field: func(s *Settings) any { return &s.Profile },
	},
	{
		name: "filters", value: "list", usage: "images to index: comma-separated repository:tag, ! excludes",
		check: text(checkFilters), normal: normalFilters, field: func(s *Settings) any { return &s.Filters },
	},
	{
		name: "parameter", value: "KEY=VALUE", usage: "another parameter of the template; may be given several times",
		check: checkParameter, field: func(s *Settings) any { return &s.Parameters },
	},
	{
		name: "package", value: "zip|image",
		usage: "how the functions' code comes to Lambda: zip files in a bucket, or container images",
		check: text(oneOf(packages)), field: func(s *Settings) any { return (*string)(&s.Package) },
	},
	{
		name: "arch", value: "arm64|amd64", usage: "architecture of the functions",
		check: text(oneOf(architectures)), field: func(s *Settings) any { return &s.Architecture },
	},
	{
		name: "bucket", value: "name",
		usage: "S3 bucket of yours for zip files; the default is one that deploy makes",
		check: text(checkBucket), field: func(s *Settings) any { return &s.Bucket },
	},
	{
		name: "repository", value: "FUNCTION=URI",
		usage: "ECR repository of yours for a function's image; the default is one that deploy makes; " +
			"may be given several times",
		check: checkRepository, field: func(s *Settings) any { return &s.Repositories },
	},
	{
		name: "role-arn", value: "ARN", usage: "IAM role that CloudFormation works with",
		check: text(checkRole), field: func(s *Settings) any { return &s.RoleARN },
	},
	{
		name: "tag", value: "KEY=VALUE",
		usage: "tag of the stacks and of what is in them; may be given several times",
		check: checkTag, field: func(s *Settings) any { return &s.Tags },
	},
	{
		name: "notification-arn", value: "ARN",
		usage: "SNS topic that is notified of the stacks' events; may be given several times",
		check: text(checkTopic), field: func(s *Settings) any { return &s.NotificationARNs },
	},
	{
		name: "termination-protection", usage: "protect the stacks from deletion",
		field: func(s *Settings) any { return &s.TerminationProtection },
	},
	{
		name: "disable-rollback", usage: "leave a failed deployment as it is, to look at it",
		field: func(s *Settings) any { return &s.DisableRollback },
	},
	{
		name: "fail-on-empty", usage: "fail when there is nothing to change",
		field: func(s *Settings) any { return &s.FailOnEmpty },
	},
	{
		name: "capabilities", value: "capability",
		usage: "acknowledge without a question that IAM roles are made: CAPABILITY_IAM",
		check: text(oneOf(capabilities)), field: func(s *Settings) any { return &s.Capabilities },
	},
	{
		name: "allow-replacement", usage: "replace functions and queues without a question; events in them are lost",
		field: func(s *Settings) any { return &s.AllowReplacement },
	},
	{
		name: "delete-failed", usage: "delete without a question what a failed creation of the stack left",
		field: func(s *Settings) any { return &s.DeleteFailed },
	},
}

// normalFilters drops the blanks around each filter.
func normalFilters(list string) string {
	f, err := filters.Parse(list)
	if err != nil {
		return list // which was checked before
	}
	return f.String()
}

// settingOf returns a setting by its name, nil if there is none.
func settingOf(name string) *setting {
	if i := slices.IndexFunc(table, func(s *setting) bool { return s.name == name }); i >= 0 {
		return table[i]
	}
	return nil
}

// settingNames are those of all settings.
func settingNames() []string {
	all := make([]string, len(table))
	for i, s := range table {
		all[i] = s.name
	}
	return all
}

// kind is what a setting's value is.
type kind string

const (
	kindText   kind = "string"
	kindSwitch kind = "boolean"
	kindList   kind = "array of strings"
	kindTable  kind = "table"
)

// word is the kind with its article.
func (k kind) word() string {
	if k == kindList {
		return "an " + string(k)
	}
	return "a " + string(k)
}

func (s *setting) kind() kind {
	switch s.field(new(Settings)).(type) {
	case *string:
		return kindText
	case *[]string:
		return kindList
	case *map[string]string:
		return kindTable
	case *bool, **bool:
		return kindSwitch
	}
	panic("internal error: setting " + s.name + " has a field of another type")
}

var errTopics = errors.New("CloudFormation takes at most 5 topics")

// put checks and keeps one value: that of a text or a switch, one more of a list,
// or that of a key.
func (s *setting) put(to *Settings, key, value string) error {
	if s.check != nil {
		if err := s.check(key, value); err != nil {
			return err
		}
	}
	if s.normal != nil {
		value = s.normal(value)
	}
	on := value == "true"
	switch field := s.field(to).(type) {
	case *string:
		*field = value
	case **bool:
		*field = &on
	case *bool:
		*field = on
	case *[]string:
		if slices.Contains(*field, value) {
			return errors.New("is given twice")
		}
		if s.name == "notification-arn" && len(*field) == maxTopics {
			return errTopics
		}
		*field = append(*field, value)
	case *map[string]string:
		if _, twice := (*field)[key]; twice {
			return errors.New(key + " is given twice")
		}
		if *field == nil {
			*field = map[string]string{}
		}
		(*field)[key] = value
	}
	return nil
}
