package stack

import (
	"maps"
	"slices"
	"testing"
)

// before returns all resources that CloudFormation has made, or updated, when it
// comes to one of them; Resources that are deleted go the other way.
func (tmpl *template) before(id string) map[string]bool {
	all := make(map[string]bool)
	var visit func(id string)
	visit = func(id string) {
		for _, other := range tmpl.needs(id) {
			if !all[other] {
				all[other] = true
				visit(other)
			}
		}
	}
	visit(id)
	return all
}

// needs returns the resources that a resource names.
func (tmpl *template) needs(id string) []string {
	r := tmpl.Resources[id]
	all := slices.Clone(r.DependsOn)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			if ref, ok := v["Ref"].(string); ok {
				all = append(all, ref)
			}
			if of, ok := v["Fn::GetAtt"].([]any); ok {
				all = append(all, of[0].(string))
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name])
			}
		}
	}
	walk(r.Properties)
	return slices.DeleteFunc(all, func(id string) bool { _, there := tmpl.Resources[id]; return !there })
}

func TestOrder(t *testing.T) {
	tmpl := synth(t)
	for _, tt := range []struct{ id, after, why string }{
		{"PushRule", "GeneratorRepositoryPolicy", "no event arrives before the generator's rights"},
		{"ReplicationRule", "GeneratorRepositoryPolicy", "the same"},
		{"PullThroughCacheRule", "GeneratorRepositoryPolicy", "the same"},
		{"PushRule", "FilterAsyncConfig", "an event that fails must have somewhere to go"},
		{"ReplicationRule", "FilterAsyncConfig", "the same"},
		{"PullThroughCacheRule", "FilterAsyncConfig", "the same"},
		{"PushRule", "GeneratorAsyncConfig", "the same"},
		{"PushRule", "GeneratorPullTimeExclusion", "no pull of the generator's counts"},
		{"FilterFunction", "GeneratorRepositoryPolicy", "new filters are in use when the new rights are there"},
		{"GeneratorFunction", "GeneratorRepositoryPolicy", "new code has the rights that it needs"},
		{"GeneratorRepositoryPolicy", "Repositories", "the rights are on the repositories that the filters name"},
		{"FilterFunction", "Repositories", "filters that are refused reach no function"},
		{"Repositories", "RepositoryNameFunction",
			"it answers with its new code, and is there when the resource is deleted"},
		{"FilterFunction", "FilterLogGroup", "the function is deleted before its log group, which nobody makes again"},
		{"GeneratorFunction", "GeneratorLogGroup", "the same"},
		{"RepositoryNameFunction", "RepositoryNameLogGroup", "the same"},
		{"FailureQueuePolicy", "PushRule", "the policy names the rules"},
	} {
		for _, id := range []string{tt.id, tt.after} {
			if _, ok := tmpl.Resources[id]; !ok {
				t.Errorf("there is no resource %s", id)
			}
		}
		if !tmpl.before(tt.id)[tt.after] {
			t.Errorf("%s does not come after %s: %s", tt.id, tt.after, tt.why)
		}
	}
	for id := range tmpl.Resources {
		if tmpl.before(id)[id] {
			t.Errorf("%s comes after itself", id)
		}
	}
}

// When filters change, the new permissions must be there before the old ones go.
// They come as a policy with another name: CloudFormation replaces a policy whose
// name changes, and deletes the old one at the end.
func TestRightsAreReplaced(t *testing.T) {
	policy := synth(t).Resources["GeneratorRepositoryPolicy"]
	if policy.Type != "AWS::IAM::RolePolicy" {
		t.Errorf("the policy is a %s: of AWS::IAM::RolePolicy alone it is said that a new name replaces it",
			policy.Type)
	}
	if got, want := policy.at("PolicyName"), "repositories-${Repositories.RepositoryArnsDigest}"; got != want {
		t.Errorf("the policy's name is %s, want %s", got, want)
	}
	if got, want := policy.at("PolicyDocument.Statement.0.Resource"), "${Repositories.RepositoryArns}"; got != want {
		t.Errorf("the policy is on %s, want %s", got, want)
	}
}
