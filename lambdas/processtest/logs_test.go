package processtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logCall is one place in the code that writes a log line.
type logCall struct {
	at, message, level string // level is empty where it is decided at run time
	attributes         []string
}

// logCalls finds them in every package that the functions are made of, and the
// names of the metrics.
func logCalls(t *testing.T) (calls []logCall, metrics []string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		`{{if .Module}}{{if .Module.Main}}{{.Dir}}{{range .GoFiles}},{{.}}{{end}}{{end}}{{end}}`, "../filter",
		"../indexgen", "../reponame")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]string{"DebugContext": "DEBUG", "InfoContext": "INFO", "WarnContext": "WARN",
		"ErrorContext": "ERROR", "Log": ""}
	files := token.NewFileSet()
	var all []*ast.File
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), ",")
		for _, name := range parts[1:] {
			parsed, err := parser.ParseFile(files, filepath.Join(parts[0], name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parsed)
		}
	}
	known := constantsOf(all)
	for _, parsed := range all {
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if name, ok := known.metric(call); ok {
				metrics = append(metrics, name)
			}
			at := files.Position(call.Pos()).String()
			if slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, selector.Sel.Name) &&
				len(call.Args) > 0 {
				t.Errorf("%s: %s writes a line without the request id: use %[2]sContext", at, selector.Sel.Name)
			}
			level, ok := levels[selector.Sel.Name]
			if !ok {
				return true
			}
			args := call.Args[1:] // behind the context
			if selector.Sel.Name == "Log" {
				args = args[1:]
			}
			message, ok := known.text(args[0])
			if !ok {
				t.Errorf("%s: the message is not a constant", at)
				return true
			}
			c := logCall{at: at, message: message, level: level}
			for i := 1; i < len(args); i += 2 {
				key, ok := known.text(args[i])
				if !ok {
					break // a group, or attributes from elsewhere
				}
				c.attributes = append(c.attributes, key)
			}
			calls = append(calls, c)
			return true
		})
	}
	slices.Sort(metrics)
	return calls, slices.Compact(metrics)
}

// constants are the texts of constants by their names, "messages.Failed".
type constants map[string]string

// unit is the type of the constants that are units of metrics.
const unit = "Unit"

// constantsOf returns those of packages, of the types that are texts by themselves
// or units.
func constantsOf(files []*ast.File) constants {
	known := constants{}
	for _, file := range files {
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, s := range group.Specs {
				spec := s.(*ast.ValueSpec)
				for i, value := range spec.Values {
					text, ok := known.text(value)
					if kind, isName := spec.Type.(*ast.Ident); isName && kind.Name == unit {
						text = unit
					} else if spec.Type != nil {
						continue
					}
					if ok {
						known[file.Name.Name+"."+spec.Names[i].Name] = text
					}
				}
			}
		}
	}
	return known
}

// metric returns the name of a metric that is added: the text in front of its
// unit, metrics.Count or another.
func (c constants) metric(call *ast.CallExpr) (name string, ok bool) {
	for i, arg := range call.Args {
		if text, isText := c.text(arg); isText && text == unit && i > 0 {
			return c.text(call.Args[i-1])
		}
	}
	return "", false
}

// text returns what a literal or a constant of another package says.
func (c constants) text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if pkg, ok := e.X.(*ast.Ident); ok {
			s, ok := c[pkg.Name+"."+e.Sel.Name]
			return s, ok
		}
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return s, err == nil
		}
	}
	return "", false
}

// docs/logs.md has a row for each message in the code, with its level and its
// attributes, and no other.
func TestLogsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, messages, _ := strings.Cut(string(b), "\n## Messages\n")
	messages, rest, ok := strings.Cut(messages, "\n### Outcomes\n")
	if !ok {
		t.Fatal("docs/logs.md has not the sections it had")
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\|([^|]*)\\|")
	type documented struct {
		levels, attributes string
		used               bool
	}
	rows := map[string]*documented{}
	for _, m := range row.FindAllStringSubmatch(messages, -1) {
		if rows[m[1]] != nil {
			t.Errorf("docs/logs.md has two rows for %q", m[1])
		}
		rows[m[1]] = &documented{levels: m[3], attributes: m[4]}
	}
	calls, metrics := logCalls(t)
	if len(calls) < 10 || len(rows) < 10 {
		t.Fatalf("%d calls and %d rows are too few to be true", len(calls), len(rows))
	}
	for _, c := range calls {
		d := rows[c.message]
		if d == nil {
			t.Errorf("%s: message %q is not in docs/logs.md", c.at, c.message)
			continue
		}
		d.used = true
		if c.level != "" && !slices.Contains(strings.Split(strings.TrimSpace(d.levels), ", "), c.level) {
			t.Errorf("%s: message %q has level %s, docs/logs.md says %s", c.at, c.message, c.level, d.levels)
		}
		for _, a := range c.attributes {
			if !strings.Contains(d.attributes, "`"+a+"`") {
				t.Errorf("%s: message %q has attribute %s, docs/logs.md says %s", c.at, c.message, a, d.attributes)
			}
		}
	}
	var measured []string
	for _, m := range row.FindAllStringSubmatch(rest, -1) {
		measured = append(measured, m[1])
	}
	slices.Sort(measured)
	if !slices.Equal(measured, metrics) {
		t.Errorf("docs/logs.md has the metrics %s, the code %s", measured, metrics)
	}
	for message, d := range rows {
		if !d.used {
			t.Errorf("docs/logs.md has message %q, which nothing writes", message)
		}
	}
}
