package parameters

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Source is where a value comes from.
type Source string

// The sources.
const (
	Named   Source = "named"   // by the user
	Managed Source = "managed" // made by deploy: where the code is
	Kept    Source = "kept"    // the stack has it
	Default Source = "default" // the template has it

	Recorded Source = "recorded" // the record has it that a rollback goes to
)

// Choice is the value that a parameter gets.
type Choice struct {
	Name, Value string
	Source      Source
	Old         string // that the stack has
	Had         bool   // the stack has one
	NoEcho      bool
}

// Changed reports whether the stack has another value, or none.
func (c Choice) Changed() bool { return !c.Had || c.Old != c.Value }

// Shown returns the old value and the new one as they may be shown.
func (c Choice) Shown() (old, value string) {
	if c.NoEcho {
		return hidden, hidden
	}
	return c.Old, c.Value
}

// Choose returns the value of each parameter, by name: what the user named,
// what deploy itself makes, what the stack had (nil for a new stack), the
// default. Its error lists everything that is wrong, and matches the errors of
// this package.
func (t *Template) Choose(named, managed, had map[string]string) ([]Choice, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if _, ok := t.Get(name); !ok {
			errs = append(errs,
				fmt.Errorf("parameter %.200q: %w: it has %s", name, ErrUnknown, strings.Join(t.Names(), ", ")))
		} else if _, ok := managed[name]; ok {
			errs = append(errs, fmt.Errorf("parameter %s %w: where the code is, follows from --package, --bucket and "+
				"--repository", name, ErrManaged))
		}
	}
	var all []Choice
	for i := range t.parameters {
		p := &t.parameters[i]
		name := p.Name
		c := Choice{Name: name, NoEcho: p.NoEcho}
		c.Old, c.Had = had[name]
		if value, ok := managed[name]; ok {
			c.Value, c.Source = value, Managed
		} else if value, ok := named[name]; ok {
			c.Value, c.Source = value, Named
		} else if c.Had {
			c.Value, c.Source = c.Old, Kept
		} else if p.Default != nil {
			c.Value, c.Source = *p.Default, Default
		} else {
			errs = append(errs,
				fmt.Errorf("parameter %s %w: give --parameter %s=VALUE, which must be %s", name, ErrMissing,
					name,
					p.Constraint()))
			continue
		}
		// A kept value that CloudFormation never shows cannot be judged here.
		if !p.NoEcho || c.Source != Kept {
			if err := p.Judge(c.Value); err != nil {
				if c.Source == Kept {
					err = fmt.Errorf("%w; the stack has it: give another with --parameter %s=VALUE", err, name)
				}
				errs = append(errs, err)
			}
		}
		all = append(all, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// Request returns the choices as CloudFormation takes them. Kept ones stay
// with CloudFormation.
func Request(choices []Choice) []types.Parameter {
	var all []types.Parameter
	for _, c := range choices {
		p := types.Parameter{ParameterKey: aws.String(c.Name)}
		if c.Source == Kept {
			p.UsePreviousValue = aws.Bool(true)
		} else {
			p.ParameterValue = aws.String(c.Value)
		}
		all = append(all, p)
	}
	return all
}
