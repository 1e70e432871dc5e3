package deployer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Granting returns the statement that allows actions on a scope, as the policies
// have it, with the placeholders that values has filled in, and the part that the
// first of the actions is in.
func Granting(scope Scope, actions []string, values map[string]string) (Statement, Part) {
	var part Part
	for _, c := range Calls {
		if c.Scope == scope && len(actions) > 0 && slices.Contains(c.Actions, actions[0]) {
			part = c.Part
			break
		}
	}
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "${"+name+"}", value)
	}
	fill := strings.NewReplacer(pairs...)
	s := Statement{Sid: Sid(scope), Effect: "Allow", Action: sorted(slices.Clone(actions)),
		Condition: conditions[scope]}
	for _, of := range scopes {
		if of.scope == scope {
			for _, arn := range of.resources {
				s.Resource = append(s.Resource, fill.Replace(arn))
			}
		}
	}
	return s, part
}

// Allowing names the statements that allow an action which the commands use
// themselves: "ManagedBucket of docs/deployer-policy-zip.json". There is none for an
// action that is not in the policies.
func Allowing(action string) []string {
	var all []string
	for _, c := range Calls {
		if slices.Contains(c.Actions, action) {
			all = append(all, Sid(c.Scope)+" of docs/"+c.Part.File+".json")
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// String is the statement as JSON in one line.
func (s Statement) String() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("internal error: " + err.Error()) // texts can be written as JSON
	}
	return strings.TrimSpace(b.String())
}
