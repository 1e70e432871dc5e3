package stack

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// namesOf lists, for every type of resource that the stack may have, the
// properties that name it within account and region. What is not named here
// is named by CloudFormation.
var namesOf = map[string][]string{
	"AWS::CloudWatch::Alarm":            {"AlarmName"},
	"AWS::CloudWatch::Dashboard":        {"DashboardName"},
	"AWS::ECR::PullTimeUpdateExclusion": nil, // of a principal
	"AWS::Events::Rule":                 {"Name"},
	"AWS::IAM::Role":                    {"RoleName"},
	"AWS::IAM::RolePolicy":              nil, // PolicyName is a name within the role
	"AWS::Lambda::EventInvokeConfig":    nil, // FunctionName is whose it is
	"AWS::Lambda::Function":             {"FunctionName"},
	"AWS::Lambda::Permission":           nil,
	"AWS::Logs::LogGroup":               {"LogGroupName"},
	"AWS::Logs::QueryDefinition":        {"Name"},
	"AWS::SQS::Queue":                   {"QueueName"},
	"AWS::SQS::QueuePolicy":             nil,
	"Custom::SociRepositoryArns":        nil,
}

// mustHaveNames are the types whose names CloudFormation does not choose, or
// not so that a person finds them.
var mustHaveNames = []string{"AWS::CloudWatch::Dashboard", "AWS::Logs::LogGroup", "AWS::Logs::QueryDefinition"}

// physicalNames returns type and name of every resource of a stack with a name
// of its own.
func physicalNames(t *testing.T, tmpl *template, stack string) map[string]string {
	t.Helper()
	names := map[string]string{}
	for id, r := range tmpl.Resources {
		properties, ok := namesOf[r.Type]
		if !ok {
			t.Errorf("%s: which property of a %s is a name?", id, r.Type)
		}
		named := false
		for _, property := range properties {
			name := r.at(property)
			if name == "" {
				continue
			}
			named = true
			name = strings.ReplaceAll(name, "${AWS::StackName}", stack)
			if strings.Contains(name, "${") {
				t.Errorf("%s: %s depends on more than the stack's name: %q", id, property, name)
			}
			if !strings.HasPrefix(strings.TrimPrefix(name, "/aws/lambda/"), stack) {
				t.Errorf("%s: %s does not begin with the stack's name: %q", id, property, name)
			}
			key := r.Type + " " + name
			if other, twice := names[key]; twice {
				t.Errorf("%s and %s are both called %q", id, other, name)
			}
			names[key] = id
		}
		if !named && slices.Contains(mustHaveNames, r.Type) {
			t.Errorf("%s, a %s, has no name", id, r.Type)
		}
	}
	return names
}

// Two stacks live side by side in one account and region, also when the name
// of one begins with that of the other.
func TestTwoStacksShareNoName(t *testing.T) {
	plain, assets := synth(t), synthAssets(t)
	for _, two := range [][2]string{{"first", "second"}, {"soci", "soci-index"}, {"a", "b"}} {
		one, other := physicalNames(t, plain, two[0]), physicalNames(t, assets, two[1])
		if len(one) < 3 || len(one) != len(other) {
			t.Fatalf("names %q and %q", slices.Sorted(maps.Keys(one)), slices.Sorted(maps.Keys(other)))
		}
		for name, id := range one {
			if _, ok := other[name]; ok {
				t.Errorf("%s of stack %s is in stack %s too: %s", id, two[0], two[1], name)
			}
		}
	}
	for id, r := range plain.Resources {
		if r.Type == "AWS::Logs::LogGroup" && assets.Resources[id].Type != r.Type {
			t.Errorf("%s is in one template alone", id)
		}
	}
}

// The longest name that a stack can have leaves room for the names made of it.
func TestNamesOfTheLongestStack(t *testing.T) {
	const longest = 128
	most := map[string]int{
		"AWS::CloudWatch::Alarm":     255,
		"AWS::CloudWatch::Dashboard": 255,
		"AWS::Logs::LogGroup":        512,
		"AWS::Logs::QueryDefinition": 255,
	}
	for name := range physicalNames(t, synth(t), strings.Repeat("n", longest)) {
		kind, name, _ := strings.Cut(name, " ")
		if limit, ok := most[kind]; !ok || len(name) > limit {
			t.Errorf("the %s %q has %d characters, at most %d are allowed", kind, name, len(name), limit)
		}
	}
}

// The log groups are those that the documentation and the command line name.
func TestLogGroupNames(t *testing.T) {
	tmpl := synth(t)
	for id, want := range map[string]string{
		"GeneratorLogGroup":      "/aws/lambda/${AWS::StackName}-SociIndexGeneratorLambda",
		"FilterLogGroup":         "/aws/lambda/${AWS::StackName}-ECRImageActionEventFilteringLambda",
		"RepositoryNameLogGroup": "/aws/lambda/${AWS::StackName}-RepositoryNameParsingLambda",
	} {
		if got := tmpl.Resources[id].at("LogGroupName"); got != want {
			t.Errorf("%s is called %q, want %q", id, got, want)
		}
	}
	if got := tmpl.ids("AWS::Logs::LogGroup"); len(got) != 3 {
		t.Errorf("log groups %q, want one for each function", got)
	}
}
