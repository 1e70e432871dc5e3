package cfntemplate

import (
	"fmt"
	"strconv"
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// call works out an intrinsic function.
func (r *resolver) call(name string, argument any) (any, error) {
	unsupported := fmt.Errorf("%s %.100v: %w", name, argument, ErrUnsupported)
	if name == "Ref" {
		id, ok := argument.(string)
		if !ok {
			return nil, unsupported
		}
		return r.ref(id)
	}
	if s, ok := argument.(string); ok {
		switch name {
		case "Fn::Sub":
			return r.sub(s, nil)
		case "Fn::GetAtt":
			id, attribute, ok := strings.Cut(s, ".")
			if !ok {
				return nil, unsupported
			}
			return r.attribute(id, attribute)
		}
		return nil, unsupported
	}
	list, ok := argument.([]any)
	if !ok {
		return nil, unsupported
	}
	switch {
	case name == "Fn::GetAtt" && len(list) == 2:
		id, ok1 := list[0].(string)
		attribute, ok2 := list[1].(string)
		if !ok1 || !ok2 {
			return nil, unsupported
		}
		return r.attribute(id, attribute)
	case name == "Fn::If" && len(list) == 3:
		condition, ok := list[0].(string)
		if !ok {
			return nil, unsupported
		}
		holds, err := r.condition(condition)
		if err != nil {
			return nil, err
		}
		if holds {
			return r.value(list[1])
		}
		return r.value(list[2])
	case name == "Fn::Sub" && len(list) == 2:
		format, ok1 := list[0].(string)
		names, ok2 := list[1].(map[string]any)
		if !ok1 || !ok2 {
			return nil, unsupported
		}
		return r.sub(format, names)
	}
	// The others take values.
	resolved, err := r.value(list)
	if err != nil {
		return nil, err
	}
	list = resolved.([]any)
	switch {
	case name == "Fn::Join" && len(list) == 2:
		return join(list[0], list[1], unsupported)
	case name == "Fn::Select" && len(list) == 2:
		return pick(list[0], list[1], unsupported)
	case name == "Fn::Split" && len(list) == 2:
		separator, ok := list[0].(string)
		if !ok {
			return nil, unsupported
		}
		s, ok := list[1].(string)
		if !ok {
			return Unknown, nil
		}
		var parts []any
		for _, part := range strings.Split(s, separator) {
			parts = append(parts, part)
		}
		return parts, nil
	}
	return nil, unsupported
}

func join(separator, values any, unsupported error) (any, error) {
	between, ok := separator.(string)
	if !ok {
		return nil, unsupported
	}
	list, ok := values.([]any)
	if !ok {
		if values == any(Unknown) {
			return Unknown, nil
		}
		return nil, unsupported
	}
	var parts []string
	for _, v := range list {
		if v == any(Unknown) {
			return Unknown, nil
		}
		if !scalar(v) {
			return nil, unsupported
		}
		parts = append(parts, text(v))
	}
	return strings.Join(parts, between), nil
}

func pick(index, values any, unsupported error) (any, error) {
	i, err := strconv.Atoi(text(index))
	list, ok := values.([]any)
	switch {
	case values == any(Unknown):
		return Unknown, nil
	case err != nil || !ok || i < 0 || i >= len(list):
		return nil, unsupported
	}
	return list[i], nil
}

// variable is one of Fn::Sub; ${!x} stands for ${x} itself.
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
