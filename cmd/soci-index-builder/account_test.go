package main

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/deploy/companion"
	deployrights "soci-index-builder/internal/deploy/rights"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// accountWorld is an account in which a script deploys. These commands go with
// it:
//
//	account                        open it; nothing is in it
//	bucket NAME [REGION]           make a bucket
//	ecrrepository NAME TAG...      make a repository with images that were pushed yesterday
//	signs [PROFILE REPOSITORY...]  have ECR sign what is pushed to these repositories
//	                               with the profile; none is no rule
//	damage BUCKET KEY              write an object that is not what it should be
//	events N                       put events that failed into the failure queue
//	old BUCKET KEY                 write an object that is two days old
//	spoil BUCKET SETTING           somebody empties a setting of a bucket
//	noaccountregional              S3 has no account-regional names here
//	uploaded BUCKET N              fail unless N objects are in the bucket
//	repository NAME [KEY=VALUE...]  make a repository with these tags
//	imagesin REPOSITORY N|absent   fail unless N images are in the repository
//	protected STACK on|off         fail unless the stack is protected from
//	                               termination, or is not; with ! make it so
//	failresource STACK ID WHAT REASON
//	                               have the next operation on a resource fail; WHAT
//	                               is make, rollback or delete
//	logline GROUP MESSAGE          add a line to a log group
//	begin STACK STATUS...          somebody else has the stack go through these
//	hold STACK on|off              have nothing more happen in the stack, or go on
//	stackis STACK STATUS           fail unless the stack is so; absent for none
//	sleeps FUNCTION                Lambda has put the function, by its name in the
//	                               template, to sleep
//	asked SERVICE OPERATION N      fail unless it was asked for so often; questions
//	                               after rights about change sets do not count
//	throttle                       have the first request for each operation refused
//	                               as one too many
//	cloudformation older|empty2|slow|NAME=TEMPLATE
//	                               an older partition; the other wording of an
//	                               empty change set; one event with each request;
//	                               somebody else's stack
type accountWorld struct {
	t       *testing.T
	aws     *awsWorld
	s3      *awstest.S3
	account *stacktest.Account
}

func (a *accountWorld) open(*testscript.TestScript, bool, []string) {
	a.account = stacktest.NewAccount(a.t, a.aws.server, a.aws.stacks, a.aws.ecr)
	a.aws.server.Handle("s3", a.s3)
	a.account.Code = awstest.NewLambdaCode(a.s3)
}

func (a *accountWorld) sleeps(_ *testscript.TestScript, _ bool, args []string) {
	d := a.account.Deployment()
	d.Lock()
	defer d.Unlock()
	d.Functions[args[0]] = map[string]any{"State": "Inactive"}
}

func (a *accountWorld) ecrRepository(_ *testscript.TestScript, _ bool, args []string) {
	for _, tag := range args[1:] {
		a.aws.ecr.Images(args[0], awstest.Image{Tags: []string{tag}, PushedAt: time.Now().AddDate(0, 0, -1),
			Size: 200 << 20})
	}
}

func (a *accountWorld) signs(_ *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		a.aws.ecr.Sign()
		return
	}
	a.aws.ecr.Sign(awstest.SigningRule{Profile: args[0], Repositories: args[1:]})
}

func (a *accountWorld) damage(_ *testscript.TestScript, _ bool, args []string) {
	a.s3.Put(args[0], args[1], []byte("{"))
}

func (a *accountWorld) old(_ *testscript.TestScript, _ bool, args []string) {
	a.s3.Put(args[0], args[1], []byte("{"))
	a.s3.Age(args[0], args[1], time.Now().AddDate(0, 0, -2))
}

func (a *accountWorld) spoil(_ *testscript.TestScript, _ bool, args []string) {
	a.s3.Set(args[0], args[1], "")
}

func (a *accountWorld) noAccountRegional(*testscript.TestScript, bool, []string) {
	a.s3.NoAccountRegional()
}

func (a *accountWorld) bucket(_ *testscript.TestScript, _ bool, args []string) {
	a.s3.AddBucket(args[0], append(args[1:], awstest.Region)[0])
}

func (a *accountWorld) uploaded(ts *testscript.TestScript, _ bool, args []string) {
	if all := a.s3.Objects(args[0]); strconv.Itoa(len(all)) != args[1] {
		ts.Fatalf("%d objects", len(all))
	}
}

func (a *accountWorld) repository(_ *testscript.TestScript, _ bool, args []string) {
	r := awstest.Repository{Tags: map[string]string{}}
	for _, tag := range args[1:] {
		key, value, _ := strings.Cut(tag, "=")
		r.Tags[key] = value
	}
	a.aws.ecr.Repository(args[0], r)
}

func (a *accountWorld) imagesIn(ts *testscript.TestScript, _ bool, args []string) {
	out, err := ecr.NewFromConfig(a.aws.server.Config()).DescribeImages(a.t.Context(),
		&ecr.DescribeImagesInput{RepositoryName: &args[0]})
	is := "absent"
	if _, gone := errors.AsType[*types.RepositoryNotFoundException](err); !gone {
		ts.Check(err)
		is = strconv.Itoa(len(out.ImageDetails))
	}
	if is != args[1] {
		ts.Fatalf("there are %s", is)
	}
}

func (a *accountWorld) protected(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		a.aws.stacks.Change(args[0], func(s *awstest.Stack) { s.Protected = args[1] == "on" })
		return
	}
	if s := a.aws.stacks.Stack(args[0]); s == nil || s.Protected != (args[1] == "on") {
		ts.Fatalf("the stack is %+v", s)
	}
}

func (a *accountWorld) events(ts *testscript.TestScript, _ bool, args []string) {
	d := a.account.Deployment()
	d.Lock()
	defer d.Unlock()
	var err error
	d.Waiting, err = strconv.Atoi(args[0])
	ts.Check(err)
}

func (a *accountWorld) failResource(_ *testscript.TestScript, _ bool, args []string) {
	what := args[2]
	if what == "make" {
		what = ""
	}
	a.aws.stacks.FailResource(args[0], args[1], what, args[3])
}

func (a *accountWorld) logLine(_ *testscript.TestScript, _ bool, args []string) {
	a.account.Log(args[0], stacktest.LogLine{Stream: "1", Message: args[1], At: time.Now()})
}

func (a *accountWorld) begin(_ *testscript.TestScript, _ bool, args []string) {
	var events []awstest.StackEvent
	for _, status := range args[1:] {
		events = append(events, awstest.StackEvent{Status: status})
	}
	a.aws.stacks.Begin(args[0], events...)
}

func (a *accountWorld) hold(_ *testscript.TestScript, _ bool, args []string) {
	a.aws.stacks.Hold(args[0], args[1] == "on")
}

func (a *accountWorld) stackIs(ts *testscript.TestScript, _ bool, args []string) {
	is := "absent"
	if s := a.aws.stacks.Stack(args[0]); s != nil {
		is = s.Status
	}
	if is != args[1] {
		ts.Fatalf("the stack is %s", is)
	}
	if left := a.aws.stacks.ChangeSets(); len(left) > 0 {
		ts.Fatalf("change sets are left: %s", left)
	}
}

func (a *accountWorld) asked(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, r := range a.aws.server.Requests() {
		if strings.Contains(string(r.Body), deployrights.ChangeSet) {
			continue
		}
		if r.Service == args[0] && (r.Operation == args[1] || strings.HasPrefix(r.Operation, args[1]+" ")) {
			n++
		}
	}
	if strconv.Itoa(n) != args[2] {
		ts.Fatalf("asked %d times", n)
	}
}

func (a *accountWorld) throttle(*testscript.TestScript, bool, []string) {
	var mu sync.Mutex
	asked := map[string]bool{}
	a.aws.server.Refuse(func(r awstest.Request) *awstest.Error {
		service, operation := r.Call()
		mu.Lock()
		defer mu.Unlock()
		if asked[service+operation] {
			return nil
		}
		asked[service+operation] = true
		if r.Service == "s3" {
			return &awstest.Error{Status: http.StatusServiceUnavailable, Code: "SlowDown",
				Message: "Reduce your request rate."}
		}
		return awstest.Throttled
	})
}

func (a *accountWorld) cloudFormation(ts *testscript.TestScript, _ bool, args []string) {
	for _, arg := range args {
		name, template, stack := strings.Cut(arg, "=")
		switch {
		case stack:
			a.aws.stacks.Add(&awstest.Stack{Name: name, Status: "CREATE_COMPLETE", Template: template,
				Parameters: map[string]string{}, Outputs: map[string]string{}, Tags: map[string]string{}})
		case arg == "slow":
			a.aws.stacks.Pace = 1
		case arg == "older":
			a.aws.stacks.Older = true
		case arg == "empty2":
			a.aws.stacks.NoChanges = awstest.EmptyReasons[1]
		default:
			ts.Fatalf("nothing known of %s", arg)
		}
	}
}

// deploy uploads the functions that the builds make.
func TestFunctionNames(t *testing.T) {
	var deployed []string
	for _, f := range companion.Functions {
		deployed = append(deployed, f.Executable)
		if _, err := os.Stat("../../lambdas/" + f.Executable + "/main.go"); err != nil {
			t.Error(err)
		}
	}
	all, err := os.ReadDir("../../lambdas")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if _, err := os.Stat("../../lambdas/" + f.Name() + "/main.go"); err == nil &&
			!slices.Contains(deployed, f.Name()) {
			t.Errorf("%s is not deployed", f.Name())
		}
	}
}
