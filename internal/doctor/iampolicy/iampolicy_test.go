package iampolicy_test

import (
	"errors"
	"testing"

	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/testkit/expect"
)

func one(t *testing.T, statement string) iampolicy.Statement {
	t.Helper()
	p, err := iampolicy.Parse([]byte(`{"Version": "2012-10-17", "Statement": ` + statement + `}`))
	if err != nil || len(p.Statements) != 1 {
		t.Fatalf("%s: %v, %v", statement, p, err)
	}
	return p.Statements[0]
}

func TestHasAction(t *testing.T) {
	for _, tt := range []struct {
		statement, action string
		want              bool
	}{
		{`{"Effect": "Deny", "Action": "ecr:PutImage"}`, "ecr:PutImage", true},
		{`{"Effect": "Deny", "Action": ["ecr:Get*", "ecr:PUTimage"]}`, "ecr:PutImage", true},
		{`{"Effect": "Deny", "Action": ["ecr:Get*"]}`, "ecr:PutImage", false},
		{`[{"Effect": "Allow", "Action": "*"}]`, "ecr:PutImage", true},
		{`{"Effect": "Deny", "NotAction": ["ecr:Get*"]}`, "ecr:PutImage", true},
		{`{"Effect": "Deny", "NotAction": ["ecr:Get*", "ecr:Put*"]}`, "ecr:PutImage", false},
	} {
		if got := one(t, tt.statement).HasAction(tt.action); got != tt.want {
			t.Errorf("%s, %s: %t", tt.statement, tt.action, got)
		}
	}
}

func TestHasResource(t *testing.T) {
	const repository = "arn:aws:ecr:eu-west-1:123456789012:repository/prod/*"
	for _, tt := range []struct {
		statement string
		want      bool
	}{
		{`{"Effect": "Allow", "Resource": "*"}`, true},
		{`{"Effect": "Allow", "Resource": ["x", "arn:aws:ecr:*:123456789012:repository/prod/*"]}`, true},
		{`{"Effect": "Allow", "Resource": "arn:aws:ecr:*:123456789012:repository/prod/api"}`, false},
		{`{"Effect": "Allow", "NotResource": "arn:aws:ecr:*:123456789012:repository/test/*"}`, true},
		{`{"Effect": "Allow", "NotResource": "*"}`, false},
		{`{"Effect": "Allow"}`, false},
	} {
		if got := one(t, tt.statement).HasResource(repository); got != tt.want {
			t.Errorf("%s: %t", tt.statement, got)
		}
	}
}

func TestHasRole(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/generator"
	for _, tt := range []struct {
		principal string
		want      bool
	}{
		{`"Principal": "*"`, true},
		{`"Principal": {"AWS": "*"}`, true},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:root"}`, true},
		{`"Principal": {"AWS": ["111111111111", "123456789012"]}`, true},
		{`"Principal": {"AWS": ["arn:aws:iam::123456789012:role/generator"]}`, true},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:role/other"}`, false},
		{`"Principal": {"AWS": "arn:aws:iam::111111111111:root"}`, false},
		{`"Principal": {"Service": "events.amazonaws.com"}`, false},
		{`"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:role/admin"}`, true},
		{`"NotPrincipal": {"AWS": ["arn:aws:iam::123456789012:role/generator"]}`, false},
	} {
		if got := one(t, `{"Effect": "Deny", "Action": "*", `+tt.principal+`}`).HasRole(role); got != tt.want {
			t.Errorf("%s: %t", tt.principal, got)
		}
	}
	s := one(t, `{"Effect": "Allow", "Action": "sqs:*", "Principal": {"Service": "events.amazonaws.com"}}`)
	if !s.HasService("events.amazonaws.com") || s.HasService("sns.amazonaws.com") {
		t.Errorf("services of %+v", s)
	}
}

func TestParse(t *testing.T) {
	s := one(t, `{"Sid": "S", "Effect": "Deny", "Action": "*", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": false}, "ArnEquals": {"aws:SourceArn": ["a", "b"]}}}`)
	expect.Equal(t, expect.Facts{
		{"ID", s.ID, "S"},
		{"Deny", s.Deny, true},
		{"SecureTransport", s.Condition["Bool"]["aws:SecureTransport"][0], "false"},
		{"number of ARNs", len(s.Condition["ArnEquals"]["aws:SourceArn"]), 2},
	}, "the statement")
	for _, text := range []string{"", "{", "[]", `{"Statement": 1}`, `{"Statement": [{"Effect": "allow"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": {}}]}`, `{}`} {
		if p, err := iampolicy.Parse([]byte(text)); !errors.Is(err, iampolicy.ErrInvalid) {
			t.Errorf("Parse(%s) = %v, %v", text, p, err)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"a", "a", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"a*c", "abcbc", true}, {"a*c*", "abcbd", true}, {"a*b*c", "axbxbxc", true}, {"*soci", "v1-soci", true},
		{"*-soci", "soci", false}, {"**", "x", true}, {"a*", "b", false}, {"*a", "ab", false},
	} {
		if got := iampolicy.Match(tt.pattern, tt.text); got != tt.want {
			t.Errorf("Match(%q, %q) = %t", tt.pattern, tt.text, got)
		}
	}
}
