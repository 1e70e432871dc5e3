package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/demo"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/functionzip"
	"soci-index-builder/internal/waiting"
)

// spoken runs the command line in this process, and returns what it writes to the
// standard error.
func spoken(t *testing.T, in io.Reader, want error, args ...string) string {
	t.Helper()
	var stdout bytes.Buffer
	var stderr lockedBuffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	if err := root.ExecuteContext(t.Context()); !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("%q ends with %v, want %v:\n%s%s", args, err, want, &stdout, stderr.String())
	}
	return stderr.String()
}

// withoutProgress are the commands that show none.
var withoutProgress = []string{"inspect", "doctor", "logs", "redrive", "filters arns", "ztoc info", "version",
	"completion", "help"}

// quietRow is a command that shows progress.
type quietRow struct {
	args   []string
	shows  string // a regular expression; in lines, as there is no terminal
	never  string // a regular expression
	still  string // what --quiet leaves
	err    error
	in     func() io.Reader
	before func() // of each run
}

// Every command that may take long shows that it goes on, and with --quiet none
// does. What must not be missed is there all the same.
func TestProgressAndQuiet(t *testing.T) {
	every := progressEvery
	progressEvery = 20 * time.Microsecond
	t.Cleanup(func() { progressEvery = every })
	ref := manyLayers(t, 3, 4<<20)
	repository := strings.TrimSuffix(ref, ":1")
	layer := storedLayers(t)["writer/go-6"]
	t.Chdir(t.TempDir())
	const small = "--min-layer-size=0"
	seen := map[string]bool{}
	check := func(rows []quietRow) {
		t.Helper()
		for _, row := range rows {
			cmd, _, err := newRootCommand().Find(row.args)
			if err != nil {
				t.Fatal(err)
			}
			seen[cmd.CommandPath()] = true
			in := func() io.Reader { return strings.NewReader("") }
			if row.in != nil {
				in = row.in
			}
			before := func() {}
			if row.before != nil {
				before = row.before
			}
			before()
			text := spoken(t, in(), row.err, row.args...)
			if !regexp.MustCompile("(?m)^ *"+row.shows).MatchString(text) ||
				row.never != "" && regexp.MustCompile(row.never).MatchString(text) {
				t.Errorf("%q shows %.2000q, want %s, not %s", row.args, text, row.shows, row.never)
			}
			before()
			text = spoken(t, in(), row.err, append([]string{"--quiet"}, row.args...)...)
			if !regexp.MustCompile("^(" + row.still + ")$").MatchString(text) {
				t.Errorf("%q with --quiet writes %.2000q, want %q", row.args, text, row.still)
			}
		}
	}
	quietly := func(args ...string) { spoken(t, strings.NewReader(""), nil, append(args, "-q")...) }
	check([]quietRow{
		{args: []string{"estimate", "--path", "/file", small, ref},
			shows: `[0-9]+ %: [0-3] of 3 layers, `, never: `of [12] layers?,`},
		{args: []string{"wait", small, "--timeout", "1s", "--index-version", "V2", ref},
			shows: `waiting [01]s of 1s for `, err: waiting.ErrTimeUp},
		{args: []string{"index", small, "--force", ref}, shows: `[0-9]+ %: [0-3] of 3 layers, `},
		{args: []string{"index", "--output-layout", "layout", ref}, shows: `[0-9]+ %: [0-3] of 3 layers, `,
			before: func() { _ = os.RemoveAll("layout") }},
		{args: []string{"verify", ref}, shows: `[0-9]+ %: [0-3] of 3 layers, `},
		{args: []string{"status", small, repository}, shows: `looking at images: [0-9]+ of [0-9]+$`},
		{args: []string{"cleanup", "--broken", repository},
			shows: `[0-9]+ manifests read, the zTOCs of [0-2] of 2 SOCI indexes, repository 1 of 1: \S+/team/app$`},
		{args: []string{"cleanup", "--yes", repository}, shows: `\S+/team/app: [2-9] of [2-9] deleted$`,
			before: func() { quietly("index", small, ref) }},
		{args: []string{"backfill", "--local", small, repository}, shows: `looking at images: `,
			before: func() { quietly("cleanup", "--any-tag", "-y", repository) }},
		{args: []string{"ztoc", "create", "-o", "out.ztoc", "-"}, shows: `[0-9].* read$`,
			in: func() io.Reader { return slowReader{bytes.NewReader(layer)} }},
		{args: []string{"demo", "--image", ref}, shows: `0s: copying \S+/team/app:1$`, err: demo.ErrNoLayer},
	})

	w := newStackOnTerminal(t)
	w.aws.server.Handle("ecr", late{w.aws.ecr})
	for _, variable := range w.env {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	check([]quietRow{
		{args: []string{"filters", "test", "--stack", "soci-index-builder"},
			shows: `listing images: [0-9]+ images? in [01] repositor(y|ies)$`},
		{args: []string{"backfill", "--stack", "soci-index-builder", "--rate", "1000"},
			shows: longName + `:\S+: handed over as backfill-`},
		{args: []string{"backfill", "--stack", "soci-index-builder", "--rate", "1000", "--wait", "1s"},
			shows: `waiting: 0 of 2 images done$`, err: errReported,
			still: `(` + programName + `: ` + longName + `:\S+: not indexed after [0-9.]+s\n){2}`},
	})

	server, stacks, s3 := awstest.Start(t), awstest.NewCloudFormation(), awstest.NewS3()
	registry := awstest.NewECR(nil)
	registry.Repository("prod/api", awstest.Repository{})
	account := stacktest.NewAccount(t, server, stacks, registry)
	account.Code = awstest.NewLambdaCode(s3)
	server.Handle("s3", s3)
	for name, value := range server.Env() {
		t.Setenv(name, value)
	}
	code, pause := functionCode, deployPatience
	t.Cleanup(func() { functionCode, deployPatience = code, pause })
	deployPatience = patience.Patience{Pause: time.Millisecond}
	built := ""
	functionCode = func(architecture, function string) ([]byte, error) {
		return functionzip.New(architecture, built+function)
	}
	ci := []string{"--stack=prod", "--yes", "--capabilities=CAPABILITY_IAM"}
	check([]quietRow{
		{args: append([]string{"deploy"}, ci...), shows: `[0-9:]+  created      stack prod`,
			before: func() { built += "x" }},
		{args: append([]string{"rollback"}, ci...), shows: `[0-9:]+  updated      stack prod`,
			still: `  back to what was deployed at [^\n]+\n`},
		{args: []string{"watch", "--stack=prod"}, shows: `[0-9:]+  updated      stack prod`, before: func() {
			going := awstest.StackEvent{Status: "UPDATE_IN_PROGRESS"} // one more with each request
			stacks.Begin("prod", going, going, going, going, awstest.StackEvent{Status: "UPDATE_COMPLETE"})
		}},
		{args: append([]string{"deploy", "--filters", "nosuch/*:*"}, ci...), shows: `[0-9:]+  updated      stack prod`,
			still:  `  warning: filter nosuch/\*:\* matches no repository [^\n]+\n`,
			before: func() { quietly(append([]string{"deploy", "--filters=prod/*:*"}, ci...)...) }},
		{args: []string{"destroy", "--stack=prod", "--yes"}, shows: `[0-9:]+  deleted      stack prod`,
			before: func() { quietly(append([]string{"deploy"}, ci...)...) }},
	})
	for _, cmd := range visible(newRootCommand()) {
		name := strings.TrimPrefix(cmd.CommandPath(), programName+" ")
		if !cmd.HasAvailableSubCommands() && !seen[cmd.CommandPath()] && !slices.Contains(withoutProgress, name) {
			t.Errorf("%s is not tried", cmd.CommandPath())
		}
	}
}

// late answers after a while, in which a line can be written.
type late struct{ http.Handler }

func (h late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(20 * time.Millisecond)
	h.Handler.ServeHTTP(w, r)
}

// slowReader returns little at a time.
type slowReader struct{ io.Reader }

func (r slowReader) Read(b []byte) (int, error) {
	time.Sleep(100 * time.Microsecond)
	return r.Reader.Read(b[:min(len(b), 1024)])
}
