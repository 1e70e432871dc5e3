package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/live"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/rights"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/functionzip"
)

// TestMain has the garbage of hundreds of worlds collected less often, which is a
// fifth of the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	m.Run()
}

// world is an account with a bucket, and nothing else.
type world struct {
	t      *testing.T
	server *awstest.Server
	stacks *awstest.CloudFormation
	s3     *awstest.S3
	code   *awstest.LambdaCode
	config aws.Config

	version string // of the functions' code
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, server: awstest.Start(t), stacks: awstest.NewCloudFormation(), s3: awstest.NewS3()}
	w.code = awstest.NewLambdaCode(w.s3)
	stacktest.NewAccount(t, w.server, w.stacks, awstest.NewECR(nil)).Code = w.code
	w.server.Handle("s3", w.s3)
	w.s3.AddBucket("code", awstest.Region)
	w.config = w.server.Config()
	return w
}

// screen records what it is told, and answers questions with yes.
type screen struct {
	mu       sync.Mutex
	said     []string
	events   []execution.Event
	failed   *execution.Outcome
	answers  []bool // to questions; yes when there is none left
	seen     func(execution.Event)
	examined bool
}

func (s *screen) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, text)
}

func (s *screen) Step(name string)            { s.add("step " + name) }
func (s *screen) Say(text string)             { s.add(text) }
func (s *screen) Tell(text string)            { s.add(text) }
func (s *screen) Changes(d *deploy.Deploy)    { s.add("changes " + d.ChangeSet.Counts()) }
func (s *screen) Events() live.Display        { return s }
func (s *screen) Failed(o *execution.Outcome) { s.failed = o }
func (s *screen) Outputs(map[string]string)   {}
func (s *screen) Findings(*doctor.Report)     { s.examined = true }
func (s *screen) Next(lines []string)         { s.add(strings.Join(lines, "\n")) }
func (s *screen) Tick(time.Time)              {}
func (s *screen) End()                        {}
func (s *screen) Event(e execution.Event) {
	s.events = append(s.events, e)
	if s.seen != nil {
		s.seen(e)
	}
}

func (s *screen) Ask(_ context.Context, question string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, "? "+question)
	if len(s.answers) == 0 {
		return true, nil
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer, nil
}

func (s *screen) has(text string) bool {
	return slices.ContainsFunc(s.said, func(line string) bool { return strings.Contains(line, text) })
}

// function is the content of a function's zip file.
func (w *world) function(architecture, name string) ([]byte, error) {
	return functionzip.New(architecture, name+w.version)
}

// deploy makes a deploy with the bucket; change may change it.
func (w *world) deploy(s settings.Settings, change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	w.t.Helper()
	return w.deployTo("code", s, change)
}

// managed makes a deploy with the managed bucket.
func (w *world) managed(s settings.Settings, change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	w.t.Helper()
	return w.deployTo("", s, change)
}

// deployTo makes a deploy with a bucket of the user's, or without one.
func (w *world) deployTo(bucket string, s settings.Settings, change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	w.t.Helper()
	s.Stack, s.Bucket = "prod", bucket
	m := deploy.Mode{Interactive: true, Functions: w.function,
		Patience: patience.Patience{Pause: time.Millisecond, Errors: 100 * time.Millisecond}}
	if change != nil {
		change(&m)
	}
	screen := &screen{}
	d, err := deploy.New(settings.Of(settings.Flag, s), m, screen)
	if err != nil {
		w.t.Fatal(err)
	}
	d.AWS = w.config
	return d, screen
}

// created deploys the stack for the first time.
func (w *world) created() {
	w.t.Helper()
	d, _ := w.deploy(settings.Settings{}, nil)
	if err := d.Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// changeSets is how often an operation was asked for, of change sets that a deploy
// means to make.
func (w *world) changeSets(operation string) int {
	return len(slices.DeleteFunc(w.server.Requests(), func(r awstest.Request) bool {
		return r.Operation != operation || strings.Contains(string(r.Body), rights.ChangeSet)
	}))
}

// status is that of the stack. No change set must be left.
func (w *world) status() string {
	w.t.Helper()
	if left := w.stacks.ChangeSets(); len(left) > 0 {
		w.t.Errorf("change sets are left: %q", left)
	}
	if s := w.stacks.Stack("prod"); s != nil {
		return s.Status
	}
	return "absent"
}

var another = settings.Settings{Filters: "team/*:*"}

// Each call is throttled once more than the SDK takes: while the stack is
// worked on that only delays. Before, it is an error that says so, and nothing
// is left.
func TestThrottledOnce(t *testing.T) {
	for _, update := range []bool{false, true} {
		for _, call := range []string{"sts GetCallerIdentity", "cloudformation DescribeStacks",
			"cloudformation GetTemplate",
			"cloudformation CreateChangeSet", "cloudformation DescribeChangeSet", "cloudformation ExecuteChangeSet",
			"cloudformation DescribeStackEvents"} {
			t.Run(fmt.Sprint(call, " ", update), func(t *testing.T) {
				w := newWorld(t)
				if update {
					w.created()
				}
				service, operation, _ := strings.Cut(call, " ")
				early := operation == "GetCallerIdentity" || operation == "DescribeStacks" ||
					operation == "GetTemplate" && update
				times := 2 // when the right is asked for, which says nothing then, and when it is used
				if early {
					times = 1
				}
				w.server.Fail(service, operation, times, awstest.Throttled)
				d, _ := w.deploy(another, nil)
				err := d.Run(t.Context())
				if early {
					if err = awserror.Explain(err); !errors.Is(err, awserror.ErrThrottled) {
						t.Fatalf("the error is %v, want ErrThrottled", err)
					}
					if n := w.changeSets("CreateChangeSet"); n != map[bool]int{true: 1}[update] {
						t.Errorf("%d change sets", n)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := w.server.Count("cloudformation", operation); operation != "GetTemplate" && n < 3 {
					t.Errorf("asked %d times", n)
				}
				w.status()
			})
		}
	}
}

// Throttled for ever: one error that says so, and no change set is left.
func TestThrottled(t *testing.T) {
	for _, operation := range []string{"CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet"} {
		t.Run(operation, func(t *testing.T) {
			w := newWorld(t)
			w.created()
			w.server.Fail("cloudformation", operation, 1<<20, awstest.Throttled)
			d, _ := w.deploy(another, nil)
			err := awserror.Explain(d.Run(t.Context()))
			if !errors.Is(err, awserror.ErrThrottled) || !strings.Contains(err.Error(), operation) {
				t.Errorf("the error is %v, want ErrThrottled of %s", err, operation)
			}
			if is := w.status(); is != "CREATE_COMPLETE" {
				t.Errorf("the stack is %s", is)
			}
		})
	}
}

// Credentials that end while CloudFormation works: the stack goes on, and the
// error says how to watch it.
func TestCredentialsEnd(t *testing.T) {
	w := newWorld(t)
	w.created()
	expired := &awstest.Error{Status: 403, Code: "ExpiredToken",
		Message: "The security token included in the request is expired"}
	d, screen := w.deploy(another, nil)
	w.stacks.Pace = 1
	screen.seen = func(e execution.Event) {
		if e.OfStack {
			w.server.Fail("cloudformation", "*", 1<<20, expired)
		}
	}
	err := awserror.Explain(d.Run(t.Context()))
	if !errors.Is(err, awserror.ErrCredentials) ||
		!screen.has("soci-index-builder watch --stack prod --region "+awstest.Region) || !d.Left {
		t.Errorf("the error is %v, want ErrCredentials and how to watch", err)
	}
}

// Credentials that end before the execution leave nothing behind that they
// could still have deleted, and say so.
func TestCredentialsEndEarly(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.server.Fail("cloudformation", "DescribeChangeSet", 2, // the first asks for the right
		&awstest.Error{Status: 403, Code: "ExpiredToken", Message: "expired"})
	d, _ := w.deploy(another, nil)
	if err := awserror.Explain(d.Run(t.Context())); !errors.Is(err, awserror.ErrCredentials) {
		t.Errorf("the error is %v, want ErrCredentials", err)
	}
	if is := w.status(); is != "CREATE_COMPLETE" {
		t.Errorf("the stack is %s", is)
	}
}

func TestDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.stacks.Pace = 1
	d, screen := w.deploy(another, nil)
	screen.seen = func(execution.Event) { w.stacks.Remove("prod") }
	if err := d.Run(t.Context()); !errors.Is(err, execution.ErrDeleted) {
		t.Errorf("the error is %v, want ErrDeleted", err)
	}
}

// Between the change set and its execution somebody else deploys.
func TestTwoDeploys(t *testing.T) {
	w := newWorld(t)
	w.created()
	first, screen := w.deploy(another, nil)
	first.Screen = &meanwhile{screen, func() {
		second, _ := w.deploy(settings.Settings{Filters: "prod/*:*"}, nil)
		if err := second.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}}
	err := first.Run(t.Context())
	if err == nil || !strings.Contains(awserror.Explain(err).Error(), "OBSOLETE") {
		t.Errorf("the error is %v", err)
	}
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "prod/*:*" ||
		w.status() != "UPDATE_COMPLETE" {
		t.Errorf("%s, filters %s", s.Status, s.Parameters[deployed.ParamFilters])
	}
}

type meanwhile struct {
	*screen
	do func()
}

func (m *meanwhile) Ask(context.Context, string) (bool, error) {
	m.do()
	return true, nil
}

// An older partition has neither DescribeEvents nor the values of properties.
func TestOlderPartition(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.stacks.Older = true
	w.stacks.FailResource("prod", "GeneratorFunction", "", "no")
	d, screen := w.deploy(settings.Settings{Parameters: map[string]string{deployed.ParamMinLayerSizeMiB: "20"}}, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Fatalf("the error is %v, want ErrFailed", err)
	}
	if f := screen.failed.Failure; f.Root.LogicalID != "GeneratorFunction" || f.Root.Reason != "no" {
		t.Errorf("the failure is %+v", f)
	}
	if w.server.Count("cloudformation", "DescribeEvents") == 0 {
		t.Error("DescribeEvents was not tried")
	}
	if p := d.ChangeSet.Changes[0].Properties[0]; p.Path != "Environment" || p.Known {
		t.Errorf("the property is %+v", p)
	}
}

// Ctrl-C once cancels an update when the user agrees.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.stacks.Pace = 1
	interrupts := make(chan struct{}, 2)
	d, screen := w.deploy(another, func(m *deploy.Mode) {
		m.Interrupts = func() (<-chan struct{}, func()) { return interrupts, func() {} }
	})
	screen.seen = func(e execution.Event) {
		if e.Status == "UPDATE_IN_PROGRESS" && e.OfStack {
			w.stacks.Hold("prod", true)
			interrupts <- struct{}{}
		}
	}
	err := d.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the update was cancelled and is now UPDATE_ROLLBACK_COMPLETE") {
		t.Errorf("the error is %v", err)
	}
	if !screen.has("? Cancel the update") || w.server.Count("cloudformation", "CancelUpdateStack") != 1 {
		t.Errorf("said %q", screen.said)
	}
}

// Ctrl-C twice leaves it running; once when nobody can be asked.
func TestLeave(t *testing.T) {
	for _, interactive := range []bool{true, false} {
		w := newWorld(t)
		w.created()
		w.stacks.Pace = 1
		interrupts := make(chan struct{}, 2)
		d, screen := w.deploy(settings.Settings{Filters: "team/*:*", Capabilities: []string{"CAPABILITY_IAM"}},
			func(m *deploy.Mode) {
				m.Interactive, m.Yes = interactive, true
				m.Interrupts = func() (<-chan struct{}, func()) { return interrupts, func() {} }
			})
		screen.answers = []bool{false}
		screen.seen = func(e execution.Event) {
			if e.Status == "UPDATE_IN_PROGRESS" && e.OfStack {
				w.stacks.Hold("prod", true)
				interrupts <- struct{}{}
				if interactive {
					interrupts <- struct{}{}
				}
			}
		}
		err := d.Run(t.Context())
		if !errors.Is(err, execution.ErrLeft) || !screen.has("soci-index-builder watch --stack prod") {
			t.Errorf("the error is %v, want ErrLeft", err)
		}
		if w.server.Count("cloudformation", "CancelUpdateStack") != 0 || d.Left != true {
			t.Error("it was cancelled")
		}
	}
}

// A creation cannot be cancelled: that is said, and watching goes on.
func TestCancelCreation(t *testing.T) {
	w := newWorld(t)
	w.stacks.Pace = 1
	interrupts := make(chan struct{}, 2)
	d, screen := w.deploy(another, func(m *deploy.Mode) {
		m.Interrupts = func() (<-chan struct{}, func()) { return interrupts, func() {} }
	})
	screen.seen = func(e execution.Event) {
		if e.Status == "CREATE_IN_PROGRESS" && e.OfStack {
			interrupts <- struct{}{}
		}
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !screen.has("this cannot be cancelled") || w.status() != "CREATE_COMPLETE" {
		t.Errorf("said %q", screen.said)
	}
}
