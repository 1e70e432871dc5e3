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

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names/lazyregexp"
)

// Errors about parameters. Every one names the parameter, its value
// and what is allowed.
var (
	// ErrTemplate: the template's parameters cannot be read.
	ErrTemplate = errors.New("the template's parameters cannot be read")

	// ErrUnknown: the template has no such parameter.
	ErrUnknown = errors.New("the template has no such parameter")

	// ErrValue: the value is not one that the template allows.
	ErrValue = errors.New("is not allowed")

	// ErrMissing: the parameter has neither a value nor a default.
	ErrMissing = errors.New("has no value")

	// ErrManaged: deploy itself sets the parameter.
	ErrManaged = errors.New("is set by deploy itself")
)

// MaxBytes is the size of the longest value, in bytes, that CloudFormation takes.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const MaxBytes = 4096

// Parameter is one of the template's.
type Parameter struct {
	Name        string
	Type        string // String, Number or CommaDelimitedList
	Description string
	Default     *string // nil when a value is required
	NoEcho      bool    // its value is not shown and not written to a file

	AllowedValues          []string
	AllowedPattern         string
	ConstraintDescription  string
	MinLength, MaxLength   *int64 // in characters
	MinValue, MaxValue     *int64
	allowedPatternCompiled func() *regexp.Regexp
}

// Flag returns the flag that sets the parameter: --filters for the filters,
// --bucket and --repository for what the tool fills in itself, --parameter for
// all others.
func (p *Parameter) Flag() string {
	switch {
	case p.Name == deployed.ParamFilters:
		return "--filters"
	case p.Name == deployed.ParamCodeBucket, p.Name == deployed.ParamCodeKeyPrefix:
		return "--bucket"
	case strings.HasSuffix(p.Name, deployed.ImageSuffix):
		return "--repository"
	}
	return "--parameter"
}

// Constraint says what values are allowed, to follow "must be".
func (p *Parameter) Constraint() string {
	switch {
	case len(p.AllowedValues) > 0:
		return "one of " + strings.Join(p.AllowedValues, ", ")
	case p.ConstraintDescription != "":
		return p.ConstraintDescription
	case p.Type == "Number" && p.MinValue != nil && p.MaxValue != nil:
		return fmt.Sprintf("a whole number from %d to %d", *p.MinValue, *p.MaxValue)
	case p.Type == "Number" && p.MinValue != nil:
		return fmt.Sprintf("a whole number, %d or more", *p.MinValue)
	case p.Type == "Number" && p.MaxValue != nil:
		return fmt.Sprintf("a whole number, at most %d", *p.MaxValue)
	case p.Type == "Number":
		return "a whole number"
	case p.MinLength != nil && p.MaxLength != nil:
		return fmt.Sprintf("%d to %d characters", *p.MinLength, *p.MaxLength)
	case p.MinLength != nil:
		return fmt.Sprintf("%d characters or more", *p.MinLength)
	case p.MaxLength != nil:
		return fmt.Sprintf("at most %d characters", *p.MaxLength)
	case p.AllowedPattern != "":
		return "what matches " + p.AllowedPattern
	}
	return "text"
}

// wholeNumber is what the template's numbers are: megabytes, days, a count.
// CloudFormation takes fractions too, and the services refuse them later.
var wholeNumber = lazyregexp.New(`^(?:0|-?[1-9][0-9]{0,17})$`)

// Check returns an error that says what is allowed unless the value is. The
// caller names parameter and value.
func (p *Parameter) Check(value string) error {
	if len(value) > MaxBytes {
		return fmt.Errorf("must have at most %d bytes, as CloudFormation allows, and has %d", MaxBytes, len(value))
	}
	wrong := errors.New("must be " + p.Constraint())
	if !utf8.ValidString(value) || len(p.AllowedValues) > 0 && !slices.Contains(p.AllowedValues, value) {
		return wrong
	}
	if p.Type == "Number" {
		if !wholeNumber.MatchString(value) {
			return wrong
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || p.MinValue != nil && n < *p.MinValue || p.MaxValue != nil && n > *p.MaxValue {
			return wrong
		}
	}
	n := int64(utf8.RuneCountInString(value))
	if p.MinLength != nil && n < *p.MinLength || p.MaxLength != nil && n > *p.MaxLength {
		return wrong
	}
	if p.AllowedPattern == "" {
		return nil
	}
	values := []string{value}
	if p.Type == "CommaDelimitedList" {
		values = strings.Split(value, ",")
	}
	for _, v := range values {
		if !p.allowedPatternCompiled().MatchString(v) {
			return wrong
		}
	}
	return nil
}

// Judge returns an error that matches ErrValue, and names parameter and value,
// for a value that the parameter cannot have.
func (p *Parameter) Judge(value string) error {
	err := p.Check(value)
	if err == nil {
		return nil
	}
	if p.NoEcho {
		value = hidden
	}
	return fmt.Errorf("parameter %s: %.200q %w: %w", p.Name, value, ErrValue, err)
}

// hidden is shown in place of a secret value.
const hidden = "****"

// Template is what is needed of one.
type Template struct {
	parameters []Parameter // by name
	functions  []string    // logical ids, sorted
}

// All returns the parameters, sorted by name.
func (t *Template) All() []Parameter { return slices.Clone(t.parameters) }

// Functions returns the logical ids of the Lambda functions, sorted. Of functions
// with one image between them it is the first.
func (t *Template) Functions() []string { return slices.Clone(t.functions) }

// Names returns the names of all parameters, sorted.
func (t *Template) Names() []string {
	var names []string
	for _, p := range t.parameters {
		names = append(names, p.Name)
	}
	return names
}

// Get returns a parameter.
func (t *Template) Get(name string) (*Parameter, bool) {
	i := slices.IndexFunc(t.parameters, func(p Parameter) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return &t.parameters[i], true
}

// value is a scalar of the template, which has numbers with and without
// quotation marks.
type value string

func (v *value) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		*v = value(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(v))
}

// Parse reads the parameters of a template in JSON. The error matches
// ErrTemplate.
func Parse(text []byte) (*Template, error) {
	var in struct {
		Parameters map[string]struct {
			Type, Description, AllowedPattern, ConstraintDescription string

			Default                                  *value
			NoEcho                                   value
			AllowedValues                            []value
			MinLength, MaxLength, MinValue, MaxValue *value
		}
		Resources map[string]struct {
			Type       string
			Properties struct {
				Code struct{ ImageUri struct{ Ref string } }
			}
		}
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	t := &Template{}
	for _, name := range slices.Sorted(maps.Keys(in.Parameters)) {
		from := in.Parameters[name]
		p := Parameter{
			Name: name, Type: from.Type, Description: from.Description, Default: (*string)(from.Default),
			NoEcho: from.NoEcho == "true", AllowedPattern: from.AllowedPattern,
			ConstraintDescription: from.ConstraintDescription,
		}
		for _, v := range from.AllowedValues {
			p.AllowedValues = append(p.AllowedValues, string(v))
		}
		for _, bound := range []struct {
			to   **int64
			from *value
		}{
			{&p.MinLength, from.MinLength}, {&p.MaxLength, from.MaxLength},
			{&p.MinValue, from.MinValue}, {&p.MaxValue, from.MaxValue},
		} {
			if bound.from == nil {
				continue
			}
			n, err := strconv.ParseInt(string(*bound.from), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%w: parameter %s: bound %q is not a whole number", ErrTemplate, name,
					*bound.from)
			}
			*bound.to = &n
		}
		// CloudFormation holds the pattern against the whole value.
		p.allowedPatternCompiled = lazyregexp.New(`^(?:` + p.AllowedPattern + `)$`).Compiled
		t.parameters = append(t.parameters, p)
	}
	images := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(in.Resources)) {
		r := in.Resources[id]
		image := r.Properties.Code.ImageUri.Ref
		if r.Type != "AWS::Lambda::Function" || images[image] {
			continue // the steps have the generator's image
		}
		images[image] = image != ""
		t.functions = append(t.functions, id)
	}
	return t, nil
}
