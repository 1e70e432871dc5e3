// Package parameters works out which value each parameter of a template gets in
// a deploy, and refuses values that CloudFormation would refuse, before
// anything is asked of it.
//
// Start with [Parse], then [Template.Choose].
package parameters

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What can be wrong with parameters. Every error names the parameter, its value
// and what is allowed.
var (
	// ErrTemplate: the template's parameters cannot be read.
	ErrTemplate = errors.New("the template's parameters cannot be read")

	// ErrUnknown: the template has no such parameter.
	ErrUnknown = errors.New("the template has no such parameter")

	// ErrValue: the value is none that the template allows.
	ErrValue = errors.New("is not allowed")

	// ErrMissing: the parameter has neither a value nor a default.
	ErrMissing = errors.New("has no value")

	// ErrManaged: deploy itself sets the parameter.
	ErrManaged = errors.New("is set by deploy itself")
)

// Parameter of a template.
type Parameter struct {
	Name, Type, Description string

	Default string
	Given   bool // there is a default
	NoEcho  bool // the value is never shown

	pattern    *regexp.Regexp
	values     []string
	constraint string

	minLength, maxLength *int64
	minValue, maxValue   *float64
}

// Template has the parameters of one.
type Template struct {
	all map[string]*Parameter
}

// number is written as one or as a text.
type number string

func (n *number) UnmarshalJSON(b []byte) error {
	*n = number(strings.Trim(string(b), `"`))
	return nil
}

// Parse reads the parameters of a template in JSON. The error matches
// ErrTemplate.
func Parse(body []byte) (*Template, error) {
	var in struct {
		Parameters map[string]struct {
			Type, Description, AllowedPattern, ConstraintDescription string
			Default                                                  any
			AllowedValues                                            []any
			NoEcho                                                   any
			MinLength, MaxLength, MinValue, MaxValue                 number
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	t := &Template{all: map[string]*Parameter{}}
	for name, p := range in.Parameters {
		out := &Parameter{Name: name, Type: p.Type, Description: p.Description, Given: p.Default != nil,
			Default: text(p.Default), NoEcho: text(p.NoEcho) == "true", constraint: p.ConstraintDescription}
		for _, v := range p.AllowedValues {
			out.values = append(out.values, text(v))
		}
		var err error
		if p.AllowedPattern != "" {
			// The whole value must match.
			out.pattern, err = regexp.Compile(`^(?:` + p.AllowedPattern + `)$`)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrTemplate, name, err)
			}
		}
		if out.minLength, err = whole(p.MinLength); err == nil {
			out.maxLength, err = whole(p.MaxLength)
		}
		if err == nil {
			if out.minValue, err = real(p.MinValue); err == nil {
				out.maxValue, err = real(p.MaxValue)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTemplate, name, err)
		}
		t.all[name] = out
	}
	return t, nil
}

func whole(n number) (*int64, error) {
	if n == "" {
		return nil, nil
	}
	v, err := strconv.ParseInt(string(n), 10, 64)
	return &v, err
}

func real(n number) (*float64, error) {
	if n == "" {
		return nil, nil
	}
	v, err := strconv.ParseFloat(string(n), 64)
	return &v, err
}

// text writes a value as CloudFormation does: 10, not 1e+01.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// Names returns the names of all parameters, sorted.
func (t *Template) Names() []string { return slices.Sorted(maps.Keys(t.all)) }

// Get returns a parameter.
func (t *Template) Get(name string) (Parameter, bool) {
	p, ok := t.all[name]
	if !ok {
		return Parameter{}, false
	}
	return *p, true
}

// Allowed says in words what values a parameter can have; empty when any can.
func (p Parameter) Allowed() string {
	bounds := func(low, high, unit string) string {
		switch {
		case low != "" && high != "":
			return low + " to " + high + unit
		case low != "":
			return "at least " + low + unit
		case high != "":
			return "at most " + high + unit
		}
		return ""
	}
	switch {
	case p.values != nil:
		return strings.Join(p.values, ", ")
	case p.constraint != "":
		return p.constraint
	case p.pattern != nil:
		return "what matches " + p.pattern.String()
	case p.minLength != nil || p.maxLength != nil:
		return bounds(pointed(p.minLength), pointed(p.maxLength), " characters")
	case p.minValue != nil || p.maxValue != nil:
		return "a number, " + bounds(pointed(p.minValue), pointed(p.maxValue), "")
	case p.Type == "Number":
		return "a number"
	}
	return ""
}

func pointed[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}

// Check returns an error that matches ErrValue for a value that the parameter
// cannot have.
func (p Parameter) Check(value string) error {
	length := int64(utf8.RuneCountInString(value))
	bad := p.values != nil && !slices.Contains(p.values, value) ||
		p.pattern != nil && !p.pattern.MatchString(value) ||
		p.minLength != nil && length < *p.minLength || p.maxLength != nil && length > *p.maxLength
	if p.Type == "Number" {
		n, err := strconv.ParseFloat(value, 64)
		bad = bad || err != nil || p.minValue != nil && n < *p.minValue || p.maxValue != nil && n > *p.maxValue
	}
	if !bad {
		return nil
	}
	if p.NoEcho {
		value = hidden
	}
	return fmt.Errorf("parameter %s: %.200q %w: allowed: %s", p.Name, value, ErrValue, p.Allowed())
}

// hidden stands for a value that is not shown.
const hidden = "****"
