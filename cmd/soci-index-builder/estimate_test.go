package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/estimate"
	"soci-index-builder/pkg/soci"
)

// The commands of the help print lists that the verb reads. The traces are real
// lines of strace 6.1 and fatrace 0.17.
func TestEstimateHelpCommands(t *testing.T) {
	if _, err := exec.LookPath("sed"); err != nil {
		t.Skip("there is no sed")
	}
	help := newEstimateCommand().Long
	dir := t.TempDir()
	for name, content := range map[string]string{
		"trace.txt": `13973 execve("/usr/bin/sh", ["sh", "-c", "cat etc/passwd"], 0x7ffd /* 20 vars */) = 0
13973 openat(AT_FDCWD</tmp>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>
13974 execve("/usr/sbin/cat", ["cat"], 0x55 /* 20 vars */) = -1 ENOENT (No such file or directory)
13974 openat(AT_FDCWD</tmp>, "etc/passwd", O_RDONLY) = -1 ENOENT (No such file or directory)
13975 openat(AT_FDCWD</>, "etc/group", O_RDONLY) = 3</etc/group>
13975 openat(AT_FDCWD</>, "/lib/libc.so.6", O_RDONLY|O_CLOEXEC) = 3</usr/lib/libc.so.6>
13975 +++ exited with 0 +++
13973 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=13975} ---
`,
		"fatrace.txt": `sleep(14274): CO  /etc/ld.so.cache
sleep(14274): RO  /usr/lib/x86_64-linux-gnu/libc.so.6
compiz(1971): O device 8:2 inode 658203
my prog(7): RCO /etc/locale alias
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		command string // as it is in the help
		want    []string
	}{
		{`(?s)sed -n -e .* trace\.txt \| sort -u > files\.txt`,
			[]string{"/etc/group", "/etc/ld.so.cache", "/usr/bin/sh", "/usr/lib/libc.so.6"}},
		{`fatrace -c -f RO -s 60 \| .*`,
			[]string{"/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/etc/locale alias"}},
	} {
		line := regexp.MustCompile(row.command).FindString(help)
		if line == "" {
			t.Fatalf("the help has no %s", row.command)
		}
		sh := exec.Command("sh", "-c", strings.Replace(line, "fatrace -c -f RO -s 60", "cat fatrace.txt", 1))
		sh.Dir, sh.Env = dir, append(os.Environ(), "LC_ALL=C")
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		f, err := os.Open(filepath.Join(dir, "files.txt"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, err := estimate.ReadList(f); err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%s prints %q, %v; want %q", line, got, err, row.want)
		}
	}
}

// A file that index would refuse is not written.
func TestWritePrefetchFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "paths.json")
	c := &estimateCommand{prefetchFile: name}
	many := make([]string, soci.MaxPrefetchPatterns)
	for i := range many {
		many[i] = fmt.Sprint("/f", i)
	}
	images := []*estimate.Image{{PrefetchFiles: many}, {PrefetchFiles: []string{"/f1", "/f2"}}}
	if err := c.writePrefetchFiles(images); err != nil {
		t.Fatal(err)
	}
	if paths, err := readPaths(name); err != nil || len(paths) != len(many) || soci.CheckPrefetch(paths) != nil {
		t.Errorf("%d paths, %v", len(paths), err)
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	images[1].PrefetchFiles = []string{"/another"}
	if err := c.writePrefetchFiles(images); err == nil || !strings.Contains(err.Error(),
		"is not written: 10001 paths are more than the 10000") {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(name); err != nil || !slices.Equal(before, after) {
		t.Errorf("the file has changed, %v", err)
	}
}

func TestEstimateText(t *testing.T) {
	read := func(numbers ...int32) (spans []estimate.Span) {
		for n := range int32(40) {
			spans = append(spans, estimate.Span{Span: n, Read: slices.Contains(numbers, n), Prefetch: true})
		}
		return spans
	}
	for want, spans := range map[string][]estimate.Span{
		"none":                           read(),
		"0-2, 5, 38-39":                  read(0, 1, 2, 5, 38, 39),
		"3-4":                            {{Span: 3, Read: true}, {Span: 4, Read: true}},
		"3, 5":                           {{Span: 3, Read: true}, {Span: 5, Read: true}},
		"0, 2, 4, 6, 8, 10, 12, 14, ...": read(0, 2, 4, 6, 8, 10, 12, 14, 16),
	} {
		if got := runs(spans); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	image := &estimate.Image{PrefetchFiles: []string{`/a"$b\`}, Label: `/a"$b\`}
	var out strings.Builder
	(&estimateCommand{}).prefetch(&printer{w: &out}, image)
	if want := `LABEL soci-index-builder.prefetch="/a\"\$b\\"` + "\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("no %q in %s", want, out.String())
	}
}
