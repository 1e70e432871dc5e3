package settings

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"soci-index-builder/internal/names/lazyregexp"
)

// expected has the text at the place in a settings file where the decoder failed, by
// words of the decoder. The first that fits counts.
var expected = []struct {
	words string
	text  string
}{
	{"not terminated", endless},
	{"unterminated", endless},
	{"cannot have new lines", endless},
	{"escape", `in a text in "", \ must be doubled; in a text in '' it stands for itself`},
	{"need a character after", `in a text in "", \ must be doubled; in a text in '' it stands for itself`},
	{"UTF-8", "the file must be UTF-8"},
	{"control characters", "control characters are not allowed"},
	{"carriage return", "a carriage return is allowed only at the end of a line"},
	{"should be", "a name stands for a value or for a table, not for both"},
	{"exist", "a name may be set once"},
	{"defined", "a name may be set once"},
	{"after key", "a name must be followed by = and its value"},
	{"table name", "a heading must end with ], as in [prod]"},
	{"start of key", "a line must be NAME = VALUE, a heading such as [prod], or begin with #"},
	{"expected key", "a line must be NAME = VALUE, a heading such as [prod], or begin with #"},
	{"inline table", "a table must be { NAME = VALUE, NAME = VALUE }"},
	{"array", "a list must be [ 'VALUE', 'VALUE' ]"},
	{"expected newline", "nothing may follow a value on its line but a comment"},
	{"strings must be quoted", "a text must be in quotation marks"},
}

// endless needs no mention of what was found: it is the end of the text.
const endless = "the text has no quotation mark at its end"

// anyValue is what is expected elsewhere.
const anyValue = "a value must be a text in quotation marks, a number, true, false, a list or a table"

// syntaxError says where a file is not valid TOML, and what is expected there.
func syntaxError(name string, text []byte, at *toml.DecodeError) error {
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		return invalidf("%s:1:1: a byte order mark is not allowed: save the file as UTF-8 without one", name)
	}
	line, column := at.Position()
	what := anyValue
	for _, e := range expected {
		if strings.Contains(at.Error(), e.words) {
			what = e.text
			break
		}
	}
	if found := foundAt(text, line, column); found != "" && what != endless {
		what = fmt.Sprintf("%q: %s", found, what)
	}
	return invalidf("%s:%d:%d: %s", name, line, column, what)
}

// wordPattern is what is shown of what was found.
var wordPattern = lazyregexp.New(`^[^\s=,\]}#]{1,40}|^[=,\]}]`)

// foundAt returns the word at a place, empty if there is none. Lines and columns
// count from 1.
func foundAt(text []byte, line, column int) string {
	lines := bytes.Split(text, []byte("\n"))
	if line < 1 || line > len(lines) || column < 1 || column > len(lines[line-1]) {
		return ""
	}
	return string(wordPattern.Compiled().Find(lines[line-1][column-1:]))
}
