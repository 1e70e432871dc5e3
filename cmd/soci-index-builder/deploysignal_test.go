package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// Ctrl-C, where nobody can be asked, leaves CloudFormation at work: the exit
// code says so, and the program says how to go on watching.
func TestDeployInterrupt(t *testing.T) {
	server, stacks, s3 := awstest.Start(t), awstest.NewCloudFormation(), awstest.NewS3()
	stacktest.NewAccount(t, server, stacks, awstest.NewECR(nil))
	server.Handle("s3", s3)
	s3.AddBucket("code", awstest.Region)
	stacks.Pace = 1
	cmd := exec.Command(programName, "deploy", "--stack", "soci-index-builder", "--bucket", "code", "--yes",
		"--capabilities", "CAPABILITY_IAM")
	cmd.Env = os.Environ()
	for name, value := range server.Env() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.HasSuffix(lines.Text(), "creating     stack soci-index-builder") {
			stacks.Hold("soci-index-builder", true)
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", err, exitInterrupted)
	}
	if !strings.HasSuffix(text.String(), "  CloudFormation goes on without this program; to watch it: "+
		"soci-index-builder watch --stack soci-index-builder --region eu-west-1\n"+
		"soci-index-builder: left while it goes on\n") {
		t.Errorf("stderr %q", &text)
	}
	if is := stacks.Stack("soci-index-builder").Status; is != "CREATE_IN_PROGRESS" {
		t.Errorf("the stack is %s", is)
	}
}
