package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/report"
)

// deployLines are the lines of the commands that work on the stack.
var deployLines = []any{stepJSON{}, lineJSON{}, emptyJSON{}, parameterJSON{}, changeJSON{}, eventJSON{}, failureJSON{},
	outputsJSON{}, examinedJSON{}, nextJSON{}, writtenJSON{}}

// printed is what the commands with --output json print.
var printed = map[string][]any{
	"index":        {report.Image{}},
	"inspect":      {inspectJSON{}},
	"verify":       {verifyJSON{}},
	"estimate":     {estimateJSON{}},
	"wait":         {waitJSON{}},
	"status":       {statusJSON{}},
	"backfill":     {backfillJSON{}, backfillLastJSON{}},
	"cleanup":      {cleanupJSON{}},
	"redrive":      {redriveJSON{}},
	"doctor":       {doctorJSON{}},
	"logs":         {logsJSON{}, listedJSON{}},
	"filters test": {filtersTestJSON{}},
	"filters arns": {filtersARNsJSON{}},
	"ztoc info":    {ztocJSON{}},
	"version":      {versionJSON{}},
	"deploy":       deployLines,
	"rollback":     deployLines,
	"destroy":      {stepJSON{}, lineJSON{}, eventJSON{}, failureJSON{}},
	"watch":        {eventJSON{}, failureJSON{}, lineJSON{}},
}

// borrowed are pages that refer to another one for fields.
var borrowed = []string{"rollback", "destroy", "watch"}

// A name in the JSON of the commands has one type, whichever command prints it:
// what is a list somewhere is a number nowhere. What names an image has its
// reference. All names are on the page of their command.
func TestOneVocabularyInJSON(t *testing.T) {
	kinds := map[string]map[string][]string{} // of a name, with the places
	for _, cmd := range visible(newRootCommand()) {
		name := strings.TrimPrefix(cmd.CommandPath(), programName+" ")
		f := cmd.LocalFlags().Lookup("output")
		if f == nil || !strings.Contains(f.Value.Type(), "json") {
			continue
		}
		if printed[name] == nil {
			t.Errorf("what %s prints is not listed here", name)
		}
		_, page := splitHelp(cmd.Long)
		if name == "deploy" { // which prints the object that doctor prints
			_, doctors := splitHelp(newDoctorCommand().Long)
			page += doctors
		}
		for _, v := range printed[name] {
			walkJSON(reflect.TypeOf(v), name, func(place, field, kind string) {
				if kinds[field] == nil {
					kinds[field] = map[string][]string{}
				}
				kinds[field][kind] = append(kinds[field][kind], place)
				if !slices.Contains(borrowed, name) && !regexp.MustCompile(`\b`+field+`\b`).MatchString(page) {
					t.Errorf("the page of %s does not have %s", name, place)
				}
			}, func(place string, fields []string) {
				if slices.Contains(fields, "repository") && slices.Contains(fields, "digest") &&
					!slices.Contains(fields, "reference") {
					t.Errorf("%s names an image, and has no reference", place)
				}
			})
		}
	}
	if len(kinds) < 150 {
		t.Errorf("only %d names", len(kinds))
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if len(kinds[name]) > 1 {
			t.Errorf("%s has several types: %v", name, kinds[name])
		}
	}
}

// walkJSON calls field with each field of what is printed, and object with the
// names in each object.
func walkJSON(t reflect.Type, place string, field func(place, name, kind string),
	object func(place string, fields []string)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && t != reflect.TypeFor[json.RawMessage]() {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return
	}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		names = append(names, name)
		below := place + "." + name
		field(below, name, jsonKind(f.Type))
		if strings.Count(below, "manifests") < 3 { // which holds itself
			walkJSON(f.Type, below, field, object)
		}
	}
	object(place, names)
}

// jsonKind is the type of a field in JSON.
func jsonKind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return "object"
	case t == reflect.TypeFor[time.Time]():
		return "time"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "bool"
	case reflect.Slice:
		return "list of " + jsonKind(t.Elem())
	case reflect.Map, reflect.Interface:
		return "object"
	case reflect.Struct:
		if t.NumField() == 2 && t.Field(0).Name == "Digest" && t.Field(1).Name == "Size" {
			return "digest and size"
		}
		return "object"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return "number"
	}
	panic(fmt.Sprintf("internal error: %s has no type in JSON", t))
}
