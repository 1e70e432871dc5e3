package changeset

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Action is what happens to a resource.
type Action string

// The actions, in the order in which they are shown.
const (
	Remove     Action = "remove"
	Replace    Action = "replace"
	MayReplace Action = "may replace" // CloudFormation knows only when it is done
	Modify     Action = "change"
	Add        Action = "add"
)

// Change is what happens to one resource.
type Change struct {
	Action              Action
	LogicalID, Type     string
	PhysicalID          string // empty for one that is added
	Properties          []Property
	Consequence         string // of a removal or replacement, in words; empty for none worth telling
	NeedsConsent        bool   // a queue or a function is replaced: events that wait in it are lost
	DependsOnOthersOnly bool   // it changes only as far as others do
}

// Property is one that changes.
type Property struct {
	Path     string // Environment.Variables.LOG_LEVEL; Tags
	Old, New string // empty when not there, or not known
	Known    bool   // whether CloudFormation told the values
	Replaces bool
}

func (c Change) order() int {
	for i, a := range []Action{Remove, Replace, MayReplace, Modify, Add} {
		if a == c.Action {
			return i
		}
	}
	return -1
}

// unknown is shown for a value that is known only after the execution, for which
// CloudFormation writes knownAfter.
const (
	unknown    = "(known after the execution)"
	knownAfter = "{{changeSet:KNOWN_AFTER_APPLY}}"
)

func readChange(in *types.ResourceChange, secrets []string) Change {
	c := Change{LogicalID: aws.ToString(in.LogicalResourceId), Type: aws.ToString(in.ResourceType),
		PhysicalID: aws.ToString(in.PhysicalResourceId), DependsOnOthersOnly: true}
	switch in.Action {
	case types.ChangeActionAdd:
		c.Action = Add
	case types.ChangeActionRemove:
		c.Action = Remove
	default:
		c.Action = Modify
		switch in.Replacement {
		case types.ReplacementTrue:
			c.Action = Replace
		case types.ReplacementConditional:
			c.Action = MayReplace
		}
	}
	for _, d := range in.Details {
		if d.Target == nil {
			continue
		}
		if d.Evaluation != types.EvaluationTypeDynamic {
			c.DependsOnOthersOnly = false
		}
		c.Properties = append(c.Properties, readProperty(d, secrets))
	}
	if c.Action == Add || c.Action == Remove {
		c.DependsOnOthersOnly = false
	}
	c.Properties = distinct(c.Properties)
	c.Consequence, c.NeedsConsent = consequence(c)
	return c
}

func readProperty(d types.ResourceChangeDetail, secrets []string) Property {
	t := d.Target
	p := Property{
		Path: strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(aws.ToString(t.Path), "/Properties"), "/"), "/",
			"."),
		Old: aws.ToString(t.BeforeValue), New: aws.ToString(t.AfterValue),
		Known:    t.BeforeValue != nil || t.AfterValue != nil,
		Replaces: t.RequiresRecreation == types.RequiresRecreationAlways,
	}
	if p.Path == "" {
		if p.Path = aws.ToString(t.Name); p.Path == "" {
			p.Path = string(t.Attribute)
		}
	}
	p.New = strings.ReplaceAll(p.New, knownAfter, unknown)
	if p.Known && t.AfterValue == nil && t.AttributeChangeType != types.AttributeChangeTypeRemove {
		p.New = unknown
	}
	for _, secret := range secrets {
		if secret != "" {
			p.Old, p.New = strings.ReplaceAll(p.Old, secret, "****"), strings.ReplaceAll(p.New, secret, "****")
		}
	}
	return p
}

// distinct keeps of several details of one property the one with values.
func distinct(all []Property) []Property {
	var out []Property
	place := map[string]int{}
	for _, p := range all {
		i, seen := place[p.Path]
		switch {
		case !seen:
			place[p.Path] = len(out)
			out = append(out, p)
		case p.Known && !out[i].Known:
			p.Replaces = p.Replaces || out[i].Replaces
			out[i] = p
		default:
			out[i].Replaces = p.Replaces || out[i].Replaces
		}
	}
	return out
}

// consequence says what is lost with a resource.
func consequence(c Change) (text string, consent bool) {
	if c.Action != Replace && c.Action != MayReplace && c.Action != Remove {
		return "", false
	}
	switch c.Type {
	case "AWS::SQS::Queue":
		return "events that wait in the queue are lost", true
	case "AWS::Lambda::Function":
		if c.Action == Remove {
			return "queued events are lost", true
		}
		return "another function takes its place, queued events are lost", true
	case "AWS::Logs::LogGroup":
		return "its log lines are lost", false
	case "AWS::IAM::Role":
		return "whoever names the role elsewhere must name the new one", false
	case "AWS::Events::Rule":
		return "events that come in between are missed", false
	case "AWS::ECR::Repository":
		return "its images are lost", true
	}
	return "", false
}

// Summary counts the changes by their actions.
func (c *ChangeSet) Summary() map[Action]int {
	counts := map[Action]int{}
	for _, one := range c.Changes {
		counts[one.Action]++
	}
	return counts
}

// NeedConsent returns the changes that lose events or images.
func (c *ChangeSet) NeedConsent() []Change {
	var all []Change
	for _, one := range c.Changes {
		if one.NeedsConsent {
			all = append(all, one)
		}
	}
	return all
}

// IAM returns the changes of roles and their policies.
func (c *ChangeSet) IAM() []Change {
	var all []Change
	for _, one := range c.Changes {
		if strings.HasPrefix(one.Type, "AWS::IAM::") {
			all = append(all, one)
		}
	}
	return all
}
