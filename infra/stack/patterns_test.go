package stack

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/lambdas/filter/eventfilter"
	"soci-index-builder/lambdas/indexgen/generator"
)

// These tests read the parameters as this package describes them and need no
// Node.js; TestParametersOfTheTemplate holds the template against them.

// parameters returns all, by name.
func parameters() map[string]parameter {
	all := map[string]parameter{}
	for _, p := range slices.Concat(inBucket, asImages, everywhere) {
		all[p.name] = p
	}
	return all
}

var wholePatterns = map[string]*regexp.Regexp{}

// accepts reports whether CloudFormation takes the value: the pattern must match
// the whole of it, or of each value of a list.
func accepts(t *testing.T, p parameter, value string) bool {
	t.Helper()
	compiled, ok := wholePatterns[p.pattern]
	if !ok {
		compiled = regexp.MustCompile(`\A(?:` + p.pattern + `)\z`)
		wholePatterns[p.pattern] = compiled
	}
	switch {
	case p.values != nil:
		return slices.Contains(p.values, value)
	case p.pattern == "":
		t.Fatalf("%s has neither a pattern nor values", p.name)
		return false
	case p.kind == "CommaDelimitedList":
		return !slices.ContainsFunc(strings.Split(value, ","), func(one string) bool {
			return !compiled.MatchString(strings.TrimSpace(one))
		})
	}
	return compiled.MatchString(value)
}

func TestParameterValues(t *testing.T) {
	const good, bad = true, false
	long := func(n int) string { return strings.Repeat("a", n) }
	const (
		host   = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/"
		digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	)
	images := map[string]bool{
		host + "soci/filter" + digest: good, host + "a" + digest: good,
		host + "stack0150919004/filter-function_a.b" + digest:           good,
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a" + digest:   good,
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu/a" + digest:   good,
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk/a" + digest: good,
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov/a" + digest:      good,
		"": bad, host + "a:v1": bad, host + "a": bad, host + digest: bad, host + "A" + digest: bad,
		host + "a" + digest + "0": bad,
		host + "a@sha256:0123":    bad, "docker.io/library/a" + digest: bad,
		"12345678901.dkr.ecr.eu-west-1.amazonaws.com/a" +
			digest: bad,
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/a" + digest: bad, // Lambda refuses it
	}
	tests := map[string]map[string]bool{
		deployed.ParamFilters: {
			"*:*": good, "app:latest": good, "prod/*:*": good, "a/b/c:v1": good, "*/app:*": good, "a*b:*c": good,
			"**:**":           good,
			"app:Release-1.0": good, "app:V*": good, "app:ALL_CAPS": good, // capital letters in tags
			"my_app:v1": good, "my__app:v1": good, "my--app:v1": good, "my---app:v1": good, "my.app:v1": good,
			"my-*:*":  good,
			"app:_v1": good, "app:v_1": good, "app:v__1": good, "app:v--1": good,
			"app:1.2.3":  good,                                                   // leading _ in tags
			"!*:*-debug": good, "*:*,!*:*-debug": good, "*:*, !lambda/*:*": good, // a leading !
			"a:" + long(128): good,
			"":               bad, "app": bad, "app:": bad, ":v1": bad, "*:*,": bad, ",*:*": bad, "*:*,,a:b": bad,
			"App:v1": bad, "app/:v1": bad, "/app:v1": bad, "a//b:v1": bad, "-app:v1": bad, "_app:v1": bad,
			"app_:v1":     bad,
			"my___app:v1": bad, "my._app:v1": bad, "my.-app:v1": bad, "app:.v1": bad, "app:-v1": bad, "app:v1:2": bad,
			"app:v/1": bad,
			"!!a:b":   bad, "! a:b": bad, "a!:b": bad, "app:v1@sha256": bad, "a b:c": bad, "a:b c": bad, "a:b;c:d": bad,
			"a:?": bad, "größe:v1": bad,
			"a:" + long(129): bad,
		},
		deployed.ParamIndexVersion: {"V1": good, "V2": good, "Both": good, "": bad, "v2": bad, "V1,V2": bad,
			"both": bad},
		deployed.ParamTagSuffix: {
			"-soci": good, "_SOCI": good, ".lazy": good, "x": good, long(127): good,
			"": bad, long(128): bad, "+soci": bad, "-so ci": bad, "/soci": bad, "-söci": bad, ":soci": bad,
		},
		deployed.ParamTagUnindexed:     {"true": good, "false": good, "": bad, "True": bad, "yes": bad, "1": bad},
		deployed.ParamPrefetch:         {"true": good, "false": good, "": bad, "True": bad, "on": bad},
		deployed.ParamIndexUntagged:    {"true": good, "false": good, "": bad, "TRUE": bad},
		deployed.ParamIndexReplicated:  {"true": good, "false": good, "no": bad},
		deployed.ParamIndexPullThrough: {"true": good, "false": good, "0": bad},
		deployed.ParamMinLayerSizeMiB: {"0": good, "1": good, "10": good, "9999": good, "51999": good, "52000": good,
			"": bad, "-1": bad, "52001": bad, "60000": bad, "100000": bad, "1.5": bad, "1e3": bad, "010": bad,
			"ten": bad,
			" 1":  bad},
		deployed.ParamLogRetentionDays: {"1": good, "30": good, "3653": good, "0": bad, "2": bad, "31": bad, "": bad},
		deployed.ParamLogLevel: {"DEBUG": good, "INFO": good, "WARN": good, "ERROR": good, "": bad, "info": bad,
			"TRACE": bad},
		deployed.ParamPermissionsBoundary: {
			"": good, "arn:aws:iam::123456789012:policy/boundary": good,
			"arn:aws-cn:iam::123456789012:policy/a/b/c":      good,
			"arn:aws-us-gov:iam::aws:policy/PowerUserAccess": good, "arn:aws:iam::123456789012:policy/a+=,.@_-": good,
			"boundary": bad, "arn:aws:iam::123456789012:role/boundary": bad, "arn:aws:iam::12345:policy/boundary": bad,
			"arn:aws:iam::123456789012:policy/": bad, "*": bad,
		},
		deployed.ParamAlarmTopic: {
			"": good, "arn:aws:sns:eu-west-1:123456789012:alarms": good,
			"arn:aws-cn:sns:cn-north-1:123456789012:My_Alarms-1":  good,
			"arn:aws-eusc:sns:eusc-de-east-1:123456789012:alarms": good,
			"alarms": bad, "arn:aws:sqs:eu-west-1:123456789012:alarms": bad, "arn:aws:sns:eu-west-1:123456789012:": bad,
			"arn:aws:sns:eu-west-1:123456789012:a:b": bad,
		},
		deployed.ParamEventBus: {
			"": good, "default": good, "team-events": good, "aws.partner/example.com/x": good, "A_b.c-1": good,
			"my bus": bad, "arn:aws:events:eu-west-1:123456789012:event-bus/x": bad, "bus*": bad, long(257): bad,
		},
		deployed.ParamFanOutFromGiB: {"0": good, "8": good, "99999": good, "": bad, "-1": bad, "08": bad, "1.5": bad,
			"100000": bad, "8GiB": bad},
		deployed.ParamFanOutConcurrency: {"1": good, "20": good, "40": good, "": bad, "0": bad, "41": bad, "1.5": bad,
			"020": bad},
		deployed.ParamPlatforms: {"linux": good, "linux/amd64": good, "linux/amd64,linux/arm64": good,
			"linux,windows": good,
			"linux/arm/v7":  good, "amd64": bad, "linux,arm64": bad,
			"": bad, "Linux": bad, "linux/": bad, "linux,": bad, ",linux": bad, "linux, windows": bad,
			"linux/amd64/v2/x": bad, "*": bad},
		deployed.ParamSubnets: {"": good, "subnet-0123456789abcdef0": good, "subnet-01234567": good,
			"subnet-01234567,subnet-0123456789abcdef0": good, "subnet-1": bad, "vpc-01234567": bad,
			"subnet-01234567,":                 bad,
			"subnet-01234567, subnet-01234568": bad, "subnet-0123456G": bad, "sg-01234567": bad,
			strings.Repeat("subnet-01234567,", 15) + "subnet-01234567": good,
			strings.Repeat("subnet-01234567,", 16) + "subnet-01234567": bad},
		deployed.ParamSecurityGroups: {"": good, "sg-0123456789abcdef0": good, "sg-01234567,sg-0123456789abcdef0": good,
			"default": bad, "sg-": bad, "sg-01234567;sg-01234568": bad, "subnet-01234567": bad},
		deployed.ParamSigningProfiles: {
			"": good, "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/ecr_1": good,
			"arn:aws-cn:signer:cn-north-1:123456789012:/signing-profiles/ab,arn:aws:signer:eu-west-1:123456789012:" +
				"/signing-profiles/cd": good,
			strings.Repeat("arn:aws:signer:eu-west-1:123456789012:/signing-profiles/ab,", 3) +
				"arn:aws:signer:eu-west-1:123456789012:/signing-profiles/ab": bad, // a role has no room for more
			"ecr_1": bad, "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/*": bad, "*": bad,
			"arn:aws:signer:eu-west-1:123456789012:/signing-profiles/": bad,
			"arn:aws:kms:eu-west-1:123456789012:/signing-profiles/ab":  bad,
		},
		deployed.ParamCodeBucket: {"my-bucket": good, "a.b.c": good, "123": good, "": bad, "ab": bad, "My-Bucket": bad,
			"-bucket": bad, "bucket-": bad, "s3://bucket": bad, long(64): bad},
		deployed.ParamFilterImage: images, deployed.ParamGeneratorImage: images,
		deployed.ParamRepositoryNameImage: images,
		deployed.ParamCodeKeyPrefix: {"soci-index-builder/0.1.0/0123abcd/arm64/": good, "x/": good, "": bad, "x": bad,
			"/x/": bad, "a b/": bad},
	}
	all := parameters()
	for name, values := range tests {
		for value, want := range values {
			if got := accepts(t, all[name], value); got != want {
				t.Errorf("%s takes %q: %t, want %t", name, value, got, want)
			}
		}
	}
	numbers := map[string][2]float64{deployed.ParamGeneratorMemorySize: {512, 10240},
		deployed.ParamGeneratorConcurrency: {0, -1}, deployed.ParamStepsMemorySize: {512, 10240}}
	for name, p := range all {
		limits, number := numbers[name]
		if _, ok := tests[name]; ok == number {
			t.Errorf("%s has no row", name)
		}
		if number {
			expect.Equal(t, expect.Facts{
				{"type", p.kind, "Number"},
				{"least", bound(p.low), limits[0]},
				{"most", bound(p.high), limits[1]},
			}, "%s", name)
		}
		if p.byDefault != nil && !number && !accepts(t, p, fmt.Sprint(p.byDefault)) {
			t.Errorf("%s does not take its own default %v", name, p.byDefault)
		}
		if p.description == "" || (p.constraint == "") != (p.values != nil) {
			t.Errorf("%s is not described: %+v", name, p)
		}
	}
}

// bound returns a limit of a number, or -1 when there is none.
func bound(limit *float64) float64 {
	if limit == nil {
		return -1
	}
	return *limit
}

// The template's patterns and the functions accept the same values: one that only
// the functions refuse would be noticed when events are lost.
func TestPatternsAgreeWithFunctions(t *testing.T) {
	all := parameters()
	generatorTakes := func(variable, value string) bool {
		_, err := generator.ReadConfig(func(name string) string {
			if name == variable {
				return value
			}
			return ""
		})
		return err == nil
	}
	filterTakes := func(list string) bool {
		_, err := eventfilter.ReadConfig(func(name string) string {
			return map[string]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": list,
				"SOCI_INDEX_GENERATOR_LAMBDA_ARN": "arn:aws:lambda:eu-west-1:123456789012:function:g"}[name]
		})
		return err == nil
	}
	random := rand.New(rand.NewPCG(3, 4))
	word := func(letters string, most int) string {
		b := make([]byte, random.IntN(most+1))
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	agree := map[string]struct {
		make  func() string
		takes func(string) bool
		skip  func(string) bool // on which they may differ
	}{
		// Package filters tests the pattern with a larger corpus.
		deployed.ParamFilters: {func() string {
			list := []string{}
			for range 1 + random.IntN(3) {
				list = append(list, word("!", 1)+word("ab9*", 2)+word("a*/._-A", 2)+word("ab9*", 1)+":"+word("aZ_*", 1)+
					word("aZ_*.-:", 2))
			}
			return strings.Join(list, ",")
		}, filterTakes, func(list string) bool {
			// No pattern sees that nothing but exclusions is there.
			return !slices.ContainsFunc(strings.Split(list, ","),
				func(one string) bool { return !strings.HasPrefix(one, "!") })
		}},
		deployed.ParamTagSuffix: {func() string {
			if random.IntN(10) == 0 {
				return strings.Repeat("s", 120+random.IntN(15))
			}
			return word("-_.aZ09+ /:", 4)
		}, func(v string) bool { return generatorTakes("SOCI_TAG_SUFFIX", v) },
			func(v string) bool { return v == "" }}, // empty is the default
		deployed.ParamMinLayerSizeMiB: {func() string { return word("0123456789.-e ", 6) },
			func(v string) bool { return generatorTakes("SOCI_MIN_LAYER_SIZE_MIB", v) },
			func(v string) bool {
				return v == "" || len(v) > 1 && v[0] == '0' ||
					strings.HasPrefix(v, "-0")
			}}, // zeros in front
		deployed.ParamPlatforms: {func() string {
			list := []string{}
			for range 1 + random.IntN(2) {
				list = append(list, word("lA_", 1)+word("linux9", 2)+word("/", 1)+word("am6_", 2)+word("/v.", 1)+
					word("7", 1))
			}
			return strings.Join(list, ",")
		}, func(v string) bool { return generatorTakes("SOCI_PLATFORMS", v) },
			func(v string) bool { return v == "" }}, // empty is the default
		deployed.ParamEventBus: {func() string { return word("aZ0._-/ :*", 8) },
			func(v string) bool { return generatorTakes("SOCI_EVENT_BUS", v) }, func(string) bool { return false }},
		deployed.ParamIndexVersion: {func() string {
			return []string{"V1", "V2", "Both", "v1", "V3",
				"BOTH"}[random.IntN(6)]
		},
			func(v string) bool { return generatorTakes("SOCI_INDEX_VERSION", v) }, func(string) bool { return false }},
		deployed.ParamTagUnindexed: {func() string {
			return []string{"true", "false", "yes", "TRUE",
				"1"}[random.IntN(5)]
		},
			func(v string) bool { return generatorTakes("SOCI_TAG_UNINDEXED_IMAGES", v) },
			func(string) bool { return false }},
		deployed.ParamPrefetch: {func() string { return []string{"true", "false", "on", "False", "0"}[random.IntN(5)] },
			func(v string) bool { return generatorTakes("SOCI_PREFETCH", v) }, func(string) bool { return false }},
		deployed.ParamLogLevel: {func() string {
			return []string{"DEBUG", "INFO", "WARN", "ERROR", "debug",
				"FATAL"}[random.IntN(6)]
		},
			func(v string) bool { return generatorTakes("LOG_LEVEL", v) }, func(string) bool { return false }},
	}
	for name, a := range agree {
		good, bad := 0, 0
		for range 5000 {
			value := a.make()
			if a.skip(value) {
				continue
			}
			console, function := accepts(t, all[name], value), a.takes(value)
			if console != function {
				t.Errorf("%s %q: the parameter takes it: %t, the function: %t", name, value, console, function)
			}
			if console {
				good++
			} else {
				bad++
			}
		}
		if good < 100 || bad < 100 {
			t.Errorf("%s: %d good values and %d bad ones tell little", name, good, bad)
		}
	}
}

// The template has the parameters as they are described, and nothing else.
func TestParametersOfTheTemplate(t *testing.T) {
	all := parameters()
	for tmpl, described := range map[*template][]parameter{
		synth(t): Props{}.parameters(), synthImages(t): Props{Images: true}.parameters(),
		synthAssets(t): Props{CodeFolder: "x"}.parameters(),
	} {
		var want []string
		for _, p := range described {
			want = append(want, p.name)
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(tmpl.Parameters)); !slices.Equal(got, want) {
			t.Errorf("the parameters are\n%q, want\n%q", got, want)
		}
		for name, got := range tmpl.Parameters {
			p := all[name]
			expect.Equal(t, expect.Facts{
				{"AllowedPattern", got.AllowedPattern, p.pattern},
				{"Description", got.Description, p.description},
				{"ConstraintDescription", got.ConstraintDescription, p.constraint},
				{"no default", got.Default == nil, p.byDefault == nil},
			}, "parameter %s", name)
			if len(got.AllowedValues) != len(p.values) {
				t.Errorf("%s allows %v, want %q", name, got.AllowedValues, p.values)
			}
		}
	}
}
