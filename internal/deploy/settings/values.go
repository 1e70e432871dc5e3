package settings

import (
	"errors"

	"soci-index-builder/internal/deployed"
)

// Value is what a parameter of the template gets.
type Value struct {
	Parameter string
	Value     string
	Previous  bool // the stack's value stays: UsePreviousValue
	Hidden    bool // the value must not be shown
	Origin
}

// Values returns the values of the template's parameters, sorted by name: what
// was given, else what the stack has, else the template's default. stack has
// the parameters of the deployed stack, nil when there is none. Parameters that
// deploy fills in itself, those of the code, are left out. Every value is
// checked, those of the stack as well, for the template may have changed. The
// error matches ErrInvalid.
func (g Given) Values(stack map[string]string) ([]Value, error) {
	return g.valuesOf(templateOf(g.Package).All(), stack)
}

func (g Given) valuesOf(parameters []Parameter, stack map[string]string) ([]Value, error) {
	var (
		all  []Value
		errs []error
	)
	for i := range parameters {
		p := &parameters[i]
		v := Value{Parameter: p.Name, Hidden: p.NoEcho}
		flag := p.Flag()
		var given bool
		switch flag {
		case "--filters":
			v.Value = g.Filters
			v.Origin, given = g.origins["filters"]
		case "--parameter":
			v.Value = g.Parameters[p.Name]
			v.Origin, given = g.origins["parameter."+p.Name]
			flag += " " + p.Name + "=..."
		default:
			continue
		}
		if !given {
			has, ok := stack[p.Name]
			switch {
			case ok:
				v.Value, v.Origin, v.Previous = has, Origin{Kind: Stack}, true
			case p.Default != nil:
				v.Value, v.Origin = *p.Default, Origin{}
			default:
				errs = append(errs, invalidf("parameter %s has no value: give it by %s", p.Name, flag))
				continue
			}
		}
		all = append(all, v)
		if v.Previous && p.NoEcho { // what CloudFormation shows of it is asterisks
			continue
		}
		if err := p.Check(v.Value); err != nil {
			errs = append(errs,
				invalidf("parameter %s is %.200q (%s): it %w; change it by %s", p.Name, v.Value, v.Origin,
					err, flag))
		}
	}
	return all, errors.Join(errs...)
}

// Parameter returns the value that a parameter will have, as Values does,
// without checking it. It is empty for a parameter that the template does not
// have.
func (g Given) Parameter(name string, stack map[string]string) string {
	if name == deployed.ParamFilters {
		if _, ok := g.origins["filters"]; ok {
			return g.Filters
		}
	}
	if v, ok := g.Parameters[name]; ok {
		return v
	}
	if v, ok := stack[name]; ok {
		return v
	}
	if p, err := find(name); err == nil && p.Default != nil {
		return *p.Default
	}
	return ""
}
