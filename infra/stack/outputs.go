package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/version"
)

// addOutputs adds what people and the command line want to know of a stack.
func addOutputs(s *builder) {
	for _, o := range []struct {
		name, description string
		value             *string
	}{
		{deployed.OutFilterFunctionName, "The function that decides which images are indexed", s.filter.resource.Ref()},
		{deployed.OutFilterFunctionARN, "ARN of the function that decides which images are indexed", s.filter.resource.AttrArn()},
		{deployed.OutGeneratorFunctionName, "The function that builds SOCI indexes", s.generator.resource.Ref()},
		{deployed.OutGeneratorFunctionARN, "ARN of the function that builds SOCI indexes", s.generator.resource.AttrArn()},
		{deployed.OutGeneratorRoleName, "The role of the function that builds SOCI indexes", s.generator.role.Ref()},
		{deployed.OutRepositoryFunctionName, "The function that turns the filters into the ARNs of repositories", s.reponame.resource.Ref()},
		{deployed.OutFilterLogGroup, "Why an image was passed on or not", s.filter.logGroup.Ref()},
		{deployed.OutGeneratorLogGroup, "What became of an image", s.generator.logGroup.Ref()},
		{deployed.OutRepositoryLogGroup, "Why filters were refused", s.reponame.logGroup.Ref()},
		{deployed.OutTailFilterLogs, "Command that follows the filter's log", tail(s.filter)},
		{deployed.OutTailGeneratorLogs, "Command that follows the generator's log", tail(s.generator)},
		{deployed.OutFailureQueueURL, "The queue of events that failed for good", s.queue.Ref()},
		{deployed.OutFailureQueueARN, "ARN of the queue of events that failed for good", s.queue.AttrArn()},
		{deployed.OutRuleName, "The rule on pushes", s.rules[0].resource.Ref()},
		{deployed.OutDashboardURL, "The dashboard", s.dashboardURL()},
		{deployed.OutVersion, "The version of SOCI Index Builder", jsii.String(version.Version)},
	} {
		awscdk.NewCfnOutput(s.stack, jsii.String(o.name), &awscdk.CfnOutputProps{Description: jsii.String(o.description), Value: o.value})
	}
}

func tail(f function) *string {
	return awscdk.Fn_Join(jsii.String(" "), &[]*string{
		jsii.String("aws logs tail"), f.logGroup.Ref(), jsii.String("--follow --since 1h --region"), awscdk.Aws_REGION(),
	})
}

// dashboardURL links to the dashboard. The console's address has no pattern
// over the partitions; one that is not known here must not fail the stack.
func (s *builder) dashboardURL() *string {
	host := awscdk.Token_AsString(ifElse(s.conditions.china, "console.amazonaws.cn",
		ifElse(s.conditions.govCloud, "console.amazonaws-us-gov.com",
			ifElse(s.conditions.europeanSovereign, "console.amazonaws-eusc.eu", "console.aws.amazon.com"))), nil)
	return awscdk.Fn_Sub(jsii.String("https://${AWS::Region}.${ConsoleHost}/cloudwatch/home?region=${AWS::Region}#dashboards/dashboard/${Dashboard}"),
		&map[string]*string{"ConsoleHost": host, "Dashboard": s.dashboardName()})
}
