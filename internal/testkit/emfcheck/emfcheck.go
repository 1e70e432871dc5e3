// Package emfcheck checks, for tests, that a line is metrics in CloudWatch's
// embedded metric format, against a JSON schema. CloudWatch silently drops what
// is not right.
//
// The schema is the project's own, and was compared with the one that AWS published
// on 2024-06-02: it takes no line that AWS's refuses, and besides demands what the
// specification leaves to its text and what docs/logs.md promises.
package emfcheck

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed emf.schema.json
var schema []byte

// maxSize is the format's limit for a line in bytes, in the narrowest case.
const maxSize = 256 << 10

// schemas are of the document, and of what the names in it stand for.
type schemas struct{ document, metricValue, dimensionValue *jsonschema.Schema }

var compiled = sync.OnceValues(func() (*schemas, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	const name = "emf.schema.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, value); err != nil {
		return nil, err
	}
	s := &schemas{}
	for at, part := range map[string]**jsonschema.Schema{
		"": &s.document, "#/$defs/metricValue": &s.metricValue, "#/$defs/dimensionValue": &s.dimensionValue,
	} {
		if *part, err = c.Compile(name + at); err != nil {
			return nil, err
		}
	}
	return s, nil
})

// Line checks one line. Its error joins everything that is wrong with it.
func Line(line []byte) error {
	if len(line) > maxSize {
		return fmt.Errorf("the line has %d bytes, at most %d are allowed", len(line), maxSize)
	}
	s, err := compiled()
	if err != nil {
		return fmt.Errorf("compiling the schema: %w", err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return fmt.Errorf("the line is not JSON: %w", err)
	}
	if err := s.document.Validate(document); err != nil {
		return err
	}
	return s.targets(line, document.(map[string]any))
}

// targets checks what no schema can: the members of the root that the document
// refers to by name, and that a directive names a metric once.
func (s *schemas) targets(line []byte, root map[string]any) error {
	var document struct {
		AWS struct {
			CloudWatchMetrics []struct {
				Dimensions [][]string
				Metrics    []struct{ Name string }
			}
		} `json:"_aws"`
	}
	if err := json.Unmarshal(line, &document); err != nil {
		return err
	}
	var errs []error
	check := func(kind string, directive int, name string, schema *jsonschema.Schema) {
		value := root[name]
		if err := schema.Validate(value); err != nil {
			errs = append(errs, fmt.Errorf("directive %d: %s %s is %.50v: %w", directive, kind, name, value, err))
		}
	}
	for i, directive := range document.AWS.CloudWatchMetrics {
		for _, set := range directive.Dimensions {
			for _, name := range set {
				check("dimension", i, name, s.dimensionValue)
			}
		}
		seen := map[string]bool{}
		for _, metric := range directive.Metrics {
			if seen[metric.Name] {
				errs = append(errs, fmt.Errorf("directive %d: metric %s stands there twice", i, metric.Name))
			}
			seen[metric.Name] = true
			check("metric", i, metric.Name, s.metricValue)
		}
	}
	return errors.Join(errs...)
}
