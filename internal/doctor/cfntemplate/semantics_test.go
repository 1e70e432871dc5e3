package cfntemplate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"soci-index-builder/internal/doctor/cfntemplate"
)

// unknownText stands for Unknown in a wanted value.
const unknownText = "<unknown>"

// CloudFormation's results for templates, written down from its reference. The
// tests of doctor deploy with the same resolver that doctor judges with, so they
// cannot see a fault of it; this one can.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
func TestSemantics(t *testing.T) {
	type given = map[string]string
	tests := []struct {
		name       string
		parameters string // JSON, "" for none
		conditions string
		properties string // of the resource It
		given      given
		want       string // properties as JSON; "absent": the resource is not there
		err        error
	}{
		// Ref.
		{name: "default of a parameter", parameters: `{"P": {"Type": "String", "Default": "d"}}`,
			properties: `{"A": {"Ref": "P"}}`, want: `{"A": "d"}`},
		{name: "value before default", parameters: `{"P": {"Type": "String", "Default": "d"}}`,
			properties: `{"A": {"Ref": "P"}}`, given: given{"P": "v"}, want: `{"A": "v"}`},
		{name: "empty value before default", parameters: `{"P": {"Type": "String", "Default": "d"}}`,
			properties: `{"A": {"Ref": "P"}}`, given: given{"P": ""}, want: `{"A": ""}`},
		{name: "empty default", parameters: `{"P": {"Type": "String", "Default": ""}}`,
			properties: `{"A": {"Ref": "P"}}`,
			want:       `{"A": ""}`},
		{name: "neither", parameters: `{"P": {"Type": "String"}}`, properties: `{"A": {"Ref": "P"}}`,
			err: cfntemplate.ErrNoValue},
		{name: "number, a text", parameters: `{"P": {"Type": "Number", "Default": 1769}}`,
			properties: `{"A": {"Ref": "P"}, "B": 1769}`, want: `{"A": "1769", "B": 1769}`},
		{name: "fraction", parameters: `{"P": {"Type": "Number", "Default": 0.5}}`, properties: `{"A": {"Ref": "P"}}`,
			want: `{"A": "0.5"}`},
		{name: "list, blanks trimmed", parameters: `{"P": {"Type": "CommaDelimitedList"}}`,
			properties: `{"A": {"Ref": "P"}}`,
			given:      given{"P": "a, b ,c"}, want: `{"A": ["a", "b", "c"]}`},
		{name: "list of one", parameters: `{"P": {"Type": "List<Number>"}}`, properties: `{"A": {"Ref": "P"}}`,
			given: given{"P": "1"}, want: `{"A": ["1"]}`},
		{name: "value kept in SSM", parameters: `{"P": {"Type": "AWS::SSM::Parameter::Value<String>"}}`,
			properties: `{"A": {"Ref": "P"}}`, given: given{"P": "/name"}, want: `{"A": "<unknown>"}`},
		{name: "resource", properties: `{"A": {"Ref": "Other"}}`, want: `{"A": "other-name"}`},
		{name: "no such name", properties: `{"A": {"Ref": "Nobody"}}`, err: cfntemplate.ErrUnknownName},

		// Pseudo parameters.
		{name: "pseudo parameters",
			properties: `{"A": [{"Ref": "AWS::Partition"}, {"Ref": "AWS::Region"}, {"Ref": "AWS::AccountId"}, {"Ref": "AWS::StackName"}, {"Ref": "AWS::StackId"}]}`,
			want:       `{"A": ["aws-cn", "cn-north-1", "123456789012", "my-stack", "arn:stack"]}`},
		{name: "what is not known of the stack", properties: `{"A": {"Ref": "AWS::URLSuffix"}}`,
			want: `{"A": "<unknown>"}`},

		// Conditions and Fn::If.
		{name: "equals", parameters: `{"P": {"Type": "String"}}`,
			conditions: `{"It": {"Fn::Equals": [{"Ref": "P"}, "true"]}}`, given: given{"P": "true"}, want: `{}`},
		{name: "equals, not so", parameters: `{"P": {"Type": "String"}}`,
			conditions: `{"It": {"Fn::Equals": [{"Ref": "P"}, "true"]}}`, given: given{"P": "True"}, want: "absent"},
		{name: "equals, number and text", parameters: `{"P": {"Type": "Number"}}`,
			conditions: `{"It": {"Fn::Equals": [{"Ref": "P"}, 0]}}`, given: given{"P": "0"}, want: `{}`},
		{name: "equals, empty", parameters: `{"P": {"Type": "String"}}`,
			conditions: `{"It": {"Fn::Not": [{"Fn::Equals": [{"Ref": "P"}, ""]}]}}`, given: given{"P": ""},
			want: "absent"},
		{name: "equals of the unknown",
			conditions: `{"It": {"Fn::Equals": [{"Ref": "AWS::URLSuffix"}, {"Ref": "AWS::URLSuffix"}]}}`,
			err:        cfntemplate.ErrUnsupported},
		{name: "equals of a list", parameters: `{"P": {"Type": "CommaDelimitedList", "Default": "a"}}`,
			conditions: `{"It": {"Fn::Equals": [{"Ref": "P"}, "a"]}}`, err: cfntemplate.ErrUnsupported},
		{name: "equals of a function",
			conditions: `{"It": {"Fn::Equals": [{"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "AWS::Region"}]}]}, "cn"]}}`,
			want:       `{}`},
		{name: "and, all",
			conditions: `{"It": {"Fn::And": [{"Fn::Equals": ["a", "a"]}, {"Fn::Equals": ["b", "b"]}, {"Fn::Not": [{"Fn::Equals": ["a", "b"]}]}]}}`, want: `{}`},
		{name: "and, not the last",
			conditions: `{"It": {"Fn::And": [{"Fn::Equals": ["a", "a"]}, {"Fn::Equals": ["a", "b"]}]}}`,
			want:       "absent"},
		{name: "or, the last",
			conditions: `{"It": {"Fn::Or": [{"Fn::Equals": ["a", "b"]}, {"Fn::Equals": ["a", "a"]}]}}`,
			want:       `{}`},
		{name: "or, none", conditions: `{"It": {"Fn::Or": [{"Fn::Equals": ["a", "b"]}, {"Fn::Equals": ["b", "a"]}]}}`,
			want: "absent"},
		{name: "condition of conditions",
			conditions: `{"It": {"Fn::And": [{"Condition": "B"}, {"Fn::Not": [{"Condition": "C"}]}]}, "B": {"Fn::Not": [{"Condition": "C"}]}, "C": {"Fn::Equals": ["a", "b"]}}`, want: `{}`},
		{name: "condition of itself",
			conditions: `{"It": {"Fn::Not": [{"Condition": "B"}]}, "B": {"Fn::Or": [{"Condition": "It"}, {"Condition": "It"}]}}`,
			err:        cfntemplate.ErrUnsupported},
		{name: "if", conditions: `{"Y": {"Fn::Equals": ["a", "a"]}, "N": {"Fn::Equals": ["a", "b"]}}`,
			properties: `{"A": {"Fn::If": ["Y", 1, 2]}, "B": {"Fn::If": ["N", 1, 2]}}`, want: `{"A": 1, "B": 2}`},
		{name: "if within if", conditions: `{"Y": {"Fn::Equals": ["a", "a"]}, "N": {"Fn::Equals": ["a", "b"]}}`,
			properties: `{"A": {"Fn::If": ["N", 1, {"Fn::If": ["Y", {"B": [{"Ref": "AWS::Region"}]}, 3]}]}}`,
			want:       `{"A": {"B": ["cn-north-1"]}}`},
		{name: "the branch not taken is not looked at", conditions: `{"N": {"Fn::Equals": ["a", "b"]}}`,
			properties: `{"A": {"Fn::If": ["N", {"Ref": "Nobody"}, 2]}}`, want: `{"A": 2}`},
		{name: "no such condition", properties: `{"A": {"Fn::If": ["Nobody", 1, 2]}}`, err: cfntemplate.ErrUnknownName},

		// AWS::NoValue.
		{name: "no value, a property", conditions: `{"N": {"Fn::Equals": ["a", "b"]}}`,
			properties: `{"A": {"Fn::If": ["N", 1, {"Ref": "AWS::NoValue"}]}, "B": 1}`, want: `{"B": 1}`},
		{name: "no value, within", properties: `{"A": {"B": {"Ref": "AWS::NoValue"}}}`, want: `{"A": {}}`},
		{name: "no value, in a list", properties: `{"A": [1, {"Ref": "AWS::NoValue"}, 2]}`, want: `{"A": [1, 2]}`},
		{name: "no value, in a join", properties: `{"A": {"Fn::Join": ["-", ["a", {"Ref": "AWS::NoValue"}, "b"]]}}`,
			want: `{"A": "a-b"}`},
		{name: "no value, of a join", properties: `{"A": {"Fn::Join": [",", {"Ref": "AWS::NoValue"}]}}`,
			err: cfntemplate.ErrUnsupported},
		{name: "no argument", properties: `{"A": {"Ref": []}}`, err: cfntemplate.ErrUnsupported},
		{name: "too many arguments", properties: `{"A": {"Fn::GetAtt": ["a", "b", "c"]}}`,
			err: cfntemplate.ErrUnsupported},
		{name: "no value, in a sub", properties: `{"A": {"Fn::Sub": "a${AWS::NoValue}"}}`,
			err: cfntemplate.ErrUnsupported},
		{name: "no value, all properties", conditions: `{"N": {"Fn::Equals": ["a", "b"]}}`,
			properties: `{"Fn::If": ["N", {"A": 1}, {"Ref": "AWS::NoValue"}]}`, want: `{}`},
		{name: "all properties by a condition", conditions: `{"Y": {"Fn::Equals": ["a", "a"]}}`,
			properties: `{"Fn::If": ["Y", {"A": 1}, {"A": 2}]}`, want: `{"A": 1}`},
		{name: "properties that are a text", properties: `{"Fn::Sub": "a"}`, err: cfntemplate.ErrUnsupported},

		// Fn::Join, Fn::Split, Fn::Select.
		{name: "join", properties: `{"A": {"Fn::Join": [":", ["arn", {"Ref": "AWS::Partition"}, 1, true]]}}`,
			want: `{"A": "arn:aws-cn:1:true"}`},
		{name: "join by nothing", properties: `{"A": {"Fn::Join": ["", ["a", "", "b"]]}}`, want: `{"A": "ab"}`},
		{name: "join nothing", properties: `{"A": {"Fn::Join": [",", []]}}`, want: `{"A": ""}`},
		{name: "join a list in a list", parameters: `{"P": {"Type": "CommaDelimitedList", "Default": "a,b"}}`,
			properties: `{"A": {"Fn::Join": [",", ["x", {"Ref": "P"}]]}}`, err: cfntemplate.ErrUnsupported},
		{name: "join what is split", properties: `{"A": {"Fn::Join": ["_", {"Fn::Split": ["-", "a-b--c"]}]}}`,
			want: `{"A": "a_b__c"}`},
		{name: "split, separator absent", properties: `{"A": {"Fn::Split": ["-", "ab"]}}`, want: `{"A": ["ab"]}`},
		{name: "select", properties: `{"A": {"Fn::Select": ["2", ["a", "b", "c"]]}, "B": {"Fn::Select": [0, ["a", "b"]]}}`,
			want: `{"A": "c", "B": "a"}`},
		{name: "select of a parameter", parameters: `{"P": {"Type": "CommaDelimitedList", "Default": "a,b"}}`,
			properties: `{"A": {"Fn::Select": [1, {"Ref": "P"}]}}`, want: `{"A": "b"}`},
		{name: "select behind the end", properties: `{"A": {"Fn::Select": [2, ["a", "b"]]}}`,
			err: cfntemplate.ErrUnsupported},
		{name: "select before the beginning", properties: `{"A": {"Fn::Select": [-1, ["a", "b"]]}}`,
			err: cfntemplate.ErrUnsupported},

		// Fn::Sub and Fn::GetAtt.
		{name: "sub", parameters: `{"P": {"Type": "String", "Default": "p"}}`,
			properties: `{"A": {"Fn::Sub": "${P}/${AWS::Region}/${Other}/${Other.Arn}/$P/{P}/$${P}"}}`,
			want:       `{"A": "p/cn-north-1/other-name/arn:other/$P/{P}/$p"}`},
		{name: "sub, literal", properties: `{"A": {"Fn::Sub": "${!AWS::Region} ${!x}"}}`,
			want: `{"A": "${AWS::Region} ${x}"}`},
		{name: "sub, not done twice", parameters: `{"P": {"Type": "String"}}`, properties: `{"A": {"Fn::Sub": "${P}"}}`,
			given: given{"P": "${AWS::Region}"}, want: `{"A": "${AWS::Region}"}`},
		{name: "sub, own names first", parameters: `{"P": {"Type": "String", "Default": "p"}}`,
			properties: `{"A": {"Fn::Sub": ["${P} ${Q}", {"P": "own", "Q": {"Fn::Join": ["", ["q", 1]]}}]}}`,
			want:       `{"A": "own q1"}`},
		{name: "sub of a list", parameters: `{"P": {"Type": "CommaDelimitedList", "Default": "a,b"}}`,
			properties: `{"A": {"Fn::Sub": "${P}"}}`, err: cfntemplate.ErrUnsupported},
		{name: "sub, no such name", properties: `{"A": {"Fn::Sub": "${Nobody}"}}`, err: cfntemplate.ErrUnknownName},
		{name: "sub of the unknown", properties: `{"A": {"Fn::Sub": "x-${Other.Unheard}"}, "B": "b"}`,
			want: `{"A": "<unknown>", "B": "b"}`},
		{name: "attribute", properties: `{"A": {"Fn::GetAtt": ["Other", "Arn"]}, "B": {"Fn::GetAtt": "Other.Arn"}}`,
			want: `{"A": "arn:other", "B": "arn:other"}`},
		{name: "attribute with dots", properties: `{"A": {"Fn::GetAtt": "Other.Endpoint.Address"}}`,
			want: `{"A": "address"}`},
		{name: "the unknown spreads", properties: `{"A": {"Fn::Join": ["", ["a", {"Fn::GetAtt": ["Other", "Unheard"]}]]}, "B": {"Fn::Split": ["a", {"Fn::GetAtt": ["Other", "Unheard"]}]},
			"C": {"Fn::Select": [0, {"Fn::Split": ["a", {"Fn::GetAtt": ["Other", "Unheard"]}]}]}}`, want: `{"A": "<unknown>", "B": "<unknown>", "C": "<unknown>"}`},

		// Things that look like a function and are not, and functions that this
		// project's template does not use.
		{name: "the condition of a policy",
			properties: `{"A": {"Condition": {"StringEquals": {"a": {"Ref": "AWS::Region"}}}}}`,
			want:       `{"A": {"Condition": {"StringEquals": {"a": "cn-north-1"}}}}`},
		{name: "Ref beside others", properties: `{"A": {"Ref": "x", "Other": 1}}`,
			want: `{"A": {"Ref": "x", "Other": 1}}`},
		{name: "find in map", properties: `{"A": {"Fn::FindInMap": ["M", {"Ref": "AWS::Region"}, "k"]}}`,
			err: cfntemplate.ErrUnsupported},
		{name: "base64", properties: `{"A": {"Fn::Base64": "a"}}`, err: cfntemplate.ErrUnsupported},
		{name: "import", properties: `{"A": {"Fn::ImportValue": "a"}}`, err: cfntemplate.ErrUnsupported},
	}
	orEmpty := func(object string) string {
		if object == "" {
			return "{}"
		}
		return object
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template, err := cfntemplate.Parse(fmt.Appendf(nil,
				`{"Parameters": %s, "Conditions": %s, "Resources": {"Other": {"Type": "O"}, "It": {"Type": "I", "Properties": %s}}}`,
				orEmpty(tt.parameters), orEmpty(tt.conditions), orEmpty(tt.properties)))
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := template.Conditions["It"]; ok {
				it := template.Resources["It"]
				it.Condition = "It"
				template.Resources["It"] = it
			}
			resources, err := template.Resolve(cfntemplate.Values{
				Parameters: tt.given, StackName: "my-stack", StackID: "arn:stack", Region: "cn-north-1",
				Account:   "123456789012",
				Partition: "aws-cn",
				Attribute: func(id, name string) (any, bool) {
					value, ok := map[string]any{"": "other-name", "Arn": "arn:other",
						"Endpoint.Address": "address"}[name]
					return value, ok && id == "Other"
				},
			})
			if tt.err != nil || err != nil {
				if !errors.Is(err, tt.err) || tt.err == nil || resources != nil {
					t.Fatalf("%v, %v, want the error %v", resources, err, tt.err)
				}
				return
			}
			it, there := resources["It"]
			if there == (tt.want == "absent") {
				t.Fatalf("the resource is there: %t", there)
			}
			if tt.want == "absent" {
				return
			}
			var want any
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			if got := any(it.Properties); !reflect.DeepEqual(got, withUnknown(want)) {
				t.Errorf("%#v, want %s", got, tt.want)
			}
		})
	}
}

// withUnknown puts Unknown where unknownText stands.
func withUnknown(v any) any {
	switch v := v.(type) {
	case string:
		if v == unknownText {
			return cfntemplate.Unknown
		}
	case map[string]any:
		for key, value := range v {
			v[key] = withUnknown(value)
		}
	case []any:
		for i, value := range v {
			v[i] = withUnknown(value)
		}
	}
	return v
}
