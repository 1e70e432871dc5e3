package processtest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas are what the documentation promises to those who read our events and
// messages.
const schemas = "../../docs/schemas"

// validate checks a document against one of them.
func validate(t *testing.T, name string, document []byte) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	schema, err := c.Compile(filepath.Join(schemas, name))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatalf("%v: %q", err, document)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", name, err, document)
	}
}

// Each schema takes the documents of testdata/schemas that are named after it,
// and none of those in the folder "not": a schema that takes everything proves
// nothing.
func TestSchemas(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(schemas, "*.schema.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d schemas, %v", len(files), err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	for _, file := range files {
		schema, err := c.Compile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		good, err := filepath.Glob(filepath.Join("testdata/schemas", name, "*.json"))
		if err != nil || len(good) == 0 {
			t.Fatalf("%s: %d documents, %v", name, len(good), err)
		}
		bad, err := filepath.Glob(filepath.Join("testdata/schemas", name, "not", "*.json"))
		if err != nil || len(bad) == 0 {
			t.Fatalf("%s: %d documents that it must not take, %v", name, len(bad), err)
		}
		for _, document := range slices.Concat(good, bad) {
			b, err := os.ReadFile(document)
			if err != nil {
				t.Fatal(err)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
			if err != nil {
				t.Fatalf("%s: %v", document, err)
			}
			err = schema.Validate(value)
			if want := slices.Contains(good, document); want != (err == nil) {
				t.Errorf("%s: taken %t, want %t: %v", document, err == nil, want, err)
			}
		}
	}
}
