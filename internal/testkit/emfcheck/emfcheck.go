// Package emfcheck tells, for tests, whether a line is metrics in CloudWatch's
// embedded metric format. CloudWatch drops what is not without a word.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package emfcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The format's limits.
const (
	maxSize       = 256 << 10 // bytes of a line, in the narrowest case
	maxMetrics    = 100       // of a directive
	maxDimensions = 30        // of a dimension set
	maxName       = 1024      // characters of a metric's name, and of a dimension's value
	maxDimension  = 250       // characters of a dimension's name
	maxNamespace  = 1024      // characters
	maxValues     = 100       // of a metric
)

// units are what PutMetricData takes.
var units = strings.Fields(`Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes
	Bits Kilobits Megabits Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second
	Terabytes/Second Bits/Second Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second None`)

// Line checks one line. Its error joins everything that is wrong with it.
func Line(line []byte) error {
	if len(line) > maxSize {
		return fmt.Errorf("the line has %d bytes, at most %d are allowed", len(line), maxSize)
	}
	var root map[string]any
	if err := json.Unmarshal(line, &root); err != nil {
		return fmt.Errorf("the line is not a JSON object: %w", err)
	}
	var metadata struct {
		AWS *struct {
			Timestamp         *int64
			LogGroupName      *string
			LogStreamName     *string
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct {
					Name              string
					Unit              *string
					StorageResolution *int
				}
			}
		} `json:"_aws"`
	}
	if err := json.Unmarshal(line, &metadata); err != nil {
		return fmt.Errorf("_aws is not what it must be: %w", err)
	}
	if metadata.AWS == nil {
		return errors.New("_aws is missing")
	}
	if err := membersOf(root["_aws"]); err != nil {
		return err
	}
	c := &check{root: root}
	if t := metadata.AWS.Timestamp; t == nil || *t <= 0 {
		c.fail("_aws.Timestamp is missing: it is milliseconds since 1970")
	}
	if len(metadata.AWS.CloudWatchMetrics) == 0 {
		c.fail("_aws.CloudWatchMetrics is empty")
	}
	for i, d := range metadata.AWS.CloudWatchMetrics {
		if n := len(d.Namespace); n == 0 || n > maxNamespace {
			c.fail("directive %d: a namespace of %d characters", i, n)
		}
		if len(d.Dimensions) == 0 {
			c.fail("directive %d: no dimension set", i)
		}
		for _, set := range d.Dimensions {
			c.dimensions(i, set)
		}
		if n := len(d.Metrics); n == 0 || n > maxMetrics {
			c.fail("directive %d: %d metrics, 1 to %d are allowed", i, n, maxMetrics)
		}
		seen := map[string]bool{}
		for _, m := range d.Metrics {
			if seen[m.Name] {
				c.fail("directive %d: metric %s stands there twice", i, m.Name)
			}
			seen[m.Name] = true
			c.metric(i, m.Name)
			if m.Unit != nil && !slices.Contains(units, *m.Unit) {
				c.fail("directive %d: metric %s: no unit is called %q", i, m.Name, *m.Unit)
			}
			if m.StorageResolution != nil && *m.StorageResolution != 1 && *m.StorageResolution != 60 {
				c.fail("directive %d: metric %s: a resolution of %d s", i, m.Name, *m.StorageResolution)
			}
		}
	}
	return errors.Join(c.errs...)
}

// membersOf refuses members that the format does not have.
func membersOf(metadata any) error {
	b, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var known struct {
		Timestamp, LogGroupName, LogStreamName any
		CloudWatchMetrics                      []struct {
			Namespace, Dimensions any
			Metrics               []struct{ Name, Unit, StorageResolution any }
		}
	}
	if err := d.Decode(&known); err != nil {
		return fmt.Errorf("_aws: %w", err)
	}
	return nil
}

type check struct {
	root map[string]any
	errs []error
}

func (c *check) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *check) dimensions(directive int, set []string) {
	if len(set) > maxDimensions {
		c.fail("directive %d: %d dimensions, at most %d are allowed", directive, len(set), maxDimensions)
	}
	for _, name := range set {
		value, ok := c.root[name].(string)
		if !ok || value == "" || len(value) > maxName {
			c.fail("directive %d: dimension %s: its value %.50v must be a string of 1 to %d characters", directive, name, c.root[name], maxName)
		}
		if len(name) == 0 || len(name) > maxDimension || strings.HasPrefix(name, ":") {
			c.fail("directive %d: %q cannot be a dimension's name", directive, name)
		}
	}
}

func (c *check) metric(directive int, name string) {
	if len(name) == 0 || len(name) > maxName {
		c.fail("directive %d: a metric's name of %d characters", directive, len(name))
	}
	switch value := c.root[name].(type) {
	case float64:
	case []any:
		if len(value) > maxValues {
			c.fail("directive %d: metric %s has %d values, at most %d are allowed", directive, name, len(value), maxValues)
		}
		for _, one := range value {
			if _, ok := one.(float64); !ok {
				c.fail("directive %d: metric %s has the value %v", directive, name, one)
			}
		}
	default:
		c.fail("directive %d: metric %s has the value %v at the root", directive, name, value)
	}
}
