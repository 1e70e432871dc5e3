// Package deployer knows the permissions needed to create, update and delete the
// stack: for each type of resource in the template the calls that CloudFormation
// makes in the deployer's name, and the calls that the commands make themselves.
//
// It is the source of docs/deployer-policy.json and the policies beside it, of
// docs/boundary-policy.json and of the tables in docs/permissions.md. Start with
// [Parts], [Policy], [Boundary] and [Tables].
package deployer

import "soci-index-builder/internal/function/contract"

//go:generate go run ../../devtools/cmd/mkpolicies ../../../docs

// Use is a group of actions on one scope.
type Use struct {
	Scope   Scope
	Actions []string
}

// Type is what one type of resource needs. CloudFormation calls the service
// with the permissions of the caller who asked for the deployment.
type Type struct {
	Name                   string // as in the template
	Create, Update, Delete []Use
}

// Types are those that the template has, by name. What each needs is what the
// handlers of its schema in CloudFormation's registry list, less what only
// properties need that the template does not set.
var Types = []Type{
	{
		Name: "AWS::CloudWatch::Alarm",
		Create: []Use{
			{Alarms, []string{"cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"}},
			{AllAlarms, []string{"cloudwatch:DescribeAlarms"}},
		},
		Update: []Use{{Alarms, []string{"cloudwatch:ListTagsForResource", "cloudwatch:UntagResource"}}},
		Delete: []Use{{Alarms, []string{"cloudwatch:DeleteAlarms"}}},
	},
	{
		Name: "AWS::CloudWatch::Dashboard",
		Create: []Use{{Dashboards,
			[]string{"cloudwatch:GetDashboard", "cloudwatch:PutDashboard", "cloudwatch:TagResource"}}},
		Update: []Use{{Dashboards, []string{"cloudwatch:ListTagsForResource", "cloudwatch:UntagResource"}}},
		Delete: []Use{{Dashboards, []string{"cloudwatch:DeleteDashboards"}}},
	},
	{
		Name:   "AWS::ECR::PullTimeUpdateExclusion",
		Create: []Use{{Anything, []string{"ecr:ListPullTimeUpdateExclusions", "ecr:RegisterPullTimeUpdateExclusion"}}},
		Delete: []Use{{Anything, []string{"ecr:DeregisterPullTimeUpdateExclusion"}}},
	},
	{
		Name: "AWS::Events::Rule",
		Create: []Use{{Rules,
			[]string{"events:DescribeRule", "events:PutRule", "events:PutTargets", "events:TagResource"}}},
		Update: []Use{{Rules, []string{"events:ListTagsForResource", "events:ListTargetsByRule", "events:RemoveTargets",
			"events:UntagResource"}}},
		Delete: []Use{{Rules, []string{"events:DeleteRule"}}},
	},
	{
		Name: "AWS::IAM::Role",
		Create: []Use{
			{BoundedRoles, []string{"iam:CreateRole", "iam:PutRolePolicy"}},
			{Roles, []string{"iam:GetRole", "iam:GetRolePolicy", "iam:TagRole"}},
		},
		Update: []Use{
			{BoundedRoles, []string{"iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary"}},
			{Roles, []string{"iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:ListRoleTags",
				"iam:UntagRole",
				"iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription"}},
		},
		Delete: []Use{{Roles, []string{"iam:DeleteRole"}}},
	},
	{
		Name: "AWS::IAM::RolePolicy",
		Create: []Use{
			{BoundedRoles, []string{"iam:PutRolePolicy"}},
			{Roles, []string{"iam:GetRolePolicy"}},
		},
		Delete: []Use{{BoundedRoles, []string{"iam:DeleteRolePolicy"}}},
	},
	{
		Name: "AWS::Lambda::EventInvokeConfig",
		Create: []Use{{Functions,
			[]string{"lambda:GetFunctionEventInvokeConfig", "lambda:PutFunctionEventInvokeConfig"}}},
		Update: []Use{{Functions, []string{"lambda:UpdateFunctionEventInvokeConfig"}}},
		Delete: []Use{{Functions, []string{"lambda:DeleteFunctionEventInvokeConfig"}}},
	},
	{
		Name: "AWS::Lambda::Function",
		Create: []Use{
			{Functions, []string{"lambda:CreateFunction", "lambda:GetFunction", "lambda:GetFunctionCodeSigningConfig",
				"lambda:GetFunctionRecursionConfig", "lambda:GetFunctionScalingConfig",
				"lambda:GetRuntimeManagementConfig",
				"lambda:ListTags", "lambda:PutFunctionConcurrency", "lambda:TagResource"}},
			{PassedRoles, []string{"iam:PassRole"}},
			{Code, []string{"s3:GetObject"}},
			// With subnets alone.
			{Anything, []string{"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"}},
		},
		Update: []Use{{Functions, []string{"lambda:DeleteFunctionConcurrency", "lambda:UntagResource",
			"lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"}}},
		Delete: []Use{
			{Functions, []string{"lambda:DeleteFunction"}},
			{Anything, []string{"ec2:DescribeNetworkInterfaces"}},
		},
	},
	{
		Name:   "AWS::Lambda::Permission",
		Create: []Use{{Functions, []string{"lambda:AddPermission", "lambda:GetPolicy"}}},
		Delete: []Use{{Functions, []string{"lambda:RemovePermission"}}},
	},
	{
		Name: "AWS::Logs::LogGroup",
		Create: []Use{
			{LogGroups, []string{"logs:CreateLogGroup", "logs:GetDataProtectionPolicy", "logs:ListTagsForResource",
				"logs:PutRetentionPolicy", "logs:TagResource"}},
			{Anything, []string{"logs:DescribeIndexPolicies", "logs:DescribeLogGroups",
				"logs:DescribeResourcePolicies"}},
		},
		Update: []Use{{LogGroups, []string{"logs:DeleteRetentionPolicy", "logs:UntagResource"}}},
		Delete: []Use{{LogGroups, []string{"logs:DeleteLogGroup"}}},
	},
	{
		Name:   "AWS::Logs::QueryDefinition",
		Create: []Use{{Anything, []string{"logs:DescribeQueryDefinitions", "logs:PutQueryDefinition"}}},
		Delete: []Use{{Anything, []string{"logs:DeleteQueryDefinition"}}},
	},
	{
		Name: "AWS::SQS::Queue",
		Create: []Use{{Queues, []string{"sqs:CreateQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
			"sqs:ListQueueTags", "sqs:SetQueueAttributes", "sqs:TagQueue"}}},
		Update: []Use{{Queues, []string{"sqs:UntagQueue"}}},
		Delete: []Use{{Queues, []string{"sqs:DeleteQueue"}}},
	},
	{
		Name:   "AWS::SQS::QueuePolicy",
		Create: []Use{{Queues, []string{"sqs:SetQueueAttributes"}}},
	},
	{
		Name: "AWS::StepFunctions::StateMachine",
		Create: []Use{
			{Machines, []string{"states:CreateStateMachine", "states:DescribeStateMachine", "states:TagResource"}},
			{PassedToStates, []string{"iam:PassRole"}},
		},
		Update: []Use{{Machines, []string{"states:ListTagsForResource", "states:UntagResource",
			"states:UpdateStateMachine"}}},
		Delete: []Use{{Machines, []string{"states:DeleteStateMachine"}}},
	},
	{
		// CloudFormation invokes the function that the resource names.
		Name:   contract.ResourceType,
		Create: []Use{{Functions, []string{"lambda:InvokeFunction"}}},
	},
}
