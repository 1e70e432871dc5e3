// Package docs tests that the documentation is consistent with itself and with
// the program.
package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/logquery"
	"soci-index-builder/pkg/soci"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// pages are the README, CONTRIBUTING, SECURITY and the pages of this folder.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("*.md")
	if err != nil || len(all) < 5 {
		t.Fatalf("the pages are %q, %v", all, err)
	}
	notes, err := filepath.Glob("design/*.md")
	if err != nil || len(notes) < 5 {
		t.Fatalf("the design notes are %q, %v", notes, err)
	}
	return slices.Concat(all, notes, []string{"../README.md", "../CONTRIBUTING.md", "../SECURITY.md"})
}

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code    = regexp.MustCompile("`([^`\n]+)`")
)

// anchors returns those of a page's headings, as GitHub makes them.
func anchors(page string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				b.WriteRune(r)
			}
		}
		all = append(all, b.String())
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if anchor != "" && strings.HasSuffix(path, ".md") && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s links to %s, and there is no such heading", page, m[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}

var (
	messageRow = regexp.MustCompile("(?m)^\\| `([a-z][^`]+)` \\|")
	word       = regexp.MustCompile(`^[a-zA-Z0-9 ,]+$`)
	token      = regexp.MustCompile(`^[a-z]+(?:-[a-z]+)+$`)
)

// Each message, outcome and reason that troubleshooting.md quotes exists.
func TestTroubleshootingQuotesTheLogs(t *testing.T) {
	logs := read(t, "logs.md")
	messages := map[string]bool{}
	for _, m := range messageRow.FindAllStringSubmatch(logs, -1) {
		messages[m[1]] = true
	}
	format := read(t, "format.md")
	quoted := 0
	for _, m := range code.FindAllStringSubmatch(fence.ReplaceAllString(read(t, "troubleshooting.md"), ""), -1) {
		text := m[1]
		first, rest, spaced := strings.Cut(text, " ")
		switch {
		case spaced && word.MatchString(text) && strings.ToLower(first) == first &&
			!slices.Contains(notMessages, text) &&
			!commands[first]:
			quoted++
			if !messages[text] {
				t.Errorf("the message %q is not in logs.md", text)
			}
		case !spaced && rest == "" && token.MatchString(text) && !slices.Contains(notTokens, text):
			quoted++
			_, err := logquery.Find(text)
			if err != nil && !strings.Contains(logs, "`"+text+"`") && !strings.Contains(format, "`"+text+"`") {
				t.Errorf("%q is neither a reason, an outcome, nor a query", text)
			}
		}
	}
	if quoted < 50 {
		t.Errorf("only %d messages and reasons were found", quoted)
	}
}

// Of the form of a message, but somebody else's.
var (
	commands = map[string]bool{"aws": true, "docker": true, "make": true, "npx": true, "journalctl": true, "tar": true,
		"cp": true, "go": true}
	notMessages = []string{"already exists"}
	notTokens   = []string{"force-compression", "soci-index-builder"}
)

var query = regexp.MustCompile(`soci-index-builder logs --stack [a-z-]+ ([a-z][a-z-]*)`)

// Every query that a page names by command is one, and what stands in the
// column of queries in troubleshooting.md too.
func TestQueriesAreThere(t *testing.T) {
	found := 0
	check := func(page, name string) {
		found++
		if _, err := logquery.Find(name); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
	for _, page := range pages(t) {
		for _, m := range query.FindAllStringSubmatch(read(t, page), -1) {
			check(page, m[1])
		}
	}
	rows := strings.Split(read(t, "troubleshooting.md"), "\n")
	for i, row := range rows {
		if row != "| symptom | where | query |" {
			continue
		}
		for _, symptom := range rows[i+2:] {
			if symptom == "" {
				break
			}
			cells := strings.Split(strings.Trim(symptom, "| "), " | ")
			names := code.FindAllStringSubmatch(cells[len(cells)-1], -1)
			if len(cells) != 3 || len(names) == 0 {
				t.Errorf("troubleshooting.md has the row %q", symptom)
			}
			for _, m := range names {
				check("troubleshooting.md", m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d queries were found", found)
	}
}

// stackName is where the program's name is that of a stack.
var stackName = regexp.MustCompile(`(--stack|--stack-name) soci-index-builder`)

var (
	verb     = regexp.MustCompile(`soci-index-builder ((?:[a-z]+ )?[a-z]+)\b([^\n#]*)`)
	flagName = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// Every command that a page names is in cli.md, with its flags.
func TestCommandsAreThere(t *testing.T) {
	cli := read(t, "cli.md")
	found := 0
	for _, page := range pages(t) {
		if page == "cli.md" {
			continue
		}
		content := read(t, page)
		texts := strings.Join(fence.FindAllString(content, -1), "\n")
		for _, m := range code.FindAllStringSubmatch(fence.ReplaceAllString(content, ""), -1) {
			texts += "\n" + m[1]
		}
		texts = stackName.ReplaceAllString(texts, "$1 NAME")
		for _, m := range verb.FindAllStringSubmatch(texts, -1) {
			found++
			name := m[1]
			_, section, ok := strings.Cut(cli, "\n## soci-index-builder "+name+"\n")
			if !ok {
				name, _, _ = strings.Cut(name, " ")
				if _, section, ok = strings.Cut(cli, "\n## soci-index-builder "+name+"\n"); !ok {
					t.Errorf("%s names the command %q, which cli.md does not have", page, name)
					continue
				}
			}
			section, _, _ = strings.Cut(section, "\n## ")
			for _, flag := range flagName.FindAllString(m[2], -1) {
				if !hasFlag(section, flag) {
					t.Errorf("%s gives the command %q the flag %s, which cli.md does not have", page, name, flag)
				}
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d commands were found", found)
	}
}

// hasFlag reports whether a section of cli.md lists a flag among the options.
func hasFlag(section, flag string) bool {
	return regexp.MustCompile(`(?m)^ +(-\w, )?` + flag + `\b`).MatchString(section)
}

var block = regexp.MustCompile("(?ms)^```(json|sh)\n(.*?)^```$")

func TestBlocksAreWellFormed(t *testing.T) {
	found := map[string]int{}
	for _, page := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(read(t, page), -1) {
			found[m[1]]++
			switch m[1] {
			case "json":
				if !json.Valid([]byte(m[2])) {
					t.Errorf("%s has a block that is not JSON:\n%s", page, m[2])
				}
			case "sh":
				if out, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", m[2]).CombinedOutput(); err != nil {
					t.Errorf("%s has a block that no shell reads: %s\n%s", page, out, m[2])
				}
			}
		}
	}
	if found["json"] < 3 || found["sh"] < 8 {
		t.Errorf("found are %v", found)
	}
}

// The table of how build tools make gzip layers is what the commands and the
// log say.
func TestGzipRecipes(t *testing.T) {
	b, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(b), "`", "")
	for _, r := range soci.GzipRecipes {
		if row := "| " + r.Tool + " | " + r.How + " |"; !strings.Contains(plain, row) {
			t.Errorf("troubleshooting.md does not have the row %q", row)
		}
	}
}
