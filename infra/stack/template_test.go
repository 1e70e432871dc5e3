package stack

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"soci-index-builder/internal/embedded"
)

func TestTemplateIsCurrent(t *testing.T) {
	needNode(t)
	for file, tmpl := range map[string]*template{committedTemplate: synth(t), committedImages: synthImages(t)} {
		committed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := Emit(tmpl.text)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(committed, fresh) {
			t.Errorf("%s is not what the stack makes: run make generate", file)
		}
	}
}

// A template travels within a request, so that no bucket is needed for it.
func TestTemplateIsSmall(t *testing.T) {
	for _, file := range []string{committedTemplate, committedImages} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 51_000 {
			t.Errorf("%s has %d bytes, at most 51,000 are allowed", file, len(text))
		}
	}
}

// The template that the command line has in it for another architecture is the
// one that the stack makes.
func TestTemplateOfAMD64(t *testing.T) {
	synthAssets(t)
	want, err := Emit(synthesized.amd64.text)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := embedded.Template(embedded.Zip, string(AMD64)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("package embedded has another template, %v:\n%s", err, got)
	}
}

func TestEmit(t *testing.T) {
	const template = `{
 "Description": "<a> & b",
 "Parameters": {"A": {"Type": "Number", "MinValue": 1.50}},
 "Resources": {
  "Z": {"Type": "T", "Properties": {"P": [1, 2]}},
  "A": {}
 },
 "Outputs": {}
}`
	const want = `{
"Description":"<a> & b",
"Parameters":{
"A":{"Type":"Number","MinValue":1.50}},
"Resources":{
"Z":{"Type":"T","Properties":{"P":[1,2]}},
"A":{}},
"Outputs":{}}
`
	if got, err := Emit([]byte(template)); string(got) != want || err != nil {
		t.Errorf("emitted is %s, %v", got, err)
	}
	const long = `{"Parameters": {"P": {"AllowedPattern": "[A-Za-z0-9_-][0-9]"}, "Alpha": {"Default": "[0-9]"}},
		"Conditions": {"Alpha": {"Condition": "Beta"}, "Beta": {"Fn::Equals": ["1", "3"]}, "Best": {"Fn::Not": []}},
		"Resources": {
			"R": {"Type": "T", "Condition": "Alpha", "DependsOn": ["C"], "Properties": {"A": {"Fn::GetAtt": ["R", "Arn"]},
				"B": {"Fn::GetAtt": ["C", "Arns"]}, "C": {"Fn::If": ["Beta", {"Ref": "Alpha"}, "Beta"]},
				"S": [{"Action": ["s3:GetObject"]}, {"Action": ["s3:Get*", "s3:Put*"], "Condition": {"Null": 1}}]}},
			"C": {"Type": "Custom::C"}}}`
	const short = `{
"Parameters":{
"P":{"AllowedPattern":"[\\w-]\\d"},
"Alpha":{"Default":"[0-9]"}},
"Conditions":{
"A":{"Condition":"Bet"},
"Bet":{"Fn::Equals":["1","3"]},
"Bes":{"Fn::Not":[]}},
"Resources":{
"R":{"Type":"T","Condition":"A","DependsOn":"C","Properties":{"A":{"Fn::Sub":"${R.Arn}"},` +
		`"B":{"Fn::GetAtt":["C","Arns"]},"C":{"Fn::If":["Bet",{"Ref":"Alpha"},"Beta"]},` +
		`"S":[{"Action":"s3:GetObject"},{"Action":["s3:Get*","s3:Put*"],"Condition":{"Null":1}}]}},
"C":{"Type":"Custom::C"}}}
`
	if got, err := Emit([]byte(long)); string(got) != short || err != nil {
		t.Errorf("emitted is %s, %v", got, err)
	}
	for text, want := range map[string]error{
		`{"A": "` + strings.Repeat("x", MaxTemplate-len("{\n\"A\":\"\"}\n")) + `"}`:   nil,
		`{"A": "` + strings.Repeat("x", MaxTemplate-len("{\n\"A\":\"\"}\n")+1) + `"}`: ErrTooLarge,
	} {
		if _, err := Emit([]byte(text)); !errors.Is(err, want) || (err != nil) != (want != nil) {
			t.Errorf("%d bytes: %v, want %v", len(text), err, want)
		}
	}
	for _, text := range []string{"", "{", `{"A":`, `{"A" 1}`} {
		if got, err := Emit([]byte(text)); err == nil {
			t.Errorf("%q is emitted as %q", text, got)
		}
	}
}
