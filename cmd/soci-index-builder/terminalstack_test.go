package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/acarl005/stripansi"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/registrytest"
)

// stackOnTerminal is an account with a stack, images and a failure queue, whose
// names are long.
type stackOnTerminal struct {
	aws   *awsWorld
	queue *queueWorld
	env   []string
}

const longName = "a-team-with-a-long-name/an-application-with-a-long-name"

func newStackOnTerminal(t *testing.T) *stackOnTerminal {
	t.Helper()
	layers := storedLayers(t)
	registry, server := registrytest.Start(t), awstest.Start(t)
	w := &stackOnTerminal{aws: newAWSWorld(server, registry), queue: newQueueWorld(server)}
	logs := newLogsWorld(server)
	stack := awstest.NewStack("soci-index-builder")
	stack.Parameters[deployed.ParamFilters] = "a-team-with-a-long-name/*:*,!*:*-debug,another-team/*:release-*"
	stack.Parameters[deployed.ParamMinLayerSizeMiB] = "0"
	w.aws.stacks.Add(stack)
	logs.groups(nil, false, []string{"soci-index-builder"})
	for _, tag := range []string{"1.0.0-release-candidate", "2.0.0-release-candidate", "3.0.0-debug"} {
		registry.PushImage(t, longName, tag, registrytest.Image{
			Layers: []registrytest.Layer{{Content: layers["writer/go-6"]}}})
	}
	addRows(t, logs, "failures", "", map[string]string{"times": "12", "lastTime": "1767323045678",
		"message": "image failed", "class": "transient", "reason": "access-denied", "repository": longName,
		"example": "push manifest: 403 Forbidden; the function's role needs ecr:PutImage"})
	addRows(t, logs, "why", longName+":1.0.0-release-candidate", map[string]string{
		"@timestamp": "2026-01-02 03:04:05.678", "message": "image finished", "outcome": "no-layer-to-index",
		"sociOutcome": "no-layer-to-index", "hint": "build the image with gzip layers"})
	const event = `{"version":"0","id":"13cde686-328b-6117-af20-0e5566167482","detail-type":"ECR Image Action",` +
		`"source":"aws.ecr","account":"123456789012","time":"2026-01-02T02:04:05Z","region":"eu-west-1",` +
		`"resources":[],"detail":{"result":"SUCCESS","repository-name":"` + longName + `","image-digest":"sha256:` +
		`7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12345678","action-type":"PUSH",` +
		`"image-tag":"1.0.0-release-candidate"}}`
	w.queue.sqs.Put(`{"version":"1.0","timestamp":"2026-01-02T02:40:00.000Z","requestContext":{"requestId":`+
		`"d6af9ac6-7b61-11e6-9a41-93e8deadbeef","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:`+
		`soci-index-builder-Generator","condition":"PermanentFailure"},"requestPayload":`+event+`,"responsePayload":`+
		`{"errorMessage":"repository `+longName+`: layer sha256:55aa: corrupt gzip stream, and so no SOCI index",`+
		`"errorType":"corrupt"},"class":"permanent","reason":"corrupt"}`, nil)
	w.queue.sqs.Put("a message of an unknown format, with many words that do not fit into one line of the screen", nil)
	w.env = []string{"ECR_REGISTRY_ENDPOINT=" + registry.URL()}
	for name, value := range server.Env() {
		w.env = append(w.env, name+"="+value)
	}
	return w
}

// addRows has a query find a row, in the last hour.
func addRows(t *testing.T, logs *logsWorld, name, image string, row map[string]string) {
	t.Helper()
	query, err := logquery.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	var p logquery.Params
	if image != "" {
		if p.Image, err = logquery.ParseImage(image); err != nil {
			t.Fatal(err)
		}
	}
	text, err := query.Text(p)
	if err != nil {
		t.Fatal(err)
	}
	var cells []awstest.Cell
	for field, value := range row {
		cells = append(cells, awstest.Cell{Field: field, Value: value})
	}
	group := awstest.NewStack("soci-index-builder").Outputs[deployed.OutGeneratorLogGroup]
	logs.logs.Add(group, time.Now().Add(-time.Minute), text, cells...)
}

// fits tells of lines that a terminal breaks although they could be broken between
// words: commands to be pasted are whole, on lines of their own.
func fits(t *testing.T, s *session, columns uint16, args []string) {
	t.Helper()
	for _, line := range tooWide(s.raw, int(columns)) {
		text := strings.TrimSpace(stripansi.Strip(line))
		if at := strings.LastIndexByte(text, '\r'); at >= 0 {
			text = text[at+1:]
		}
		command := strings.HasPrefix(text, "aws ") || strings.HasPrefix(text, programName+" ")
		if strings.Contains(text, " ") && !command {
			t.Errorf("%q in %d columns: %q", args, columns, line)
		}
	}
}

// The output of the verbs for a stack and for files fits a terminal.
func TestStackVerbsOnATerminal(t *testing.T) {
	w := newStackOnTerminal(t)
	folder := t.TempDir()
	layer, ztoc := filepath.Join(folder, "layer.tar.gz"), filepath.Join(folder, "layer.ztoc")
	if err := os.WriteFile(layer, storedLayers(t)["writer/go-6"], 0o600); err != nil {
		t.Fatal(err)
	}
	const stack = "--stack=soci-index-builder"
	for _, o := range sizes {
		o.env = w.env
		for _, tt := range []struct {
			args []string
			has  string
			code int
		}{
			{[]string{"redrive", stack}, "2 messages in the failure queue", 0},
			{[]string{"redrive", stack, "--reason", "corrupted", "--retry"}, "did you mean corrupt?", 0},
			{[]string{"logs", stack}, "a permission is missing", 0},
			{[]string{"logs", stack, "--image", longName + ":1.0.0-release-candidate"}, "no layer to index", 0},
			{[]string{"status", stack}, "missing", 0},
			{[]string{"status", stack, "--all", "--no-trunc=false"}, "excluded", 0},
			{[]string{"filters", "arns", stack}, "repository/another-team/*", 0},
			{[]string{"watch", stack}, "soci-index-builder", 0},
			{[]string{"doctor", "--stack", "nosuch"}, "aws cloudformation describe-stacks", 1},
			{[]string{"ztoc", "create", "-o", ztoc, layer}, "entries", 0},
			{[]string{"ztoc", "info", ztoc}, "spans", 0},
			{[]string{"backfill", stack, "--dry-run"}, "to do: 2 images", 0},
			{[]string{"backfill", stack, "--rate", "1000"}, "2 handed to soci-index-builder-Filter", 0},
		} {
			s := onTerminal(t, o, tt.args...)
			text := strings.Join(strings.Fields(stripansi.Strip(s.raw)), " ")
			if s.code != tt.code || !strings.Contains(text, tt.has) {
				t.Errorf("%q ends with %d, want %d and %q:\n%s", tt.args, s.code, tt.code, tt.has, s.screen.text())
			}
			fits(t, s, o.columns, tt.args)
			t.Logf("%q\n%s", tt.args, s.screen.text())
		}
	}
}

// Ctrl-C ends backfill between two images, which says what it has done and leaves
// nothing of the bar.
func TestInterruptBackfill(t *testing.T) {
	w := newStackOnTerminal(t)
	for _, o := range sizes {
		o.env, o.interruptAt = w.env, "1 of 2 images"
		s := onTerminal(t, o, "backfill", "--stack", "soci-index-builder", "--rate", "0.001")
		if text := s.screen.text(); s.code != exitInterrupted || s.hidesCursor() ||
			!strings.Contains(text, "\n1 handed to soci-index-builder-Filter, 0 failed, of 2 images\n") ||
			strings.Contains(text, "[") || !strings.HasSuffix(text, "\n"+programName+": interrupted\n") {
			t.Errorf("it ends with %d:\n%s", s.code, text)
		}
	}
}

// Ctrl-C ends the watching and nothing else.
func TestInterruptWatch(t *testing.T) {
	w := newStackOnTerminal(t)
	w.aws.stacks.Begin("soci-index-builder", awstest.StackEvent{Status: "UPDATE_IN_PROGRESS"},
		awstest.StackEvent{Status: "UPDATE_COMPLETE"})
	w.aws.stacks.Hold("soci-index-builder", true)
	for _, o := range sizes {
		o.env, o.interruptAt = w.env, "updating"
		s := onTerminal(t, o, "watch", "--stack", "soci-index-builder")
		if text := s.screen.text(); s.code != exitInterrupted || s.hidesCursor() ||
			!strings.HasSuffix(text, programName+": stack soci-index-builder: left while it goes on\n") {
			t.Errorf("it ends with %d:\n%s", s.code, text)
		}
	}
	if is := w.aws.stacks.Stack("soci-index-builder").Status; is != "UPDATE_IN_PROGRESS" {
		t.Errorf("the stack is %s", is)
	}
}

// A rollback shows what it goes back to and what changes, asks, and shows how it
// goes on, all of which fits the terminal.
func TestRollbackOnATerminal(t *testing.T) {
	server, stacks, s3 := awstest.Start(t), awstest.NewCloudFormation(), awstest.NewS3()
	account := stacktest.NewAccount(t, server, stacks, awstest.NewECR(nil))
	account.Code = awstest.NewLambdaCode(s3)
	server.Handle("s3", s3)
	var env []string
	for name, value := range server.Env() {
		env = append(env, name+"="+value)
	}
	const stack = "a-stack-with-a-long-name-for-a-team-with-a-long-name"
	for _, functions := range []string{"a", "b"} {
		cmd := exec.Command(programName, "deploy", "--stack", stack, "--yes", "--capabilities", "CAPABILITY_IAM",
			"--filters", longName+"-"+functions+"/*:*,!*:*-debug,another-team/*:release-*")
		cmd.Env = append(append(os.Environ(), env...), "TEST_FUNCTIONS="+functions)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, o := range sizes {
		o.env = append(env, "TEST_TERMINAL=real")
		o.answerAt = `\[y/N\] $`
		args := []string{"rollback", "--stack", stack}
		s := onTerminal(t, o, args...)
		text := stripansi.Strip(s.raw)
		for _, want := range []string{`back to what was deployed at `, `SociRepositoryImageTagFilters`,
			`Deploy this \([0-9]+ to change\)\? \[y/N\] y`, `✓ stack ` + stack, `what to do next`} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("in %d columns it does not say %q:\n%s", o.columns, want, s.screen.text())
			}
		}
		if s.code != exitOK || s.hidesCursor() {
			t.Errorf("it ends with %d:\n%s", s.code, s.screen.text())
		}
		onlyCommandsTooWide(t, s.raw, int(o.columns))
		t.Logf("%q\n%s", args, s.screen.text())
	}
}
