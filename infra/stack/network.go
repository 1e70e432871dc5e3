package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/permission"
)

// addNetworkRule refuses subnets without security groups and the other way
// round, before CloudFormation changes anything: the functions would be in no
// private network although somebody wanted one.
func addNetworkRule(s *builder) {
	subnets, groups := s.params[deployed.ParamSubnets].Value(), s.params[deployed.ParamSecurityGroups].Value()
	none := func(value any) awscdk.ICfnConditionExpression {
		return awscdk.Fn_ConditionEquals(value, jsii.String(""))
	}
	awscdk.NewCfnRule(s.stack, jsii.String("Network"), &awscdk.CfnRuleProps{
		Assertions: &[]*awscdk.CfnRuleAssertion{{
			// Their patterns differ, so the two are equal only if both are empty.
			Assert: awscdk.Fn_ConditionOr(awscdk.Fn_ConditionEquals(subnets, groups),
				awscdk.Fn_ConditionNot(awscdk.Fn_ConditionOr(none(subnets), none(groups)))),
			AssertDescription: jsii.String(deployed.ParamSubnets + " needs " + deployed.ParamSecurityGroups +
				", and the other way round"),
		}},
	})
}

// networkRights is the statement with which Lambda connects a function to
// subnets. It is not for the function's code, whose requests have the
// condition's key.
func networkRights(function string) map[string]any {
	statement := allow(function, permission.Network, "*")
	statement["Condition"] = map[string]any{"Null": map[string]any{"lambda:SourceFunctionArn": "true"}}
	return statement
}

// network is the VpcConfig of a function: in the subnets of the parameters, if
// there are any. The custom resource's function stays outside: it answers
// CloudFormation through S3, also where the network leads nowhere yet.
func (s *builder) network() any {
	return ifOnly(s.conditions.network, map[string]any{
		"SubnetIds": s.list(deployed.ParamSubnets), "SecurityGroupIds": s.list(deployed.ParamSecurityGroups),
	})
}

// acknowledgeNetwork: the rules take the default of the parameter, which is
// empty, also where the condition leaves it out.
func acknowledgeNetwork(function awslambda.CfnFunction) {
	const reason = "The security groups are empty only where the condition leaves them out"
	for _, id := range []string{"F3031", "E1150"} {
		awscdk.Validations_Of(function).Acknowledge(&awscdk.Acknowledgment{
			Id: jsii.String("CloudFormation-Validate::" + id), Reason: jsii.String(reason),
		})
	}
}
