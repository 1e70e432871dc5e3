package deployer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/permission"
)

// The sizes of IAM's managed policies and their documents' version.
const (
	MaxPolicySize = 6144 // characters without white space
	version       = "2012-10-17"
)

// Document is a policy of IAM.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement is one of a policy, all of which allow.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string]string `json:",omitempty"`
}

// Policy returns parts together, those that are always needed if none is named:
// with all that its way of deploying needs, the minimum to create, update and
// delete the stack. It has placeholders in its ARNs.
func Policy(parts ...Part) Document {
	if len(parts) == 0 {
		parts = []Part{Base, Commands}
	}
	d := Document{Version: version}
	actions := map[Scope][]string{}
	for _, part := range parts {
		for _, u := range uses(part) {
			actions[u.Scope] = append(actions[u.Scope], u.Actions...)
		}
	}
	for _, s := range scopes {
		if len(actions[s.scope]) > 0 {
			d.Statement = append(d.Statement,
				Statement{s.sid, "Allow", sorted(actions[s.scope]), s.resources, conditions[s.scope]})
		}
	}
	return d
}

// uses returns what a part allows.
func uses(part Part) []Use {
	var all []Use
	for _, c := range Calls {
		if c.Part == part {
			all = append(all, c.Use)
		}
	}
	for _, t := range map[Part][]Type{Base: Types, Image: CompanionTypes}[part] {
		all = append(all, slices.Concat(t.Create, t.Update, t.Delete)...)
	}
	// The other parts have the permissions for the code's place.
	return slices.DeleteFunc(all, func(u Use) bool { return part == Base && u.Scope == Code })
}

// targets returns the ARNs, with placeholders, of what the functions' roles
// have permissions on, as wide as the filters and the parameters can make them.
var targets = map[permission.Target]string{
	permission.Everything:      "*",
	permission.Repositories:    "arn:${Partition}:ecr:${Region}:${Account}:repository/*",
	permission.Generator:       "arn:${Partition}:lambda:${Region}:${Account}:function:${Stack}-*",
	permission.Steps:           "arn:${Partition}:lambda:${Region}:${Account}:function:${Stack}-*",
	permission.StateMachine:    machines,
	permission.Executions:      "arn:${Partition}:states:${Region}:${Account}:execution:" + deployed.MachineID + "-*",
	permission.EventBus:        "arn:${Partition}:events:${Region}:${Account}:event-bus/*",
	permission.FailureQueue:    "arn:${Partition}:sqs:${Region}:${Account}:${Stack}-*",
	permission.SigningProfiles: "arn:${Partition}:signer:${Region}:${Account}:/signing-profiles/*",
	permission.Network:         "*",
	permission.LogGroup:        "arn:${Partition}:logs:${Region}:${Account}:log-group:/aws/lambda/${Stack}-*",
}

// Boundary is the permissions boundary that leaves the functions' roles what
// they need and nothing else.
func Boundary() Document {
	actions := map[permission.Target][]string{}
	for _, needs := range permission.Functions {
		for _, n := range needs {
			actions[n.On] = append(actions[n.On], n.Action)
		}
	}
	for _, n := range permission.Machine {
		actions[n.On] = append(actions[n.On], n.Action)
	}
	d := Document{Version: version}
	for _, s := range []struct {
		target permission.Target
		sid    string
	}{
		{permission.Everything, "RegistryToken"},
		{permission.Repositories, "Repositories"},
		{permission.Generator, "Generator"},
		{permission.Steps, "Steps"},
		{permission.StateMachine, "StateMachine"},
		{permission.Executions, "Executions"},
		{permission.EventBus, "EventBus"},
		{permission.FailureQueue, "FailureQueue"},
		{permission.SigningProfiles, "SigningProfiles"},
		{permission.Network, "Network"},
		{permission.LogGroup, "Log"},
	} {
		if len(actions[s.target]) == 0 {
			continue
		}
		d.Statement = append(d.Statement,
			Statement{s.sid, "Allow", sorted(actions[s.target]), []string{targets[s.target]}, nil})
	}
	return d
}

func sorted(actions []string) []string {
	slices.Sort(actions)
	return slices.Compact(actions)
}

// JSON returns the document as it stands in a file.
func (d Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// service returns the service of an action, "iam" for "iam:GetRole".
func service(action string) string {
	s, _, _ := strings.Cut(action, ":")
	return s
}

// Documents returns all policies, by the names of their files in docs.
func Documents() map[string]Document {
	all := map[string]Document{"boundary-policy.json": Boundary()}
	for _, p := range partOrder {
		all[p.File+".json"] = Policy(p)
	}
	return all
}
