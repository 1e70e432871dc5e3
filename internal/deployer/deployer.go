// Package deployer knows what somebody must be allowed to do who creates,
// updates and deletes the stack: for each type of resource in the template the
// calls that CloudFormation makes in that somebody's name, and on what.
//
// It is the source of docs/deployer-policy.json, docs/boundary-policy.json and
// of the tables in docs/permissions.md. Start with [Policy], [Boundary] and
// [Tables].
package deployer

//go:generate go run ../devtools/cmd/mkpolicies ../../docs

// Scope is what actions are allowed on.
type Scope string

// The scopes.
const (
	Stack        Scope = "the stack"
	Code         Scope = "the functions' code in the bucket"
	CodeBucket   Scope = "the bucket"
	Roles        Scope = "roles of the stack"
	BoundedRoles Scope = "roles of the stack that have the permissions boundary"
	PassedRoles  Scope = "roles of the stack, handed to Lambda"
	Functions    Scope = "functions of the stack"
	Queues       Scope = "queues of the stack"
	Rules        Scope = "rules of the stack on the default event bus"
	LogGroups    Scope = "log groups of the stack"
	Alarms       Scope = "alarms of the stack"
	AllAlarms    Scope = "alarms"
	Dashboards   Scope = "the stack's dashboard"
	Anything     Scope = "everything: these actions know no resource"
)

// Resources are the ARNs of the scopes, with placeholders.
// CloudFormation begins the names that it makes with the stack's name.
var Resources = map[Scope][]string{
	Stack:        {"arn:${Partition}:cloudformation:${Region}:${Account}:stack/${Stack}/*"},
	Code:         {"arn:${Partition}:s3:::${CodeBucket}/${CodePrefix}*"},
	CodeBucket:   {"arn:${Partition}:s3:::${CodeBucket}"},
	Roles:        {"arn:${Partition}:iam::${Account}:role/${Stack}-*"},
	BoundedRoles: {"arn:${Partition}:iam::${Account}:role/${Stack}-*"},
	PassedRoles:  {"arn:${Partition}:iam::${Account}:role/${Stack}-*"},
	Functions:    {"arn:${Partition}:lambda:${Region}:${Account}:function:${Stack}-*"},
	Queues:       {"arn:${Partition}:sqs:${Region}:${Account}:${Stack}-*"},
	Rules:        {"arn:${Partition}:events:${Region}:${Account}:rule/${Stack}-*"},
	LogGroups:    {"arn:${Partition}:logs:${Region}:${Account}:log-group:/aws/lambda/${Stack}-*"},
	Alarms:       {"arn:${Partition}:cloudwatch:${Region}:${Account}:alarm:${Stack}-*"},
	AllAlarms:    {"arn:${Partition}:cloudwatch:${Region}:${Account}:alarm:*"},
	Dashboards:   {"arn:${Partition}:cloudwatch::${Account}:dashboard/${Stack}"},
	Anything:     {"*"},
}

// conditions of the scopes that have one.
var conditions = map[Scope]map[string]map[string]string{
	BoundedRoles: {"StringEquals": {"iam:PermissionsBoundary": "arn:${Partition}:iam::${Account}:policy/${Boundary}"}},
	PassedRoles:  {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
}

// sids name the statements, in the order of the policy.
var sids = []struct {
	scope Scope
	sid   string
}{
	{Stack, "Stack"},
	{Code, "Code"},
	{CodeBucket, "CodeBucket"},
	{BoundedRoles, "RolesWithinTheBoundary"},
	{Roles, "Roles"},
	{PassedRoles, "RolesForLambda"},
	{Functions, "Functions"},
	{Queues, "FailureQueue"},
	{Rules, "Rules"},
	{LogGroups, "LogGroups"},
	{Alarms, "Alarms"},
	{AllAlarms, "AlarmsToRead"},
	{Dashboards, "Dashboard"},
	{Anything, "WithoutResource"},
}

// Use is a group of actions on one scope.
type Use struct {
	Scope   Scope
	Actions []string
}

// Type is what one type of resource needs. CloudFormation calls the service
// with the rights of whoever asked for the deployment.
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
		Name:   "AWS::CloudWatch::Dashboard",
		Create: []Use{{Dashboards, []string{"cloudwatch:GetDashboard", "cloudwatch:PutDashboard", "cloudwatch:TagResource"}}},
		Update: []Use{{Dashboards, []string{"cloudwatch:ListTagsForResource", "cloudwatch:UntagResource"}}},
		Delete: []Use{{Dashboards, []string{"cloudwatch:DeleteDashboards"}}},
	},
	{
		Name:   "AWS::ECR::PullTimeUpdateExclusion",
		Create: []Use{{Anything, []string{"ecr:ListPullTimeUpdateExclusions", "ecr:RegisterPullTimeUpdateExclusion"}}},
		Delete: []Use{{Anything, []string{"ecr:DeregisterPullTimeUpdateExclusion"}}},
	},
	{
		Name:   "AWS::Events::Rule",
		Create: []Use{{Rules, []string{"events:DescribeRule", "events:PutRule", "events:PutTargets", "events:TagResource"}}},
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
			{Roles, []string{"iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:ListRoleTags", "iam:UntagRole",
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
		Name:   "AWS::Lambda::EventInvokeConfig",
		Create: []Use{{Functions, []string{"lambda:GetFunctionEventInvokeConfig", "lambda:PutFunctionEventInvokeConfig"}}},
		Update: []Use{{Functions, []string{"lambda:UpdateFunctionEventInvokeConfig"}}},
		Delete: []Use{{Functions, []string{"lambda:DeleteFunctionEventInvokeConfig"}}},
	},
	{
		Name: "AWS::Lambda::Function",
		Create: []Use{
			{Functions, []string{"lambda:CreateFunction", "lambda:GetFunction", "lambda:GetFunctionCodeSigningConfig",
				"lambda:GetFunctionRecursionConfig", "lambda:GetFunctionScalingConfig", "lambda:GetRuntimeManagementConfig",
				"lambda:ListTags", "lambda:PutFunctionConcurrency", "lambda:TagResource"}},
			{PassedRoles, []string{"iam:PassRole"}},
			{Code, []string{"s3:GetObject"}},
		},
		Update: []Use{{Functions, []string{"lambda:DeleteFunctionConcurrency", "lambda:UntagResource",
			"lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"}}},
		Delete: []Use{{Functions, []string{"lambda:DeleteFunction"}}},
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
			{Anything, []string{"logs:DescribeIndexPolicies", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies"}},
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
		// CloudFormation invokes the function that the resource names.
		Name:   "Custom::SociRepositoryArns",
		Create: []Use{{Functions, []string{"lambda:InvokeFunction"}}},
	},
}

// commands are what the commands themselves call: aws cloudformation deploy
// and delete-stack, and make package.
var commands = []struct {
	Use
	Why string
}{
	{Use{Stack, []string{"cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet",
		"cloudformation:DescribeStacks",
		"cloudformation:ExecuteChangeSet", "cloudformation:GetTemplateSummary", "cloudformation:TagResource"}},
		"`aws cloudformation deploy`"},
	{Use{Stack, []string{"cloudformation:DescribeStackEvents", "cloudformation:DescribeStackResources"}},
		"seeing why a deployment failed"},
	{Use{Stack, []string{"cloudformation:DeleteChangeSet", "cloudformation:DeleteStack"}},
		"`aws cloudformation delete-stack`, and change sets that were not executed"},
	{Use{Code, []string{"s3:GetObject", "s3:PutObject"}}, "`make package`, and making the functions of it"},
	{Use{CodeBucket, []string{"s3:ListBucket"}},
		"`make package`: whether the bucket is there, and what of the code is in it"},
}
