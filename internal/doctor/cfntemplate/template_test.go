package cfntemplate_test

import (
	"errors"
	"reflect"
	"testing"

	"soci-index-builder/internal/doctor/cfntemplate"
)

const frame = `{
	"Parameters": {
		"Name": {"Type": "String", "Default": "app"},
		"Count": {"Type": "Number", "Default": 1000000},
		"Given": {"Type": "String"},
		"List": {"Type": "CommaDelimitedList", "Default": "a:*, b:*"}
	},
	"Conditions": {
		"IsApp": {"Fn::Equals": [{"Ref": "Name"}, "app"]},
		"NotApp": {"Fn::Not": [{"Condition": "IsApp"}]},
		"Both": {"Fn::And": [{"Condition": "IsApp"}, {"Fn::Equals": [{"Ref": "Count"}, "1000000"]}]},
		"Either": {"Fn::Or": [{"Condition": "NotApp"}, {"Condition": "Both"}]},
		"Neither": {"Fn::Or": [{"Condition": "NotApp"}, {"Fn::Equals": [{"Ref": "Given"}, ""]}]}
	},
	"Resources": {
		"Queue": {"Type": "AWS::SQS::Queue"},
		"Role": {"Type": "AWS::IAM::Role"},
		"It": {"Type": "X", "Properties": {"P": VALUE}}
	},
	"Outputs": {
		"Out": {"Value": {"Ref": "Queue"}},
		"NoOut": {"Condition": "NotApp", "Value": "x"}
	}
}`

func resolve(t *testing.T, value string) (map[string]cfntemplate.Resource, error) {
	t.Helper()
	template, err := cfntemplate.Parse([]byte(replace(frame, value)))
	if err != nil {
		t.Fatal(err)
	}
	return template.Resolve(values)
}

func replace(frame, value string) string {
	const place = "VALUE"
	for i := range frame {
		if frame[i:min(i+len(place), len(frame))] == place {
			return frame[:i] + value + frame[i+len(place):]
		}
	}
	return frame
}

var values = cfntemplate.Values{
	Parameters: map[string]string{"Given": "given"},
	StackName:  "s", StackID: "arn:s", Region: "eu-west-1", Account: "123456789012", Partition: "aws",
	Attribute: func(id, name string) (any, bool) {
		switch id + "." + name {
		case "Queue.":
			return "https://queue", true
		case "Queue.Arn":
			return "arn:queue", true
		case "Queue.Numbers":
			return []any{"1", "2"}, true
		}
		return nil, false
	},
}

func TestResolve(t *testing.T) {
	list := func(v ...any) any { return v }
	tests := []struct {
		name, value string
		want        any
	}{
		{"scalars", `["a", 1.5, true, null]`, list("a", 1.5, true, nil)},
		{"nested", `{"a": {"b": [{"c": {"Ref": "Name"}}]}}`,
			map[string]any{"a": map[string]any{"b": list(map[string]any{"c": "app"})}}},
		{"parameter", `{"Ref": "Given"}`, "given"},
		{"number", `{"Ref": "Count"}`, "1000000"},
		{"list", `{"Ref": "List"}`, list("a:*", "b:*")},
		{"pseudo parameters",
			`{"Fn::Join": ["/", [{"Ref": "AWS::StackName"}, {"Ref": "AWS::StackId"}, {"Ref": "AWS::Region"}, {"Ref": "AWS::AccountId"}, {"Ref": "AWS::Partition"}]]}`, "s/arn:s/eu-west-1/123456789012/aws"},
		{"resource", `{"Ref": "Queue"}`, "https://queue"},
		{"attribute", `{"Fn::GetAtt": ["Queue", "Arn"]}`, "arn:queue"},
		{"attribute with a dot", `{"Fn::GetAtt": "Queue.Arn"}`, "arn:queue"},
		{"unknown attribute", `{"Fn::GetAtt": ["Role", "Arn"]}`, cfntemplate.Unknown},
		{"unknown in a text", `{"Fn::Join": ["", ["x", {"Fn::GetAtt": ["Role", "Arn"]}]]}`, cfntemplate.Unknown},
		{"join a list", `{"Fn::Join": [",", {"Ref": "List"}]}`, "a:*,b:*"},
		{"select", `{"Fn::Select": [1, {"Fn::Split": ["-", {"Ref": "AWS::Region"}]}]}`, "west"},
		{"select of an attribute", `{"Fn::Select": ["0", {"Fn::GetAtt": ["Queue", "Numbers"]}]}`, "1"},
		{"sub", `{"Fn::Sub": "${AWS::StackName}-${Name}:${Queue.Arn}:${!Literal}"}`, "s-app:arn:queue:${Literal}"},
		{"sub with names", `{"Fn::Sub": ["${X}-${Name}", {"X": {"Ref": "Given"}}]}`, "given-app"},
		{"sub of the unknown", `{"Fn::Sub": "x${Role.Arn}"}`, cfntemplate.Unknown},
		{"if", `{"Fn::If": ["Either", "yes", "no"]}`, "yes"},
		{"if not", `{"Fn::If": ["Neither", "yes", {"Ref": "Name"}]}`, "app"},
		{"no value in a list", `[1, {"Fn::If": ["NotApp", 2, {"Ref": "AWS::NoValue"}]}]`, list(1.0)},
		{"no value in an object", `{"a": {"Ref": "AWS::NoValue"}, "b": 1}`, map[string]any{"b": 1.0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resources, err := resolve(t, tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if got := resources["It"].Properties["P"]; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  error
	}{
		{`{"Ref": "Nobody"}`, cfntemplate.ErrUnknownName},
		{`{"Fn::GetAtt": ["Nobody", "Arn"]}`, cfntemplate.ErrUnknownName},
		{`{"Fn::Sub": "${Nobody.Arn}"}`, cfntemplate.ErrUnknownName},
		{`{"Fn::If": ["Nobody", 1, 2]}`, cfntemplate.ErrUnknownName},
		{`{"Fn::Base64": "x"}`, cfntemplate.ErrUnsupported},
		{`{"Fn::FindInMap": ["a", "b", "c"]}`, cfntemplate.ErrUnsupported},
		{`{"Fn::Join": [",", "x"]}`, cfntemplate.ErrUnsupported},
		{`{"Fn::Select": [5, ["a"]]}`, cfntemplate.ErrUnsupported},
		{`{"Ref": 1}`, cfntemplate.ErrUnsupported},
		{`{"Fn::GetAtt": "Queue"}`, cfntemplate.ErrUnsupported},
	} {
		if resources, err := resolve(t, tt.value); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.value, resources, err, tt.want)
		}
	}
	if _, err := cfntemplate.Parse([]byte("Resources:\n  A: 1\n")); !errors.Is(err, cfntemplate.ErrNotJSON) {
		t.Errorf("YAML: %v", err)
	}
}

func TestConditions(t *testing.T) {
	template, err := cfntemplate.Parse([]byte(replace(frame, `"x"`)))
	if err != nil {
		t.Fatal(err)
	}
	it := template.Resources["It"]
	for condition, there := range map[string]bool{"IsApp": true, "NotApp": false, "Both": true, "Either": true,
		"Neither": false} {
		it.Condition = condition
		template.Resources["It"] = it
		resources, err := template.Resolve(values)
		if _, ok := resources["It"]; err != nil || ok != there {
			t.Errorf("%s: %t, %v", condition, ok, err)
		}
	}
	outputs, err := template.ResolveOutputs(values)
	if want := (map[string]any{"Out": "https://queue"}); err != nil || !reflect.DeepEqual(outputs, want) {
		t.Errorf("outputs %v, %v, want %v", outputs, err, want)
	}
}

func TestRefusals(t *testing.T) {
	template, err := cfntemplate.Parse([]byte(`{
		"Parameters": {"A": {"Type": "String", "Default": ""}, "B": {"Type": "String", "Default": ""}},
		"Resources": {},
		"Rules": {"Both": {"Assertions": [{"Assert": {"Fn::Or": [{"Fn::Equals": [{"Ref": "A"}, {"Ref": "B"}]},
			{"Fn::Not": [{"Fn::Or": [{"Fn::Equals": [{"Ref": "A"}, ""]}, {"Fn::Equals": [{"Ref": "B"}, ""]}]}]}]},
			"AssertDescription": "both or none"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a, b string
		want []string
	}{{"", "", nil}, {"a", "b", nil}, {"a", "", []string{"both or none"}}, {"", "b", []string{"both or none"}}} {
		got, err := template.Refusals(cfntemplate.Values{Parameters: map[string]string{"A": tt.a, "B": tt.b}})
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q and %q: %q, %v, want %q", tt.a, tt.b, got, err, tt.want)
		}
	}
}
