package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// The first deploy on a real terminal of 80 columns, which shows the stack as a
// tree. Nothing is wider, but commands and what has no blanks.
func TestDeployTerminal(t *testing.T) {
	server, stacks, s3 := awstest.Start(t), awstest.NewCloudFormation(), awstest.NewS3()
	stacktest.NewAccount(t, server, stacks, awstest.NewECR(nil))
	server.Handle("s3", s3)
	cmd := exec.Command(programName, "deploy", "--filters", "prod/*:*")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TEST_TERMINAL=real")
	for name, value := range server.Env() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	read := make(chan string)
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := terminal.Read(b)
			if n > 0 {
				read <- string(b[:n])
			}
			if err != nil { // the program has ended
				return
			}
		}
	}()
	var screen, rest string
	late := time.After(time.Minute)
	wait := func(text string) bool {
		for {
			if _, after, ok := strings.Cut(rest, text); ok {
				rest = after
				return true
			}
			select {
			case more, ok := <-read:
				if !ok {
					return false
				}
				screen, rest = screen+more, rest+more
			case <-late:
				return false
			}
		}
	}
	for _, talk := range [][2]string{{"Stack name [soci-index-builder]: ", ""}, {"Region [eu-west-1]: ", ""},
		{"Package [zip]: ", ""}, {"SociIndexVersion [", ""}, {"GeneratorMemorySize [", "3008"}, {"AlarmTopicArn: ", ""},
		{"LogRetentionDays [30]: ", ""}, {"IamPermissionsBoundaryArn: ", ""}, {"ends this): ", ""},
		{"Save this to soci-index-builder.toml [default]? [Y/n] ", ""}, {"Deploy this (59 to add)? [y/N] ", "y"}} {
		if !wait(talk[0]) {
			t.Fatalf("the screen does not show %q: %q", talk[0], screen)
		}
		if _, err := terminal.WriteString(talk[1] + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if !wait("what to do next") {
		t.Errorf("the screen is %q", screen)
	}
	for more := range read {
		screen += more
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	onlyCommandsTooWide(t, screen, 80)
	seen := newScreen(80, 24)
	seen.write(screen)
	t.Log(seen.text())
	if s := stacks.Stack("soci-index-builder"); s == nil || s.Status != "CREATE_COMPLETE" ||
		s.Parameters["GeneratorMemorySize"] != "3008" {
		t.Errorf("the stack is %+v", s)
	}
	saved, err := os.ReadFile(cmd.Dir + "/soci-index-builder.toml")
	if err != nil || !strings.Contains(string(saved), "GeneratorMemorySize = '3008'") {
		t.Errorf("saved %q, %v", saved, err)
	}

	// What doctor and destroy advise is on lines of its own, whole.
	var env []string
	for name, value := range server.Env() {
		env = append(env, name+"="+value)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"doctor", "--stack", "soci-index-builder"},
			`\n +aws logs tail /aws/lambda/\S+ --since 10m --region eu-west-1\r\n`},
		{[]string{"destroy", "--stack", "soci-index-builder", "--yes"}, // the second time nothing is left
			`(\n +|list them: )soci-index-builder cleanup --region eu-west-1(\r\n|; )`},
	} {
		for _, o := range sizes {
			o.env = env
			s := onTerminal(t, o, tt.args...)
			if s.code != exitOK || !regexp.MustCompile(tt.want).MatchString(s.raw) {
				t.Errorf("%q ends with %d, no %q:\n%s", tt.args, s.code, tt.want, s.screen.text())
			}
			onlyCommandsTooWide(t, s.raw, int(o.columns))
			t.Logf("%q\n%s", tt.args, s.screen.text())
		}
	}
}

// onlyCommandsTooWide fails the test if a line is too wide that has blanks and is
// no command.
func onlyCommandsTooWide(t *testing.T, raw string, columns int) {
	t.Helper()
	for _, line := range tooWide(raw, columns) {
		text := strings.TrimPrefix(strings.TrimSpace(line), "-> ")
		if strings.Contains(text, " ") && !strings.HasPrefix(text, "aws ") &&
			!strings.HasPrefix(text, programName+" ") {
			t.Errorf("too wide: %q", line)
		}
	}
}
