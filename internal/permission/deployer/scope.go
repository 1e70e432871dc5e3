package deployer

import (
	"strings"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
)

// Scope is what actions are allowed on.
type Scope string

// The scopes.
const (
	Stack               Scope = "the stack"
	AllStacks           Scope = "the stacks of the region"
	Companion           Scope = "the companion stack"
	Code                Scope = "the functions' code in the bucket"
	CodeBucket          Scope = "the bucket"
	ManagedBucket       Scope = "the managed bucket"
	ManagedCode         Scope = "code and records in the managed bucket"
	ManagedObjects      Scope = "all objects in the managed bucket"
	Buckets             Scope = "all buckets, in the regions without account-regional names"
	ManagedRepositories Scope = "the companion stack's repositories"
	OwnRepositories     Scope = "your repositories for the functions' images"
	Repositories        Scope = "the repositories of the region"
	Roles               Scope = "roles of the stack"
	BoundedRoles        Scope = "roles of the stack that have the permissions boundary"
	PassedRoles         Scope = "roles of the stack, handed to Lambda"
	PassedToStates      Scope = "roles of the stack, handed to Step Functions"
	ServiceRole         Scope = "the role of `--role-arn`, handed to CloudFormation"
	Functions           Scope = "functions of the stack"
	Machines            Scope = "state machines of the stack"
	Queues              Scope = "queues of the stack"
	Rules               Scope = "rules of the stack on the default event bus"
	LogGroups           Scope = "log groups of the stack"
	Alarms              Scope = "alarms of the stack"
	AllAlarms           Scope = "alarms"
	Dashboards          Scope = "the stack's dashboard"
	Anything            Scope = "everything: these actions know no resource"
)

// machines are the state machines that CloudFormation names by the logical id.
const machines = "arn:${Partition}:states:${Region}:${Account}:stateMachine:" + deployed.MachineID + "-*"

// scopes are all of them, with the name of their statement, in the order of the
// policies, and their ARNs with placeholders. CloudFormation begins the names
// that it makes with the stack's name.
var scopes = []struct {
	scope     Scope
	sid       string
	resources []string
}{
	{Stack, "Stack", []string{"arn:${Partition}:cloudformation:${Region}:${Account}:stack/${Stack}/*"}},
	{Companion, "CompanionStack",
		[]string{"arn:${Partition}:cloudformation:${Region}:${Account}:stack/${Companion}/*"}},
	{AllStacks, "OtherStacks", []string{"arn:${Partition}:cloudformation:${Region}:${Account}:stack/*"}},
	{Code, "Code", []string{"arn:${Partition}:s3:::${CodeBucket}/${CodePrefix}*"}},
	{CodeBucket, "CodeBucket", []string{"arn:${Partition}:s3:::${CodeBucket}"}},
	{ManagedBucket, "ManagedBucket", []string{"arn:${Partition}:s3:::${ManagedBucket}"}},
	{ManagedCode, "ManagedCode", []string{"arn:${Partition}:s3:::${ManagedBucket}/code/*",
		"arn:${Partition}:s3:::${ManagedBucket}/records/*"}},
	{ManagedObjects, "ManagedObjects", []string{"arn:${Partition}:s3:::${ManagedBucket}/*"}},
	{Buckets, "BucketToFind", []string{"*"}},
	{ManagedRepositories, "ManagedRepositories",
		[]string{"arn:${Partition}:ecr:${Region}:${Account}:repository/${Repositories}/*"}},
	{OwnRepositories, "OwnRepositories",
		[]string{"arn:${Partition}:ecr:${Region}:${Account}:repository/${OwnRepositories}"}},
	{BoundedRoles, "RolesWithinTheBoundary", []string{"arn:${Partition}:iam::${Account}:role/${Stack}-*"}},
	{Roles, "Roles", []string{"arn:${Partition}:iam::${Account}:role/${Stack}-*"}},
	{PassedRoles, "RolesForLambda", []string{"arn:${Partition}:iam::${Account}:role/${Stack}-*"}},
	{PassedToStates, "RoleForStates", []string{"arn:${Partition}:iam::${Account}:role/${Stack}-*"}},
	{ServiceRole, "RoleForCloudFormation", []string{"arn:${Partition}:iam::${Account}:role/${ServiceRole}"}},
	{Functions, "Functions", []string{"arn:${Partition}:lambda:${Region}:${Account}:function:${Stack}-*"}},
	{Machines, "StateMachine", []string{machines}},
	{Queues, "FailureQueue", []string{"arn:${Partition}:sqs:${Region}:${Account}:${Stack}-*"}},
	{Rules, "Rules", []string{"arn:${Partition}:events:${Region}:${Account}:rule/${Stack}-*"}},
	{LogGroups, "LogGroups", []string{"arn:${Partition}:logs:${Region}:${Account}:log-group:/aws/lambda/${Stack}-*"}},
	{Repositories, "Repositories", []string{"arn:${Partition}:ecr:${Region}:${Account}:repository/*"}},
	{Alarms, "Alarms", []string{"arn:${Partition}:cloudwatch:${Region}:${Account}:alarm:${Stack}-*"}},
	{AllAlarms, "AlarmsToRead", []string{"arn:${Partition}:cloudwatch:${Region}:${Account}:alarm:*"}},
	{Dashboards, "Dashboard", []string{"arn:${Partition}:cloudwatch::${Account}:dashboard/${Stack}"}},
	{Anything, "WithoutResource", []string{"*"}},
}

// conditions of the scopes that have one.
var conditions = map[Scope]map[string]map[string]string{
	BoundedRoles: {"StringEquals": {
		"iam:PermissionsBoundary": "arn:${Partition}:iam::${Account}:policy/${Boundary}"}},
	PassedToStates: {"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}},
	PassedRoles:    {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
	ServiceRole:    {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
	// Elsewhere deploy does without.
	Buckets: {"StringLike": {"aws:RequestedRegion": names.WithoutBucketNamespaces}},
}

// Sid is the name of a scope's statement in the policies.
func Sid(s Scope) string {
	for _, of := range scopes {
		if of.scope == s {
			return of.sid
		}
	}
	panic("internal error: no statement for the scope " + string(s))
}

// Names returns what the placeholders in the ARNs stand for, by their names. The
// bucket and the repositories of the user's own and the role of --role-arn are
// not among them.
func Names(partition, account, region, stack string) map[string]string {
	repositories, _, _ := strings.Cut(companion.RepositoryName(stack, ""), "/")
	return map[string]string{
		"Partition": partition, "Account": account, "Region": region, "Stack": stack,
		"ManagedBucket": names.ManagedBucket(account, region), "CodePrefix": names.BucketFolder,
		"Companion": companion.StackName(stack), "Repositories": repositories,
	}
}
