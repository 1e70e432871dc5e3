package settings

import (
	"errors"
	"testing"
)

// What is not valid TOML is reported with file, line and column, what stands there and what
// is allowed.
func TestSyntax(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"stack =\n", "1:8: " + anyValue},
		{"stack = prod", `1:9: "prod": ` + anyValue},
		{"\n[prod]\nregion = eu-west-1\n", `3:10: "eu-west-1": ` + anyValue},
		{"stack = 'prod\nregion = 'eu-west-1'", "1:14: the text has no quotation mark at its end"},
		{"stack = \"prod", "1:13: the text has no quotation mark at its end"},
		{"stack = '''prod", "1:15: the text has no quotation mark at its end"},
		{"stack = \"a\\b\\q\"",
			`1:13: "\\q\"": in a text in "", \ must be doubled; in a text in '' it stands for itself`},
		{"stack 'prod'", `1:7: "'prod'": a name must be followed by = and its value`},
		{"stack: prod", `1:6: ":": a name must be followed by = and its value`},
		{"[prod\nstack = 'a'", "1:6: a heading must end with ], as in [prod]"},
		{"{\"stack\": \"prod\"}",
			`1:1: "{\"stack\":": a line must be NAME = VALUE, a heading such as [prod], or begin with #`},
		{"stack = 'a' region = 'b'", `1:13: "region": nothing may follow a value on its line but a comment`},
		{"stack = 'a'\nstack = 'b'", `2:1: "stack": a name may be set once`},
		{"tag = {}\n[tag]\na = 'b'", `2:2: "tag": a name stands for a value or for a table, not for both`},
		{"tag = { a = 'b' ", "1:16: a table must be { NAME = VALUE, NAME = VALUE }"},
		{"capabilities = ['CAPABILITY_IAM'", `1:32: "'": a list must be [ 'VALUE', 'VALUE' ]`},
		{"capabilities = ['A' 'B']", `1:21: "'B'": a list must be [ 'VALUE', 'VALUE' ]`},
		{"stack = '\xff'", "1:10: \"\\xff'\": the file must be UTF-8"},
		{"\ufeffstack = 'a'", "1:1: a byte order mark is not allowed: save the file as UTF-8 without one"},
		{"yes = True", `1:7: "True": ` + anyValue},
		{"n = 007", `1:5: "007": ` + anyValue},
		{"d = 2026-13-01", `1:10: "13-01": ` + anyValue},
	} {
		_, _, err := read("f.toml", []byte(tt.file), "", true)
		if !errors.Is(err, ErrInvalid) || err.Error() != "f.toml:"+tt.want {
			t.Errorf("%q:\n got %v\nwant f.toml:%s", tt.file, err, tt.want)
		}
	}
}
