package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded/version"
)

// addOutputs adds what people and the command line want to know of a stack. The
// README says of each what it is.
func addOutputs(s *builder) {
	for _, o := range []struct {
		name  string
		value *string
	}{
		{deployed.OutFilterFunctionName, s.filter.resource.Ref()},
		{deployed.OutFilterFunctionARN, s.filter.resource.AttrArn()},
		{deployed.OutGeneratorFunctionName, s.generator.resource.Ref()},
		{deployed.OutGeneratorFunctionARN, s.generator.resource.AttrArn()},
		{deployed.OutGeneratorRoleName, s.generator.role.Ref()},
		{deployed.OutRepositoryFunctionName, s.reponame.resource.Ref()},
		{deployed.OutFilterLogGroup, s.filter.logGroup.Ref()},
		{deployed.OutGeneratorLogGroup, s.generator.logGroup.Ref()},
		{deployed.OutRepositoryLogGroup, s.reponame.logGroup.Ref()},
		{deployed.OutTailFilterLogs, s.tail(s.filter)},
		{deployed.OutTailGeneratorLogs, s.tail(s.generator)},
		{deployed.OutStepsFunctionARN, s.steps.resource.AttrArn()},
		{deployed.OutStepsLogGroup, s.steps.logGroup.Ref()},
		{deployed.OutStateMachineARN, s.machine.Ref()},
		{deployed.OutFailureQueueURL, s.queue.Ref()},
		{deployed.OutFailureQueueARN, s.queue.AttrArn()},
		{deployed.OutRuleName, s.rules[0].resource.Ref()},
		{deployed.OutDashboardURL, s.dashboardURL()},
		{deployed.OutVersion, jsii.String(version.Version)},
	} {
		awscdk.NewCfnOutput(s.stack, jsii.String(o.name), &awscdk.CfnOutputProps{Value: o.value})
	}
}

func (s *builder) tail(f function) *string {
	return s.sub("aws logs tail ${" + *f.logGroup.Node().Id() + "} --follow --since 1h --region ${AWS::Region}")
}

// dashboardURL links to the dashboard. The console's address has no pattern
// over the partitions; one that is not known here must not fail the stack.
func (s *builder) dashboardURL() *string {
	host := awscdk.Token_AsString(ifElse(s.conditions.china, "console.amazonaws.cn",
		ifElse(s.conditions.govCloud, "console.amazonaws-us-gov.com",
			ifElse(s.conditions.europeanSovereign, "console.amazonaws-eusc.eu", "console.aws.amazon.com"))), nil)
	return awscdk.Fn_Sub(jsii.String(
		"https://${AWS::Region}.${Host}/cloudwatch/home?region=${AWS::Region}#dashboards/dashboard/${AWS::StackName}"),
		&map[string]*string{"Host": host})
}
