// Cdk builds the functions, synthesizes the stack with them, and hands it to
// the CDK command line of the version that infra/package-lock.json pins. Run it
// from the folder of the module:
//
//	go run ./internal/devtools/cmd/cdk synth
//	go run ./internal/devtools/cmd/cdk diff
//	go run ./internal/devtools/cmd/cdk deploy [-filters 'prod/*:*,!*:*-debug'] \
//		[-parameters 'LogLevel=DEBUG GeneratorMemorySize=3008']
//	go run ./internal/devtools/cmd/cdk destroy
//
// All take -stack, -arch and -o; but for synth also -profile and -region, and
// behind -- what else the CDK command line is to be given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/devtools/dist"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t := &tool{infra: "infra", build: dist.Build, synth: synth, login: login, out: os.Stdout, err: os.Stderr,
		in: os.Stdin}
	err := t.run(ctx, os.Args[1:])
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.ExitCode() > 0 {
		os.Exit(failed.ExitCode()) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cdk:", err)
		os.Exit(1)
	}
}

// tool is what a command works with.
type tool struct {
	infra string // the folder with package.json and its lock
	build func(ctx context.Context, folder string, architectures []string, done func(path string)) error
	synth func(ctx context.Context, t *tool, o *options, folder string) error
	login func(ctx context.Context, o *options) error

	in       io.Reader
	out, err io.Writer
}

// commands are those that there are, and whether they speak to AWS.
var commands = map[string]bool{"synth": false, "diff": true, "deploy": true, "destroy": true}

func (t *tool) run(ctx context.Context, args []string) error {
	o, err := parse(args, t.err)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, program := range []string{"node", "npm"}[:o.programs()] {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed, and AWS CDK needs it: install Node.js from https://nodejs.org",
				program)
		}
	}
	if commands[o.command] {
		if err := t.login(ctx, o); err != nil {
			return err
		}
	}
	if err := t.build(ctx, o.dist, []string{o.arch}, func(string) {}); err != nil {
		return err
	}
	assembly, err := filepath.Abs(filepath.Join(o.dist, "cdk.out"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(assembly); err != nil { // with the code of earlier builds
		return err
	}
	if err := t.synth(ctx, t, o, assembly); err != nil {
		return err
	}
	if o.command == "synth" {
		fmt.Fprintln(t.out, filepath.Join(o.dist, "cdk.out", templateName))
		return nil
	}
	parameters, err := o.cdkParameters(filepath.Join(assembly, templateName))
	if err != nil {
		return err
	}
	if err := t.install(ctx); err != nil {
		return err
	}
	return t.cdk(ctx, o, assembly, parameters)
}

// login fails at once, and says what to set, if there is no region or there are no
// credentials. CDK would report a missing account only at the end, and without a
// region choose one.
func login(ctx context.Context, o *options) error {
	_, err := awsconfig.Load(ctx, awsconfig.Options{
		Profile: o.profile, ProfileFlag: "PROFILE=name",
		Region: o.region, RegionFlag: "REGION=eu-west-1",
	})
	if errors.Is(err, awsconfig.ErrCode) {
		return nil // CDK asks for it
	}
	return err
}

// synth runs the CDK app. It is another program, since it takes minutes to
// compile.
func synth(ctx context.Context, t *tool, o *options, folder string) error {
	cmd := exec.CommandContext(ctx, "go", "run", "./"+t.infra, "-o", folder, "-code", o.dist, "-architecture", o.arch,
		"-stack", o.stack)
	return t.attach(cmd).Run()
}

// install makes the CDK command line available as the lock has it, unless it
// is there.
func (t *tool) install(ctx context.Context) error {
	want, err := lockedVersion(filepath.Join(t.infra, "package-lock.json"))
	if err != nil {
		return err
	}
	if have, err := installedVersion(filepath.Join(t.infra, "node_modules", "aws-cdk", "package.json")); err == nil &&
		have == want {
		return nil
	}
	fmt.Fprintf(t.err, "installing the CDK command line %s in %s\n", want, filepath.Join(t.infra, "node_modules"))
	cmd := exec.CommandContext(ctx, "npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund",
		"--loglevel=error")
	cmd.Dir = t.infra
	if err := t.attach(cmd).Run(); err != nil {
		return fmt.Errorf("npm ci in %s: %w", t.infra, err)
	}
	return nil
}

// cdk runs the CDK command line.
func (t *tool) cdk(ctx context.Context, o *options, assembly string, parameters []string) error {
	args := []string{filepath.Join("node_modules", "aws-cdk", "bin", "cdk"), o.command, stackID, "--app", assembly,
		"--no-notices"}
	if o.profile != "" {
		args = append(args, "--profile", o.profile)
	}
	if o.region != "" {
		args = append(args, "--region", o.region)
	}
	for _, p := range parameters {
		args = append(args, "--parameters", p)
	}
	// Not killed on an interrupt: the terminal sends it there as well, and the
	// deployment is CDK's to leave.
	cmd := exec.Command("node", slices.Concat(args, o.rest)...)
	cmd.Dir = t.infra
	cmd.Env = append(os.Environ(), "CDK_DISABLE_CLI_TELEMETRY=true",
		// The version is pinned, so a warning about future ones does not help.
		"AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true")
	return t.attach(cmd).Run()
}

func (t *tool) attach(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.in, t.out, t.err
	return cmd
}
