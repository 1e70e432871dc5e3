package settings

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/expect"
)

const sample = `# settings of all environments
package = "zip"
tag = { team = "platform" }

[prod]
stack = "prod-soci"      # as it has always been called
region = "eu-west-1"
filters = """
prod/*:*,
!*:*-debug"""
capabilities = ["CAPABILITY_IAM"]
termination-protection = true

[prod.parameter]
GeneratorMemorySize = 3_008
IndexUntaggedImages = true
LogLevel = "WARN"

# tried here first
[staging]
stack = "staging-soci"
parameter.LogLevel = "DEBUG"
tag = { team = "qa", "cost.center" = "7" }
package = "image"
repository.FilterFunction = "` + uri + `"
`

func TestFile(t *testing.T) {
	g, env, err := read("f.toml", []byte(sample), "prod", false)
	if err != nil {
		t.Fatal(err)
	}
	expect.Equal(t, expect.Facts{
		{"Stack", g.Stack, "prod-soci"},
		{"Region", g.Region, "eu-west-1"},
		{"Filters", g.Filters, "prod/*:*,!*:*-debug"},
		{"Package", g.Package, embedded.Zip},
		{"TerminationProtection", *g.TerminationProtection, true},
		{"Capabilities", g.Capabilities, []string{"CAPABILITY_IAM"}},
	}, "the settings are %+v", g.Settings)
	if !maps.Equal(g.Parameters, map[string]string{"GeneratorMemorySize": "3008", "IndexUntaggedImages": "true",
		"LogLevel": "WARN"}) || !maps.Equal(g.Tags, map[string]string{"team": "platform"}) {
		t.Errorf("the tables are %v, %v", g.Parameters, g.Tags)
	}
	for name, want := range map[string]string{"package": "f.toml:2", "tag.team": "f.toml:3", "stack": "f.toml:6",
		"filters": "f.toml:8", "termination-protection": "f.toml:12", "parameter.LogLevel": "f.toml:17"} {
		if o, ok := g.Origin(name); !ok || o.String() != want {
			t.Errorf("%s comes from %s, want %s", name, o, want)
		}
	}
	if env.String() != "f.toml [prod]" {
		t.Errorf("the environment is %s", env)
	}

	g, _, err = read("f.toml", []byte(sample), "staging", false)
	if err != nil {
		t.Fatal(err)
	}
	expect.Equal(t, expect.Facts{
		{"Package", g.Package, embedded.Image},
		{"Tags", g.Tags, map[string]string{"team": "qa", "cost.center": "7"}},
		{`g.Repositories["FilterFunction"]`, g.Repositories["FilterFunction"], uri},
		{`g.Parameters["LogLevel"]`, g.Parameters["LogLevel"], "DEBUG"},
		{"Region", g.Region, ""},
	}, "the settings are %+v", g.Settings)
	if o, _ := g.Origin("tag.cost.center"); o.Line != 23 {
		t.Errorf("tag.cost.center comes from %s", o)
	}
}

func TestEnvironments(t *testing.T) {
	tests := []struct {
		name, file, env string
		mayBeNew        bool
		stack, want     string // of the error, if there is one
	}{
		{"the only one", "[prod]\nstack = 'a'", "", false, "a", ""},
		{"named", "[prod]\nstack = 'a'", "prod", false, "a", ""},
		{"none", "stack = 'a'", "", false, "a", ""},
		{"empty file", "", "", false, "", ""},
		{"empty environment", "stack = 'a'\n[prod]", "prod", false, "a", ""},
		{"inline", "prod = { stack = 'a' }", "", false, "a", ""},
		{"empty inline", "prod = {}\nstack = 'b'", "prod", false, "b", ""},
		{"dotted", "prod.stack = 'a'", "prod", false, "a", ""},
		{"by its table alone", "stack = 'b'\n[prod.tag]", "prod", false, "b", ""},
		{"several", "[prod]\n[staging]", "", false, "",
			"f.toml has the environments prod, staging: choose one by --env"},
		{"unknown", "[prod]\n[staging]", "prd", false, "",
			"--env prd: f.toml has no such environment (did you mean prod?): it has prod, staging"},
		{"none of them", "stack = 'a'", "prod", false, "", "--env prod: f.toml has no environment"},
		{"new", "stack = 'b'\n[prod]\nstack = 'a'", "test", true, "b", ""},
		{"several, and a new one is not named", "[prod]\n[staging]", "", true, "", "choose one by --env"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, env, err := read("f.toml", []byte(tt.file), tt.env, tt.mayBeNew)
			if tt.want != "" {
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("read: %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if g.Stack != tt.stack {
				t.Errorf("the stack is %q", g.Stack)
			}
			if name, _ := env.Name(); tt.env != "" && name != tt.env {
				t.Errorf("the environment is %q", name)
			}
		})
	}
}

func TestFileRefuses(t *testing.T) {
	tests := []struct {
		name, file string
		want       []string
	}{
		{"no TOML", "a =\n", []string{"f.toml:1:4: "}},
		{"twice", "[prod]\nstack = 'a'\nstack = 'b'", []string{"f.toml:3:1: ", "stack"}},
		{"unknown key", "[prod]\nstacks = 'a'", []string{`f.toml:2: unknown key "stacks" (did you mean stack?)`,
			"in the environment prod", "allowed are stack, region, profile, filters, parameter"}},
		{"unknown key of all", "\nfilter = 'a:b'", []string{`f.toml:2: unknown key "filter" (did you mean filters?)`}},
		{"table with a wrong name", "[tags]\nteam = 'a'", []string{"in the environment tags (did you mean tag?)"}},
		{"unknown table", "[prod]\n[prod.parameters]\nLogLevel = 'INFO'",
			[]string{`f.toml:2: unknown key "parameters" (did you mean parameter?)`}},
		{"unknown inline table", "[prod]\nx = {}", []string{`f.toml:2: unknown key "x"`}},
		{"setting as a table", "[stack]\nname = 'a'", []string{"f.toml:1: stack must be a string, not a table",
			"cannot have the name of a setting"}},
		{"setting as a dotted key", "[prod]\nstack.name = 'a'",
			[]string{"f.toml:2: stack must be a string, not a table"}},
		{"table as a string", "[prod]\ntag = 'a'", []string{"f.toml:2: tag must be a table of strings, not a string"}},
		{"list of tables", "[[prod]]", []string{"f.toml:1: ", "[prod]"}},
		{"too deep", "[prod.tag.a]", []string{"f.toml:1: tag.a must be a string, not a table"}},
		{"too deep by dots", "[prod.tag]\na.b = 'c'", []string{"f.toml:2: ", "tag.a.b", "quotation marks"}},
		{"much too deep", "a = {a={a={a={a={a={a={a={a=1}}}}}}}}", []string{"nested more than 8 deep"}},
		{"number for a string", "stack = 1", []string{"f.toml:1: stack must be a string, not a number"}},
		{"string for a boolean", "fail-on-empty = 'true'", []string{"fail-on-empty must be a boolean, not a string"}},
		{"string for a list", "capabilities = 'CAPABILITY_IAM'", []string{"must be an array of strings, not a string"}},
		{"list of numbers", "capabilities = ['CAPABILITY_IAM', 1]", []string{"an array of strings, and has a number"}},
		{"date for a parameter", "parameter.LogLevel = 1979-05-27",
			[]string{"parameter.LogLevel must be a string, whole number or boolean, not a date or time"}},
		{"fraction for a parameter", "parameter.GeneratorMemorySize = 1.5", []string{"whole number", "not a number"}},
		{"number for a tag", "[tag]\na = 1", []string{"f.toml:2: tag.a must be a string, not a number"}},
		{"huge number", "parameter.GeneratorMemorySize = 99999999999999999999", []string{"f.toml"}},
		{"value", "\n[prod]\nregion = 'Ireland'",
			[]string{`f.toml:3: region = "Ireland": must be the name of a region`}},
		{"parameter", "parameter.LogLevel = 'LOUD'",
			[]string{`f.toml:1: parameter.LogLevel = "LOUD": LogLevel must be one of`}},
		{"parameter of deploy", "[prod.parameter]\nCodeS3Bucket = 'b'", []string{"use --bucket (in the file bucket)"}},
		{"filters", "filters = 'a:b,C'", []string{`f.toml:1: filters = "a:b,C": filter 2 "C" has no tag part`}},
		{"list", "notification-arn = ['a']", []string{"SNS topic"}},
		{"twice in a list", "capabilities = ['CAPABILITY_IAM', 'CAPABILITY_IAM']", []string{"given twice"}},
		{"name of an environment", "[\"a b\"]", []string{"f.toml:1: the name of the environment \"a b\" must be"}},
		{"environment with a value", "prod = 'a'", []string{`f.toml:1: unknown key "prod"`}},
		{"wrong in an environment that is not used", "[prod]\n[staging]\nstack = '1'", []string{"f.toml:3: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := read("f.toml", []byte(tt.file), "prod", true)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("read: %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %q", err, want)
				}
			}
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("%q has %d lines", err, n+1)
			}
		})
	}
	// The error lists everything.
	_, _, err := read("f.toml", []byte("a = 1\nb = 2\n[prod]\nc = 3"), "prod", true)
	for _, line := range []string{"f.toml:1: ", "f.toml:2: ", "f.toml:4: "} {
		if err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%v does not name %s", err, line)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	load := func(mayBeNew bool, args ...string) (Given, *Environment, error) {
		t.Helper()
		f, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		return f.Load(mayBeNew)
	}
	// Without a file there are the flags.
	g, env, err := load(false, "--stack=a")
	if err != nil || g.Stack != "a" {
		t.Fatalf("without a file: %+v, %v", g.Settings, err)
	}
	if name, exists := env.File(); name != FileName || exists {
		t.Errorf("the file is %s, %v", name, exists)
	}
	if name, exists := env.Name(); name != "default" || exists {
		t.Errorf("the environment is %s, %v", name, exists)
	}
	for _, tt := range []struct{ name, arg, want string }{
		{"environment", "--env=prod", "--env prod: there is no soci-index-builder.toml in this folder"},
		{"file", "--config=other.toml", "--config other.toml: there is no such file"},
	} {
		if _, _, err := load(false, tt.arg); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, _, err := load(true, tt.arg); err != nil {
			t.Errorf("%s that may be new: %v", tt.name, err)
		}
	}
	if _, _, err := load(false, "--config", dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v", err)
	}

	if err := os.WriteFile(FileName, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load(false); err == nil || !strings.Contains(err.Error(), "--env") {
		t.Errorf("of two environments none is chosen: %v", err)
	}
	g, env, err = load(false, "--env=prod", "--region=eu-west-2")
	if err != nil || g.Region != "eu-west-2" || g.Stack != "prod-soci" {
		t.Errorf("flags and file: %+v, %v", g.Settings, err)
	}
	if name, exists := env.Name(); name != "prod" || !exists {
		t.Errorf("the environment is %s, %v", name, exists)
	}

	if err := os.WriteFile("large.toml", make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load(false, "--config=large.toml"); !errors.Is(err, ErrInvalid) ||
		!strings.Contains(err.Error(), "1048576 bytes") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "other.toml")); err == nil {
		t.Error("reading made a file")
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("prod = { stack = 'a', tag = { a = 'b' } }"))
	f.Add([]byte("[a]\r\n[a.parameter]\r\nLogLevel='INFO'"))
	f.Fuzz(func(t *testing.T, content []byte) {
		g, env, err := read("f.toml", content, "prod", true)
		if err != nil {
			return
		}
		// A file that can be read can be updated, or the update is refused.
		updated, err := edit(content, "prod", []change{{[]string{"stack"}, "x"}, {[]string{"tag", "a b"}, "é"}})
		if errors.Is(err, errLayout) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := read("f.toml", updated, "prod", false)
		if err != nil {
			t.Fatalf("%q became %q: %v", content, updated, err)
		}
		if again.Stack != "x" || again.Tags["a b"] != "é" {
			t.Fatalf("%q became %q", content, updated)
		}
		if g.Filters != again.Filters || env == nil {
			t.Fatalf("%q lost its filters: %q", content, updated)
		}
	})
}
