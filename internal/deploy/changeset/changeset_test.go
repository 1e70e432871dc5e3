package changeset_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/testkit/awstest"
)

const before = `{"Parameters":{"Level":{"Type":"String","Default":"INFO"},
"Key":{"Type":"String","Default":"a","NoEcho":true}},
"Resources":{
"Queue":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"one"}},
"Worker":{"Type":"AWS::Lambda::Function","Properties":{"Code":{"S3Key":"1"},
"Environment":{"Variables":{"LEVEL":{"Ref":"Level"},"KEY":{"Ref":"Key"}}}}},
"Old":{"Type":"AWS::Logs::LogGroup"},
"Asks":{"Type":"Custom::Thing","Properties":{"ServiceToken":{"Fn::GetAtt":["Worker","Arn"]}}}}}`

var (
	quick = patience.Patience{Pause: time.Microsecond}

	// after replaces the queue and the function, as a change to images does.
	after = strings.NewReplacer(`"one"`, `"two"`, `"Old"`, `"New"`, `"Properties":{"Code":{"S3Key":"1"}`,
		`"Properties":{"PackageType":"Image","Code":{"ImageUri":"x"}`).Replace(before)
)

// account has a stack of the template before.
func account(t *testing.T) (*awstest.Server, *awstest.CloudFormation, *cloudformation.Client) {
	t.Helper()
	stacks := awstest.NewCloudFormation()
	server := awstest.Start(t)
	server.Handle("cloudformation", stacks)
	client := cloudformation.NewFromConfig(server.Config())
	set, err := changeset.Make(t.Context(), client,
		changeset.Request{Stack: "s", Create: true, Template: []byte(before)},
		quick)
	if err != nil {
		t.Fatal(err)
	}
	run(t, stacks, client, set, "CREATE_COMPLETE")
	return server, stacks, client
}

// run executes a change set until the stack has come to rest.
func run(t *testing.T, stacks *awstest.CloudFormation, client *cloudformation.Client, set *changeset.ChangeSet,
	want string) {
	t.Helper()
	if err := set.Execute(t.Context(), client, changeset.Token(), false, quick); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := client.DescribeStacks(t.Context(),
			&cloudformation.DescribeStacksInput{StackName: &set.StackID}); err != nil {
			t.Fatal(err)
		}
	}
	if is := stacks.Stack("s").Status; is != want {
		t.Fatalf("the stack is %s, want %s", is, want)
	}
}

func prepare(t *testing.T, client *cloudformation.Client, template string,
	parameters ...types.Parameter) *changeset.ChangeSet {
	t.Helper()
	set, err := changeset.Make(t.Context(), client, changeset.Request{Stack: "s", Template: []byte(template),
		Parameters: parameters, Secrets: []string{"hush"}}, quick)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The table has what is lost first, old and new values, and no secret.
func TestWrite(t *testing.T) {
	_, stacks, client := account(t)
	stacks.PageSize = 1
	set := prepare(t, client, after,
		types.Parameter{ParameterKey: aws.String("Level"), ParameterValue: aws.String("DEBUG")},
		types.Parameter{ParameterKey: aws.String("Key"), ParameterValue: aws.String("hush")})
	var b bytes.Buffer
	if err := changeset.Write(&b, set.Changes, false); err != nil {
		t.Fatal(err)
	}
	want := `- remove   Old     AWS::Logs::LogGroup
! replace  Queue   AWS::SQS::Queue
! replace  Worker  AWS::Lambda::Function
~ change   Asks    Custom::Thing
+ add      New     AWS::Logs::LogGroup

Old: its log lines are lost

Queue: events that wait in the queue are lost
    QueueName: one -> two (needs a new resource)

Worker: another function takes its place, queued events are lost
    Code.ImageUri: (none) -> x
    Code.S3Key: 1 -> (none)
    Environment.Variables.KEY: a -> ****
    Environment.Variables.LEVEL: INFO -> DEBUG
    PackageType: (none) -> Image (needs a new resource)

Asks: as far as others change
    ServiceToken: arn:aws:lambda:eu-west-1:123456789012:function:s-Worker-1A2B3C4D5E6F -> (known after the execution)
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
	if got := set.Counts(); got != "1 to add, 1 to change, 2 to replace, 1 to remove" {
		t.Errorf("counts: %s", got)
	}
	if n := len(set.NeedConsent()); n != 2 {
		t.Errorf("%d need consent", n)
	}
	// CloudFormation never changes what a custom resource asks: the update
	// fails and is rolled back.
	run(t, stacks, client, set, "UPDATE_ROLLBACK_COMPLETE")
}

// Expect, which has only the templates, returns the same changes, except those
// that follow from a replacement.
func TestExpect(t *testing.T) {
	old := &changeset.Side{Template: []byte(before), Stack: "s"}
	changes, err := changeset.Expect(old, changeset.Side{Template: []byte(after), Stack: "s",
		Parameters: map[string]string{"Level": "DEBUG", "Key": "hush"}, Secrets: []string{"hush"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := changeset.Write(&b, changes, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"- remove   Old ", "! replace  Worker ", "+ add      New ", "LEVEL: INFO -> DEBUG\n",
		"KEY: a -> ****\n", "PackageType: (none) -> Image (needs a new resource)\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
	if changes, err := changeset.Expect(old, *old); err != nil || len(changes) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
	if changes, err := changeset.Expect(nil, *old); err != nil || len(changes) != 4 ||
		changes[0].Action != changeset.Add {
		t.Errorf("%v, %v", changes, err)
	}
}

func TestEmpty(t *testing.T) {
	_, stacks, client := account(t)
	for _, reason := range awstest.EmptyReasons {
		stacks.NoChanges = reason
		set := prepare(t, client, before)
		if !set.Empty {
			t.Errorf("%q is not recognised", reason)
		}
		if err := set.Discard(t.Context(), client, false); err != nil {
			t.Error(err)
		}
	}
	// Another failure is one, and leaves no change set.
	stacks.NoChanges = "Transform failed"
	_, err := changeset.Make(t.Context(), client, changeset.Request{Stack: "s", Template: []byte(before)}, quick)
	if !errors.Is(err, changeset.ErrFailed) || !strings.Contains(err.Error(), "Transform failed") {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	if left := stacks.ChangeSets(); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// CloudFormation refuses: what it says arrives, and nothing is left.
func TestRefused(t *testing.T) {
	server, stacks, client := account(t)
	large := strings.Replace(before, `"Resources"`, `"Description":"`+strings.Repeat("x", 51200)+`","Resources"`, 1)
	requests := server.Count("cloudformation", "CreateChangeSet")
	_, err := changeset.Make(t.Context(), client, changeset.Request{Stack: "s", Template: []byte(large)}, quick)
	if !errors.Is(err, changeset.ErrTooLarge) || server.Count("cloudformation", "CreateChangeSet") != requests {
		t.Errorf("the error is %v, want ErrTooLarge", err)
	}
	role := strings.Replace(before, `"AWS::Logs::LogGroup"`, `"AWS::IAM::Role"`, 1)
	for _, tt := range []struct {
		request changeset.Request
		text    string
	}{
		{changeset.Request{Stack: "s", Template: []byte(role)}, "Requires capabilities : [CAPABILITY_IAM]"},
		{changeset.Request{Stack: "s", Create: true, Template: []byte(before)}, "already exists"},
		{changeset.Request{Stack: "t", Template: []byte(before)}, "does not exist"},
		{changeset.Request{Stack: "s", Template: []byte(before), Parameters: []types.Parameter{
			{ParameterKey: aws.String("X"), ParameterValue: aws.String("1")}}}, "Parameters: [X] do not exist"},
	} {
		_, err := changeset.Make(t.Context(), client, tt.request, quick)
		if err = awserror.Explain(err); err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("the error is %v, want %s", err, tt.text)
		}
	}
	if left := stacks.ChangeSets(); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// Two make the change set that creates a stack: there is one stack, and it stays
// as long as the other needs it.
func TestDiscardOfTwo(t *testing.T) {
	server, stacks, client := account(t)
	stacks.PageSize = 1
	create := changeset.Request{Stack: "n", Create: true, Template: []byte(before)}
	made := func() *changeset.ChangeSet {
		set, err := changeset.Make(t.Context(), client, create, quick)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	first, second := made(), made()
	if first.StackID != second.StackID {
		t.Fatalf("two stacks: %s, %s", first.StackID, second.StackID)
	}
	// A third cannot be read.
	server.Fail("cloudformation", "DescribeChangeSet", 1,
		&awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
	if _, err := changeset.Make(t.Context(), client, create, quick); err == nil {
		t.Error("the change set was read")
	}
	if s := stacks.Stack("n"); s == nil || len(stacks.ChangeSets()) != 2 {
		t.Fatalf("the stack is %+v, change sets %q", s, stacks.ChangeSets())
	}
	if err := second.Discard(t.Context(), client, true); err != nil || stacks.Stack("n") == nil {
		t.Fatalf("%v, the stack is %+v", err, stacks.Stack("n"))
	}
	// It is not known whether somebody needs it.
	third := made()
	for _, operation := range []string{"ListChangeSets", "DescribeStacks"} {
		if operation == "DescribeStacks" { // the first is in no list then
			if err := first.Discard(t.Context(), client, false); err != nil {
				t.Fatal(err)
			}
		}
		server.Fail("cloudformation", operation, 1,
			&awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
		if err := third.Discard(t.Context(), client, true); !errors.Is(err, awserror.ErrDenied) ||
			!strings.Contains(err.Error(), "stays") || stacks.Stack("n") == nil {
			t.Errorf("%s: the error is %v, the stack is %+v", operation, err, stacks.Stack("n"))
		}
	}
	// Nobody needs it; what is gone already is no error.
	for range 2 {
		if err := third.Discard(t.Context(), client, true); err != nil || stacks.Stack("n") != nil {
			t.Fatalf("%v, the stack is %+v", err, stacks.Stack("n"))
		}
	}
}

// The other one has created the stack: it stays, and to execute the change set is
// an error that says so.
func TestDiscardAfterCreation(t *testing.T) {
	for _, ended := range []bool{false, true} {
		_, stacks, client := account(t)
		create := changeset.Request{Stack: "n", Create: true, Template: []byte(before)}
		var sets []*changeset.ChangeSet
		for range 2 {
			set, err := changeset.Make(t.Context(), client, create, quick)
			if err != nil {
				t.Fatal(err)
			}
			sets = append(sets, set)
		}
		stacks.Pace = 1
		if ended {
			stacks.Pace = 1000
		}
		if err := sets[0].Execute(t.Context(), client, changeset.Token(), false, quick); err != nil {
			t.Fatal(err)
		}
		err := sets[1].Execute(t.Context(), client, changeset.Token(), false, quick)
		if err == nil || !strings.Contains(err.Error(), "somebody else has changed the stack since it was made") {
			t.Errorf("the error is %v", err)
		}
		if err := sets[1].Discard(t.Context(), client, true); err != nil {
			t.Error(err)
		}
		if s := stacks.Stack("n"); s == nil || !strings.HasPrefix(s.Status, "CREATE_") {
			t.Errorf("the stack is %+v", s)
		}
	}
}

func TestDifference(t *testing.T) {
	long := strings.Repeat("a", 200)
	for _, tt := range []struct{ old, value, want string }{
		{"", "x", "(none) -> x"},
		{"x", "", "x -> (none)"},
		{"a\n b", "c", "a b -> c"},
		{long + "x", long + "y", "..." + strings.Repeat("a", 15) + "x -> ..." + strings.Repeat("a", 15) + "y"},
	} {
		if got := changeset.Difference(tt.old, tt.value, false); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if got, want := changeset.Difference(long, long+"x", true), long+" -> "+long+"x"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
