// Package metrics writes metrics in CloudWatch's embedded metric format: JSON
// lines on standard output that CloudWatch Logs turns into metrics, with no
// API call and no permission. Start with [Invocation].
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package metrics

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Namespace of every metric.
const Namespace = "SociIndexBuilder"

// Stack is the dimension that every metric has: the name of the stack.
const Stack = "StackName"

// Unit of a metric, as CloudWatch names it.
type Unit string

// The units in use.
const (
	Count   Unit = "Count"
	Bytes   Unit = "Bytes"
	Seconds Unit = "Seconds"
)

// definition is a metric of a directive.
type definition struct {
	Name string `json:"Name"`
	Unit Unit   `json:"Unit"`
}

// directive tells CloudWatch which members of a line are metrics.
type directive struct {
	Namespace  string       `json:"Namespace"`
	Dimensions [][]string   `json:"Dimensions"`
	Metrics    []definition `json:"Metrics"`
}

// Invocation is what is measured in one invocation, and the properties by
// which it can be searched for in the log. Its zero value is ready. It is for
// one goroutine.
type Invocation struct {
	values     map[string]any
	metrics    []definition
	dimensions []string                // beside Stack, in the order of use
	by         map[string][]definition // by these
}

func (i *Invocation) set(name string, value any) {
	if i.values == nil {
		i.values, i.by = map[string]any{}, map[string][]definition{}
	}
	i.values[name] = value
}

// Add returns a metric its value. A second value for the same name replaces it.
func (i *Invocation) Add(name string, unit Unit, value float64) {
	i.set(name, value)
	if d := (definition{name, unit}); !slices.Contains(i.metrics, d) {
		i.metrics = append(i.metrics, d)
	}
}

// AddBy returns a metric its value, and makes it appear with one more dimension
// besides: name of every kind, and name of those whose dimension has the value
// that is given. A dimension has one value in an invocation.
func (i *Invocation) AddBy(dimension, of, name string, unit Unit, value float64) {
	i.Add(name, unit, value)
	i.set(dimension, of)
	if i.by[dimension] == nil {
		i.dimensions = append(i.dimensions, dimension)
	}
	i.by[dimension] = append(i.by[dimension], definition{name, unit})
}

// Set returns a property, which is searched for and is no metric. An empty
// string is left out.
func (i *Invocation) Set(name string, value any) {
	if value != "" {
		i.set(name, value)
	}
}

// Emitter writes invocations. It may be used by several goroutines at once if
// its writer may.
type Emitter struct {
	w     io.Writer
	stack string
	now   func() time.Time
}

// New writes to w, which is os.Stdout outside of tests, for a stack. now is
// time.Now.
func New(w io.Writer, stack string, now func() time.Time) *Emitter {
	return &Emitter{w: w, stack: stack, now: now}
}

// Emit writes the line of one invocation, in one piece.
func (e *Emitter) Emit(i *Invocation) error {
	i.set(Stack, e.stack)
	directives := []directive{{Namespace, [][]string{{Stack}}, i.metrics}}
	for _, dimension := range i.dimensions {
		directives = append(directives, directive{Namespace, [][]string{{Stack, dimension}}, i.by[dimension]})
	}
	i.set("_aws", map[string]any{
		"Timestamp":         e.now().UnixMilli(),
		"CloudWatchMetrics": directives,
	})
	b, err := json.Marshal(i.values)
	if err != nil {
		return fmt.Errorf("encoding the metrics: %w", err)
	}
	if _, err := e.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing the metrics: %w", err)
	}
	return nil
}
