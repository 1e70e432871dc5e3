// Package plainjson is encoding/json's Unmarshal for documents that others wrote:
// its errors say in plain words what is wrong with the document, not with the
// types of this program.
package plainjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Unmarshal is [json.Unmarshal]. Its errors unwrap to that of encoding/json.
func Unmarshal(text []byte, to any) error {
	err := json.Unmarshal(text, to)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		if syntax.Offset >= int64(len(text)) {
			return &failure{"the JSON ends in the middle", err}
		}
		return &failure{fmt.Sprintf("it is no JSON from byte %d on", syntax.Offset), err}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "it"
		if name := fieldName(wrong.Field); name != "" {
			what = fmt.Sprintf("%q", name)
		}
		return &failure{fmt.Sprintf("%s must be %s, and is %s", what, kindText(wrong.Type), valueText(wrong.Value)), err}
	}
	return err
}

type failure struct {
	text string
	err  error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.err }

// fieldName leaves out the embedded types in the path of a field.
func fieldName(path string) string {
	var names []string
	for name := range strings.SplitSeq(path, ".") {
		if name != "" && !unicode.IsUpper(rune(name[0])) {
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
