package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/testkit/awstest"
)

// An interrupt ends the query in AWS too.
func TestLogsInterrupted(t *testing.T) {
	server := awstest.Start(t)
	world := newLogsWorld(server)
	world.groups(nil, false, []string{"prod-soci"})
	for range 1000 {
		world.logs.Steps = append(world.logs.Steps, "Running")
	}
	server.Handle("cloudformation", awstest.NewCloudFormation(awstest.NewStack("prod-soci")))
	cmd := exec.Command(programName, "logs", "--stack", "prod-soci")
	cmd.Env = os.Environ()
	for name, value := range server.Env() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for server.Count("logs", "GetQueryResults") == 0 {
		select {
		case err := <-ended:
			t.Fatalf("it ended by itself: %v, %s", err, &stderr)
		case <-time.After(time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", err, exitInterrupted)
	}
	if got, want := stderr.String(), "soci-index-builder: interrupted\n"; got != want || stdout.Len() != 0 {
		t.Errorf("stderr %q, want %q; stdout %q", got, want, &stdout)
	}
	if stopped := world.logs.Stopped(); len(stopped) != 1 {
		t.Errorf("stopped were %v, want the query", stopped)
	}
}

// logsWorld is CloudWatch Logs in the AWS account of a script. These commands
// go with it:
//
//	loggroups STACK                 make the log groups of a stack
//	logrows STACK FUNCTION AGO FILE
//	                                what queries find in the log group of filter,
//	                                generator or reponame, in lines that are so old:
//	                                in each line of the file the name of a query, an
//	                                image or -, and the cells of a row as JSON
//	loglines OUTPUT AGO FILE
//	                                write lines into the log group that an output of
//	                                the stack soci-index-builder names; $DIGEST in
//	                                them is the environment's
//	logqueries STATUS...            what queries go through; the last is the end
type logsWorld struct{ logs *awstest.Logs }

func newLogsWorld(server *awstest.Server) *logsWorld {
	l := &logsWorld{logs: awstest.NewLogs()}
	server.Handle("logs", l.logs)
	return l
}

func (l *logsWorld) groups(_ *testscript.TestScript, _ bool, args []string) {
	outputs := awstest.NewStack(args[0]).Outputs
	l.logs.Make(outputs[deployed.OutFilterLogGroup], outputs[deployed.OutGeneratorLogGroup],
		outputs[deployed.OutStepsLogGroup], outputs[deployed.OutRepositoryLogGroup])
}

func (l *logsWorld) rows(ts *testscript.TestScript, _ bool, args []string) {
	group := awstest.NewStack(args[0]).Outputs[map[string]string{
		"filter": deployed.OutFilterLogGroup, "generator": deployed.OutGeneratorLogGroup,
		"reponame": deployed.OutRepositoryLogGroup,
	}[args[1]]]
	ago, err := time.ParseDuration(args[2])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[3])) {
		name, rest, _ := strings.Cut(line, " ")
		image, row, _ := strings.Cut(rest, " ")
		query, err := logquery.Find(name)
		ts.Check(err)
		var p logquery.Params
		if image != "-" {
			p.Image, err = logquery.ParseImage(image)
			ts.Check(err)
		}
		text, err := query.Text(p)
		ts.Check(err)
		var values map[string]string
		ts.Check(json.Unmarshal([]byte(row), &values))
		var cells []awstest.Cell
		for field, value := range values {
			known := func(c logquery.Column) bool { return c.Name == field }
			if !slices.ContainsFunc(query.Columns, known) {
				ts.Fatalf("query %s has no column %s", name, field)
			}
			cells = append(cells, awstest.Cell{Field: field, Value: value})
		}
		l.logs.Add(group, time.Now().Add(-ago), text, cells...)
	}
}

func (l *logsWorld) queries(_ *testscript.TestScript, _ bool, args []string) {
	last := len(args) - 1
	l.logs.Steps, l.logs.End = args[:last], args[last]
}

func (l *logsWorld) lines(ts *testscript.TestScript, _ bool, args []string) {
	ago, err := time.ParseDuration(args[1])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		l.logs.AddLine(awstest.NewStack("soci-index-builder").Outputs[args[0]], time.Now().Add(-ago),
			strings.ReplaceAll(line, "$DIGEST", ts.Getenv("DIGEST")))
	}
}

// --limit 0 asks for all rows that Logs Insights returns, also of a query that has
// a limit of its own; without the flag that limit holds.
func TestLogsLimit(t *testing.T) {
	for given, want := range map[string]string{"": "limit 20", "0": "limit 10000", "7": "limit 7"} {
		l := &logsCommand{}
		cmd := &cobra.Command{}
		cmd.Flags().IntVar(&l.limit, "limit", 0, "")
		if given != "" {
			if err := cmd.Flags().Set("limit", given); err != nil {
				t.Fatal(err)
			}
		}
		query, params, err := l.query(cmd, []string{"slowest"})
		if err != nil {
			t.Fatal(err)
		}
		text, err := query.Text(params)
		rows := "limit " + strconv.Itoa(query.Rows(l.limit))
		if err != nil || !strings.HasSuffix(text, want) || rows != want {
			t.Errorf("--limit %q: %q and %s, %v; want %s", given, text, rows, err, want)
		}
	}
}
