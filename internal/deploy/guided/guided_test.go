package guided_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// account returns an AWS with repositories.
func account(t *testing.T) *awstest.Server {
	t.Helper()
	server := awstest.Start(t)
	ecr := awstest.NewECR(nil)
	server.Handle("ecr", ecr)
	day := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	ecr.Images("prod/api",
		awstest.Image{Tags: []string{"1.0", "1.0-debug"}, PushedAt: day(1), Size: 2_000_000_000},
		awstest.Image{Tags: []string{"0.9"}, PushedAt: day(40), Size: 1_000_000_000},
		awstest.Image{PushedAt: day(1), Size: 500},
		awstest.Image{Tags: []string{"1.0-soci"}, PushedAt: day(1), Size: 3_000_000_000})
	ecr.Images("prod/web", awstest.Image{Tags: []string{"1"}, PushedAt: day(50), Size: 100_000_000})
	ecr.Images("dev/web", awstest.Image{Tags: []string{"1"}, PushedAt: day(2), Size: 100_000_000})
	ecr.Repository("empty", awstest.Repository{})
	return server
}

// load returns what flags and the file of the test's folder say.
func load(t *testing.T, args ...string) (settings.Given, *settings.Environment) {
	t.Helper()
	set := pflag.NewFlagSet("deploy", pflag.ContinueOnError)
	f := &settings.Flags{}
	f.Bind(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	g, env, err := f.Load(true)
	if err != nil {
		t.Fatal(err)
	}
	return g, env
}

// options are those of an account without a stack.
func options(t *testing.T, server *awstest.Server, in io.Reader, out io.Writer, args ...string) guided.Options {
	t.Helper()
	t.Chdir(t.TempDir())
	given, env := load(t, args...)
	return guided.Options{
		Terminal: guided.NewTerminal(in, out), Given: given, Region: awstest.Region, SaveTo: env.String(),
		Look: func(context.Context, string, string) (guided.Account, error) {
			return guided.Account{ID: awstest.Account, Partition: "aws", Images: inventory.ECR(server.Config())}, nil
		},
		Now: func() time.Time { return now },
	}
}

// answers are lines.
func answers(lines ...string) io.Reader { return strings.NewReader(strings.Join(lines, "\n") + "\n") }

func TestGuided(t *testing.T) {
	server := account(t)
	var screen bytes.Buffer
	o := options(t, server, answers(
		"1st", "my-soci", // stack
		"Ireland", "", // region
		"docker", "", // package
		"prod", "nothing/*:*", "n", "prod/*:*, !*:*-debug", "y", // filters
		"V3", "V2", "", "not-an-arn", "", "", "", // parameters
		"MinLayerSize=5", "MinLayerSizeMiB=5", "CodeS3Bucket=x", "", // another
		"y"), &screen)
	got, err := guided.Ask(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, screen.String())
	}
	if !got.Save || got.Account.ID != awstest.Account {
		t.Errorf("the answers are %+v", got)
	}
	var all []string
	for _, c := range got.Given.Chosen() {
		all = append(all, c.Name+"="+c.Value)
		if c.Kind != settings.Answer {
			t.Errorf("%s comes from %s", c.Name, c)
		}
	}
	want := []string{"stack=my-soci", "region=eu-west-1", "filters=prod/*:*,!*:*-debug",
		"parameter.MinLayerSizeMiB=5", "parameter.SociIndexVersion=V2", "package=zip"}
	if !slices.Equal(all, want) {
		t.Errorf("answered was %q, want %q", all, want)
	}
	for _, text := range []string{
		`"1st": must be 1 to 128 of A-Z`, `"Ireland": must be the name of a region`, `"docker": must be zip or image`,
		`"prod": filter 1 "prod" has no tag part`,
		"the stack my-soci will be created",
		"These filters choose nothing of what the 4 repositories have now",
		"Keep these filters? [y/N]", "Keep these filters? [Y/n]",
		"  REPOSITORY  CHOSEN  NOT CHOSEN  PUSHED IN 30 DAYS\n" +
			"  prod/api    2       1           1\n" +
			"  prod/web    1       0           0\n" +
			"  nothing in: dev/web, empty\n",
		`"V3": it must be one of V1, V2, Both`, `"not-an-arn": it must be the ARN of a standard SNS topic`,
		`there is no parameter "MinLayerSize" (did you mean MinLayerSizeMiB?)`, "use --bucket",
		// 2 GB at 75 MiB/s, and 2 s, of 1,769 MB.
		"at most $0.0006 a month", "1 image, 1.9 GiB",
		fmt.Sprintf("a month for %d alarms", guided.AlarmsOf(t, deployed.ParamFanOutFromGiB)),
		"once, if you have the images that are there indexed by backfill: 3 images",
		"arn:aws:cloudformation:eu-west-1:123456789012:stack/my-soci/*",
		"Save this to soci-index-builder.toml [default]? [Y/n]",
	} {
		if !strings.Contains(screen.String(), text) {
			t.Errorf("the screen does not show %q", text)
		}
	}
	if t.Failed() {
		t.Logf("the screen:\n%s", screen.String())
	}
	if files, err := filepath.Glob("*"); err != nil || len(files) > 0 {
		t.Errorf("the questions made %q, %v", files, err)
	}
	for _, r := range server.Requests() {
		if r.Operation != "DescribeRepositories" && r.Operation != "DescribeImages" {
			t.Errorf("the questions asked AWS for %s", r.Operation)
		}
	}
	if n := server.Count("ecr", "DescribeRepositories"); n != 1 {
		t.Errorf("the repositories were listed %d times", n)
	}
}

// Settings that flags decide are not asked for; values of the file and the stack
// are the defaults.
func TestGuidedProposes(t *testing.T) {
	server := account(t)
	var screen bytes.Buffer
	in := answers("", "", "", "y", "", "3008", "-", "", "", "", "n")
	o := options(t, server, in, &screen)
	if err := os.WriteFile(settings.FileName, []byte("[prod]\nstack = 'of-the-file'\nfilters = 'prod/*:*'\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	o.Given, _ = load(t, "--region=eu-west-1", "--parameter=LogLevel=DEBUG")
	look := o.Look
	o.Look = func(ctx context.Context, stack, region string) (guided.Account, error) {
		a, err := look(ctx, stack, region)
		if stack != "of-the-file" || region != "eu-west-1" {
			t.Errorf("looked at %s in %s", stack, region)
		}
		a.Status = "UPDATE_COMPLETE"
		a.Stack = settings.Of(settings.Stack, settings.Settings{Package: embedded.Image, Architecture: "amd64"})
		a.Parameters = map[string]string{"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
			"SociTagSuffix": "-x"}
		return a, err
	}
	got, err := guided.Ask(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, screen.String())
	}
	if got.Save || got.Given.Package != embedded.Image || got.Given.Parameters["GeneratorMemorySize"] != "3008" {
		t.Errorf("the answers are %+v", got)
	}
	if v, ok := got.Given.Parameters["AlarmTopicArn"]; !ok || v != "" {
		t.Errorf("the topic was not cleared: %q, %v", v, ok)
	}
	if _, ok := got.Given.Origin("parameter.SociIndexVersion"); ok {
		t.Error("a parameter that stays as it is became an answer")
	}
	if o, _ := got.Given.Origin("parameter.LogLevel"); o.Kind != settings.Flag {
		t.Errorf("the flag became %s", o)
	}
	for _, text := range []string{"Stack name [of-the-file]: ", "of-the-file is there (UPDATE_COMPLETE)",
		"Package [image]: ",
		"Filters [prod/*:*]: ", "AlarmTopicArn [arn:aws:sns:eu-west-1:123456789012:alarms]: ",
		"  prod/api    4       0           3\n"} { // -soci is not the suffix of this stack
		if !strings.Contains(screen.String(), text) {
			t.Errorf("the screen does not show %q", text)
		}
	}
	if strings.Contains(screen.String(), "Region") {
		t.Error("the region was asked for, which a flag gives")
	}
	if t.Failed() {
		t.Logf("the screen:\n%s", screen.String())
	}
}

// Answers that do not fit flags are asked for again.
func TestGuidedFits(t *testing.T) {
	var screen bytes.Buffer
	o := options(t, account(t), answers("image", "zip", "", "", "", "", "", "", "", ""), &screen, "--stack=s",
		"--region=eu-west-1", "--bucket=my-bucket", "--filters=prod/*:*")
	got, err := guided.Ask(t.Context(), o)
	if err != nil || got.Given.Package != embedded.Zip || got.Given.Bucket != "my-bucket" {
		t.Errorf("%+v, %v\n%s", got.Given, err, screen.String())
	}
	if !strings.Contains(screen.String(), `"image": bucket (--bucket) is for the package zip`) ||
		strings.Contains(screen.String(), "Keep these") {
		t.Errorf("the screen is\n%s", screen.String())
	}
}

// Without permission to list, there is no preview, and the rest goes on.
func TestGuidedWithoutPreview(t *testing.T) {
	server := account(t)
	server.Fail("ecr", "DescribeRepositories", 1,
		&awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "User is not authorized"})
	var screen bytes.Buffer
	got, err := guided.Ask(t.Context(),
		options(t, server, answers("", "", "", "a:*", "", "", "", "", "", "", ""), &screen))
	if err != nil || got.Given.Filters != "a:*" || got.Given.Stack != guided.DefaultStack {
		t.Fatalf("%+v, %v\n%s", got.Given.Settings, err, screen.String())
	}
	if s := screen.String(); !strings.Contains(s, "there is no preview") ||
		!strings.Contains(s, "ecr:DescribeRepositories") ||
		strings.Contains(s, "Cost") {
		t.Errorf("the screen is\n%s", s)
	}
}

// An account without repositories, and filters for what comes.
func TestGuidedEmptyAccount(t *testing.T) {
	server := awstest.Start(t)
	server.Handle("ecr", awstest.NewECR(nil))
	var screen bytes.Buffer
	_, err := guided.Ask(t.Context(),
		options(t, server, answers("", "", "", "", "", "", "", "", "", "", "", ""), &screen))
	if err != nil || !strings.Contains(screen.String(), "There is no repository yet") ||
		!strings.Contains(screen.String(), "No chosen image was pushed") {
		t.Errorf("%v\n%s", err, screen.String())
	}
}

func TestGuidedManyRepositories(t *testing.T) {
	server := awstest.Start(t)
	ecr := awstest.NewECR(nil)
	server.Handle("ecr", ecr)
	for n := range 30 {
		ecr.Images(fmt.Sprintf("many/%02d", n), awstest.Image{Tags: []string{"1"}, PushedAt: now, Size: 1})
	}
	for n := range 15 {
		ecr.Repository(fmt.Sprintf("other/%02d", n), awstest.Repository{})
	}
	var screen bytes.Buffer
	_, err := guided.Ask(t.Context(),
		options(t, server, answers("", "", "", "", "", "", "", "", "", "", "", ""), &screen))
	if err != nil {
		t.Fatalf("%v\n%s", err, screen.String())
	}
	for _, text := range []string{" ... 25\n", "many/11", "and 18 more repositories", "other/11 and 3 more"} {
		if !strings.Contains(screen.String(), text) {
			t.Errorf("the screen does not show %q:\n%s", text, screen.String())
		}
	}
	if strings.Contains(screen.String(), "many/12") {
		t.Error("too many repositories are shown")
	}
}

// The end of the input anywhere ends it, and so does what AWS says.
func TestGuidedEnds(t *testing.T) {
	all := []string{"", "", "", "prod/*:*", "", "", "", "", "", "", "", ""}
	for n := range len(all) {
		in := strings.NewReader(strings.Repeat("\n", n))
		_, err := guided.Ask(t.Context(), options(t, account(t), in, io.Discard))
		if !errors.Is(err, guided.ErrEnded) {
			t.Errorf("after %d answers: %v", n, err)
		}
	}
	o := options(t, account(t), answers(all...), io.Discard)
	refused := errors.New("a stack of somebody else")
	o.Look = func(context.Context, string, string) (guided.Account, error) { return guided.Account{}, refused }
	if _, err := guided.Ask(t.Context(), o); !errors.Is(err, refused) {
		t.Errorf("Look failed: %v", err)
	}
}

func TestNobodyToAsk(t *testing.T) {
	o := options(t, account(t), nil, nil)
	o.Terminal = nil
	if _, err := guided.Ask(t.Context(), o); !errors.Is(err, settings.ErrInvalid) ||
		!strings.Contains(err.Error(), "--stack is required") {
		t.Errorf("without a terminal: %v", err)
	}
	o.Given, _ = load(t, "--stack=a")
	if _, err := guided.Ask(t.Context(), o); !errors.Is(err, settings.ErrInvalid) ||
		!strings.Contains(err.Error(), "--guided needs a terminal") {
		t.Errorf("without a terminal, and nothing missing: %v", err)
	}
	if err := guided.Require(o.Given); err != nil {
		t.Error(err)
	}
}

// On a real terminal: what is typed comes line by line, the end of the input is
// Ctrl-D, and Ctrl-C cancels while a question waits.
func TestGuidedOnATerminal(t *testing.T) {
	user, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal can be had here: %v", err)
	}
	defer user.Close()
	defer tty.Close()
	screen := &watched{seen: make(chan struct{}, 1)}
	go func() { _, _ = io.Copy(screen, user) }() // ends with the terminal
	o := options(t, account(t), nil, nil, "--region=eu-west-1")
	if o.Terminal = guided.OpenTerminal(tty, tty); o.Terminal == nil {
		t.Fatal("the terminal is not taken for one")
	}
	typed := func(line string) {
		if _, err := user.WriteString(line); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	ask := func() {
		_, err := guided.Ask(ctx, o)
		done <- err
	}
	go ask()
	screen.wait(t, "Stack name [soci-index-builder]: ")
	typed("of-the-terminal\n")
	screen.wait(t, "the stack of-the-terminal will be")
	screen.wait(t, "Package [zip]: ")
	typed("\x04") // Ctrl-D
	if err := <-done; !errors.Is(err, guided.ErrEnded) {
		t.Errorf("Ctrl-D: %v", err)
	}
	go ask()
	screen.wait(t, "Stack name [soci-index-builder]: ")
	cancel() // as the handler of Ctrl-C does
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Ctrl-C: %v", err)
	}
	if files, err := filepath.Glob("*"); err != nil || len(files) > 0 {
		t.Errorf("the questions made %q, %v", files, err)
	}
}
