package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
)

// addLogGroup adds the log group of a function. It belongs to the stack, so
// that the retention holds from the first line and nothing stays behind: the
// function is deleted before its log group, and its role cannot make another.
// CloudFormation deletes a log group unless configured to keep it.
func addLogGroup(s *builder, id, name string) awslogs.CfnLogGroup {
	return awslogs.NewCfnLogGroup(s.stack, jsii.String(id), &awslogs.CfnLogGroupProps{
		LogGroupName:    s.sub("/aws/lambda/${AWS::StackName}-" + name),
		RetentionInDays: s.params[deployed.ParamLogRetentionDays].ValueAsNumber(),
	})
}

// logging makes a function write JSON to its log group.
//
// ApplicationLogLevel drops lines, and among them those without a level, which
// the metrics are; above INFO there would be none. It is DEBUG only to let the
// functions' own DEBUG lines pass: what they write is governed by LOG_LEVEL. The
// system's lines are written from INFO on, which is the default.
func (s *builder) logging(group awslogs.CfnLogGroup) *awslambda.CfnFunction_LoggingConfigProperty {
	return &awslambda.CfnFunction_LoggingConfigProperty{
		LogFormat:           jsii.String("JSON"),
		LogGroup:            group.Ref(),
		ApplicationLogLevel: awscdk.Token_AsString(ifElse(s.conditions.debug, "DEBUG", "INFO"), nil),
	}
}
