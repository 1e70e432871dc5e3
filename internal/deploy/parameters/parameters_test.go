package parameters_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/deploy/parameters"
)

const template = `{"Parameters":{
"Bucket":{"Type":"String","AllowedPattern":"[a-z]{3,5}","ConstraintDescription":"3 to 5 of a-z"},
"Level":{"Type":"String","Default":"INFO","AllowedValues":["DEBUG","INFO"]},
"Memory":{"Type":"Number","Default":512,"MinValue":128,"MaxValue":"1024"},
"Name":{"Type":"String","Default":"","MinLength":0,"MaxLength":"4"},
"Password":{"Type":"String","Default":"x","NoEcho":true,"MaxLength":3},
"Any":{"Type":"String","Default":"1"}}}`

func parse(t *testing.T) *parameters.Template {
	t.Helper()
	p, err := parameters.Parse([]byte(template))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheck(t *testing.T) {
	p := parse(t)
	for _, tt := range []struct {
		name, value, allowed string // allowed is empty for a good value
	}{
		{"Bucket", "abc", ""},
		{"Bucket", "xabcdef", "3 to 5 of a-z"}, // a part that matches is not enough
		{"Bucket", "ABC", "3 to 5 of a-z"},
		{"Level", "DEBUG", ""},
		{"Level", "debug", "one of DEBUG, INFO"},
		{"Memory", "128", ""},
		{"Memory", "127", "a whole number from 128 to 1024"},
		{"Memory", "1025", "a whole number from 128 to 1024"},
		{"Memory", "much", "a whole number from 128 to 1024"},
		{"Name", "äöüß", ""},
		{"Name", "12345", "0 to 4 characters"},
		{"Any", "anything\n", ""},
	} {
		in, ok := p.Get(tt.name)
		if !ok {
			t.Fatal(tt.name)
		}
		err := in.Judge(tt.value)
		if tt.allowed == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if !errors.Is(err, parameters.ErrValue) {
			t.Fatalf("%s=%s: %v", tt.name, tt.value, err)
		}
		if !strings.HasSuffix(err.Error(), "must be "+tt.allowed) || !strings.Contains(err.Error(), tt.name) ||
			!strings.Contains(err.Error(), tt.value) {
			t.Errorf("%s=%s: %v", tt.name, tt.value, err)
		}
	}
	secret, _ := p.Get("Password")
	if err := secret.Judge("secret"); !errors.Is(err, parameters.ErrValue) || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
}

func TestChoose(t *testing.T) {
	managed := map[string]string{"Bucket": "code"}
	had := map[string]string{"Bucket": "old", "Level": "DEBUG", "Password": "****", "Gone": "1"}
	got, err := parse(t).Choose(map[string]string{"Name": "me"}, managed, had)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]parameters.Choice{
		"Any":      {Name: "Any", Value: "1", Source: parameters.Default},
		"Bucket":   {Name: "Bucket", Value: "code", Source: parameters.Managed, Old: "old", Had: true},
		"Level":    {Name: "Level", Value: "DEBUG", Source: parameters.Kept, Old: "DEBUG", Had: true},
		"Memory":   {Name: "Memory", Value: "512", Source: parameters.Default},
		"Name":     {Name: "Name", Value: "me", Source: parameters.Named},
		"Password": {Name: "Password", Value: "****", Source: parameters.Kept, Old: "****", Had: true, NoEcho: true},
	}
	is := map[string]parameters.Choice{}
	for _, c := range got {
		is[c.Name] = c
	}
	if !maps.Equal(is, want) {
		t.Errorf("%+v, want %+v", is, want)
	}
	// CloudFormation keeps the values that are kept: they are not sent again.
	for _, p := range parameters.Request(got) {
		kept := want[aws.ToString(p.ParameterKey)].Source == parameters.Kept
		if aws.ToBool(p.UsePreviousValue) != kept || (p.ParameterValue == nil) != kept {
			t.Errorf("%s is asked for as %+v", aws.ToString(p.ParameterKey), p)
		}
	}
	if old, value := is["Password"].Shown(); strings.Trim(old+value, "*") != "" {
		t.Errorf("shown are %s, %s", old, value)
	}
}

func TestChooseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name                string
		named, managed, had map[string]string
		is                  error
		text                string
	}{
		{"unknown", map[string]string{"Bukket": "x"}, nil, map[string]string{"Bucket": "abc"}, parameters.ErrUnknown,
			"it has Any, Bucket, Level"},
		{"missing", nil, nil, nil, parameters.ErrMissing, "--parameter Bucket=VALUE"},
		{"managed", map[string]string{"Bucket": "abc"}, map[string]string{"Bucket": "code"}, nil, parameters.ErrManaged,
			"--bucket"},
		{"value", map[string]string{"Level": "x", "Bucket": "abc"}, nil, nil, parameters.ErrValue, "DEBUG, INFO"},
		{"kept value that is allowed no more", nil, nil, map[string]string{"Bucket": "abc", "Level": "WARN"},
			parameters.ErrValue, "the stack has it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(t).Choose(tt.named, tt.managed, tt.had)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v, %v, want %v", got, err, tt.is)
			}
		})
	}
	if _, err := parameters.Parse([]byte("Parameters: {}")); !errors.Is(err, parameters.ErrTemplate) {
		t.Errorf("the error is %v, want ErrTemplate", err)
	}
}
