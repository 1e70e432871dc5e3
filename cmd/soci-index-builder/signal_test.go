package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"
)

// A signal ends the program with one line, also while it waits for input.
func TestInterrupt(t *testing.T) {
	// More than a pipe holds: the program has begun to read, and then waits
	// for the rest.
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "file", Size: 2 << 20, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	layer.Write(make([]byte, 1<<20))
	for _, tt := range []struct {
		input []byte
		args  []string
	}{
		{layer.Bytes(), []string{"ztoc", "create", "-o", "out.ztoc", "-"}},
		{make([]byte, 1<<20), []string{"ztoc", "info", "-"}},
		{bytes.Repeat([]byte("/usr/bin/env\n"), 1<<17), []string{"estimate", "--files", "-", "./app.tar"}},
	} {
		t.Run(tt.args[0]+" "+tt.args[1], func(t *testing.T) { interrupt(t, tt.input, tt.args...) })
	}
}

func interrupt(t *testing.T, input []byte, args ...string) {
	dir := t.TempDir()
	cmd := exec.Command(programName, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if _, err := stdin.Write(input); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", err, exitInterrupted)
	}
	if got, want := stderr.String(), "soci-index-builder: interrupted\n"; got != want || stdout.Len() != 0 {
		t.Errorf("stderr %q, want %q; stdout %q", got, want, &stdout)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v was left, %v", left, err)
	}
}
