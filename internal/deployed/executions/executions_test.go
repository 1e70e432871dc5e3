package executions_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"soci-index-builder/internal/deployed/executions"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/awstest"
)

func TestRunning(t *testing.T) {
	server, states := awstest.Start(t), new(awstest.States)
	server.Handle("states", states)
	start := func(name, input string) {
		t.Helper()
		s := fanout.Open(server.Config(), awstest.StateMachineARN)
		if _, err := s.Start(t.Context(), name, []byte(input)); err != nil {
			t.Fatal(err)
		}
	}
	event := func(n int) string {
		return fmt.Sprintf(`{"detail-type":"ECR Image Action","source":"aws.ecr","account":"123456789012",`+
			`"region":"eu-west-1","detail":{"result":"SUCCESS","repository-name":"team/app","image-digest":"sha256:%064d",`+
			`"action-type":"PUSH","image-tag":"v1"}}`, n)
	}
	start("closed", event(1))
	states.Close("SUCCEEDED")
	start("running", event(2))
	start("again", event(2))
	start("other", `{"no":"event"}`)
	for n := range 5 { // more than a page
		start(fmt.Sprint("more", n), event(10+n))
	}
	api := sfn.NewFromConfig(server.Config())
	found, err := executions.Running(t.Context(), api, awstest.StateMachineARN)
	if err != nil {
		t.Fatal(err)
	}
	image := executions.Image{Repository: "team/app", Digest: fmt.Sprintf("sha256:%064d", 2), Tag: "v1"}
	if x := found[image]; len(found) != 6 || x.Name != "again-1" || x.Started.IsZero() {
		t.Errorf("%+v in %+v", x, found)
	}
	for _, operation := range []string{"ListExecutions", "DescribeExecution"} {
		server.Fail("states", operation, 1,
			&awstest.Error{Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "no"})
		if _, err := executions.Running(t.Context(), api, awstest.StateMachineARN); err == nil {
			t.Errorf("%s: no error", operation)
		}
	}
}

func TestEnded(t *testing.T) {
	server, states := awstest.Start(t), new(awstest.States)
	server.Handle("states", states)
	api := sfn.NewFromConfig(server.Config())
	for status, want := range map[string]string{
		"RUNNING": "", "SUCCEEDED": "", "TIMED_OUT": "timed out", "ABORTED": "was stopped", "FAILED": "failed",
	} {
		states.Run(status, "{}")
		states.Close(status)
		got, err := executions.Ended(t.Context(), api, awstest.StateMachineARN, status)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", status, got, err, want)
		}
	}
	if got, err := executions.Ended(t.Context(), api, awstest.StateMachineARN, "gone"); got != "" || err != nil {
		t.Errorf("one that is not there: %q, %v", got, err)
	}
	server.Fail("states", "DescribeExecution", 1,
		&awstest.Error{Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "no"})
	if _, err := executions.Ended(t.Context(), api, awstest.StateMachineARN, "FAILED"); err == nil {
		t.Error("no error")
	}
}
