package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Make's variables arrive here unchanged, with all characters that make and the
// shell treat specially.
func TestMakeDeploy(t *testing.T) {
	mk, err := exec.LookPath("make")
	if err != nil {
		t.Skip("make is not installed")
	}
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	calls := workplace(t)
	fake := filepath.Join(t.TempDir(), "go")
	write(t, fake, recorder)
	t.Setenv("PATH", path)
	const list = `prod/*:*,!*:*-debug, a__b:Release_1,"b":'c'`
	cmd := exec.Command(mk, "-C", root, "--no-print-directory", "-s", "deploy", "GO="+fake, "DIST=dist",
		"FILTERS="+list, "PARAMETERS=LogLevel=DEBUG EventBusName=", "STACK=my stack", "PROFILE=p*", "REGION=eu-west-1",
		"ARCH=amd64", "CDK_FLAGS=--require-approval never")
	const says = "compiling the stack and the functions: some minutes the first time\n"
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != says {
		t.Fatalf("make: %v\n%s", err, out)
	}
	want := []string{"run", "./internal/devtools/cmd/cdk", "deploy", "-o", "dist", "-stack", "my stack", "-arch",
		"amd64", "-region", "eu-west-1", "-profile", "p*",
		"-filters", list, "-parameters", "LogLevel=DEBUG EventBusName=", "--", "--require-approval", "never"}
	if got := calls(); len(got) != 1 || !slices.Equal(got[0].args, want) {
		t.Errorf("make ran\n%q, want\n%q", got, want)
	}
}
