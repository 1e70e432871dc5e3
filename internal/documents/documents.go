// Package documents decodes JSON documents that others wrote. [Unmarshal] says in
// plain words what is wrong with the document, not with the types of this program.
// [Manifest] and [Index] also count the lists of descriptors before they allocate
// memory for them: "{}," makes a descriptor of more than a hundred bytes.
package documents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

// Unmarshal is [json.Unmarshal]. Its errors unwrap to that of encoding/json.
func Unmarshal(text []byte, to any) error {
	err := json.Unmarshal(text, to)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		if syntax.Offset >= int64(len(text)) && !wrongAtLast(text, syntax) {
			return &failure{"the JSON ends in the middle", err}
		}
		return &failure{fmt.Sprintf("it is no JSON from byte %d on", syntax.Offset), err}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "it"
		if name := fieldName(wrong.Field, text); name != "" {
			what = fmt.Sprintf("%q", name)
		}
		return &failure{fmt.Sprintf("%s must be %s, and is %s", what, kindText(wrong.Type), valueText(wrong.Value)),
			err}
	}
	return err
}

type failure struct {
	text string
	err  error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.err }

// wrongAtLast reports whether the last byte of a text is what is wrong, and not that
// nothing follows it: encoding/json has the same offset for both.
func wrongAtLast(text []byte, err *json.SyntaxError) bool {
	if len(text) == 0 {
		return false
	}
	last := strconv.QuoteRune(rune(text[len(text)-1]))
	return strings.HasPrefix(err.Error(), "invalid character "+last+" ")
}

// fieldName leaves out the embedded types in the path of a field of text. A name
// that begins with a capital letter is one, unless the text has it too, as the
// configs of images have "Labels".
func fieldName(path string, text []byte) string {
	var names []string
	for name := range strings.SplitSeq(path, ".") {
		if name == "" {
			continue
		}
		if !unicode.IsUpper(rune(name[0])) || bytes.Contains(text, []byte(`"`+name+`"`)) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ".")
}

func kindText(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// valueText names a kind of value of JSON, in encoding/json's word.
func valueText(value string) string {
	if number, ok := strings.CutPrefix(value, "number "); ok {
		return number
	}
	switch value {
	case "array", "object":
		return "an " + value
	case "bool":
		return "true or false"
	}
	return "a " + value
}
