package docs

import (
	"encoding/json"
	"fmt"
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
		// What one has besides the other's is added to it.
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
