package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/expect"
)

// A replaced function loses events: a flag must allow it where nobody is asked,
// and nothing is left when it does not.
func TestReplacement(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.stacks.Change("prod", func(s *awstest.Stack) {
		s.Template = strings.Replace(s.Template, `"AWS::Lambda::Function","Properties":{`,
			`"AWS::Lambda::Function","Properties":{"FunctionName":"mine",`, 1)
	})
	flags := settings.Settings{Capabilities: []string{"CAPABILITY_IAM"}}
	d, _ := w.deploy(flags, func(m *deploy.Mode) { m.Interactive, m.Yes = false, true })
	err := d.Run(t.Context())
	if !errors.Is(err, deploy.ErrConsent) || !strings.Contains(err.Error(), "queued events are lost") ||
		!strings.Contains(err.Error(), "--allow-replacement") {
		t.Fatalf("the error is %v, want ErrConsent", err)
	}
	if is := w.status(); is != "CREATE_COMPLETE" {
		t.Errorf("the stack is %s", is)
	}
}

// A stack that forbids its termination is not deleted after a failed creation.
func TestProtectedLeftover(t *testing.T) {
	w := newWorld(t)
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ := w.deploy(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Fatal(err)
	}
	w.stacks.Change("prod", func(s *awstest.Stack) { s.Protected = true })
	d, _ = w.deploy(settings.Settings{DeleteFailed: true}, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrState) ||
		!strings.Contains(err.Error(), "termination protection") {
		t.Errorf("the error is %v, want ErrState", err)
	}
	if w.status() != "ROLLBACK_COMPLETE" || w.server.Count("cloudformation", "DeleteStack") != 0 {
		t.Error("it was deleted")
	}
}

// A deletion that fails says why.
func TestDeletionFails(t *testing.T) {
	w := newWorld(t)
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ := w.deploy(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Fatal(err)
	}
	w.stacks.FailResource("prod", "FilterFunction", "delete", "it is in use")
	d, screen := w.deploy(settings.Settings{DeleteFailed: true}, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) ||
		screen.failed.Failure.Root.Reason != "it is in use" {
		t.Errorf("the error is %v", err)
	}
	if is := w.status(); is != "DELETE_FAILED" {
		t.Errorf("the stack is %s", is)
	}
}

// The tags and topics of the stack stay.
func TestKeepsTags(t *testing.T) {
	w := newWorld(t)
	topic := "arn:aws:sns:eu-west-1:123456789012:topic"
	d, _ := w.deploy(settings.Settings{Tags: map[string]string{"team": "a"}, NotificationARNs: []string{topic}}, nil)
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, _ = w.deploy(settings.Settings{Filters: "team/*:*", Tags: map[string]string{"cost": "1"}}, nil)
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.stacks.Stack("prod")
	expect.Equal(t, expect.Facts{
		{`s.Tags["team"]`, s.Tags["team"], "a"},
		{`s.Tags["cost"]`, s.Tags["cost"], "1"},
		{`s.Tags["ManagedStackSource"]`, s.Tags["ManagedStackSource"], "SociIndexBuilder"},
		{"NotificationARNs", s.NotificationARNs, []string{topic}},
	}, "tags %v, topics %q", s.Tags, s.NotificationARNs)
}

// A stack that the plain template made is taken over; a companion stack is not.
func TestWhose(t *testing.T) {
	plain := string(stacktest.Template(t))
	for _, tt := range []struct {
		name, template string
		tags           map[string]string
		ours           bool
	}{
		{"plain template", plain, nil, true},
		{"before our metadata", strings.Replace(plain, "SociIndexBuilder\":{\"Version", "Other\":{\"Version", 1), nil,
			true},
		{"tag alone", `{"Resources":{}}`, map[string]string{"ManagedStackSource": "SociIndexBuilder"}, false},
		{"SAM's", `{"Resources":{"A":{"Type":"AWS::ECR::Repository"}}}`,
			map[string]string{"ManagedStackSource": "AwsSamCli"}, false},
		{"YAML", "Resources: {}", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			in := stacktest.Deploy(t, awstest.Start(t), "prod", nil, awstest.NewECR(nil)).Stack
			in.Template = tt.template
			if tt.tags != nil {
				in.Tags = tt.tags
			}
			w.stacks.Add(in)
			d, _ := w.deploy(another, nil)
			err := d.Run(t.Context())
			if tt.ours != (err == nil) || !tt.ours &&
				!strings.Contains(err.Error(), "is not a stack of soci-index-builder") {
				t.Errorf("the error is %v", err)
			}
			if n := w.changeSets("CreateChangeSet"); !tt.ours && n != 0 {
				t.Error("it was to be changed")
			}
		})
	}
}

// A stack that has only change sets is deleted when they are ours, or there
// are none; somebody else's is left alone. So is a part of another stack.
func TestReview(t *testing.T) {
	plain := stacktest.Template(t)
	where := []types.Parameter{
		{ParameterKey: aws.String(deployed.ParamCodeBucket), ParameterValue: aws.String("code")},
		{ParameterKey: aws.String(deployed.ParamCodeKeyPrefix), ParameterValue: aws.String("x/")},
	}
	for _, tt := range []struct {
		name, template, parent string
		text                   string // of the error; empty for none
	}{
		{"ours", string(plain), "", ""},
		{"somebody else's", `{"Resources":{"A":{"Type":"AWS::SQS::Queue"}}}`, "",
			"is not a stack of soci-index-builder"},
		{"nested", string(plain), "arn:aws:cloudformation:eu-west-1:123456789012:stack/parent/1",
			"is part of another stack"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			given := where
			if tt.template != string(plain) {
				given = nil
			}
			_, err := cloudformation.NewFromConfig(w.config).CreateChangeSet(t.Context(),
				&cloudformation.CreateChangeSetInput{
					StackName: aws.String("prod"), ChangeSetName: aws.String("mine"),
					ChangeSetType: types.ChangeSetTypeCreate,
					TemplateBody:  &tt.template, Capabilities: []types.Capability{types.CapabilityCapabilityIam},
					Parameters: given,
				})
			if err != nil {
				t.Fatal(err)
			}
			w.stacks.Change("prod", func(s *awstest.Stack) { s.ParentID = tt.parent })
			d, screen := w.deploy(another, nil)
			err = d.Run(t.Context())
			if tt.text != "" {
				if err == nil || !strings.Contains(err.Error(), tt.text) ||
					w.server.Count("cloudformation", "DeleteStack") != 0 {
					t.Errorf("the error is %v, want %s", err, tt.text)
				}
				return
			}
			if err != nil || w.status() != "CREATE_COMPLETE" || !screen.has("? Stack prod is REVIEW_IN_PROGRESS") {
				t.Errorf("%v, said %q", err, screen.said)
			}
		})
	}
}
