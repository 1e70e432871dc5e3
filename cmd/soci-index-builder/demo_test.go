package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/testlayers"
)

// The registry of demo --keep stays, and the commands that it prints work, until a
// signal ends it, which is no failure and leaves nothing behind.
func TestDemoKeeps(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	files, temp := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "noise"), testlayers.Noise(1, 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, programName, "demo", "--keep", "--files", files)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for lines := bufio.NewScanner(stdout); len(commands) < 3 && lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 3 && strings.HasPrefix(words[2], "127.0.0.1:") {
			commands = append(commands, strings.Join(words, " "))
			out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", words, err, out)
			}
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stderr.Len() != 0 || len(commands) != 3 {
		t.Errorf("%v, commands %q, stderr %s", err, commands, &stderr)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("%v was left, %v", left, err)
	}
}

// On a terminal the demo has marks and short digests, and nothing is too wide but
// commands.
func TestDemoOnATerminal(t *testing.T) {
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "noise"), testlayers.Noise(1, 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range sizes {
		o.interruptAt = "estimate --path"
		s := onTerminal(t, o, "demo", "--keep", "--files", files)
		if s.code != exitOK {
			t.Fatalf("it ends with %d:\n%s", s.code, s.screen.text())
		}
		for _, want := range []string{"\x1b[32m✓\x1b[0m indexed: ", "\x1b[32mno difference\x1b[0m",
			"\x1b[1mZTOC\x1b[22m",
			"\x1b[1m7. Compare"} {
			if !strings.Contains(s.raw, want) {
				t.Errorf("no %q: %q", want, s.raw)
			}
		}
		if whole := regexp.MustCompile("sha256:[0-9a-f]{13}").FindString(s.raw); whole != "" {
			t.Errorf("a long digest: %s", whole)
		}
		onlyCommandsTooWide(t, s.raw, int(o.columns))
		t.Logf("%s", s.screen.text())
	}
}
