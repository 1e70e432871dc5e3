package changeset

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"soci-index-builder/internal/doctor/cfntemplate"
)

// Side is what a stack is made of, before or after.
type Side struct {
	Template   []byte
	Parameters map[string]string
	Stack      string
	Secrets    []string // values that are never shown
}

// Expect works out what changes from one side to another without asking
// CloudFormation: from the templates alone, so that it does not know what else
// follows from a replacement. old is nil when there is no stack.
func Expect(old *Side, next Side) ([]Change, error) {
	var before map[string]cfntemplate.Resource
	var err error
	if old != nil {
		if before, err = old.resolve(); err != nil {
			return nil, err
		}
	}
	after, err := next.resolve()
	if err != nil {
		return nil, err
	}
	var all []Change
	for _, id := range slices.Sorted(maps.Keys(after)) {
		r, was := after[id], before[id]
		c := Change{Action: Add, LogicalID: id, Type: r.Type}
		if was.Type == r.Type {
			c.Action = Modify
			properties(&c, "", was.Properties, r.Properties)
			if len(c.Properties) == 0 {
				continue
			}
			for i, p := range c.Properties {
				if p.Path == "PackageType" && r.Type == "AWS::Lambda::Function" {
					c.Action, c.Properties[i].Replaces = Replace, true
				}
				for _, secret := range next.Secrets {
					if secret != "" {
						c.Properties[i].New = strings.ReplaceAll(c.Properties[i].New, secret, "****")
					}
				}
			}
		}
		c.Consequence, c.NeedsConsent = consequence(c)
		all = append(all, c)
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if after[id].Type != before[id].Type {
			c := Change{Action: Remove, LogicalID: id, Type: before[id].Type}
			c.Consequence, c.NeedsConsent = consequence(c)
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int { return a.order() - b.order() })
	return all, nil
}

// resolve works out the resources. Values that AWS only knows once they exist are
// left as ${Resource.Attribute}.
func (s *Side) resolve() (map[string]cfntemplate.Resource, error) {
	t, err := cfntemplate.Parse(s.Template)
	if err != nil {
		return nil, err
	}
	return t.Resolve(cfntemplate.Values{
		Parameters: s.Parameters, StackName: s.Stack, StackID: "${AWS::StackId}", Region: "${AWS::Region}",
		Account: "${AWS::AccountId}", Partition: "${AWS::Partition}",
		Attribute: func(id, name string) (any, bool) {
			if name != "" {
				id += "." + name
			}
			return "${" + id + "}", true
		},
	})
}

func properties(c *Change, path string, old, value any) {
	if reflect.DeepEqual(old, value) {
		return
	}
	was, ok1 := old.(map[string]any)
	is, ok2 := value.(map[string]any)
	if ok1 && ok2 {
		keys := maps.Clone(was)
		if keys == nil {
			keys = map[string]any{}
		}
		maps.Copy(keys, is)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			next := key
			if path != "" {
				next = path + "." + key
			}
			properties(c, next, was[key], is[key])
		}
		return
	}
	c.Properties = append(c.Properties, Property{Path: path, Old: shown(old), New: shown(value), Known: true})
}

func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "(unknown)" // a part of it cannot be worked out
	}
	return string(b)
}
