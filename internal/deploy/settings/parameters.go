package settings

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/embedded"
)

// Parameter is one of the template's.
type Parameter = parameters.Parameter

var (
	zipTemplate   = sync.OnceValue(func() *parameters.Template { return embeddedTemplate(embedded.Zip) })
	imageTemplate = sync.OnceValue(func() *parameters.Template { return embeddedTemplate(embedded.Image) })
)

func templateOf(p embedded.Package) *parameters.Template {
	if p == embedded.Image {
		return imageTemplate()
	}
	return zipTemplate()
}

// Parameters returns the parameters of a package's template, sorted by name.
func Parameters(p embedded.Package) []Parameter { return templateOf(p).All() }

// Functions returns the logical ids of the stack's functions, sorted.
func Functions() []string { return imageTemplate().Functions() }

func embeddedTemplate(p embedded.Package) *parameters.Template {
	text, err := embedded.Template(p, architectures[0])
	if err != nil {
		panic("internal error: " + err.Error())
	}
	t, err := parameters.Parse(text)
	if err != nil {
		panic("internal error: the embedded template: " + err.Error())
	}
	return t
}

// find returns the parameter that a user names, of whatever template.
func find(name string) (*Parameter, error) {
	var known []string
	for _, t := range []*parameters.Template{zipTemplate(), imageTemplate()} {
		for _, p := range t.All() {
			if p.Name == name {
				return &p, nil
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
