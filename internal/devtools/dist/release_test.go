package dist

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"soci-index-builder/internal/testkit/expect"
	"strings"
	"testing"
)

func TestRelease(t *testing.T) {
	if !*all {
		t.Skip("compiles the command line for two platforms, twice: go test -all")
	}
	templates := t.TempDir()
	write(t, filepath.Join(templates, "a.template.json"), `{"Architectures":["arm64"]}`)
	write(t, filepath.Join(templates, "a.go"), "package templates")
	platforms := []Platform{{runtime.GOOS, runtime.GOARCH}, {"darwin", "arm64"}}
	folders := [2]string{filepath.Join(t.TempDir(), "new"), t.TempDir()}
	write(t, filepath.Join(folders[1], "soci-index-builder_0.9_linux_amd64.tar.gz"), "of an earlier release")
	write(t, filepath.Join(folders[1], "other.txt"), "somebody else's")
	var reported [2][]string
	build := func(t *testing.T, i int) {
		r := Release{Version: "1.2.3-rc.1", Folder: folders[i], Platforms: platforms, Architectures: Architectures,
			Templates: templates}
		if err := r.Build(t.Context(),
			func(path string) { reported[i] = append(reported[i], filepath.Base(path)) }); err != nil {
			t.Fatal(err)
		}
	}
	build(t, 0)
	t.Run("both", func(t *testing.T) {
		t.Run("again", func(t *testing.T) {
			t.Parallel()
			build(t, 1)
		})
		t.Run("download", func(t *testing.T) {
			t.Parallel() // it waits more than it works
			folder := tryDownload(t, folders[0], "1.2.3-rc.1")
			t.Run("images", func(t *testing.T) {
				t.Parallel()
				tryImages(t, folder)
			})
			tryDeploy(t, folder)
		})
	})
	want := []string{Checksums, "soci-index-builder_1.2.3-rc.1_stack.tar.gz"}
	for _, p := range platforms {
		want = append(want, fmt.Sprintf("soci-index-builder_1.2.3-rc.1_%s_%s.tar.gz", p.OS, p.Arch))
	}
	slices.Sort(want)
	if got := tree(t, folders[0]); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	if got := tree(t, folders[1]); !slices.Equal(got, append([]string{want[0], "other.txt"}, want[1:]...)) {
		t.Errorf("the folder that was there has %q", got)
	}
	if slices.Sort(reported[0]); !slices.Equal(reported[0], want) {
		t.Errorf("reported are %q", reported[0])
	}
	for _, name := range want {
		if !bytes.Equal(read(t, filepath.Join(folders[0], name)), read(t, filepath.Join(folders[1], name))) {
			t.Errorf("two runs give different bytes for %s", name)
		}
	}
	checkChecksums(t, folders[0], want)
	for _, p := range platforms {
		t.Run(p.String(), func(t *testing.T) {
			name := fmt.Sprintf("soci-index-builder_1.2.3-rc.1_%s_%s", p.OS, p.Arch)
			checkCommandLine(t, p, unpack(t, filepath.Join(folders[0], name+".tar.gz"), name))
		})
	}
	binary := unpack(t, filepath.Join(folders[0],
		fmt.Sprintf("soci-index-builder_1.2.3-rc.1_%s_%s.tar.gz", platforms[0].OS, platforms[0].Arch)),
		fmt.Sprintf("soci-index-builder_1.2.3-rc.1_%s_%s", platforms[0].OS, platforms[0].Arch))[program]
	stack := unpack(t, filepath.Join(folders[0], "soci-index-builder_1.2.3-rc.1_stack.tar.gz"),
		"soci-index-builder_1.2.3-rc.1_stack")
	for _, name := range []string{"LICENSE", "templates/a.template.json", "templates/a-amd64.template.json",
		"arm64/filter.zip", "arm64/indexgen.zip", "arm64/reponame.zip",
		"amd64/filter.zip", "amd64/indexgen.zip", "amd64/reponame.zip"} {
		if len(stack[name]) == 0 {
			t.Errorf("the stack's archive has no %s", name)
		}
		if strings.HasSuffix(name, ".zip") && !bytes.Contains(binary, stack[name]) {
			t.Errorf("the command line has another %s in it than the stack's archive", name)
		}
		if want := strings.Contains(name, "-amd64."); strings.HasSuffix(name, ".json") &&
			bytes.Contains(stack[name], []byte(`["x86_64"]`)) != want {
			t.Errorf("%s of the stack's archive is %s", name, stack[name])
		}
		delete(stack, name)
	}
	if len(stack) > 0 {
		t.Errorf("the stack's archive has more: %d files", len(stack))
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkChecksums does what "sha256sum -c" does, and wants every file named.
func checkChecksums(t *testing.T, folder string, files []string) {
	t.Helper()
	var named []string
	for line := range strings.Lines(string(read(t, filepath.Join(folder, Checksums)))) {
		m := regexp.MustCompile(`^([0-9a-f]{64})  (\S+)\n$`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("the line %q of the checksums", line)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(folder, m[2])))); got != m[1] {
			t.Errorf("%s has the checksum %s, not %s", m[2], got, m[1])
		}
		named = append(named, m[2])
	}
	if want := slices.DeleteFunc(slices.Clone(files),
		func(s string) bool { return s == Checksums }); !slices.Equal(named,
		want) {
		t.Errorf("checksums of %q, want %q", named, want)
	}
}

// unpack returns the files of an archive by their names below its one folder.
func unpack(t *testing.T, path, folder string) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("%s: gzip's header has a time or a name", path)
	}
	files := map[string][]byte{}
	last := ""
	archive := tar.NewReader(z)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, folder+"/")
		mode := int64(0o644)
		if name == program {
			mode = 0o755
		}
		if !ok {
			t.Fatalf("%s: the header %+v", path, h)
		}
		expect.Equal(t, expect.Facts{
			{"h.Name <= last", h.Name <= last, false},
			{"Mode", h.Mode, mode},
			{"h.ModTime.Equal(modified)", h.ModTime.Equal(modified), true},
			{"Uid", h.Uid, 0},
			{"Gid", h.Gid, 0},
			{"Uname", h.Uname, ""},
			{"Gname", h.Gname, ""},
			{"Typeflag", h.Typeflag, tar.TypeReg},
		}, "%s: the header %+v", path, h)
		last = h.Name
		if files[name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func checkCommandLine(t *testing.T, p Platform, files map[string][]byte) {
	t.Helper()
	for _, name := range []string{
		"LICENSE", "README.md", "SECURITY.md", "CHANGELOG.md", "docs/cli.md", "docs/deployer-policy-zip.json",
		"templates/a.template.json", "templates/a-amd64.template.json",
		"docs/schemas/failure-message.schema.json",
		"man/man1/soci-index-builder.1", "man/man1/soci-index-builder-index.1",
		"man/man1/soci-index-builder-ztoc-create.1",
		"completions/soci-index-builder.bash", "completions/_soci-index-builder", "completions/soci-index-builder.fish",
		"completions/soci-index-builder.ps1",
	} {
		if len(files[name]) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
	for name := range files {
		if filepath.Ext(name) == ".go" {
			t.Errorf("there is %s", name)
		}
	}
	if page := files["man/man1/soci-index-builder.1"]; !bytes.HasPrefix(page,
		[]byte(".nh\n.TH \"SOCI-INDEX-BUILDER\" \"1\" \"\" \"soci-index-builder 1.2.3-rc.1\"")) {
		t.Errorf("the manual page begins with %q", page[:min(len(page), 100)])
	}
	checkDocuments(t, files)
	executable := files[program]
	if p.OS == "darwin" {
		f, err := macho.NewFile(bytes.NewReader(executable))
		if err != nil {
			t.Fatal(err)
		}
		if f.Cpu != macho.CpuArm64 {
			t.Errorf("the executable is for %v", f.Cpu)
		}
	}
	path := filepath.Join(t.TempDir(), program)
	if err := os.WriteFile(path, executable, 0o700); err != nil {
		t.Fatal(err)
	}
	if p.OS == "linux" {
		checkStatic(t, path, map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}[p.Arch])
	}
	if p != (Platform{runtime.GOOS, runtime.GOARCH}) {
		return
	}
	out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
	if err != nil || string(out) != "soci-index-builder 1.2.3-rc.1\nwith the functions for amd64 and arm64\n" {
		t.Errorf("--version: %q, %v", out, err)
	}
	checkCommit(t, path)
}

// checkCommit checks which commit a command line says that it was built from.
func checkCommit(t *testing.T, path string) {
	t.Helper()
	head, err := exec.CommandContext(t.Context(), "git", "log", "-1", "--format=%H %cI").Output()
	if err != nil { // sources without a repository
		head = []byte(" ")
	}
	hash, date, _ := strings.Cut(strings.TrimRight(string(head), "\n"), " ")
	out, err := exec.CommandContext(t.Context(), path, "version", "--output", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Version, Commit, Date string }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "1.2.3-rc.1" || got.Commit != hash || got.Date != date {
		t.Errorf("version: %+v, want commit %q of %q", got, hash, date)
	}
}

func TestReleaseRefuses(t *testing.T) {
	for _, version := range []string{"", "1/2", "-rc", "1 2", "../x", strings.Repeat("1", 101)} {
		t.Run(version, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "none")
			err := Release{Version: version, Folder: folder}.Build(t.Context(), func(string) {})
			if !errors.Is(err, ErrVersion) {
				t.Errorf("the error is %v, want ErrVersion", err)
			}
			if _, err := os.Stat(folder); !os.IsNotExist(err) {
				t.Errorf("the folder was made: %v", err)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	folder := t.TempDir()
	t.Chdir(folder)
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(folder))
	git := func(args ...string) {
		t.Helper()
		args = append([]string{"-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false"},
			args...)
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if v, err := Describe(t.Context()); err == nil {
		t.Errorf("without a repository: %q", v)
	}
	check := func(pattern string) {
		t.Helper()
		v, err := Describe(t.Context())
		if err != nil || !regexp.MustCompile(pattern).MatchString(v) || !versionPattern.MatchString(v) {
			t.Errorf("%q, %v; want %s", v, err, pattern)
		}
	}
	git("init", "-q")
	write(t, "a", "1")
	git("add", "a")
	git("commit", "-q", "-m", "a")
	check(`^[0-9]+\.[0-9]+\.[0-9]+-[0-9a-f]{7,}$`)
	git("tag", "notes")
	check(`^[0-9]+\.[0-9]+\.[0-9]+-[0-9a-f]{7,}$`)
	git("tag", "v2.0.1")
	check(`^2\.0\.1$`)
	write(t, "a", "2")
	check(`^2\.0\.1-dirty$`)
	git("commit", "-q", "-a", "-m", "b")
	check(`^2\.0\.1-1-g[0-9a-f]{7,}$`)
}
