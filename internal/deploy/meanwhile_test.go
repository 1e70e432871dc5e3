package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// Code that another stack has come to need while the stack was deleted stays.
func TestDestroyNeededMeanwhile(t *testing.T) {
	t.Parallel()
	for _, managed := range []bool{true, false} {
		w, b, bucket, at := inEither(t, managed)
		w.record(b, "prod", at+"code/new/filter.zip", at+"code/back/filter.zip")
		w.put(bucket, at+"code/back/filter.zip", true)
		l, x := w.destroying(deploy.DestroyOptions{})
		begun := false
		l.seen = func(e execution.Event) {
			if e.OfStack && !begun {
				begun = true
				w.another(bucket, at+"code/new/")
				w.record(b, "other", at+"code/back/filter.zip")
			}
		}
		if err := x.Run(t.Context()); err != nil || !begun {
			t.Fatalf("managed %t: %v", managed, err)
		}
		for _, key := range []string{"code/new/filter.zip", "code/back/filter.zip"} {
			if !slices.Contains(w.keys(bucket), at+key) {
				t.Errorf("managed %t: %s is gone, left are %q", managed, key, w.keys(bucket))
			}
		}
	}
}

// The stack itself is deployed again while the old one is deleted: its code and
// records stay.
func TestDestroyDeployedMeanwhile(t *testing.T) {
	t.Parallel()
	w := inBucket(t, managedBucket, true)
	w.record(w.openManaged(), "prod", "code/new/filter.zip")
	before := w.keys(managedBucket)
	l, x := w.destroying(deploy.DestroyOptions{})
	l.seen = func(e execution.Event) {
		if e.OfStack && e.Status == "DELETE_COMPLETE" {
			w.stacks.Add(&awstest.Stack{Name: "prod", Status: "CREATE_COMPLETE", Outputs: map[string]string{},
				Parameters: map[string]string{deployed.ParamCodeBucket: managedBucket,
					deployed.ParamCodeKeyPrefix: "code/new/"}})
		}
	}
	err := x.Run(t.Context())
	if !errors.Is(err, deploy.ErrState) || !strings.Contains(err.Error(), "stack prod is there again") {
		t.Errorf("the error is %v, want ErrState", err)
	}
	if left := w.keys(managedBucket); !slices.Equal(left, before) {
		t.Errorf("left are %q, before %q", left, before)
	}
}

// A stack that has only a change set is left, where nobody is asked, while somebody
// may be about to execute that.
func TestReviewLeft(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // as awstest says of all change sets
	for _, tt := range []struct {
		age  time.Duration
		left bool
	}{{0, true}, {time.Hour - time.Second, true}, {time.Hour + time.Second, false}} {
		w := newWorld(t)
		template := string(stacktest.Template(t))
		_, err := cloudformation.NewFromConfig(w.config).CreateChangeSet(t.Context(),
			&cloudformation.CreateChangeSetInput{StackName: aws.String("prod"), ChangeSetName: aws.String("theirs"),
				ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: &template,
				Capabilities: []types.Capability{types.CapabilityCapabilityIam}, Parameters: []types.Parameter{
					{ParameterKey: aws.String(deployed.ParamCodeBucket), ParameterValue: aws.String("code")},
					{ParameterKey: aws.String(deployed.ParamCodeKeyPrefix), ParameterValue: aws.String("x/")}}})
		if err != nil {
			t.Fatal(err)
		}
		d, _ := w.deploy(settings.Settings{DeleteFailed: true}, func(m *deploy.Mode) {
			m.Now = func() time.Time { return made.Add(tt.age) }
		})
		err = d.Run(t.Context())
		if !tt.left {
			if err != nil || w.status() != "CREATE_COMPLETE" {
				t.Errorf("%s: %v, the stack is %s", tt.age, err, w.status())
			}
			continue
		}
		if !errors.Is(err, deploy.ErrState) || !strings.Contains(err.Error(), "the change set theirs") ||
			w.server.Count("cloudformation", "DeleteStack") != 0 {
			t.Errorf("%s: the error is %v, want ErrState", tt.age, err)
		}
	}
}

// What a failed update has left halfway is not done when CloudFormation sees
// nothing to change.
func TestNothingToChangeHalfway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.stacks.Change("prod", func(s *awstest.Stack) { s.Status = "UPDATE_FAILED" })
	d, screen := w.managed(settings.Settings{}, nil)
	err := d.Run(t.Context())
	if !errors.Is(err, deploy.ErrState) || !strings.Contains(err.Error(), "is UPDATE_FAILED") ||
		!strings.Contains(err.Error(), "aws cloudformation rollback-stack --stack-name prod --region "+awstest.Region) {
		t.Errorf("the error is %v, want ErrState; said %q", err, screen.said)
	}
	if n := len(w.objects(managedName, "records/prod/", ".json")); n != 1 {
		t.Errorf("%d records", n)
	}
}
