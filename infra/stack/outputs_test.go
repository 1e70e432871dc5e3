package stack

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded/version"
)

func TestOutputs(t *testing.T) {
	want := map[string]string{
		deployed.OutFilterFunctionName:     "${FilterFunction}",
		deployed.OutFilterFunctionARN:      "${FilterFunction.Arn}",
		deployed.OutGeneratorFunctionName:  "${GeneratorFunction}",
		deployed.OutGeneratorFunctionARN:   "${GeneratorFunction.Arn}",
		deployed.OutGeneratorRoleName:      "${GeneratorRole}",
		deployed.OutRepositoryFunctionName: "${RepositoryNameFunction}",
		deployed.OutFilterLogGroup:         "${FilterLogGroup}",
		deployed.OutGeneratorLogGroup:      "${GeneratorLogGroup}",
		deployed.OutRepositoryLogGroup:     "${RepositoryNameLogGroup}",
		deployed.OutStepsFunctionARN:       "${StepsFunction.Arn}",
		deployed.OutStepsLogGroup:          "${StepsLogGroup}",
		deployed.OutStateMachineARN:        "${SociLargeImages}",
		deployed.OutTailFilterLogs: "aws logs tail ${FilterLogGroup} --follow --since 1h --region " +
			"${AWS::Region}",
		deployed.OutTailGeneratorLogs: "aws logs tail ${GeneratorLogGroup} --follow --since 1h --region " +
			"${AWS::Region}",
		deployed.OutFailureQueueURL: "${FailureQueue}",
		deployed.OutFailureQueueARN: "${FailureQueue.Arn}",
		deployed.OutRuleName:        "${PushRule}",
		deployed.OutDashboardURL: "https://${AWS::Region}.if(China, console.amazonaws.cn, if(GovCloud, " +
			"console.amazonaws-us-gov.com, if(Sovereign, console.amazonaws-eusc.eu, " +
			"console.aws.amazon.com)))/cloudwatch/home?region=${AWS::Region}#dashboards/dashboard/${AWS::StackName}",
		deployed.OutVersion: version.Version,
	}
	tmpl := synth(t)
	for name, value := range want {
		if got := textOf(tmpl.Outputs[name].Value); got != value {
			t.Errorf("%s is %s, want %s", name, got, value)
		}
	}
	if got, names := slices.Sorted(maps.Keys(tmpl.Outputs)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, names) {
		t.Errorf("the outputs are\n%q, want\n%q", got, names)
	}
	if dashboard := tmpl.Resources[tmpl.ids("AWS::CloudWatch::Dashboard")[0]].at(
		"DashboardName"); dashboard != "${AWS::StackName}" {
		t.Errorf("the dashboard is called %s, the link is to ${AWS::StackName}", dashboard)
	}
}

// The names that the command line knows are those of the template.
func TestDeployedNames(t *testing.T) {
	tmpl := synth(t)
	outputs := slices.Sorted(maps.Keys(tmpl.Outputs))
	all := maps.Clone(tmpl.Parameters)
	maps.Copy(all, synthImages(t).Parameters)
	parameters := slices.Sorted(maps.Keys(all))
	if got := constants(t, "Out"); !slices.Equal(got, outputs) {
		t.Errorf("package deployed knows the outputs\n%q, the template has\n%q", got, outputs)
	}
	if got := constants(t, "Param"); !slices.Equal(got, parameters) {
		t.Errorf("package deployed knows the parameters\n%q, the templates have\n%q", got, parameters)
	}
}

// constants returns the values of package deployed's constants whose names begin
// with prefix, sorted.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "../../internal/deployed/names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names, err := new(types.Config).Check("deployed", set, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, name := range names.Scope().Names() {
		if c, ok := names.Scope().Lookup(name).(*types.Const); ok && strings.HasPrefix(name, prefix) {
			values = append(values, constant.StringVal(c.Val()))
		}
	}
	slices.Sort(values)
	return values
}
