package dist

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestStandalone(t *testing.T) {
	has := func(name string) bool { return name == "README.md" || name == "docs/cli.md" }
	const document = `# A
See [cli](cli.md#verbs), [the sources](../infra), [readme](../README.md), [here](#a),
[the
map](../CONTRIBUTING.md) and [AWS](https://aws.amazon.com/).
<!-- clone -->
Run make.
<!-- end of clone -->
` + "```\n[left](alone.md)\n```\n" + `Not [a link] (x). [gone](gone.md)
<!-- clone -->
More.
<!-- end of clone -->
`
	const want = `# A
See [cli](cli.md#verbs), the sources, [readme](../README.md), [here](#a),
the
map and [AWS](https://aws.amazon.com/).
` + "```\n[left](alone.md)\n```\n" + `Not [a link] (x). gone
`
	if got := standalone("docs/a.md", document, has); got != want {
		t.Errorf("got\n%s", got)
	}
}

var (
	anchorless = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)\s]*)?\)`)
	verb       = regexp.MustCompile(`(?m)^(?:\./)?soci-index-builder ([a-z]+)`)
	shell      = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
)

// checkDocuments wants no dead link in an archive, and in its README only what
// works there.
func checkDocuments(t *testing.T, files map[string][]byte) {
	t.Helper()
	links := 0
	for name, content := range files {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, m := range anchorless.FindAllSubmatch(fenced.ReplaceAll(content, nil), -1) {
			target := string(m[1])
			if strings.Contains(target, "://") {
				continue
			}
			links++
			found := false
			for other := range files {
				full := path.Join(path.Dir(name), target)
				found = found || other == full || strings.HasPrefix(other, full+"/")
			}
			if !found {
				t.Errorf("%s links to %s, which the archive does not have", name, target)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
	readme := files["README.md"]
	for _, word := range []string{"make ", "clone -->", "go install"} {
		if bytes.Contains(readme, []byte(word)) {
			t.Errorf("the README has %q, which the archive has nothing for", word)
		}
	}
	if n := len(verb.FindAll(readme, -1)); n < 10 {
		t.Errorf("the README has %d commands", n)
	}
}

// tryDownload does what the README says on a machine that has neither Go nor an
// account: verify, unpack, see the demo, plan a deployment. It returns the folder
// that was unpacked.
func tryDownload(t *testing.T, release, version string) string {
	t.Helper()
	_, section, _ := strings.Cut(string(read(t, "../../../README.md")), "\n## Deploy\n")
	m := shell.FindStringSubmatch(section)
	if m == nil {
		t.Fatal("the README has no commands that unpack a release")
	}
	folder, tools := t.TempDir(), t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(release)); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"grep", "tar", "gzip", "sha256sum", "shasum", "perl"} {
		if file, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(file, filepath.Join(tools, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := strings.Replace(m[1], "VERSION=1.2.3 PLATFORM=linux_arm64",
		"VERSION="+version+" PLATFORM="+runtime.GOOS+"_"+runtime.GOARCH, 1)
	if script == m[1] {
		t.Fatalf("the commands have another version and platform: %s", m[1])
	}
	if runtime.GOOS == "darwin" {
		script = strings.Replace(script, "sha256sum -c", "shasum -a 256 -c", 1)
	}
	const more = `
./soci-index-builder demo > demo.txt
./soci-index-builder deploy --stack soci --bucket my-code --filters 'prod/*:*' --dry-run --arch arm64
`
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", script+more)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + tools, "HOME=" + folder, "TMPDIR=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !bytes.Contains(out, []byte(runtime.GOARCH+".tar.gz: OK\n")) {
		t.Errorf("nothing was verified: %s", out)
	}
	inside := filepath.Join(folder, "soci-index-builder_"+version+"_"+runtime.GOOS+"_"+runtime.GOARCH)
	if demo := read(t, filepath.Join(inside, "demo.txt")); !bytes.Contains(demo, []byte("no difference")) {
		t.Errorf("the demo says %s", demo)
	}
	for _, name := range []string{"plan.txt", "template.json", "parameters.json", "code/filter.zip"} {
		if len(read(t, filepath.Join(inside, "soci-index-builder-deploy", filepath.FromSlash(name)))) == 0 {
			t.Errorf("the dry run wrote an empty %s", name)
		}
	}
	return inside
}
