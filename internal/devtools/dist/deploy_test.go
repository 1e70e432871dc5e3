package dist

import (
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/registrytest"
)

// tryDeploy does with an unpacked release what README and docs/deploy.md say: the
// first deploy at a terminal, other filters, container images, a rollback to zip
// files, and the end.
func tryDeploy(t *testing.T, folder string) {
	t.Helper()
	server, stacks, s3, registry := awstest.Start(t), awstest.NewCloudFormation(), awstest.NewS3(),
		registrytest.Start(t)
	account := stacktest.NewAccount(t, server, stacks, awstest.NewECR(registry))
	account.Code = awstest.NewLambdaCode(s3)
	server.Handle("s3", s3)
	const stack = guided.DefaultStack
	run := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), filepath.Join(folder, program), args...)
		cmd.Dir = folder
		cmd.Env = []string{"HOME=" + folder, "TERM=xterm", "ECR_REGISTRY_ENDPOINT=" + registry.URL()}
		for name, value := range server.Env() {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		return cmd
	}
	has := func(status string, parameters map[string]string) {
		t.Helper()
		s := stacks.Stack(stack)
		if s == nil || s.Status != status {
			t.Fatalf("the stack is %+v", s)
		}
		for name, value := range parameters {
			if s.Parameters[name] != value {
				t.Errorf("%s is %q, want %q", name, s.Parameters[name], value)
			}
		}
	}
	without := func(args ...string) string {
		t.Helper()
		out, err := run(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	atTerminal(t, run("deploy", "--guided"),
		[][2]string{{"Stack name [" + stack + "]: ", ""}, {"Region [eu-west-1]: ", ""},
			{"Package [zip]: ", ""}, {"Filters [", "prod/*:*"}, {"Keep these filters? [Y/n] ", ""},
			{"SociIndexVersion [", ""},
			{"GeneratorMemorySize [", ""}, {"AlarmTopicArn: ", ""}, {"LogRetentionDays [30]: ", ""},
			{"IamPermissionsBoundaryArn: ", ""}, {"ends this): ", ""},
			{"Save this to soci-index-builder.toml [default]? [Y/n] ", ""}, {"? [y/N] ", "y"}})
	has("CREATE_COMPLETE", map[string]string{deployed.ParamFilters: "prod/*:*"})
	yes := []string{"--yes", "--capabilities", "CAPABILITY_IAM"}
	without(append([]string{"deploy", "--filters", "prod/*:*,!*:*-debug"}, yes...)...)
	has("UPDATE_COMPLETE", map[string]string{deployed.ParamFilters: "prod/*:*,!*:*-debug"})
	zip := stacks.Stack(stack).Parameters[deployed.ParamCodeKeyPrefix]
	without(append([]string{"deploy", "--package", "image", "--allow-replacement"}, yes...)...)
	has("UPDATE_COMPLETE", map[string]string{deployed.ParamCodeKeyPrefix: ""})
	if image := stacks.Stack(stack).Parameters[deployed.ParamGeneratorImage]; !strings.Contains(image, "@sha256:") ||
		len(registry.Stored()) < len(Functions) {
		t.Errorf("the generator's image is %q", image)
	}
	if out := without(append([]string{"rollback", "--stack", stack, "--allow-replacement"},
		yes...)...); !strings.Contains(
		out, "back to what was deployed at ") {
		t.Errorf("the rollback says %s", out)
	}
	has("UPDATE_COMPLETE", map[string]string{deployed.ParamCodeKeyPrefix: zip, deployed.ParamGeneratorImage: ""})
	without("destroy", "--stack", stack, "--yes")
	for _, name := range []string{stack, companion.StackName(stack)} {
		if s := stacks.Stack(name); s != nil {
			t.Errorf("left is %+v", s)
		}
	}
	if left := s3.Buckets(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// atTerminal runs a command at a terminal: each text is waited for and answered.
func atTerminal(t *testing.T, cmd *exec.Cmd, talk [][2]string) {
	t.Helper()
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // closing waits for what reads
		_ = terminal.Close()
	}()
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		for {
			b := make([]byte, 4096)
			n, err := terminal.Read(b)
			lines <- b[:n]
			if err != nil { // the program has ended
				return
			}
		}
	}()
	screen, rest, late := "", "", time.After(time.Minute)
	for _, one := range append(slices.Clone(talk), [2]string{"what to do next", ""}) {
		for !strings.Contains(rest, one[0]) {
			select {
			case more, ok := <-lines:
				if !ok {
					t.Fatalf("it ended before %q: %s", one[0], screen)
				}
				screen, rest = screen+string(more), rest+string(more)
			case <-late:
				t.Fatalf("the screen does not show %q: %s", one[0], screen)
			}
		}
		_, rest, _ = strings.Cut(rest, one[0])
		if _, err := io.WriteString(terminal, one[1]+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	for range lines { // what is left must be read
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, screen)
	}
}
