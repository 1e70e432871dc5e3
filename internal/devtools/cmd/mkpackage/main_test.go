package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/devtools/dist"
	"soci-index-builder/internal/testkit/awstest"
)

const bucket = "code-bucket"

// plainTemplate has what of a template is read.
func plainTemplate(t *testing.T, architectures []string, padding int) string {
	t.Helper()
	var functions []string
	for i, arch := range architectures {
		functions = append(functions,
			`"F`+string(rune('0'+i))+`": {"Type": "AWS::Lambda::Function", "Properties": {"Architectures": ["`+arch+`"],
			"Code": {"S3Key": {"Fn::Sub": "${CodeS3KeyPrefix}`+[]string{"filter", "indexgen", "reponame", "indexgen", "other"}[i]+`.zip"}}}}`)
	}
	path := filepath.Join(t.TempDir(), "plain.template.json")
	content := `{"Parameters": {"CodeS3Bucket": {}, "CodeS3KeyPrefix": {}}, "Resources": {"Q": {"Type": "AWS::SQS::Queue"},` +
		strings.Join(functions, ",") + `}}` + strings.Repeat(" ", padding)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

var arm = []string{"arm64", "arm64", "arm64"}

// fakeBuild leaves zip files with content made of their names.
func fakeBuild(_ context.Context, folder string, architectures []string, done func(string)) error {
	for _, arch := range architectures {
		if err := os.MkdirAll(filepath.Join(folder, arch), 0o755); err != nil {
			return err
		}
		for _, function := range dist.Functions {
			path := filepath.Join(folder, arch, function+".zip")
			if err := os.WriteFile(path, []byte(function+arch), 0o644); err != nil {
				return err
			}
			done(path)
		}
	}
	return nil
}

// start has the process find an AWS with a bucket.
func start(t *testing.T) (*awstest.Server, *awstest.S3) {
	t.Helper()
	server, s3 := awstest.Start(t), awstest.NewS3()
	s3.AddBucket(bucket, awstest.Region)
	server.Handle("s3", s3)
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_SESSION_TOKEN", "")
	for name, value := range server.Env() {
		t.Setenv(name, value)
	}
	return server, s3
}

func TestRun(t *testing.T) {
	server, s3 := start(t)
	const list = "prod/*:*,!*:*-debug,team/app:v*"
	folder := t.TempDir()
	args := []string{"-bucket", bucket, "-o", folder, "-stack", "index-prod", "-filters", list, "-region",
		awstest.Region, "-template", plainTemplate(t, arm, 0)}
	var out, progress bytes.Buffer
	if err := run(t.Context(), args, &out, &progress, fakeBuild); err != nil {
		t.Fatal(err)
	}
	var prefix string
	objects := s3.Objects(bucket)
	for key := range objects {
		prefix = key[:strings.LastIndexByte(key, '/')+1]
	}
	if len(objects) != len(dist.Functions) || !strings.HasPrefix(prefix, "soci-index-builder/") {
		t.Errorf("the bucket has %q", objects)
	}
	for _, function := range dist.Functions {
		if got := string(objects[prefix+function+".zip"]); got != function+"arm64" {
			t.Errorf("%s.zip has %q", function, got)
		}
	}
	want := []string{"cloudformation", "deploy", "--template-file", args[len(args)-1], "--stack-name", "index-prod",
		"--capabilities", "CAPABILITY_NAMED_IAM", "--region", awstest.Region, "--parameter-overrides",
		"CodeS3Bucket=" + bucket, "CodeS3KeyPrefix=" + prefix, "SociRepositoryImageTagFilters=" + list}
	if got := words(t, out.String()); !slices.Equal(got, want) {
		t.Errorf("the command's words are\n%q, want\n%q", got, want)
	}

	puts := len(server.Requests())
	progress.Reset()
	var again bytes.Buffer
	if err := run(t.Context(), args, &again, &progress, fakeBuild); err != nil || again.String() != out.String() {
		t.Errorf("the second run prints %q, %v", again.String(), err)
	}
	for _, r := range server.Requests()[puts:] {
		if strings.HasPrefix(r.Operation, "PUT") {
			t.Errorf("the second run sends %s", r.Operation)
		}
	}
	if n := strings.Count(progress.String(), "there already"); n != len(dist.Functions) {
		t.Errorf("the second run says %q", progress.String())
	}
}

// words returns what the aws command gets when a shell runs the line in a
// folder with files that a * could stand for.
func words(t *testing.T, line string) []string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "SociRepositoryImageTagFilters=a:b"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `aws() { printf '%s\n' "$@"; }`+"\n"+line)
	cmd.Dir = folder
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	return strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
}

func TestCommand(t *testing.T) {
	o := options{bucket: bucket, profile: "it's mine", stack: "s", filters: "*:*", template: "a b.json"}
	got := words(t, o.command(&template{size: maxBody}, "p/1-2/"))
	want := []string{"cloudformation", "deploy", "--template-file", "a b.json", "--stack-name", "s", "--capabilities",
		"CAPABILITY_NAMED_IAM",
		"--profile", "it's mine", "--parameter-overrides", "CodeS3Bucket=" + bucket, "CodeS3KeyPrefix=p/1-2/",
		"SociRepositoryImageTagFilters=*:*"}
	if !slices.Equal(got, want) {
		t.Errorf("the command's words are\n%q, want\n%q", got, want)
	}
	// One byte more than a request takes.
	got = words(t, o.command(&template{size: maxBody + 1}, "p/1-2/"))
	if i := slices.Index(got, "--s3-bucket"); i < 0 ||
		!slices.Equal(got[i:i+4], []string{"--s3-bucket", bucket, "--s3-prefix", "p/1-2"}) {
		t.Errorf("the command's words are %q, want a bucket for the template", got)
	}
}

// The templates of the project travel within a request.
func TestCommandWithoutBucketForTheTemplate(t *testing.T) {
	tmpl, err := readTemplate("../../../../" + defaultTemplate)
	if err != nil {
		t.Fatal(err)
	}
	o := options{bucket: bucket, stack: "s", filters: "*:*", template: defaultTemplate}
	if got := o.command(tmpl, "p/1-2/"); strings.Contains(got, "--s3-bucket") {
		t.Errorf("the command is %s", got)
	}
}

func TestRunFails(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		env   map[string]string
		setUp func(*awstest.S3)
		is    error // if any
		want  string
	}{
		{name: "argument", args: []string{"filter"}, want: `argument "filter"`},
		{name: "no bucket", args: []string{"-bucket", ""}, want: "make package BUCKET="},
		{name: "bucket as a URL", args: []string{"-bucket", "s3://x/y"}, is: codebucket.ErrBucketName,
			want: `bucket: "s3://x/y"`},
		{name: "prefix without a slash", args: []string{"-prefix", "team"}, is: codebucket.ErrPrefix,
			want: `prefix: "team"`},
		{name: "stack", args: []string{"-stack", "my_stack"}, want: `stack: "my_stack"`},
		{name: "filters", args: []string{"-filters", "app"}, want: `filters: filter 1 "app" has no tag part`},
		{name: "architecture", args: []string{"-arch", "amd64"}, want: `architecture: "amd64"`},
		{name: "no region", env: map[string]string{"AWS_REGION": ""}, is: awsconfig.ErrSetting,
			want: "no AWS region is set: give REGION="},
		{name: "no credentials", env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
			is: awserror.ErrCredentials, want: "give PROFILE=name, or "},
		{name: "unknown profile", args: []string{"-profile", "nobody"}, is: awsconfig.ErrSetting,
			want: `no AWS profile "nobody"`},
		{name: "no such bucket", args: []string{"-bucket", "other"}, is: codebucket.ErrNoBucket,
			want: "the bucket other does not exist"},
		{name: "bucket elsewhere", args: []string{"-region", "us-west-2"}, is: codebucket.ErrWrongRegion,
			want: "is in eu-west-1, not in us-west-2"},
		{name: "denied", setUp: func(s *awstest.S3) {
			s.Fail("PutObject", 1, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
		}, is: awserror.ErrDenied, want: "s3:PutObject"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, s3 := start(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			if tt.setUp != nil {
				tt.setUp(s3)
			}
			var out bytes.Buffer
			args := append([]string{"-bucket", bucket, "-o", t.TempDir(), "-template", plainTemplate(t, arm, 0)},
				tt.args...)
			err := run(t.Context(), args, &out, io.Discard, fakeBuild)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") ||
				tt.is != nil &&
					!errors.Is(err, tt.is) {
				t.Errorf("the error is %v, want %q in one line", err, tt.want)
			}
			if out.Len() > 0 || len(s3.Objects(bucket)) > 0 {
				t.Errorf("printed is %q, and the bucket has %q", out.String(), s3.Objects(bucket))
			}
		})
	}
}

func TestReadTemplate(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "template.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := readTemplate(plainTemplate(t, []string{"x86_64", "x86_64", "x86_64", "x86_64"}, 7))
	if err != nil || got.arch != "amd64" || got.size < 7 {
		t.Errorf("the template is read as %+v, %v", got, err)
	}
	tests := []struct{ name, path, want string }{
		{"no file", filepath.Join(t.TempDir(), "none.json"), "reading the template"},
		{"not JSON", write("Resources:\n"), "reading the template"},
		{"of the CDK", write(`{"Parameters": {"BootstrapVersion": {}}, "Resources": {}}`), "no parameter CodeS3Bucket"},
		{"for images", "../../../../templates/soci-index-builder-image.template.json",
			"takes container images: code from a bucket goes with " + defaultTemplate},
		{"other architectures", plainTemplate(t, []string{"arm64", "x86_64", "arm64"}, 0),
			"functions for arm64 and x86_64"},
		{"unknown architecture", plainTemplate(t, []string{"arm64", "riscv", "arm64"}, 0), `architectures ["riscv"]`},
		{"a function too many", plainTemplate(t, []string{"arm64", "arm64", "arm64", "arm64", "arm64"}, 0),
			`needs the code ["filter.zip" "indexgen.zip" "other.zip" "reponame.zip"], and there is ["filter.zip"`},
		{"a function too few", plainTemplate(t, []string{"arm64"}, 0), `needs the code ["filter.zip"], and there is`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readTemplate(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}
