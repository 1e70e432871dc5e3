package cfntemplate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// form is an intrinsic function, and how many arguments it has, or aText in their place.
type form struct {
	name string
	args int
}

const aText = -1

// errForm: a function's arguments are not of a type that is understood.
var errForm = errors.New("not understood")

// call works out an intrinsic function.
func (r *resolver) call(name string, argument any) (any, error) {
	args, ok := argument.([]any)
	of := form{name, len(args)}
	if s, isText := argument.(string); isText {
		args, of.args, ok = []any{s}, aText, true
	}
	work, known := r.functions()[of]
	if !ok || !known {
		return nil, fmt.Errorf("%s %.100v: %w", name, argument, ErrUnsupported)
	}
	v, err := work(args)
	if err == errForm {
		err = fmt.Errorf("%s %.100v: %w", name, argument, ErrUnsupported)
	}
	return v, err
}

func (r *resolver) functions() map[form]func(args []any) (any, error) {
	return map[form]func([]any) (any, error){
		{"Ref", aText}:        func(args []any) (any, error) { return r.ref(args[0].(string)) },
		{"Fn::Sub", aText}:    func(args []any) (any, error) { return r.sub(args[0].(string), nil) },
		{"Fn::GetAtt", aText}: r.dotted,
		{"Fn::GetAtt", 2}:     r.getAtt,
		{"Fn::If", 3}:         r.branch,
		{"Fn::Sub", 2}:        r.subNamed,
		{"Fn::Join", 2}:       r.ofValues(join),
		{"Fn::Select", 2}:     r.ofValues(pick),
		{"Fn::Split", 2}:      r.ofValues(split),
	}
}

// ofValues works out the arguments of a function before the function itself.
func (r *resolver) ofValues(work func(args []any) (any, error)) func([]any) (any, error) {
	return func(args []any) (any, error) {
		resolved, err := r.value(args)
		if err != nil {
			return nil, err
		}
		list := resolved.([]any)
		if len(list) != len(args) { // AWS::NoValue is among them
			return nil, errForm
		}
		return work(list)
	}
}

func (r *resolver) dotted(args []any) (any, error) {
	id, attribute, ok := strings.Cut(args[0].(string), ".")
	if !ok {
		return nil, errForm
	}
	return r.attribute(id, attribute)
}

func (r *resolver) getAtt(args []any) (any, error) {
	id, ok1 := args[0].(string)
	attribute, ok2 := args[1].(string)
	if !ok1 || !ok2 {
		return nil, errForm
	}
	return r.attribute(id, attribute)
}

// branch works out the value that the condition chooses, and not the other.
func (r *resolver) branch(args []any) (any, error) {
	condition, ok := args[0].(string)
	if !ok {
		return nil, errForm
	}
	holds, err := r.condition(condition)
	if err != nil {
		return nil, err
	}
	if holds {
		return r.value(args[1])
	}
	return r.value(args[2])
}

func (r *resolver) subNamed(args []any) (any, error) {
	format, ok1 := args[0].(string)
	names, ok2 := args[1].(map[string]any)
	if !ok1 || !ok2 {
		return nil, errForm
	}
	return r.sub(format, names)
}

func split(args []any) (any, error) {
	separator, ok := args[0].(string)
	if !ok {
		return nil, errForm
	}
	s, ok := args[1].(string)
	if !ok {
		return Unknown, nil
	}
	var parts []any
	for _, part := range strings.Split(s, separator) {
		parts = append(parts, part)
	}
	return parts, nil
}

func join(args []any) (any, error) {
	between, ok := args[0].(string)
	if !ok {
		return nil, errForm
	}
	list, ok := args[1].([]any)
	if !ok {
		if args[1] == any(Unknown) {
			return Unknown, nil
		}
		return nil, errForm
	}
	var parts []string
	for _, v := range list {
		if v == any(Unknown) {
			return Unknown, nil
		}
		if !scalar(v) {
			return nil, errForm
		}
		parts = append(parts, text(v))
	}
	return strings.Join(parts, between), nil
}

func pick(args []any) (any, error) {
	i, err := strconv.Atoi(text(args[0]))
	list, ok := args[1].([]any)
	switch {
	case !ok && args[1] == any(Unknown):
		return Unknown, nil
	case err != nil || !ok || i < 0 || i >= len(list):
		return nil, errForm
	}
	return list[i], nil
}

// variable is one of Fn::Sub; ${!x} means the text ${x}.
var variable = lazyregexp.New(`\$\{(!?[^}]+)\}`)

func (r *resolver) sub(format string, names map[string]any) (any, error) {
	var (
		err     error
		unknown bool
	)
	out := variable.Compiled().ReplaceAllStringFunc(format, func(match string) string {
		name := match[2 : len(match)-1]
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			return "${" + literal + "}"
		}
		var (
			v    any
			fail error
		)
		if given, ok := names[name]; ok {
			v, fail = r.value(given)
		} else if id, attribute, ok := strings.Cut(name, "."); ok {
			v, fail = r.attribute(id, attribute)
		} else {
			v, fail = r.ref(name)
		}
		switch {
		case fail != nil:
		case v == any(Unknown):
			unknown = true
			return ""
		case scalar(v):
			return text(v)
		default:
			fail = fmt.Errorf("${%s} of Fn::Sub is no text: %w", name, ErrUnsupported)
		}
		if err == nil {
			err = fail
		}
		return ""
	})
	if err != nil || unknown {
		return Unknown, err
	}
	return out, nil
}

// condition reports whether one of the template's conditions holds; no
// condition does.
func (r *resolver) condition(name string) (bool, error) {
	if name == "" {
		return true, nil
	}
	c, ok := r.t.Conditions[name]
	if !ok {
		return false, fmt.Errorf("%w: condition %s", ErrUnknownName, name)
	}
	if r.judging[name] {
		return false, fmt.Errorf("condition %s depends on itself: %w", name, ErrUnsupported)
	}
	r.judging[name] = true
	defer delete(r.judging, name)
	return r.holds(c)
}

func (r *resolver) holds(c any) (bool, error) {
	unsupported := fmt.Errorf("condition %.100v: %w", c, ErrUnsupported)
	m, ok := c.(map[string]any)
	if !ok || len(m) != 1 {
		return false, unsupported
	}
	if name, ok := m["Condition"].(string); ok {
		return r.condition(name)
	}
	for function, argument := range m {
		list, ok := argument.([]any)
		if !ok {
			return false, unsupported
		}
		switch {
		case function == "Fn::Equals" && len(list) == 2:
			resolved, err := r.value(list)
			if err != nil {
				return false, err
			}
			// An unknown value is neither equal nor different.
			pair := resolved.([]any)
			if len(pair) != 2 || !scalar(pair[0]) || !scalar(pair[1]) {
				return false, unsupported
			}
			return text(pair[0]) == text(pair[1]), nil
		case function == "Fn::Not" && len(list) == 1:
			holds, err := r.holds(list[0])
			return !holds, err
		case function == "Fn::And" || function == "Fn::Or":
			for _, one := range list {
				holds, err := r.holds(one)
				if err != nil || holds == (function == "Fn::Or") {
					return holds, err
				}
			}
			return function == "Fn::And", nil
		}
	}
	return false, unsupported
}
