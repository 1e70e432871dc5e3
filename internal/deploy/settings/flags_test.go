package settings

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/expect"
)

// parse returns what flags set.
func parse(t *testing.T, args ...string) (*Flags, error) {
	t.Helper()
	set := pflag.NewFlagSet("deploy", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	f := &Flags{}
	f.Bind(set)
	return f, set.Parse(args)
}

const uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/filter"

func TestFlags(t *testing.T) {
	f, err := parse(t, "--stack", "prod-soci", "--region=eu-west-1", "--profile", "admin of prod",
		"--filters", "prod/*:* , !*:*-debug", "--parameter", "LogLevel=DEBUG", "--parameter", "AlarmTopicArn=",
		"--parameter=GeneratorMemorySize=3008", "--package", "image", "--arch", "amd64", "--bucket", "my.code-bucket",
		"--repository", "FilterFunction="+uri, "--role-arn", "arn:aws-cn:iam::123456789012:role/ci/deploy.er",
		"--tag", "team=platform = soci", "--tag", "Größe=", "--notification-arn",
		"arn:aws:sns:eu-west-1:123456789012:a",
		"--notification-arn", "arn:aws:sns:eu-west-1:123456789012:b", "--termination-protection",
		"--disable-rollback=false", "--fail-on-empty", "--capabilities", "CAPABILITY_IAM,CAPABILITY_NAMED_IAM",
		"--allow-replacement", "--delete-failed=true", "--config", "x.toml", "--env", "prod")
	if err != nil {
		t.Fatal(err)
	}
	g := f.Given()
	expect.Equal(t, expect.Facts{
		{"Stack", g.Stack, "prod-soci"},
		{"Region", g.Region, "eu-west-1"},
		{"Profile", g.Profile, "admin of prod"},
		{"Filters", g.Filters, "prod/*:*,!*:*-debug"},
		{"Package", g.Package, embedded.Image},
		{"Architecture", g.Architecture, "amd64"},
		{"Bucket", g.Bucket, "my.code-bucket"},
		{"RoleARN", g.RoleARN, "arn:aws-cn:iam::123456789012:role/ci/deploy.er"},
		{"TerminationProtection", *g.TerminationProtection, true},
		{"DisableRollback", g.DisableRollback, false},
		{"FailOnEmpty", g.FailOnEmpty, true},
		{"AllowReplacement", g.AllowReplacement, true},
		{"DeleteFailed", g.DeleteFailed, true},
	}, "the settings are %+v", g.Settings)
	if !maps.Equal(g.Parameters,
		map[string]string{"LogLevel": "DEBUG", "AlarmTopicArn": "", "GeneratorMemorySize": "3008"}) ||
		!maps.Equal(g.Tags, map[string]string{"team": "platform = soci", "Größe": ""}) ||
		!maps.Equal(g.Repositories, map[string]string{"FilterFunction": uri}) {
		t.Errorf("the tables are %v, %v, %v", g.Parameters, g.Tags, g.Repositories)
	}
	if !slices.Equal(g.Capabilities, []string{"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}) ||
		len(g.NotificationARNs) != 2 {
		t.Errorf("the lists are %q, %q", g.Capabilities, g.NotificationARNs)
	}
	for name, want := range map[string]string{"stack": "--stack", "parameter.LogLevel": "--parameter LogLevel",
		"disable-rollback": "--disable-rollback", "tag.team": "--tag team"} {
		if o, ok := g.Origin(name); !ok || o.Kind != Flag || o.String() != want {
			t.Errorf("%s comes from %q, %v", name, o, ok)
		}
	}
	if _, ok := g.Origin("parameter.SociTagSuffix"); ok {
		t.Error("what was not given has an origin")
	}
	for _, s := range table { // every setting was set above
		if !g.given(s) {
			t.Errorf("--%s was not taken", s.name)
		}
	}
}

func TestFlagsRefuse(t *testing.T) {
	long := strings.Repeat("a", 129)
	tests := []struct {
		name string
		args []string
		want []string // all that the error names
	}{
		{"stack", []string{"--stack", "1st"}, []string{`"1st"`, "--stack", "a letter at the beginning"}},
		{"region", []string{"--region", "Ireland"}, []string{`"Ireland"`, "--region", "eu-west-1"}},
		{"profile", []string{"--profile", "a\nb"}, []string{"--profile", "one line"}},
		{"no profile", []string{"--profile", ""}, []string{"--profile", "must be"}},
		{"filters", []string{"--filters", "prod"}, []string{"--filters", `"prod"`, "repository:tag"}},
		{"filters that only exclude", []string{"--filters", "!a:b"}, []string{"--filters", "without a leading !"}},
		{"filters twice", []string{"--filters", "a:*", "--filters", "b:*"}, []string{"--filters", "one list"}},
		{"long filters", []string{"--filters", strings.Repeat("aa:*,", 820) + "a:*"}, []string{"4096", "4103"}},
		{"no pair", []string{"--parameter", "LogLevel"}, []string{`"LogLevel"`, "--parameter", "KEY=VALUE"}},
		{"parameter", []string{"--parameter", "LogLevels=DEBUG"},
			[]string{"did you mean LogLevel?", "AlarmTopicArn", "SociTagSuffix"}},
		{"parameter in other letters", []string{"--parameter", "loglevel=DEBUG"}, []string{"did you mean LogLevel?"}},
		{"value", []string{"--parameter", "LogLevel=LOUD"},
			[]string{`"LogLevel=LOUD"`, "LogLevel must be one of DEBUG, INFO, WARN, ERROR"}},
		{"number", []string{"--parameter", "GeneratorMemorySize=1k"}, []string{"a whole number from 512 to 10240"}},
		{"fraction", []string{"--parameter", "GeneratorMemorySize=1769.5"}, []string{"a whole number"}},
		{"below the bound", []string{"--parameter", "GeneratorMemorySize=511"}, []string{"512"}},
		{"above the bound", []string{"--parameter", "GeneratorMemorySize=10241"}, []string{"10240"}},
		{"huge", []string{"--parameter", "GeneratorReservedConcurrency=99999999999999999999"},
			[]string{"a whole number"}},
		{"number not among the allowed", []string{"--parameter", "LogRetentionDays=31"}, []string{"one of 1, 3, 5"}},
		{"pattern", []string{"--parameter", "SociTagSuffix=a b"}, []string{"SociTagSuffix must be 1 to 127"}},
		{"more than the pattern", []string{"--parameter", "SociTagSuffix=a\n"}, []string{"SociTagSuffix must be"}},
		{"parameter twice", []string{"--parameter", "LogLevel=INFO", "--parameter", "LogLevel=DEBUG"},
			[]string{"LogLevel is given twice"}},
		{"bucket as a parameter", []string{"--parameter", "CodeS3Bucket=b"}, []string{"CodeS3Bucket", "use --bucket"}},
		{"prefix as a parameter", []string{"--parameter", "CodeS3KeyPrefix=b"}, []string{"use --bucket"}},
		{"image as a parameter", []string{"--parameter", "FilterFunctionImageUri=b"}, []string{"use --repository"}},
		{"filters as a parameter", []string{"--parameter", "SociRepositoryImageTagFilters=*:*"},
			[]string{"use --filters"}},
		{"package", []string{"--package", "docker"}, []string{`"docker"`, "zip or image"}},
		{"architecture", []string{"--arch", "x86_64"}, []string{"arm64 or amd64"}},
		{"bucket", []string{"--bucket", "My_Bucket"}, []string{"--bucket", "3 to 63"}},
		{"function", []string{"--repository", "Filter=" + uri},
			[]string{"FilterFunction, GeneratorFunction, RepositoryNameFunction"}},
		{"URI with a tag", []string{"--repository", "FilterFunction=" + uri + ":1"},
			[]string{"without tag and digest"}},
		{"URI with a digest", []string{"--repository", "FilterFunction=" + uri + "@sha256:" + strings.Repeat("0", 64)},
			[]string{"without tag and digest"}},
		{"URI without host", []string{"--repository", "FilterFunction=team/filter"},
			[]string{"FilterFunction must be"}},
		{"URI of another host", []string{"--repository", "FilterFunction=docker.io/team/filter"},
			[]string{"ECR repository"}},
		{"URI with the wrong suffix", []string{"--repository",
			"FilterFunction=123456789012.dkr.ecr.cn-north-1.amazonaws.com/a/b"}, []string{"ECR repository"}},
		{"FIPS host", []string{"--repository", "FilterFunction=" + strings.Replace(uri, "ecr", "ecr-fips", 1)},
			[]string{"FIPS"}},
		{"repository twice", []string{"--repository", "FilterFunction=" + uri, "--repository", "FilterFunction=" + uri},
			[]string{"FilterFunction is given twice"}},
		{"role", []string{"--role-arn", "deployer"}, []string{"--role-arn", "arn:aws:iam::"}},
		{"role of another service", []string{"--role-arn", "arn:aws:iam::123456789012:user/me"}, []string{"IAM role"}},
		{"tag of AWS", []string{"--tag", "AWS:x=y"}, []string{"--tag", "without aws:"}},
		{"tag without a key", []string{"--tag", "=y"}, []string{"1 to 128"}},
		{"tag with a long key", []string{"--tag", long + "=y"}, []string{"1 to 128"}},
		{"tag with a long value", []string{"--tag", "a=" + long + long}, []string{"tag a", "256"}},
		{"tag with another character", []string{"--tag", "a=b#c"}, []string{"tag a"}},
		{"tag twice", []string{"--tag", "a=b", "--tag", "a=c"}, []string{"a is given twice"}},
		{"our own tag", []string{"--tag", "ManagedStackSource=me"}, []string{"set by deploy itself"}},
		{"topic", []string{"--notification-arn", "arn:aws:sqs:eu-west-1:123456789012:a"}, []string{"SNS topic"}},
		{"FIFO topic", []string{"--notification-arn", "arn:aws:sns:eu-west-1:123456789012:a.fifo"},
			[]string{"standard"}},
		{"topic twice", []string{"--notification-arn", "arn:aws:sns:eu-west-1:123456789012:a",
			"--notification-arn", "arn:aws:sns:eu-west-1:123456789012:a"}, []string{"given twice"}},
		{"capability", []string{"--capabilities", "CAPABILITY_ALL"}, []string{"CAPABILITY_IAM"}},
		{"boolean", []string{"--disable-rollback=maybe"}, []string{"--disable-rollback", "true or false"}},
		{"environment", []string{"--env", "a.b"}, []string{"--env", "A-Z"}},
		{"file", []string{"--config", ""}, []string{"--config", "name of a file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.args...)
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q has several lines", err)
			}
		})
	}
}

// CloudFormation takes five topics.
func TestTopics(t *testing.T) {
	var args []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		args = append(args, "--notification-arn", "arn:aws:sns:eu-west-1:123456789012:"+name)
	}
	if _, err := parse(t, args...); err != nil {
		t.Fatal(err)
	}
	_, err := parse(t, append(args, "--notification-arn", "arn:aws:sns:eu-west-1:123456789012:f")...)
	if err == nil || !strings.Contains(err.Error(), "at most 5") {
		t.Errorf("a sixth topic: %v", err)
	}
}

// Nothing is said when nothing is given, and no flag shows a default.
func TestNoFlags(t *testing.T) {
	set := pflag.NewFlagSet("deploy", pflag.ContinueOnError)
	f := &Flags{}
	f.Bind(set)
	if err := set.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if all := f.Given().Chosen(); len(all) != 0 {
		t.Errorf("something was given: %v", all)
	}
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.DefValue != "" {
			t.Errorf("--%s has the default %q", flag.Name, flag.DefValue)
		}
	})
	if u := set.FlagUsages(); !strings.Contains(u, "--parameter KEY=VALUE") ||
		!strings.Contains(u, "--package zip|image") ||
		strings.Contains(u, "default true") {
		t.Errorf("the flags are explained as\n%s", u)
	}
}

// The reference, the flags and the keys of the file are the same.
func TestReferenceHasAllFlags(t *testing.T) {
	set := pflag.NewFlagSet("deploy", pflag.ContinueOnError)
	new(Flags).Bind(set)
	var flags []string
	set.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "env" {
			flags = append(flags, f.Name)
		}
	})
	reference := Markdown()
	for _, name := range flags {
		if !strings.Contains(reference, "| `"+name+"` | ") || !strings.Contains(reference, "| `--"+name) {
			t.Errorf("the reference does not have %s", name)
		}
		// A key is known, whatever is wrong with its value.
		_, _, err := read("f.toml", []byte(name+" = 1979-05-27"), "", false)
		if err == nil || strings.Contains(err.Error(), "unknown") {
			t.Errorf("the key %s: %v", name, err)
		}
	}
	if n := strings.Count(reference, "\n| `"); n != len(flags) {
		t.Errorf("the reference has %d settings, and there are %d flags", n, len(flags))
	}
}

// The error of every setting's check reads well after the flag and its value.
func TestEverySettingIsChecked(t *testing.T) {
	for _, s := range table {
		if s.check == nil && s.kind() != kindSwitch {
			t.Errorf("%s is not checked", s.name)
		}
		if s.usage == "" || s.kind() != kindSwitch && s.value == "" {
			t.Errorf("%s is not explained", s.name)
		}
	}
}
