package stacktest_test

import (
	"maps"
	"slices"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// The stack that awstest makes up has the parameters and outputs of the
// template, with its defaults.
func TestNewStack(t *testing.T) {
	d := stacktest.Deploy(t, awstest.Start(t), "prod-soci", nil, awstest.NewECR(nil))
	want := maps.Clone(d.Stack.Parameters)
	delete(want, deployed.ParamCodeBucket)
	delete(want, deployed.ParamCodeKeyPrefix)
	made := awstest.NewStack("prod-soci")
	if !maps.Equal(made.Parameters, want) {
		t.Errorf("parameters %v, those of the template are %v", made.Parameters, want)
	}
	if is, want := slices.Sorted(maps.Keys(made.Outputs)),
		slices.Sorted(maps.Keys(d.Stack.Outputs)); !slices.Equal(is, want) {
		t.Errorf("outputs %q, those of the template are %q", is, want)
	}
	for _, group := range []string{deployed.OutFilterLogGroup, deployed.OutGeneratorLogGroup,
		deployed.OutRepositoryLogGroup} {
		if made.Outputs[group] != d.Stack.Outputs[group] {
			t.Errorf("%s is %s, in the template %s", group, made.Outputs[group], d.Stack.Outputs[group])
		}
	}
}

// A deployment is found as a stack that runs in an account is.
func TestDeploy(t *testing.T) {
	server := awstest.Start(t)
	d := stacktest.Deploy(t, server, "prod-soci", map[string]string{deployed.ParamFilters: "prod/*:*"},
		awstest.NewECR(nil))
	s, err := deployed.Find(t.Context(), server.Config(), "prod-soci")
	if err != nil {
		t.Fatal(err)
	}
	if s.Filters.String() != "prod/*:*" ||
		s.Outputs[deployed.OutGeneratorFunctionName] != d.Resources["GeneratorFunction"].Physical {
		t.Errorf("%+v", s)
	}
}
