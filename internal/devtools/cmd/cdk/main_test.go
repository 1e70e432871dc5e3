package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
)

// recorder is a script in the place of a program: it writes its arguments, one
// to a line, into the file that RECORD names.
const recorder = `#!/bin/sh
{ printf '%s\n' "$0" "$PWD" "telemetry $CDK_DISABLE_CLI_TELEMETRY"; for a in "$@"; do printf '%s\n' "$a"; done; printf 'end\n'; } >>"$RECORD"
exit ${STATUS:-0}
`

// call is one run of a recorder.
type call struct {
	program, folder, telemetry string
	args                       []string
}

// workplace is a module's folder with an infra folder and recorders for the
// programs.
func workplace(t *testing.T, programs ...string) (calls func() []call) {
	t.Helper()
	folder := t.TempDir()
	t.Chdir(folder)
	t.Setenv("CDK_DISABLE_CLI_TELEMETRY", "")
	bin := filepath.Join(folder, "bin")
	write(t, filepath.Join("infra", "package-lock.json"), `{"packages":{"node_modules/aws-cdk":{"version":"2.1.0"}}}`)
	for _, p := range programs {
		write(t, filepath.Join("bin", p), recorder)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	record := filepath.Join(folder, "record")
	t.Setenv("RECORD", record)
	return func() []call {
		text, err := os.ReadFile(record)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		var all []call
		for one := range strings.SplitSeq(strings.TrimSuffix(string(text), "end\n"), "end\n") {
			lines := strings.Split(strings.TrimSuffix(one, "\n"), "\n")
			all = append(all, call{filepath.Base(lines[0]), filepath.Base(lines[1]), lines[2], lines[3:]})
		}
		return all
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// testTool builds nothing, and synthesizes a template with three parameters.
func testTool(t *testing.T) (*tool, *strings.Builder) {
	t.Helper()
	out := &strings.Builder{}
	return &tool{
		infra: "infra", in: strings.NewReader(""), out: out, err: io.Discard,
		build: func(context.Context, string, []string, func(string)) error { return nil },
		synth: func(_ context.Context, _ *tool, _ *options, folder string) error {
			write(t, filepath.Join(folder, templateName),
				`{"Parameters":{"SociRepositoryImageTagFilters":{},"LogLevel":{},"EventBusName":{}}}`)
			return nil
		},
		login: func(context.Context, *options) error { return nil },
	}, out
}

func TestCommands(t *testing.T) {
	const nasty = "prod/*:*,!*:*-debug,a__b:Release_1"
	app := func(t *testing.T) string {
		folder, err := filepath.Abs(filepath.Join("dist", "cdk.out"))
		if err != nil {
			t.Fatal(err)
		}
		return folder
	}
	for _, tt := range []struct {
		name string
		args []string
		want []string // behind --no-notices; nil: CDK is not run
	}{
		{"synth", []string{"synth"}, nil},
		{"diff", []string{"diff"}, []string{}},
		{"destroy", []string{"destroy", "-region", "eu-west-1", "-profile", "p q"},
			[]string{"--profile", "p q", "--region", "eu-west-1"}},
		{"deploy with what the stack has", []string{"deploy"}, []string{}},
		{"deploy", []string{"deploy", "-filters", nasty, "-parameters", " LogLevel=DEBUG  EventBusName= ", "--",
			"--require-approval", "never"},
			[]string{"--parameters", "SociRepositoryImageTagFilters=" + nasty, "--parameters", "LogLevel=DEBUG",
				"--parameters", "EventBusName=",
				"--require-approval", "never"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := workplace(t, "node", "npm")
			tool, _ := testTool(t)
			if err := tool.run(t.Context(), tt.args); err != nil {
				t.Fatal(err)
			}
			got := calls()
			if tt.want == nil {
				if len(got) != 0 {
					t.Fatalf("%v was run", got)
				}
				return
			}
			if len(got) != 2 {
				t.Fatalf("%v was run, want npm ci and node", got)
			}
			if got[0].program != "npm" || got[0].folder != "infra" || got[0].args[0] != "ci" {
				t.Fatalf("%v was run, want npm ci and node", got)
			}
			want := append([]string{filepath.Join("node_modules", "aws-cdk", "bin", "cdk"), tt.args[0], stackID,
				"--app", app(t),
				"--no-notices"}, tt.want...)
			expect.Equal(t, expect.Facts{
				{"program", got[1].program, "node"},
				{"folder", got[1].folder, "infra"},
				{"telemetry", got[1].telemetry, "telemetry true"},
				{"arguments", got[1].args, want},
			}, "the second command")
		})
	}
}

func TestInstalledVersionIsUsed(t *testing.T) {
	for _, tt := range []struct {
		name, installed string
		installs        bool
	}{
		{"the locked one", "2.1.0", false},
		{"another one", "2.0.9", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := workplace(t, "node", "npm")
			write(t, filepath.Join("infra", "node_modules", "aws-cdk", "package.json"),
				`{"version":"`+tt.installed+`"}`)
			tool, _ := testTool(t)
			if err := tool.run(t.Context(), []string{"diff"}); err != nil {
				t.Fatal(err)
			}
			if installs := calls()[0].program == "npm"; installs != tt.installs {
				t.Errorf("npm was run: %t, want %t", installs, tt.installs)
			}
		})
	}
}

func TestSynthClearsTheFolder(t *testing.T) {
	workplace(t, "node")
	old := filepath.Join("dist", "cdk.out", "asset.old.zip")
	write(t, old, "")
	tool, out := testTool(t)
	if err := tool.run(t.Context(), []string{"synth"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", old)
	}
	if want := filepath.Join("dist", "cdk.out", templateName) + "\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out, want)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name     string
		args     []string
		programs []string
		want     error
		text     string
	}{
		{"no command", nil, nil, errCommand, ""},
		{"unknown command", []string{"watch"}, nil, errCommand, `"watch"`},
		{"argument", []string{"deploy", "Other"}, nil, nil, `"Other"`},
		{"stack", []string{"diff", "-stack", "a_b"}, nil, errStack, `"a_b"`},
		{"architecture", []string{"synth", "-arch", "x86_64"}, nil, errArch, `"x86_64"`},
		{"filter", []string{"deploy", "-filters", "a:b,c"}, nil, filters.ErrNoTagPart, `"c"`},
		{"parameter", []string{"deploy", "-parameters", "LogLevel"}, nil, errParameter, `"LogLevel"`},
		{"unknown parameter", []string{"deploy", "-parameters", "Loglevel=INFO"}, []string{"node", "npm"}, errUnknown,
			"it has EventBusName, LogLevel, SociRepositoryImageTagFilters"},
		{"parameter twice", []string{"deploy", "-filters", "a:b", "-parameters", "SociRepositoryImageTagFilters=c:d"},
			[]string{"node", "npm"}, errTwice, ""},
		{"no node", []string{"synth"}, nil, nil, "node is not installed"},
		{"no npm", []string{"deploy"}, []string{"node"}, nil, "npm is not installed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := workplace(t, tt.programs...)
			tool, _ := testTool(t)
			err := tool.run(t.Context(), tt.args)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %s", err, tt.want, tt.text)
			}
			if got := calls(); len(got) > 0 {
				t.Errorf("%v was run", got)
			}
		})
	}
}

// Before anything is built, installed or run.
func TestLogin(t *testing.T) {
	for _, tt := range []struct {
		name, command, config string
		env                   map[string]string
		profile               string
		want                  error // nil: CDK is run
		text                  string
	}{
		{name: "all there", command: "deploy"},
		{name: "no region", command: "deploy", env: map[string]string{"AWS_REGION": ""}, want: awsconfig.ErrSetting,
			text: "give REGION="},
		{name: "no such region", command: "diff", env: map[string]string{"AWS_REGION": "Ireland"},
			want: awsconfig.ErrSetting,
			text: `"Ireland"`},
		{name: "no such profile", command: "destroy", profile: "nobody", want: awsconfig.ErrSetting,
			text: `no AWS profile "nobody": give another PROFILE=`},
		{name: "no credentials", command: "diff",
			env:  map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
			want: awserror.ErrCredentials, text: "give PROFILE=name"},
		{name: "a role with an MFA code", command: "deploy", profile: "mfa",
			config: "[profile mfa]\nregion = eu-west-1\n" +
				"role_arn = arn:aws:iam::123456789012:role/deployer\ncredential_source = Environment\nmfa_serial = " +
				"arn:aws:iam::123456789012:mfa/me\n"},
		{name: "none needed", command: "synth", env: map[string]string{"AWS_REGION": "", "AWS_ACCESS_KEY_ID": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := workplace(t, "node", "npm")
			server := awstest.Start(t)
			t.Setenv("AWS_PROFILE", "")
			t.Setenv("AWS_DEFAULT_REGION", "")
			for name, value := range server.Env() {
				t.Setenv(name, value)
			}
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			write(t, "aws-config", tt.config)
			t.Setenv("AWS_CONFIG_FILE", "aws-config")
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			tool, _ := testTool(t)
			tool.login = login
			args := []string{tt.command}
			if tt.profile != "" {
				args = append(args, "-profile", tt.profile)
			}
			err := tool.run(t.Context(), args)
			if !errors.Is(err, tt.want) || err != nil &&
				(!strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error %v, want %v with %s", err, tt.want, tt.text)
			}
			if ran := len(calls()) > 0; ran != (tt.want == nil && tt.command != "synth") {
				t.Errorf("CDK was run: %t", ran)
			}
		})
	}
}

func TestFailureOfCDKIsPassedOn(t *testing.T) {
	workplace(t, "node")
	write(t, filepath.Join("infra", "node_modules", "aws-cdk", "package.json"), `{"version":"2.1.0"}`)
	write(t, filepath.Join("bin", "npm"), recorder)
	t.Setenv("STATUS", "3")
	tool, _ := testTool(t)
	err := tool.run(t.Context(), []string{"diff"})
	if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() != 3 {
		t.Errorf("error %v, want exit status 3", err)
	}
}
