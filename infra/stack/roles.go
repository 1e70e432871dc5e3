package stack

import (
	"maps"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/permission"
)

// rights returns the policy of a function with what package permission lists for
// it. targets has the ARN of everything that this policy is about, but of the
// function's log group.
func (s *builder) rights(function string, group awslogs.CfnLogGroup, targets map[permission.Target]any) map[string]any {
	on := map[permission.Target]any{permission.LogGroup: group.AttrArn()} // ends with :*, for the log streams
	maps.Copy(on, targets)
	var statements []any
	for _, t := range targetOrder {
		arn, ok := on[t]
		if !ok {
			continue
		}
		var statement any = allow(function, t, arn)
		switch t {
		case permission.EventBus:
			statement = ifOnly(s.conditions.eventBus, statement)
		case permission.SigningProfiles:
			statement = ifOnly(s.conditions.signing, statement)
		}
		statements = append(statements, statement)
	}
	if slices.ContainsFunc(permission.Functions[function],
		func(n permission.Need) bool { return n.On == permission.Network }) {
		statements = append(statements, ifOnly(s.conditions.network, networkRights(function)))
	}
	return policy(statements...)
}

// addRole adds the role of a function.
func addRole(s *builder, id string, rights map[string]any) awsiam.CfnRole {
	return addRoleFor(s, id, "lambda.amazonaws.com", "function", rights)
}

// addRoleFor adds a role that a service assumes, with a policy of a name.
func addRoleFor(s *builder, id, service, name string, rights map[string]any) awsiam.CfnRole {
	role := awsiam.NewCfnRole(s.stack, jsii.String(id), &awsiam.CfnRoleProps{
		AssumeRolePolicyDocument: policy(map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"Service": service}, "Action": "sts:AssumeRole",
		}),
		PermissionsBoundary: awscdk.Token_AsString(ifOnly(s.conditions.boundary,
			s.params[deployed.ParamPermissionsBoundary].Value()), nil),
		Policies: []any{&awsiam.CfnRole_PolicyProperty{
			PolicyName:     jsii.String(name),
			PolicyDocument: rights,
		}},
	})
	awscdk.Validations_Of(role).Acknowledge(&awscdk.Acknowledgment{
		Id:     jsii.String("CloudFormation-Validate::F3033"),
		Reason: jsii.String("The permissions boundary is empty only where the condition leaves it out"),
	})
	return role
}

// targetOrder is the order of the statements.
var targetOrder = []permission.Target{
	permission.Everything, permission.Repositories, permission.Generator, permission.StateMachine,
	permission.Executions, permission.EventBus, permission.SigningProfiles, permission.FailureQueue,
	permission.LogGroup,
}

// allow returns the statement with all that a function may do on one target.
func allow(function string, on permission.Target, arn any) map[string]any {
	return statement("Allow", permission.Functions[function], on, arn)
}

// deny returns the statement with all that a function must not do on one target.
func deny(function string, on permission.Target, arn any) map[string]any {
	denied := statement("Deny", permission.Denied[function], on, arn)
	denied["Sid"] = on.Statement()
	return denied
}

func statement(effect string, needs []permission.Need, on permission.Target, arn any) map[string]any {
	var actions []string
	for _, need := range needs {
		if need.On == on && !slices.Contains(actions, need.Action) {
			actions = append(actions, need.Action)
		}
	}
	if len(actions) == 0 {
		panic("internal error: no right on " + string(on))
	}
	return map[string]any{"Effect": effect, "Action": actions, "Resource": arn}
}

func policy(statements ...any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}

// busARN is the event bus of the parameter.
func (s *builder) busARN() *string {
	return s.sub("arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${" + deployed.ParamEventBus +
		"}")
}
