package deployer

import (
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/permission"
)

// functions are in the order of the documentation, with the name that their
// role has in the template.
var functions = []struct{ name, role string }{
	{"filter", "FilterRole"},
	{"indexgen", "GeneratorRole"},
	{"steps", "StepsRole"},
	{"reponame", "RepositoryNameRole"},
}

// shown is how the documentation names a target.
var shown = map[permission.Target]string{
	permission.Everything:   "`*`",
	permission.Repositories: "the repositories that the filters name",
	permission.Generator:    "the generator function",
	permission.Steps:        "the function that does the steps",
	permission.StateMachine: "the state machine",
	permission.Executions:   "its executions",
	permission.EventBus:     "the event bus `EventBusName`; without the parameter the statement is not there",
	permission.FailureQueue: "the failure queue",
	permission.SigningProfiles: "the signing profiles `SigningProfileArns`; without the parameter the statement is " +
		"not there",
	permission.Network: "`*`, not for the function's code; without the parameter `SubnetIds` the statement is " +
		"not there",
	permission.LogGroup: "the log streams of the function's own log group",
}

// Tables are the generated parts of docs/permissions.md, by the name that
// their markers have.
func Tables() map[string]string {
	return map[string]string{"roles": roles(), "types": types(), "commands": commandTable(), "parts": partTable()}
}

func partTable() string {
	var b strings.Builder
	b.WriteString("| policy | needed for |\n|---|---|\n")
	for _, p := range partOrder {
		fmt.Fprintf(&b, "| [%s.json](%[1]s.json) | %s |\n", p.File, p.For)
	}
	return b.String()
}

func roles() string {
	var b strings.Builder
	b.WriteString("| role of | action | on | why |\n|---|---|---|---|\n")
	for _, f := range functions {
		for _, n := range permission.Functions[f.name] {
			fmt.Fprintf(&b, "| %s (`%s`) | `%s` | %s | %s |\n", f.name, f.role, n.Action, shown[n.On], n.Why)
		}
	}
	for _, n := range permission.Machine {
		fmt.Fprintf(&b, "| machine (`MachineRole`) | `%s` | %s | %s |\n", n.Action, shown[n.On], n.Why)
	}
	return b.String()
}

func types() string {
	var b strings.Builder
	b.WriteString("| type in the template | to create | in addition to update | in addition to delete " +
		"|\n|---|---|---|---|\n")
	for _, t := range slices.Concat(Types, CompanionTypes) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", t.Name, actionList(t.Create), actionList(t.Update),
			actionList(t.Delete))
	}
	return b.String()
}

// commandTable is a table for each policy, so that columns are wide enough.
func commandTable() string {
	var b strings.Builder
	for _, part := range Parts() {
		var rows []string
		for _, c := range Calls {
			if c.Part == part {
				rows = append(rows,
					fmt.Sprintf("| %s | %s | %s | %s |\n", actionList([]Use{c.Use}), c.Scope, c.Flow, c.Why))
			}
		}
		if len(rows) == 0 {
			continue // CloudFormation's, which have tables of their own
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "`%s.json`, %s\n\n| action | on | by | for |\n|---|---|---|---|\n%s", part.File,
			strings.TrimPrefix(part.For, "always: "), strings.Join(rows, ""))
	}
	return b.String()
}

// actionList returns actions with the service said once for each run of them.
func actionList(uses []Use) string {
	var parts []string
	last := ""
	for _, u := range uses {
		for _, a := range u.Actions {
			if s := service(a); s == last {
				a = strings.TrimPrefix(a, s+":")
			} else {
				last = s
			}
			parts = append(parts, "`"+a+"`")
		}
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, " ")
}
