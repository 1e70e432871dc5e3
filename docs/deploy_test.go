package docs

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	hclBlock     = regexp.MustCompile("(?ms)^```hcl\n(.*?)^```$")
	hclTop       = regexp.MustCompile(`(?m)^(locals|resource "([a-z0-9_]+)" "([a-z0-9_]+)"|output "[a-z_]+") \{$`)
	hclPath      = regexp.MustCompile(`\$\{local\.deploy\}/([a-z.]+)`)
	hclParameter = regexp.MustCompile(`local\.parameters\["([A-Za-z0-9]+)"\]`)
	hclMerged    = regexp.MustCompile(`(?s)merge\(local\.parameters, \{(.*?)\}\)`)
	hclKey       = regexp.MustCompile(`(?m)^ +([A-Za-z0-9]+) += "`)
	hclReference = regexp.MustCompile(`\b(aws_[a-z0-9_]+)\.([a-z0-9_]+)`)
	hclOutput    = regexp.MustCompile(`\.outputs\["([A-Za-z]+)"\]`)
)

// The Terraform example is well-formed as far as brackets go, its references are
// to what it defines, it reads files that a dry run writes, and it names
// parameters and outputs of the template.
func TestTerraformExample(t *testing.T) {
	m := hclBlock.FindStringSubmatch(read(t, "deploy.md"))
	if m == nil {
		t.Fatal("deploy.md has no block of HCL")
	}
	text := m[1]
	checkBrackets(t, text)
	defined := map[string]bool{}
	for _, top := range hclTop.FindAllStringSubmatch(text, -1) {
		defined[top[2]+"."+top[3]] = true
	}
	if !defined["aws_cloudformation_stack.soci_index_builder"] || !defined["aws_s3_object.code"] {
		t.Errorf("the example defines %v", defined)
	}
	for _, r := range hclReference.FindAllStringSubmatch(text, -1) {
		if !defined[r[1]+"."+r[2]] {
			t.Errorf("the example names %s, and does not define it", r[0])
		}
	}

	script := read(t, "../cmd/soci-index-builder/testdata/deploydryrun.txtar")
	paths := hclPath.FindAllStringSubmatch(text, -1)
	for _, p := range paths {
		if !strings.Contains(script, "\nsoci-index-builder-deploy/"+p[1]) {
			t.Errorf("a dry run writes no %s", p[1])
		}
	}
	if len(paths) < 5 || !strings.Contains(text, `"${path.module}/soci-index-builder-deploy"`) {
		t.Errorf("only the files %q are read", paths)
	}

	var template struct {
		Parameters map[string]struct{ NoEcho bool }
		Outputs    map[string]any
	}
	if err := json.Unmarshal([]byte(read(t, "../templates/soci-index-builder.template.json")), &template); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range hclParameter.FindAllStringSubmatch(text, -1) {
		names = append(names, p[1])
	}
	if merged := hclMerged.FindStringSubmatch(text); merged != nil {
		for _, key := range hclKey.FindAllStringSubmatch(merged[1], -1) {
			names = append(names, key[1])
		}
	}
	if len(names) < 4 {
		t.Errorf("only the parameters %q are named", names)
	}
	for _, name := range names {
		if _, ok := template.Parameters[name]; !ok {
			t.Errorf("the template has no parameter %s", name)
		}
	}
	for name, p := range template.Parameters {
		if p.NoEcho {
			t.Errorf("%s is never shown, so parameters.json has no value of it", name)
		}
	}
	outputs := hclOutput.FindAllStringSubmatch(text, -1)
	for _, o := range outputs {
		if template.Outputs[o[1]] == nil {
			t.Errorf("the template has no output %s", o[1])
		}
	}
	if len(outputs) == 0 {
		t.Error("no output is named")
	}
}

// checkBrackets wants every bracket outside of strings closed, those of
// templates in strings too, and no string longer than its line.
func checkBrackets(t *testing.T, text string) {
	t.Helper()
	closing := map[rune]rune{'{': '}', '[': ']', '(': ')'}
	var open []rune // '"' is a string
	inString := func() bool { return len(open) > 0 && open[len(open)-1] == '"' }
	last := ' '
	for n, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, r := range line {
			switch {
			case r == '"' && inString():
				open = open[:len(open)-1]
			case r == '"':
				open = append(open, '"')
			case closing[r] != 0 && (!inString() || r == '{' && last == '$'):
				open = append(open, r)
			case inString():
			case strings.ContainsRune("}])", r):
				if len(open) == 0 || closing[open[len(open)-1]] != r {
					t.Fatalf("line %d, %q: %q closes nothing", n+1, line, r)
				}
				open = open[:len(open)-1]
			}
			last = r
		}
		if inString() {
			t.Fatalf("line %d, %q: a string does not end", n+1, line)
		}
	}
	if len(open) > 0 {
		t.Errorf("%q is never closed", open)
	}
}

// sources are the texts in which a message of deploy can be.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, root := range []string{"../internal/deploy", "../internal/deploy/codebucket", "../internal/awsconfig",
		"../internal/awsconfig/awserror", "../internal/embedded", "../cmd/soci-index-builder"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			all.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// A message may be written in several lines.
	return regexp.MustCompile(`" ?\+\s+"`).ReplaceAllString(all.String(), "")
}

var quoted = regexp.MustCompile(`"([^"]+)"`)

// Each message of deploy that troubleshooting.md quotes exists, in all of its
// parts between dots.
func TestTroubleshootingQuotesDeploy(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "troubleshooting.md"), "\n## The deployment fails\n")
	section, _, _ = strings.Cut(section, "\n## ")
	section = fence.ReplaceAllString(section, "")
	text := sources(t)
	found := 0
	for _, m := range quoted.FindAllStringSubmatch(section, -1) {
		for part := range strings.SplitSeq(m[1], "...") {
			// Names and states are put in where the message is made.
			for _, piece := range regexp.MustCompile(`[A-Z]+(_[A-Z]+)+`).Split(part, -1) {
				piece = strings.Trim(piece, " :,;")
				if len(piece) < 4 || slices.Contains([]string{"the stack is"}, piece) {
					continue
				}
				found++
				if !strings.Contains(text, piece) {
					t.Errorf("no message of deploy has %q, of %q", piece, m[1])
				}
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d pieces of messages were found", found)
	}
}
