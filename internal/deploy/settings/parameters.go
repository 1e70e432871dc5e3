package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/lazyregexp"
)

// maxParameter is the longest value, in bytes, that CloudFormation takes.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const maxParameter = 4096

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
	case strings.HasSuffix(p.Name, imageURI):
		return "--repository"
	}
	return "--parameter"
}

// imageURI ends the names of the parameters that name a function's image; the
// function's logical id stands in front.
const imageURI = "ImageUri"

// Constraint says what values are allowed, to follow "must be".
func (p *Parameter) Constraint() string {
	switch {
	case len(p.AllowedValues) > 0:
		return "one of " + strings.Join(p.AllowedValues, ", ")
	case p.ConstraintDescription != "":
		return p.ConstraintDescription
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
	if len(value) > maxParameter {
		return fmt.Errorf("must have at most %d bytes, as CloudFormation allows, and has %d", maxParameter, len(value))
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

// template is what is needed of one.
type template struct {
	parameters []Parameter // by name
	functions  []string    // logical ids, sorted
}

var (
	zipTemplate   = sync.OnceValue(func() *template { return embeddedTemplate(embedded.Zip) })
	imageTemplate = sync.OnceValue(func() *template { return embeddedTemplate(embedded.Image) })
)

func templateOf(p embedded.Package) *template {
	if p == embedded.Image {
		return imageTemplate()
	}
	return zipTemplate()
}

// Parameters returns the parameters of a package's template, sorted by name.
func Parameters(p embedded.Package) []Parameter { return slices.Clone(templateOf(p).parameters) }

// Functions returns the logical ids of the stack's functions, sorted.
func Functions() []string { return slices.Clone(imageTemplate().functions) }

func embeddedTemplate(p embedded.Package) *template {
	text, err := embedded.Template(p, architectures[0])
	if err != nil {
		panic("internal error: " + err.Error())
	}
	t, err := parseTemplate(text)
	if err != nil {
		panic("internal error: the embedded template: " + err.Error())
	}
	return t
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

func parseTemplate(text []byte) (*template, error) {
	var in struct {
		Parameters map[string]struct {
			Type, Description, AllowedPattern, ConstraintDescription string

			Default                                  *value
			NoEcho                                   value
			AllowedValues                            []value
			MinLength, MaxLength, MinValue, MaxValue *value
		}
		Resources map[string]struct{ Type string }
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, err
	}
	t := &template{}
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
				return nil, fmt.Errorf("parameter %s: bound %q is not a whole number", name, *bound.from)
			}
			*bound.to = &n
		}
		// CloudFormation holds the pattern against the whole value.
		p.allowedPatternCompiled = lazyregexp.New(`^(?:` + p.AllowedPattern + `)$`).Compiled
		t.parameters = append(t.parameters, p)
	}
	for id, r := range in.Resources {
		if r.Type == "AWS::Lambda::Function" {
			t.functions = append(t.functions, id)
		}
	}
	slices.Sort(t.functions)
	return t, nil
}

// find returns the parameter that a user names, of whatever template.
func find(name string) (*Parameter, error) {
	var known []string
	for _, t := range []*template{zipTemplate(), imageTemplate()} {
		for i := range t.parameters {
			p := &t.parameters[i]
			if p.Name == name {
				return p, nil
			}
			if p.Flag() == "--parameter" && !slices.Contains(known, p.Name) {
				known = append(known, p.Name)
			}
		}
	}
	return nil, fmt.Errorf("there is no parameter %.100q%s: the parameters are %s", name, didYouMean(name, known),
		strings.Join(known, ", "))
}

// checkParameter checks what a user sets by --parameter.
func checkParameter(name, value string) error {
	p, err := find(name)
	if err != nil {
		return err
	}
	if flag := p.Flag(); flag != "--parameter" {
		return fmt.Errorf("%s is not set by --parameter: use %s (in the file %s)", name, flag,
			strings.TrimPrefix(flag, "--"))
	}
	if err := p.Check(value); err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	return nil
}
