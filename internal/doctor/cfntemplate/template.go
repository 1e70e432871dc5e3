// Package cfntemplate evaluates a CloudFormation template for given parameters:
// which resources it has, with which properties. It knows the intrinsic
// functions that the templates of this project use.
//
// Start with [Parse], then [Template.Resolve].
package cfntemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Errors about a template.
var (
	// ErrNotJSON: the template is not a JSON object.
	ErrNotJSON = errors.New("the template is not a JSON object")

	// ErrUnsupported: the template has an intrinsic function, or a form of
	// one, that this package does not know.
	ErrUnsupported = errors.New("not a form of an intrinsic function that is understood")

	// ErrNoValue: a parameter has neither a value nor a default.
	ErrNoValue = errors.New("the parameter has no value")

	// ErrUnknownName: a reference to something that the template does not
	// have.
	ErrUnknownName = errors.New("the template has no such parameter, resource or condition")
)

// Template is one as it was given to CloudFormation.
type Template struct {
	Parameters map[string]Parameter
	Conditions map[string]any
	Resources  map[string]Resource
	Outputs    map[string]Output
	Rules      map[string]Rule
}

// Rule of a template, which CloudFormation holds parameters against before it
// changes anything.
type Rule struct {
	Assertions []struct {
		Assert            any
		AssertDescription string
	}
}

// Parameter of a template. Default is nil for one that must be given.
type Parameter struct {
	Type    string
	Default any
}

// Resource of a template. Properties have intrinsic functions in them until
// they are resolved.
type Resource struct {
	Type       string
	Condition  string // empty: the resource is always there
	Properties map[string]any
}

// Output of a template.
type Output struct {
	Condition string
	Value     any
}

// Parse reads a template in JSON.
func Parse(body []byte) (*Template, error) {
	t := &Template{}
	if err := json.Unmarshal(body, t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	return t, nil
}

// Values are what the references of a template stand for.
type Values struct {
	// Parameters that are not here have their default.
	Parameters map[string]string

	// Of the stack.
	StackName, StackID, Region, Account, Partition string

	// Attribute returns an attribute of a resource, or what Ref returns for it when
	// name is empty: a string or a []any. Without an answer the value is
	// Unknown.
	Attribute func(logicalID, name string) (value any, ok bool)
}

// Unknown takes the place of a value of which a part could not be worked out.
var Unknown = unknown{}

type unknown struct{}

// novalue is AWS::NoValue: whatever has it is not there.
type novalue struct{}

// Resolve returns the resources whose condition holds, with their properties
// worked out: strings, numbers (float64), bools, []any, map[string]any, and
// Unknown.
func (t *Template) Resolve(v Values) (map[string]Resource, error) {
	r := &resolver{t: t, v: v, judging: map[string]bool{}}
	out := map[string]Resource{}
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		res := t.Resources[id]
		if there, err := r.condition(res.Condition); err != nil || !there {
			if err != nil {
				return nil, fmt.Errorf("resource %s: %w", id, err)
			}
			continue
		}
		properties, err := r.value(anyMap(res.Properties))
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", id, err)
		}
		// A function may stand in place of all of them.
		object, ok := properties.(map[string]any)
		if !ok && properties != any(novalue{}) {
			return nil, fmt.Errorf("resource %s: its properties are no object: %w", id, ErrUnsupported)
		}
		out[id] = Resource{Type: res.Type, Condition: res.Condition, Properties: anyMap(object)}
	}
	return out, nil
}

// Refusals returns the descriptions of the assertions that do not hold, by the
// names of their rules.
func (t *Template) Refusals(v Values) ([]string, error) {
	r := &resolver{t: t, v: v, judging: map[string]bool{}}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t.Rules)) {
		for _, a := range t.Rules[name].Assertions {
			holds, err := r.holds(a.Assert)
			if err != nil {
				return nil, fmt.Errorf("rule %s: %w", name, err)
			}
			if !holds {
				out = append(out, a.AssertDescription)
			}
		}
	}
	return out, nil
}

// ResolveOutputs returns the outputs whose condition holds.
func (t *Template) ResolveOutputs(v Values) (map[string]any, error) {
	r := &resolver{t: t, v: v, judging: map[string]bool{}}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(t.Outputs)) {
		there, err := r.condition(t.Outputs[name].Condition)
		if err == nil && there {
			out[name], err = r.value(t.Outputs[name].Value)
		}
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
	}
	return out, nil
}

// anyMap is never nil, so that a resource may have no properties.
func anyMap(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

type resolver struct {
	t       *Template
	v       Values
	judging map[string]bool // the conditions that are being worked out
}

// value resolves the value of a property.
func (r *resolver) value(in any) (any, error) {
	switch in := in.(type) {
	case []any:
		out := make([]any, 0, len(in))
		for _, one := range in {
			resolved, err := r.value(one)
			if err != nil {
				return nil, err
			}
			if resolved != (any)(novalue{}) {
				out = append(out, resolved)
			}
		}
		return out, nil
	case map[string]any:
		if len(in) == 1 {
			for name, argument := range in {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return r.call(name, argument)
				}
			}
		}
		out := make(map[string]any, len(in))
		for _, key := range slices.Sorted(maps.Keys(in)) {
			resolved, err := r.value(in[key])
			if err != nil {
				return nil, err
			}
			if resolved != (any)(novalue{}) {
				out[key] = resolved
			}
		}
		return out, nil
	default:
		return in, nil
	}
}

func (r *resolver) ref(name string) (any, error) {
	switch name {
	case "AWS::NoValue":
		return novalue{}, nil
	case "AWS::StackName":
		return r.v.StackName, nil
	case "AWS::StackId":
		return r.v.StackID, nil
	case "AWS::Region":
		return r.v.Region, nil
	case "AWS::AccountId":
		return r.v.Account, nil
	case "AWS::Partition":
		return r.v.Partition, nil
	case "AWS::URLSuffix", "AWS::NotificationARNs":
		return Unknown, nil
	}
	if p, ok := r.t.Parameters[name]; ok {
		value, given := r.v.Parameters[name]
		switch {
		case strings.HasPrefix(p.Type, "AWS::SSM::Parameter::Value<"):
			return Unknown, nil // what is given is the name of the value
		case !given && p.Default == nil:
			return nil, fmt.Errorf("%w: %s", ErrNoValue, name)
		case !given:
			value = text(p.Default)
		}
		if p.Type == "CommaDelimitedList" || strings.HasPrefix(p.Type, "List<") {
			var list []any
			for _, one := range strings.Split(value, ",") {
				list = append(list, strings.TrimSpace(one))
			}
			return list, nil
		}
		return value, nil
	}
	return r.attribute(name, "")
}

func (r *resolver) attribute(id, name string) (any, error) {
	if _, ok := r.t.Resources[id]; !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownName, id)
	}
	if r.v.Attribute != nil {
		if value, ok := r.v.Attribute(id, name); ok {
			return value, nil
		}
	}
	return Unknown, nil
}

// scalar reports whether v is known, and can stand in a text.
func scalar(v any) bool {
	switch v.(type) {
	case string, float64, bool:
		return true
	}
	return false
}

// text writes a scalar as CloudFormation does: 10, not 1e+01.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		b, _ := json.Marshal(v) // a number from JSON can be written as JSON
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}
