package settings

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/expect"
)

func TestMerge(t *testing.T) {
	f, err := parse(t, "--stack=a", "--parameter=LogLevel=DEBUG", "--disable-rollback=false", "--tag=b=flag")
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := read("f.toml", []byte(`
stack = "b"
filters = "file:*"
disable-rollback = true
notification-arn = []
[parameter]
LogLevel = "WARN"
SociTagSuffix = "-file"
[tag]
a = "file"
b = "file"
`), "", false)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	stack := Of(Stack, Settings{
		Stack: "c", Filters: "stack:*", Package: embedded.Image, DisableRollback: true, TerminationProtection: &yes,
		Parameters:       map[string]string{"LogLevel": "ERROR", "SociTagSuffix": "-stack", "EventBusName": "stack"},
		Tags:             map[string]string{"a": "stack", "c": "stack"},
		NotificationARNs: []string{"arn:aws:sns:eu-west-1:123456789012:a"},
	})
	g, err := Resolve(f.Given(), file, stack)
	if err != nil {
		t.Fatal(err)
	}
	expect.Equal(t, expect.Facts{
		{"Stack", g.Stack, "a"},
		{"Filters", g.Filters, "file:*"},
		{"DisableRollback", g.DisableRollback, false},
		{"TerminationProtection", *g.TerminationProtection, true},
		{"Package", g.Package, embedded.Image},
		{"Architecture", g.Architecture, "arm64"},
		{"number of NotificationARNs", len(g.NotificationARNs), 0},
	}, "the settings")
	if !maps.Equal(g.Parameters,
		map[string]string{"LogLevel": "DEBUG", "SociTagSuffix": "-file", "EventBusName": "stack"}) {
		t.Errorf("the parameters are %v", g.Parameters)
	}
	// The file has tags, so it has all of them.
	if !maps.Equal(g.Tags, map[string]string{"a": "file", "b": "flag"}) {
		t.Errorf("the tags are %v", g.Tags)
	}
	var lines []string
	for _, c := range g.Chosen() {
		lines = append(lines, c.Name+" = "+c.Value+" ("+c.String()+")")
	}
	const want = `stack = a (--stack)
filters = file:* (f.toml:3)
parameter.EventBusName = stack (the stack)
parameter.LogLevel = DEBUG (--parameter LogLevel)
parameter.SociTagSuffix = -file (f.toml:8)
package = image (the stack)
arch = arm64 (default)
tag.a = file (f.toml:10)
tag.b = flag (--tag b)
notification-arn =  (f.toml:5)
termination-protection = true (the stack)
disable-rollback = false (--disable-rollback)`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("the plan would say\n%s\nwant\n%s", got, want)
	}
	if len(stack.Tags) != 2 || stack.Parameters["LogLevel"] != "ERROR" {
		t.Errorf("a layer was changed: %+v", stack)
	}
	// Without tags in a file, a flag adds one to those of the stack.
	if g := Merge(f.Given(), stack); !maps.Equal(g.Tags, map[string]string{"a": "stack", "b": "flag", "c": "stack"}) {
		t.Errorf("the tags are %v", g.Tags)
	}
}

func TestResolveRefuses(t *testing.T) {
	many := map[string]string{}
	for _, a := range "abcdefg" {
		for _, b := range "abcdefg" {
			many[string(a)+string(b)] = ""
		}
	}
	own := map[string]string{"FilterFunction": uri}
	tests := []struct {
		name   string
		layers []Given
		want   string
	}{
		{"bucket for images", []Given{Of(Flag, Settings{Package: embedded.Image, Bucket: "bucket"})},
			"is for the package zip, and the package is image"},
		{"bucket beside the stack's package",
			[]Given{Of(File, Settings{Bucket: "bucket"}), Of(Stack, Settings{Package: embedded.Image})},
			"and the package is image (the stack)"},
		{"repository for zip", []Given{Of(Flag, Settings{Repositories: own})}, "and the package is zip (default)"},
		{"repository of another region",
			[]Given{Of(Flag, Settings{Package: embedded.Image, Region: "us-east-1", Repositories: own})},
			"is in eu-west-1, and the stack in us-east-1"},
		{"too many tags", []Given{Of(Flag, Settings{Tags: many})}, "49 tags"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Resolve(tt.layers...)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Resolve: %v, want %q", err, tt.want)
			}
		})
	}
}

// The file's settings for one package are dropped when a flag chooses the other.
func TestResolveDropsWhatDoesNotFit(t *testing.T) {
	file := Of(File, Settings{Bucket: "bucket", Package: embedded.Zip})
	g, err := Resolve(Of(Flag, Settings{Package: embedded.Image}), file)
	if err != nil || g.Bucket != "" {
		t.Errorf("the bucket is %q, %v", g.Bucket, err)
	}
	if _, ok := g.Origin("bucket"); ok {
		t.Error("the bucket that was dropped has an origin")
	}
	file = Of(File, Settings{Package: embedded.Image, Repositories: map[string]string{"FilterFunction": uri}})
	if g, err = Resolve(Of(Flag, Settings{Package: embedded.Zip}), file); err != nil || len(g.Repositories) != 0 {
		t.Errorf("the repositories are %v, %v", g.Repositories, err)
	}
	if len(file.Repositories) != 1 {
		t.Error("the layer was changed")
	}
}

func TestCheckAccount(t *testing.T) {
	g := Of(Flag, Settings{RoleARN: "arn:aws:iam::123456789012:role/r",
		Repositories: map[string]string{"FilterFunction": uri}})
	if err := g.CheckAccount("123456789012", "eu-west-1"); err != nil {
		t.Error(err)
	}
	if err := g.CheckAccount("123456789012", "eu-west-2"); !errors.Is(err, ErrInvalid) ||
		!strings.Contains(err.Error(), "eu-west-2") {
		t.Errorf("another region: %v", err)
	}
	err := g.CheckAccount("210987654321", "eu-west-1")
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("another account: %v", err)
	}
	if !strings.Contains(err.Error(), "the role") || !strings.Contains(err.Error(), "the repository") ||
		!strings.Contains(err.Error(), "210987654321") {
		t.Errorf("another account: %v", err)
	}
}

func TestValues(t *testing.T) {
	f, err := parse(t, "--filters=a:*", "--parameter=LogLevel=DEBUG")
	if err != nil {
		t.Fatal(err)
	}
	stack := map[string]string{
		"LogLevel": "WARN", "SociTagSuffix": "-stack", "CodeS3Bucket": "bucket", "Gone": "parameter of before",
	}
	for _, p := range []embedded.Package{embedded.Zip, embedded.Image} {
		g, err := Resolve(f.Given(), Of(Stack, Settings{Package: p}))
		if err != nil {
			t.Fatal(err)
		}
		values, err := g.Values(stack)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]Value{}
		for _, v := range values {
			got[v.Parameter] = v
		}
		if v := got[deployed.ParamFilters]; v.Value != "a:*" || v.String() != "--filters" || v.Previous {
			t.Errorf("filters: %+v", v)
		}
		if v := got["LogLevel"]; v.Value != "DEBUG" || v.Kind != Flag || v.Previous {
			t.Errorf("flag: %+v", v)
		}
		if v := got["SociTagSuffix"]; v.Value != "-stack" || v.Kind != Stack || !v.Previous {
			t.Errorf("stack: %+v", v)
		}
		v := got["GeneratorMemorySize"]
		expect.Equal(t, expect.Facts{
			{"Value", v.Value, "1769"},
			{"Kind", v.Kind, Default},
			{"Previous", v.Previous, false},
			{"String", v.String(), "default"},
		}, "the default")
		settable := 0
		for _, p := range Parameters(p) {
			if p.Flag() == "--filters" || p.Flag() == "--parameter" {
				settable++
			}
		}
		if len(values) != settable || settable < 10 {
			t.Errorf("%d values for %d parameters", len(values), settable)
		}
		for _, p := range []struct {
			name  string
			stack map[string]string
			want  string
		}{
			{"LogLevel", stack, "DEBUG"}, {"SociTagSuffix", stack, "-stack"}, {deployed.ParamFilters, stack, "a:*"},
			{"GeneratorMemorySize", nil, "1769"}, {"Nothing", nil, ""},
		} {
			if got := g.Parameter(p.name, p.stack); got != p.want {
				t.Errorf("Parameter has %q for %s, not %q as Values", got, p.name, p.want)
			}
		}
	}
}

// The stack's own values are checked too: the template may allow less than it did.
func TestValuesOfTheStackAreChecked(t *testing.T) {
	g, err := Resolve()
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Values(map[string]string{"LogLevel": "TRACE"})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), `"TRACE" (the stack)`) ||
		!strings.Contains(err.Error(), "--parameter LogLevel=") {
		t.Errorf("%v", err)
	}
}

const otherTemplate = `{
  "Parameters": {
    "Secret": {"Type": "String", "NoEcho": true, "MinLength": 3},
    "Short": {"Type": "String", "Default": "", "MaxLength": "3"},
    "Between": {"Type": "String", "Default": "ab", "MinLength": 2, "MaxLength": 4, "AllowedPattern": "[a-z]*"},
    "Pattern": {"Type": "String", "Default": "a", "AllowedPattern": "a|ab"},
    "List": {"Type": "CommaDelimitedList", "Default": "a,b", "AllowedPattern": "[a-z]"},
    "Number": {"Type": "Number", "Default": 5},
    "Anything": {"Type": "String", "Default": ""}
  },
  "Resources": {"F": {"Type": "AWS::Lambda::Function"}, "Q": {"Type": "AWS::SQS::Queue"}}
}`

func TestParameterChecks(t *testing.T) {
	in, err := parameters.Parse([]byte(otherTemplate))
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Functions()) != 1 || in.Functions()[0] != "F" {
		t.Errorf("the functions are %q", in.Functions())
	}
	by := map[string]*Parameter{}
	for _, p := range in.All() {
		by[p.Name] = &p
	}
	for _, tt := range []struct{ name, value, want string }{
		{"Secret", "ab", "3 characters or more"}, {"Secret", "abc", ""},
		{"Short", "äöü", ""}, {"Short", "abcd", "at most 3 characters"}, {"Short", "\xff", "at most"},
		{"Between", "a", "2 to 4 characters"}, {"Between", "abcde", "2 to 4 characters"}, {"Between", "ab1", "2 to 4"},
		{"Between", "abc", ""},
		{"Pattern", "ab", ""}, {"Pattern", "abc", "a|ab"}, {"Pattern", "ba", "a|ab"},
		{"List", "a,b,c", ""}, {"List", "a,bb", "[a-z]"},
		{"Number", "-5", ""}, {"Number", "05", "a whole number"}, {"Number", "1e3", "a whole number"},
		{"Number", "", "whole"},
		{"Anything", "x y", ""}, {"Anything", strings.Repeat("a", 4096), ""},
		{"Anything", strings.Repeat("a", 4097), "at most 4096 bytes"},
	} {
		err := by[tt.name].Check(tt.value)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %.20q: %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}

	// A value that is not shown stays as it is, and one that is required is asked for.
	g := Merge()
	values, err := g.valuesOf(in.All(), map[string]string{"Secret": "****"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if v.Parameter == "Secret" && (!v.Hidden || !v.Previous) {
			t.Errorf("the secret is %+v", v)
		}
	}
	if _, err = g.valuesOf(in.All(), nil); !errors.Is(err, ErrInvalid) ||
		!strings.Contains(err.Error(), "--parameter Secret=") {
		t.Errorf("a required parameter: %v", err)
	}
}

func TestTemplatesThatCannotBe(t *testing.T) {
	for _, text := range []string{`{`, `{"Parameters": {"A": {"Type": "Number", "MinValue": "x"}}}`} {
		if _, err := parameters.Parse([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// Both templates have the same parameters for users, every number is whole, and
// every default is allowed.
func TestTemplates(t *testing.T) {
	settable := func(p embedded.Package) map[string]Parameter {
		all := map[string]Parameter{}
		for _, one := range Parameters(p) {
			if one.Default != nil {
				if err := one.Check(*one.Default); err != nil {
					t.Errorf("the default of %s %v", one.Name, err)
				}
			}
			if one.Flag() == "--parameter" {
				all[one.Name] = one
			}
		}
		return all
	}
	zip, image := settable(embedded.Zip), settable(embedded.Image)
	for name, p := range zip {
		if q, ok := image[name]; !ok || q.Constraint() != p.Constraint() || *q.Default != *p.Default {
			t.Errorf("%s differs between the templates", name)
		}
	}
	if len(zip) != len(image) || len(zip) < 10 {
		t.Errorf("%d and %d parameters", len(zip), len(image))
	}
	if f := Functions(); len(f) != 3 || f[0] != "FilterFunction" {
		t.Errorf("the functions are %q", f)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"abc", "acb", 2},
		{strings.Repeat("a", 201), "a", 200}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%.10q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
	if s := didYouMean("zzzz", []string{"stack", "region"}); s != "" {
		t.Errorf("nobody meant%s", s)
	}
}
