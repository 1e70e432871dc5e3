package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/acarl005/stripansi"
	"github.com/creack/pty"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/registrytest"
)

// The texts of the verbs that deploy fit a real terminal of 80 columns. Wider are
// only commands and values, whole and each on a line of its own, to be pasted.
func TestDeployTextsFit(t *testing.T) {
	registry := registrytest.Start(t)
	server, stacks, s3 := awstest.Start(t), awstest.NewCloudFormation(), awstest.NewS3()
	account := stacktest.NewAccount(t, server, stacks, awstest.NewECR(registry))
	account.Code = awstest.NewLambdaCode(s3)
	server.Handle("s3", s3)
	dir := t.TempDir()
	run := func(functions, command string, has ...string) {
		t.Helper()
		cmd := exec.Command(programName, strings.Fields(command)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TEST_FUNCTIONS="+functions, "TEST_ECR="+registry.Host())
		for name, value := range server.Env() {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
		if err != nil {
			t.Fatal(err)
		}
		defer tty.Close()
		all, _ := io.ReadAll(tty) // ends with an error when the program has ended
		_ = cmd.Wait()
		text := stripansi.Strip(strings.ReplaceAll(string(all), "\r", ""))
		for _, line := range tooWide(string(all), 80) {
			value := strings.TrimPrefix(strings.TrimSpace(line), "-> ")
			if strings.Contains(value, " ") && !strings.HasPrefix(value, "aws ") &&
				!strings.HasPrefix(value, programName+" ") {
				t.Errorf("%s: too wide: %q", command, line)
			}
		}
		for _, want := range has {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", command, want, text)
			}
		}
	}
	const ci = " --yes --capabilities CAPABILITY_IAM --stack prod"
	const bucket = "s3://soci-index-builder-123456789012-eu-west-1-an/code/"
	run("a", "deploy --dry-run"+ci, "  account 123456789012, region eu-west-1, as\n      arn:aws:sts::")
	run("a", "deploy"+ci, "\n  uploaded\n      "+bucket, "\nFailureQueueUrl\n    https://sqs",
		"\nTailFilterLogs:\n    aws logs tail ")
	const long = "prod/*:*,!*:*-debug,team/application-with-a-long-name/*:release-*"
	run("b", "deploy --filters "+long+" --tag team=platform"+ci,
		"\n  ! warning  filters  prod/*:*: matches none",
		"\n    -> aws ecr register-pull-time-update-exclusion --principal-arn arn")
	denied := func(action string) string {
		return "User: arn:aws:sts::123456789012:assumed-role/operator/session is not authorized to perform: " + action +
			" on resource: arn:aws:lambda:eu-west-1:123456789012:function:prod-GeneratorFunction because no " +
			"identity-based " +
			"policy allows the " + action + " action"
	}
	stacks.FailResource("prod", "GeneratorFunction", "", denied("lambda:UpdateFunctionCode"))
	run("c", "deploy"+ci, "\n  allowed by this statement (identity-based policy):\n    {\"Effect\":\"Allow\",",
		"\nsoci-index-builder: stack prod: it failed and is now UPDATE_ROLLBACK_COMPLETE:\n    GeneratorFunction: "+
			"User:\n")
	run("d", "deploy --code-only"+ci, "\n  changed        the code of RepositoryNameFunction\n      (prod-")
	run("", "rollback"+ci, "\n  there already\n      "+bucket)
	server.Fail("cloudformation", "CreateChangeSet", 1, &awstest.Error{Status: 403, Code: "AccessDenied",
		Message: denied("cloudformation:CreateChangeSet")})
	run("e", "deploy"+ci, "soci-index-builder: access denied, and nothing was made:\n    arn:aws:sts:",
		" allows it:\n    {\"Sid\":\"Stack\",\"Effect\":\"Allow\",\"Action\":[\"cloudformation:CreateChangeSet\"],"+
			"\"Resource\":[\"arn:")
	run("f", "deploy --package image --allow-replacement"+ci,
		"\n  pushed\n      123456789012.dkr.ecr.eu-west-1.amazonaws.com/")
	stacks.Begin("prod", awstest.StackEvent{Status: "UPDATE_IN_PROGRESS"},
		awstest.StackEvent{Status: "UPDATE_COMPLETE"})
	run("", "watch --stack prod", "prod")
	run("", "doctor --stack prod", "\n! warning  pull-time               prod-GeneratorRole-1A2B3C4D5E6F",
		"\n    -> aws ecr register-pull-time-update-exclusion --principal-arn arn")
	stacks.Change("prod", func(s *awstest.Stack) { s.Protected = true })
	run("", "destroy --yes --stack prod",
		"to lift it:\n    aws cloudformation update-termination-protection --no-enable")
	stacks.Change("prod", func(s *awstest.Stack) { s.Protected = false })
	run("", "destroy --yes --stack prod", "stays\n")
}
