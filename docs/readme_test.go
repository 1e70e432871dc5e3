package docs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README's tables have every parameter, with its default, and every output
// of the templates, and none besides.
func TestReadmeTables(t *testing.T) {
	readme := read(t, "../README.md")
	var template struct {
		Parameters map[string]struct{ Default any }
		Outputs    map[string]any
	}
	for _, name := range []string{"soci-index-builder", "soci-index-builder-image"} {
		// Decoding the second template adds what only that one has.
		if err := json.Unmarshal([]byte(read(t, "../templates/"+name+".template.json")), &template); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(head string) [][]string {
		_, table, found := strings.Cut(readme, head+"\n")
		if !found {
			t.Fatalf("no table %q", head)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		var rows [][]string
		for line := range strings.Lines(table) {
			rows = append(rows, strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "))
		}
		return rows[1:]
	}
	seen := make(map[string]bool)
	for _, row := range rows("| parameter | default | meaning |") {
		for _, m := range code.FindAllStringSubmatch(row[0], -1) {
			p, ok := template.Parameters[m[1]]
			seen[m[1]] = true
			if !ok {
				t.Errorf("the template has no parameter %s", m[1])
				continue
			}
			want := "required"
			switch {
			case p.Default == "":
				want = "none"
			case p.Default != nil:
				want = fmt.Sprintf("`%v`", p.Default)
			}
			if row[1] != want {
				t.Errorf("parameter %s: default %s, in the template %s", m[1], row[1], want)
			}
		}
	}
	for name := range template.Parameters {
		if !seen[name] {
			t.Errorf("parameter %s is not in the README", name)
		}
	}
	seen = make(map[string]bool)
	for _, row := range rows("| output of the stack | what it is |") {
		for _, m := range code.FindAllStringSubmatch(row[0], -1) {
			seen[m[1]] = true
			if template.Outputs[m[1]] == nil {
				t.Errorf("the template has no output %s", m[1])
			}
		}
	}
	for name := range template.Outputs {
		if !seen[name] {
			t.Errorf("output %s is not in the README", name)
		}
	}
}

// cloneOnly are the parts of the README that release archives do not have: they
// need the sources.
var cloneOnly = regexp.MustCompile(`(?s)<!-- clone -->\n.*?<!-- end of clone -->\n`)

var (
	anyBlock   = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	makeTarget = regexp.MustCompile(`^make ([a-z-]+)`)
	invocation = regexp.MustCompile(`(?:^|[ (])(?:\./)?soci-index-builder ((?:[a-z]+ )?[a-z]+)\b([^#\n]*)`)
)

// Commands of the README are ones that there are: outside of the parts for a
// clone only the program's, and those of every machine.
func TestReadmeCommands(t *testing.T) {
	readme, makefile, cli := read(t, "../README.md"), read(t, "../Makefile"), read(t, "cli.md")
	targets := 0
	for _, block := range anyBlock.FindAllStringSubmatch(readme, -1) {
		for line := range strings.Lines(block[1]) {
			if m := makeTarget.FindStringSubmatch(line); m != nil {
				targets++
				if !strings.Contains(makefile, "\n"+m[1]+":") {
					t.Errorf("the Makefile has no target %s", m[1])
				}
			}
		}
	}
	readme = strings.Replace(readme, "```mermaid\n", "```\n  ", 1) // the picture of how it works
	alone := cloneOnly.ReplaceAllString(readme, "")
	if targets < 4 || alone == readme || strings.Contains(alone, "clone -->") {
		t.Errorf("%d targets of make; the parts for a clone are not marked in pairs", targets)
	}
	for _, word := range []string{"make ", "go run", "go install", "go build", "npx", "Node.js"} {
		if strings.Contains(alone, word) {
			t.Errorf("%q stands outside of the parts for a clone", word)
		}
	}
	found := 0
	for _, block := range anyBlock.FindAllStringSubmatch(alone, -1) {
		for line := range strings.Lines(block[1]) {
			first, _, _ := strings.Cut(strings.TrimPrefix(line, "./"), " ")
			switch {
			case strings.TrimSpace(line) == "" || strings.HasPrefix(line, " "):
			case strings.HasPrefix(first, "VERSION="), slices.Contains([]string{"grep", "tar", "cd", "docker"}, first):
			case first == "soci-index-builder":
				m := invocation.FindStringSubmatch(line)
				if m == nil {
					t.Errorf("the line %q has no verb", line)
					continue
				}
				found++
				verb := m[1]
				if !strings.Contains(cli, "\n## soci-index-builder "+verb+"\n") {
					verb, _, _ = strings.Cut(verb, " ")
				}
				if !strings.Contains(cli, "\n## soci-index-builder "+verb+"\n") {
					t.Errorf("cli.md has no %s, of %q", verb, line)
				}
			default:
				t.Errorf("the README has the command %q", line)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
}

// Whatever make compiles with "go run" may take minutes the first time, and one line
// says so before.
func TestMakeSaysThatItCompiles(t *testing.T) {
	said, runs := false, 0
	for line := range strings.Lines(read(t, "../Makefile")) {
		switch {
		case !strings.HasPrefix(line, "\t"):
			said = false
		case strings.Contains(line, "echo 'compiling"):
			said = true
		case strings.Contains(line, "$(GO) run "):
			if runs++; !said {
				t.Errorf("nothing is said before %q", line)
			}
		}
	}
	if runs < 10 {
		t.Errorf("%d lines of the Makefile run a program, fewer than there are", runs)
	}
}
