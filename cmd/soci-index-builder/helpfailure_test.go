package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

// Help that cannot be written is a failure.
func TestHelpFailure(t *testing.T) {
	none := errors.New("no space left on device")
	for _, args := range []string{"--help", "index --help", "help index", ""} {
		root := newRootCommand()
		root.SetOut(full{none})
		root.SetArgs(strings.Fields(args))
		failure := noteHelpFailure(root)
		if err := root.ExecuteContext(t.Context()); err != nil || !errors.Is(*failure, none) {
			t.Errorf("%q: %v, and the help fails with %v", args, err, *failure)
		}
		var b strings.Builder
		root = newRootCommand()
		root.SetOut(&b)
		root.SetArgs(strings.Fields(args))
		failure = noteHelpFailure(root)
		if err := root.ExecuteContext(t.Context()); err != nil || *failure != nil || b.Len() == 0 {
			t.Errorf("%q, with room: %v, %v, %d bytes", args, err, *failure, b.Len())
		}
	}
}

// The program says once what could not be written.
func TestOutputFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no device that is always full: %v", err)
	}
	defer full.Close()
	for _, args := range []string{"--version", "version", "version -o json", "--help", "", "help json", "index --help",
		"completion bash"} {
		cmd := exec.Command(programName, strings.Fields(args)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = full, &stderr
		err := cmd.Run()
		want := programName + ": write /dev/stdout: no space left on device\n"
		if cmd.ProcessState.ExitCode() != exitFailure || stderr.String() != want {
			t.Errorf("%q ends with %v and writes %q, want %q", args, err, &stderr, want)
		}
	}
}
