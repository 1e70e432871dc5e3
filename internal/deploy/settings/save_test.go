package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy/parameters"
)

// save saves what the flags say into a file with the content, and returns what
// is there then.
func save(t *testing.T, content string, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f.toml")
	if content != "" {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := parse(t, append([]string{"--config", file}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	g, env, err := f.Load(true)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := env.Save(g)
	after, readErr := os.ReadFile(file)
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		t.Fatal(readErr)
	}
	if changed != (string(after) != content) {
		t.Errorf("Save says %v, and the file has\n%s", changed, after)
	}
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %q, %v", rest, err)
	}
	if err != nil {
		return string(after), err
	}
	// The saved file can be read again, and saving once more changes nothing.
	again, env, err := f.Load(false)
	if err != nil {
		t.Fatalf("%v, of\n%s", err, after)
	}
	if changed, err := env.Save(again); changed || err != nil {
		t.Errorf("saved once more: %v, %v", changed, err)
	}
	return string(after), nil
}

func TestSave(t *testing.T) {
	tests := []struct {
		name, before string
		args         []string
		want         string
	}{
		{
			"new file", "",
			[]string{"--parameter=LogLevel=DEBUG", "--filters=prod/*:*", "--stack=prod-soci", "--fail-on-empty",
				"--tag=a b=c@d",
				"--capabilities=CAPABILITY_IAM,CAPABILITY_NAMED_IAM"},
			`[default]
stack = 'prod-soci'
filters = 'prod/*:*'
fail-on-empty = true
capabilities = ['CAPABILITY_IAM', 'CAPABILITY_NAMED_IAM']

[default.parameter]
LogLevel = 'DEBUG'

[default.tag]
'a b' = 'c@d'
`,
		},
		{
			"the only environment", "[prod]\nstack = \"a\" # old\n", []string{"--stack=b", "--region=eu-west-1"},
			"[prod]\nstack = 'b' # old\nregion = 'eu-west-1'\n",
		},
		{
			"nothing new", "[prod]\nstack = \"a\"\n", []string{"--stack=a"}, "[prod]\nstack = \"a\"\n",
		},
		{
			"what all environments have", "stack = 'a'\n[prod]\n", []string{"--stack=a", "--region=eu-west-1"},
			"stack = 'a'\n[prod]\nregion = 'eu-west-1'\n",
		},
		{
			"beside the comments of another",
			"# all\n\n[prod] # first\n# stack\nstack = 'a'\n\n# second\n[staging]\nstack = 'b' # b\n[staging.tag]\nx " +
				"= 'y'\n\n# end\n",
			[]string{"--env=prod", "--region=eu-west-1", "--parameter=LogLevel=INFO", "--tag=team=a"},
			`# all

[prod] # first
# stack
stack = 'a'
region = 'eu-west-1'

[prod.parameter]
LogLevel = 'INFO'

[prod.tag]
team = 'a'

# second
[staging]
stack = 'b' # b
[staging.tag]
x = 'y'

# end
`,
		},
		{
			"another environment", "[prod]\nstack = 'a'", []string{"--env=staging", "--stack=b"},
			"[prod]\nstack = 'a'\n\n[staging]\nstack = 'b'\n",
		},
		{
			"a table in one line", "[prod]\ntag = { a = 'b' }\nparameter = {}\n",
			[]string{"--tag=a=c", "--tag=d=e", "--parameter=LogLevel=INFO"},
			"[prod]\ntag = { d = 'e', a = 'c' }\nparameter = { LogLevel = 'INFO' }\n",
		},
		{
			"dotted keys", "[prod]\ntag.a = 'b' # x\nstack = 'a'\n", []string{"--tag=c=d"},
			"[prod]\ntag.a = 'b' # x\ntag.c = 'd'\nstack = 'a'\n",
		},
		{
			"dotted environment", "prod.stack = 'a'\n", []string{"--region=eu-west-1"},
			"prod.stack = 'a'\nprod.region = 'eu-west-1'\n",
		},
		{
			"tables alone", "# a\n[prod.tag]\na = 'b'\n", []string{"--stack=a"},
			"# a\n[prod]\nstack = 'a'\n\n[prod.tag]\na = 'b'\n",
		},
		{
			"values over several lines",
			"[prod]\nfilters = '''\na:*,\nb:*''' # f\ncapabilities = [\n  'CAPABILITY_IAM', # c\n]\n",
			[]string{"--filters=c:*", "--capabilities=CAPABILITY_NAMED_IAM"},
			"[prod]\nfilters = 'c:*' # f\ncapabilities = ['CAPABILITY_NAMED_IAM']\n",
		},
		{
			"line breaks of Windows", "[prod]\r\nstack = 'a'\r\n", []string{"--region=eu-west-1", "--tag=a=b"},
			"[prod]\r\nstack = 'a'\r\nregion = 'eu-west-1'\r\n\r\n[prod.tag]\r\na = 'b'\r\n",
		},
		{
			"boolean", "[prod]\ndisable-rollback = true\n", []string{"--disable-rollback=false"},
			"[prod]\ndisable-rollback = false\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := save(t, tt.before, tt.args...)
			if err != nil || got != tt.want {
				t.Errorf("the file has\n%s\n(%v), want\n%s", got, err, tt.want)
			}
		})
	}
}

// A file that cannot be updated in place is left as it is.
func TestSaveLeavesAlone(t *testing.T) {
	const before = "prod = { stack = 'a' } # mine\n"
	got, err := save(t, before, "--parameter=LogLevel=DEBUG")
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "parameter.LogLevel = 'DEBUG'") ||
		!strings.Contains(err.Error(), "[prod]") {
		t.Errorf("Save: %v", err)
	}
	if got != before {
		t.Errorf("the file has %q", got)
	}
}

// A file that was broken between reading and saving is left alone, too.
func TestSaveReadsAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.toml")
	f, err := parse(t, "--config", file, "--stack=a")
	if err != nil {
		t.Fatal(err)
	}
	g, env, err := f.Load(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[default]\nregion = 'eu-west-1'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := env.Save(g); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "[default]\nregion = 'eu-west-1'\nstack = 'a'\n" {
		t.Errorf("the file has %q, %v", b, err)
	}
	if err := os.WriteFile(file, []byte("x = \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := env.Save(g); changed || !errors.Is(err, ErrInvalid) {
		t.Errorf("a broken file: %v, %v", changed, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "x = \n" {
		t.Errorf("the broken file has %q, %v", b, err)
	}
}

func TestSaveKeepsPermissionsAndLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such permissions")
	}
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real.toml"), filepath.Join(dir, "link.toml")
	if err := os.WriteFile(file, []byte("[prod]\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.toml", link); err != nil {
		t.Fatal(err)
	}
	f, err := parse(t, "--config", link, "--stack=a")
	if err != nil {
		t.Fatal(err)
	}
	g, env, err := f.Load(false)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := env.Save(g); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has the mode %v, %v", info.Mode(), err)
	}
}

// Only flags and answers are saved: what comes from elsewhere would be pinned.
func TestSaveOnlyWhatWasSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.toml")
	f, err := parse(t, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	_, env, err := f.Load(true)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Resolve(Of(Answer, Settings{Stack: "a"}),
		Of(Stack, Settings{Filters: "a:*", Parameters: map[string]string{"LogLevel": "INFO"}}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Save(g); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "[default]\nstack = 'a'\n" {
		t.Errorf("the file has %q, %v", b, err)
	}
}

// Values that CloudFormation hides are not written.
func TestSaveHides(t *testing.T) {
	in, err := parameters.Parse([]byte(otherTemplate))
	if err != nil {
		t.Fatal(err)
	}
	before := zipTemplate
	zipTemplate = func() *parameters.Template { return in }
	defer func() { zipTemplate = before }()
	got, err := save(t, "", "--parameter=Secret=hush", "--parameter=Anything=open")
	if err != nil || strings.Contains(got, "hush") || !strings.Contains(got, "Anything = 'open'") {
		t.Errorf("the file has\n%s\n(%v)", got, err)
	}
}
