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

// unpacked is an unpacked release beside an account without a stack.
type unpacked struct {
	t        *testing.T
	folder   string // of the release
	work     string // where it is called
	server   *awstest.Server
	stacks   *awstest.CloudFormation
	s3       *awstest.S3
	code     *awstest.LambdaCode
	registry *registrytest.Server
}

func newUnpacked(t *testing.T, folder, work string) *unpacked {
	s3 := awstest.NewS3()
	u := &unpacked{t, folder, work, awstest.Start(t), awstest.NewCloudFormation(), s3, awstest.NewLambdaCode(s3),
		registrytest.Start(t)}
	account := stacktest.NewAccount(t, u.server, u.stacks, awstest.NewECR(u.registry))
	account.Code = u.code
	u.server.Handle("s3", u.s3)
	return u
}

// command has neither Go nor anything else that the machine has.
func (u *unpacked) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), filepath.Join(u.folder, program), args...)
	cmd.Dir = u.work
	cmd.Env = []string{"HOME=" + u.work, "TERM=xterm", "ECR_REGISTRY_ENDPOINT=" + u.registry.URL()}
	for name, value := range u.server.Env() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// run returns what a command says.
func (u *unpacked) run(args ...string) string {
	u.t.Helper()
	out, err := u.command(args...).CombinedOutput()
	if err != nil {
		u.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// has wants the stack to have a status and parameters.
func (u *unpacked) has(status string, parameters map[string]string) {
	u.t.Helper()
	s := u.stacks.Stack(guided.DefaultStack)
	if s == nil || s.Status != status {
		u.t.Fatalf("the stack is %+v", s)
	}
	for name, value := range parameters {
		if s.Parameters[name] != value {
			u.t.Errorf("%s is %q, want %q", name, s.Parameters[name], value)
		}
	}
}

// parameter is one of the stack's.
func (u *unpacked) parameter(name string) string {
	return u.stacks.Stack(guided.DefaultStack).Parameters[name]
}

// says wants a command to say a text.
func (u *unpacked) says(text string, args ...string) {
	u.t.Helper()
	if out := u.run(args...); !strings.Contains(out, text) {
		u.t.Errorf("%q does not say %q: %s", args, text, out)
	}
}

// changeByHand has somebody else change the generator's code, and returns the
// function's name and what Lambda said of its code before.
func (u *unpacked) changeByHand() (function, before string) {
	u.t.Helper()
	function = u.stacks.Stack(guided.DefaultStack).Outputs[deployed.OutGeneratorFunctionName]
	before = u.code.Sum(function)
	if _, err := u.code.Update(function, []byte(`{"ZipFile":"YW5vdGhlcg=="}`)); err != nil {
		u.t.Fatal(err)
	}
	if is := u.code.Sum(function); before == "" || is == before {
		u.t.Fatalf("the code was %q and is %q", before, is)
	}
	return function, before
}

// hasNothing wants the account to be as it was.
func (u *unpacked) hasNothing() {
	u.t.Helper()
	for _, name := range []string{guided.DefaultStack, companion.StackName(guided.DefaultStack)} {
		if s := u.stacks.Stack(name); s != nil {
			u.t.Errorf("left is %+v", s)
		}
	}
	if left := u.s3.Buckets(); len(left) > 0 {
		u.t.Errorf("left are %q", left)
	}
}

var yes = []string{"--yes", "--capabilities", "CAPABILITY_IAM"}

// tryDeploy does with an unpacked release what README and docs/deploy.md say: the
// first deploy at a terminal, code in place, other filters that are not waited for
// but watched, container images, a rollback to zip files, and the end.
func tryDeploy(t *testing.T, folder string) {
	t.Helper()
	u := newUnpacked(t, folder, folder)
	const stack = guided.DefaultStack
	atTerminal(t, u.command("deploy", "--guided"), answers([2]string{"Package [zip]: ", ""}))
	u.has("CREATE_COMPLETE", map[string]string{deployed.ParamFilters: "prod/*:*"})
	generator, code := u.changeByHand()
	u.says("changed        the code of GeneratorFunction ("+generator+")", "deploy", "--code-only", "--yes")
	if is := u.code.Sum(generator); is != code {
		t.Errorf("after --code-only the generator's code is %s, want %s", is, code)
	}
	u.stacks.Hold(stack, true)
	u.says("it goes on without this program",
		append([]string{"deploy", "--filters", "prod/*:*,!*:*-debug", "--detach"}, yes...)...)
	u.has("UPDATE_IN_PROGRESS", nil)
	u.stacks.Hold(stack, false)
	u.says("stack "+stack+" is UPDATE_COMPLETE: nothing goes on", "watch", "--stack", stack)
	u.has("UPDATE_COMPLETE", map[string]string{deployed.ParamFilters: "prod/*:*,!*:*-debug"})
	zip := u.parameter(deployed.ParamCodeKeyPrefix)
	u.run(append([]string{"deploy", "--package", "image", "--allow-replacement"}, yes...)...)
	u.has("UPDATE_COMPLETE", map[string]string{deployed.ParamCodeKeyPrefix: ""})
	if image := u.parameter(deployed.ParamGeneratorImage); !strings.Contains(image, "@sha256:") ||
		len(u.registry.Stored()) < len(Functions) {
		t.Errorf("the generator's image is %q", image)
	}
	if out := u.run(append([]string{"rollback", "--stack", stack, "--allow-replacement"},
		yes...)...); !strings.Contains(
		out, "back to what was deployed at ") {
		t.Errorf("the rollback says %s", out)
	}
	u.has("UPDATE_COMPLETE", map[string]string{deployed.ParamCodeKeyPrefix: zip, deployed.ParamGeneratorImage: ""})
	u.run("destroy", "--stack", stack, "--yes")
	u.hasNothing()
}

// answers are those to the questions of a first deploy, with some after the region.
func answers(more ...[2]string) [][2]string {
	return slices.Concat([][2]string{{"Stack name [" + guided.DefaultStack + "]: ", ""},
		{"Region [eu-west-1]: ", ""}}, more, [][2]string{
		{"Filters [", "prod/*:*"}, {"Keep these filters? [Y/n] ", ""},
		{"SociIndexVersion [", ""},
		{"GeneratorMemorySize [", ""}, {"AlarmTopicArn: ", ""}, {"LogRetentionDays [30]: ", ""},
		{"IamPermissionsBoundaryArn: ", ""}, {"ends this): ", ""},
		{"Save this to soci-index-builder.toml [default]? [Y/n] ", ""}, {"? [y/N] ", "y"}})
}

// tryImages does the same with container images from the beginning, which needs no
// bucket: the first deploy at a terminal, another, a rollback, and the end.
func tryImages(t *testing.T, folder string) {
	t.Helper()
	u := newUnpacked(t, folder, t.TempDir())
	const stack = guided.DefaultStack
	// A flag is no question. The repositories are made first, after one of their own.
	atTerminal(t, u.command("deploy", "--guided", "--package", "image"),
		append(answers(), [2]string{"? [y/N] ", "y"}))
	u.has("CREATE_COMPLETE", map[string]string{deployed.ParamFilters: "prod/*:*"})
	if s := u.stacks.Stack(companion.StackName(stack)); s == nil || s.Status != "CREATE_COMPLETE" {
		t.Errorf("the companion stack is %+v", s)
	}
	image := u.parameter(deployed.ParamGeneratorImage)
	if !strings.Contains(image, "@sha256:") || len(u.registry.Stored()) < len(Functions) {
		t.Errorf("the generator's image is %q", image)
	}
	out := u.run(append([]string{"deploy", "--filters", "test/*:*"}, yes...)...)
	if strings.Contains(out, "pushed ") || !strings.Contains(out, "there already ") {
		t.Errorf("the second deploy says %s", out)
	}
	u.has("UPDATE_COMPLETE", map[string]string{deployed.ParamFilters: "test/*:*", deployed.ParamGeneratorImage: image})
	out = u.run(append([]string{"rollback", "--stack", stack}, yes...)...)
	if !strings.Contains(out, "back to what was deployed at ") {
		t.Errorf("the rollback says %s", out)
	}
	u.has("UPDATE_COMPLETE", map[string]string{deployed.ParamFilters: "prod/*:*", deployed.ParamGeneratorImage: image})
	u.run("destroy", "--stack", stack, "--yes")
	u.hasNothing()
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
