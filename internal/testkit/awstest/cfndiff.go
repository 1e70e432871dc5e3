package awstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"soci-index-builder/internal/doctor/cfntemplate"
)

// change is one of a change set.
type change struct {
	action, id, kind, physical string
	replacement                string // True, Conditional, False
	details                    []detail
}

// detail is a property that changes.
type detail struct {
	attribute, name, path, before, after string
	recreation                           string // Always, Never
	dynamic                              bool   // the value is known only when it is executed
}

func (c change) xml(values bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<member><Type>Resource</Type><ResourceChange><Action>%s</Action><LogicalResourceId>%s"+
		"</LogicalResourceId><ResourceType>%s</ResourceType>", c.action, escape(c.id), escape(c.kind))
	if c.physical != "" {
		fmt.Fprintf(&b, "<PhysicalResourceId>%s</PhysicalResourceId>", escape(c.physical))
	}
	if c.action == "Modify" {
		fmt.Fprintf(&b, "<Replacement>%s</Replacement>", c.replacement)
	}
	b.WriteString("<Details>")
	for _, d := range c.details {
		evaluation := "Static"
		if d.dynamic {
			evaluation = "Dynamic"
		}
		fmt.Fprintf(&b, "<member><Evaluation>%s</Evaluation><ChangeSource>DirectModification</ChangeSource><Target>"+
			"<Attribute>%s</Attribute><RequiresRecreation>%s</RequiresRecreation>", evaluation, d.attribute,
			d.recreation)
		if d.name != "" {
			fmt.Fprintf(&b, "<Name>%s</Name>", escape(d.name))
		}
		if values {
			fmt.Fprintf(&b, "<Path>%s</Path>", escape(d.path))
			kind := "Modify"
			switch {
			case d.before == "":
				kind = "Add"
			case d.after == "":
				kind = "Remove"
			}
			if d.before != "" {
				fmt.Fprintf(&b, "<BeforeValue>%s</BeforeValue>", escape(d.before))
			}
			if d.after != "" {
				fmt.Fprintf(&b, "<AfterValue>%s</AfterValue>", escape(d.after))
			}
			fmt.Fprintf(&b, "<AttributeChangeType>%s</AttributeChangeType>", kind)
		}
		b.WriteString("</Target></member>")
	}
	b.WriteString("</Details></ResourceChange></member>")
	return b.String()
}

// createOnly are properties whose change makes another resource.
var createOnly = map[string][]string{
	"AWS::Lambda::Function":          {"PackageType", "FunctionName"},
	"AWS::SQS::Queue":                {"QueueName", "FifoQueue"},
	"AWS::Logs::LogGroup":            {"LogGroupName"},
	"AWS::IAM::Role":                 {"RoleName", "Path"},
	"AWS::CloudWatch::Alarm":         {"AlarmName"},
	"AWS::Lambda::Permission":        {"FunctionName", "Principal", "SourceArn", "Action"},
	"AWS::Lambda::EventInvokeConfig": {"FunctionName", "Qualifier"},
	"AWS::ECR::Repository":           {"RepositoryName", "EncryptionConfiguration"},
}

// taggable are types whose resources get the tags of the stack.
var taggable = []string{"AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::Logs::LogGroup", "AWS::IAM::Role",
	"AWS::CloudWatch::Alarm", "AWS::Events::Rule", "AWS::ECR::Repository"}

// differences returns what a change set changes of its stack. What a resource
// gets from one that is replaced is known only when it is executed.
func differences(set *changeSet, template *cfntemplate.Template) ([]change, error) {
	s := set.stack
	old, err := s.has()
	if err != nil {
		return nil, err
	}
	renewed := map[string]int{}
	var known map[string]bool // details that follow from template and parameters alone
	for {
		next, err := s.resolve(template, set.parameters, renewed)
		if err != nil {
			return nil, err
		}
		was, tags := old, s.Tags
		if s.half != nil {
			if was, err = s.half.has(old, next); err != nil {
				return nil, err
			}
			tags = s.half.before.Tags
		}
		changes, again := compare(set, tags, was, next, renewed)
		if known == nil {
			known = map[string]bool{}
			for _, c := range changes {
				for _, d := range c.details {
					known[c.id+d.path] = true
				}
			}
		}
		if again {
			continue
		}
		for _, c := range changes {
			for i, d := range c.details {
				if !known[c.id+d.path] {
					c.details[i].dynamic, c.details[i].after = true, knownAfter
				}
			}
		}
		return changes, nil
	}
}

// knownAfter is what CloudFormation writes for a value that it does not know
// yet.
const knownAfter = "{{changeSet:KNOWN_AFTER_APPLY}}"

// compare adds to renewed what is replaced; then the attributes of others may
// differ too, and again is true.
func compare(set *changeSet, tags map[string]string, old, next map[string]cfntemplate.Resource,
	renewed map[string]int) (changes []change, again bool) {
	for _, id := range slices.Sorted(maps.Keys(next)) {
		r := next[id]
		before, there := old[id]
		if !there || before.Type != r.Type {
			changes = append(changes, change{action: "Add", id: id, kind: r.Type})
			continue
		}
		c := change{action: "Modify", id: id, kind: r.Type, physical: set.stack.Physical(r.Type, id),
			replacement: "False"}
		for _, name := range slices.Sorted(maps.Keys(union(before.Properties, r.Properties))) {
			leaves(&c, name, "/Properties/"+name, before.Properties[name], r.Properties[name])
		}
		if slices.Contains(taggable, r.Type) && !maps.Equal(set.tags, tags) {
			c.details = append(c.details, detail{attribute: "Tags", path: "/Tags", before: jsonText(tags),
				after: jsonText(set.tags), recreation: "Never"})
		}
		if len(c.details) == 0 {
			continue
		}
		for i, d := range c.details {
			if slices.Contains(createOnly[r.Type], d.name) {
				c.details[i].recreation, c.replacement = "Always", "True"
			}
		}
		if c.replacement == "True" && renewed[id] == 0 {
			renewed[id] = 1
			again = true
		}
		changes = append(changes, c)
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if r, there := next[id]; !there || r.Type != old[id].Type {
			changes = append(changes, change{action: "Remove", id: id, kind: old[id].Type,
				physical: set.stack.Physical(old[id].Type, id)})
		}
	}
	return changes, again
}

func leaves(c *change, name, path string, before, after any) {
	if reflect.DeepEqual(before, after) {
		return
	}
	was, ok1 := before.(map[string]any)
	is, ok2 := after.(map[string]any)
	if ok1 && ok2 {
		for _, key := range slices.Sorted(maps.Keys(union(was, is))) {
			leaves(c, name, path+"/"+key, was[key], is[key])
		}
		return
	}
	c.details = append(c.details, detail{attribute: "Properties", name: name, path: path, before: valueText(before),
		after: valueText(after), recreation: "Never"})
}

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, b)
	return all
}

func valueText(v any) string {
	switch v.(type) {
	case nil:
		return ""
	case []any, map[string]any:
		return jsonText(v)
	}
	return ScalarText(v)
}

func jsonText(v any) string {
	b, _ := json.Marshal(v) // it came from JSON
	return string(b)
}
