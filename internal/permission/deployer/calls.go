package deployer

import "soci-index-builder/internal/embedded"

// Part is one of the policies that a deployer needs; which of them depends on
// where the functions' code comes from.
type Part struct {
	File string // in docs, without its ending
	For  string // when it is needed
}

// The parts.
var (
	Base     = Part{"deployer-policy", "always: what CloudFormation does for the stack"}
	Commands = Part{"deployer-policy-commands",
		"always: what `deploy`, `watch`, `rollback`, `destroy` and `doctor` call themselves"}
	Zip       = Part{"deployer-policy-zip", "`--package zip` with the bucket that `deploy` creates"}
	OwnBucket = Part{"deployer-policy-own-bucket", "`--package zip --bucket NAME`, `make package` and the CDK"}
	Image     = Part{"deployer-policy-image",
		"`--package image` with the repositories that `deploy` creates in a companion stack"}
	OwnImage  = Part{"deployer-policy-own-repositories", "`--package image --repository FUNCTION=URI`"}
	RoleARN   = Part{"deployer-policy-role-arn", "`--role-arn`: the caller hands the role to CloudFormation"}
	partOrder = []Part{Base, Commands, Zip, OwnBucket, Image, OwnImage, RoleARN}
)

// Parts returns all of them, in the order of the documentation.
func Parts() []Part { return append([]Part(nil), partOrder...) }

// Needed returns the parts for a package mode; own is whether the user names the
// bucket or the repositories.
func Needed(mode embedded.Package, own bool) []Part {
	switch {
	case mode == embedded.Image && own:
		return []Part{Base, Commands, OwnImage}
	case mode == embedded.Image:
		return []Part{Base, Commands, Image}
	case own:
		return []Part{Base, Commands, OwnBucket}
	}
	return []Part{Base, Commands, Zip}
}

// Flow is what makes a call.
type Flow string

// The flows.
const (
	Deploy           Flow = "`deploy`"
	Failure          Flow = "`deploy`, after a failure"
	Interrupt        Flow = "`deploy`, interrupted"
	Guided           Flow = "`deploy --guided`"
	CodeOnly         Flow = "`deploy --code-only`"
	Watch            Flow = "`deploy` and `watch`"
	Rollback         Flow = "`rollback`"
	Destroy          Flow = "`destroy`"
	Waking           Flow = "`deploy`"
	Doctor           Flow = "`doctor`, `deploy`"
	DoctorNetwork    Flow = "`doctor`, `deploy` in private networks"
	Implied          Flow = "with another call"
	CloudFormation   Flow = "CloudFormation, Lambda"
	AWSCLI           Flow = "`aws cloudformation deploy`"
	Package          Flow = "`make package`"
	FirstManaged     Flow = "`deploy`, the first time"
	Managed          Flow = "`deploy`"
	Own              Flow = "`deploy --bucket`"
	Companions       Flow = "`deploy`"
	CompanionFailure Flow = "`deploy`, after a failure"
	Pushed           Flow = "`deploy`"
	Prune            Flow = "`deploy`, at its end"
)

// Call is what is called besides what CloudFormation does for the resources of
// the template.
type Call struct {
	Use
	Part Part
	Flow Flow
	Why  string
}

// Calls are all of them; a test compares them with the requests that the
// commands send. GetCallerIdentity is missing: it needs no permission.
var Calls = []Call{
	{Use{Stack, []string{"cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet",
		"cloudformation:DescribeChangeSet", "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet",
		"cloudformation:GetTemplate", "cloudformation:ListChangeSets", "cloudformation:UpdateTerminationProtection"}},
		Commands, Deploy, "reading the stack, creating and executing the change set"},
	{Use{Stack, []string{"cloudformation:TagResource"}}, Commands, Implied, "the stack's tags"},
	{Use{Stack, []string{"cloudformation:DescribeStackEvents"}}, Commands, Watch, "showing what happens"},
	{Use{Stack, []string{"cloudformation:DescribeEvents", "cloudformation:ListStackResources"}}, Commands, Failure,
		"finding the root cause"},
	{Use{Stack, []string{"cloudformation:ContinueUpdateRollback", "cloudformation:DeleteStack"}}, Commands, Failure,
		"a failed rollback is continued, a failed creation deleted; `destroy`"},
	{Use{Stack, []string{"cloudformation:CancelUpdateStack"}}, Commands, Interrupt, "cancelling the update"},
	{Use{Stack, []string{"cloudformation:DescribeStackResources", "cloudformation:GetTemplateSummary"}}, Commands,
		AWSCLI,
		"the plain template"},
	{Use{LogGroups, []string{"logs:FilterLogEvents"}}, Commands, Failure, "what the custom resource logged"},
	{Use{Functions, []string{"lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration",
		"lambda:GetFunctionEventInvokeConfig", "lambda:GetPolicy"}}, Commands, Doctor, "the functions as they are"},
	{Use{Functions, []string{"lambda:GetFunction", "lambda:UpdateFunctionCode"}}, Commands, CodeOnly,
		"updating code in place; whether code was changed so"},
	{Use{Rules, []string{"events:DescribeRule", "events:ListTargetsByRule"}}, Commands, Doctor,
		"the rules as they are"},
	{Use{Machines, []string{"states:DescribeStateMachine"}}, Commands, Doctor, "the state machine as it is"},
	{Use{Roles, []string{"iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies"}}, Commands, Doctor,
		"the roles as they are"},
	{Use{Queues, []string{"sqs:GetQueueAttributes"}}, Commands, Doctor, "messages in the failure queue; `destroy` too"},
	{Use{AllAlarms, []string{"cloudwatch:DescribeAlarms"}}, Commands, Doctor, "alarms that are ringing"},
	{Use{Repositories, []string{"ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy"}},
		Commands,
		Doctor, "the repositories that the filters choose"},
	{Use{Repositories, []string{"ecr:DescribeImages"}}, Commands, Guided,
		"what the filters would choose, and its cost"},
	{Use{Anything, []string{"cloudwatch:GetMetricData", "ecr:GetAccountSetting", "ecr:GetSigningConfiguration",
		"ecr:ListPullTimeUpdateExclusions", "logs:DescribeLogGroups"}}, Commands, Doctor, "activity and settings"},
	{Use{Anything, []string{"ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls", "ec2:DescribeRouteTables",
		"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints"}}, Commands, DoctorNetwork,
		"whether the services can be reached from the subnets"},

	{Use{ManagedBucket, []string{"s3:CreateBucket", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock",
		"s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"}}, Zip, FirstManaged,
		"creating the bucket and its settings; settings that were changed are set again"},
	{Use{ManagedBucket, []string{"s3:PutBucketTagging", "s3:TagResource"}}, Zip, Implied, "the bucket's tag"},
	{Use{ManagedBucket, []string{"s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging",
		"s3:GetBucketVersioning", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:ListBucket"}},
		Zip,
		Managed, "checking the bucket, its tag and its settings"},
	{Use{ManagedCode, []string{"s3:GetObject", "s3:PutObject"}}, Zip, Managed,
		"uploading code and records; CloudFormation reads the code"},
	{Use{ManagedBucket, []string{"s3:ListBucketVersions"}}, Zip, Prune, "old code, all versions of it"},
	{Use{ManagedObjects, []string{"s3:DeleteObjectVersion"}}, Zip, Prune,
		"old code and records; `destroy` empties the bucket"},
	{Use{AllStacks, []string{"cloudformation:DescribeStacks"}}, Zip, Prune, "which code other stacks use"},
	{Use{ManagedBucket, []string{"s3:DeleteBucket"}}, Zip, Destroy, "when no other stack uses the bucket"},
	{Use{Buckets, []string{"s3:ListAllMyBuckets"}}, Zip, FirstManaged,
		"finding a bucket with a random name, in the regions that need one"},

	{Use{Code, []string{"s3:GetObject", "s3:PutObject"}}, OwnBucket, Own,
		"uploading code and records, also by `make package`; CloudFormation reads the code"},
	{Use{CodeBucket, []string{"s3:ListBucket"}}, OwnBucket, Own,
		"whether the bucket is there, and what of the code is in it"},
	{Use{CodeBucket, []string{"s3:ListBucketVersions"}}, OwnBucket, Prune, "old code that a record names"},
	{Use{Code, []string{"s3:DeleteObjectVersion"}}, OwnBucket, Prune, "the same"},
	{Use{AllStacks, []string{"cloudformation:DescribeStacks"}}, OwnBucket, Prune, "which code other stacks use"},

	{Use{Companion, []string{"cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet",
		"cloudformation:DescribeChangeSet", "cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks",
		"cloudformation:ExecuteChangeSet", "cloudformation:GetTemplate", "cloudformation:ListChangeSets"}}, Image,
		Companions,
		"the same as for the stack"},
	{Use{Companion, []string{"cloudformation:TagResource"}}, Image, Implied, "the companion stack's tags"},
	{Use{Companion, []string{"cloudformation:ContinueUpdateRollback", "cloudformation:DescribeEvents",
		"cloudformation:UpdateTerminationProtection"}}, Image, CompanionFailure, "the same as for the stack"},
	{Use{Companion, []string{"cloudformation:CancelUpdateStack"}}, Image, Interrupt, "cancelling the update"},
	{Use{Companion, []string{"cloudformation:DeleteStack"}}, Image, Destroy,
		"a companion stack that no function needs"},
	{Use{ManagedRepositories, pushing}, Image, Pushed, "pushing images and records, only what is not there yet"},
	{Use{ManagedRepositories, []string{"ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:ListTagsForResource"}},
		Image,
		Companions, "what is in the repositories, and whether they are the program's"},
	{Use{ManagedRepositories, []string{"ecr:BatchDeleteImage"}}, Image, Prune, "old images and records"},
	{Use{AllStacks, []string{"cloudformation:DescribeStacks"}}, Image, Prune, "which images other stacks use"},
	{Use{Anything, []string{"ecr:GetAuthorizationToken"}}, Image, Pushed, "the registry's token"},
	{Use{Functions, []string{"lambda:InvokeFunction"}}, Image, Waking, waking},

	{Use{OwnRepositories, pushing}, OwnImage, Pushed, "pushing images and records, only what is not there yet"},
	{Use{AllStacks, []string{"cloudformation:DescribeStacks"}}, OwnImage, Companions,
		"whether there is a companion stack; for `destroy`, which code other stacks use"},
	{Use{Anything, []string{"ecr:GetAuthorizationToken"}}, OwnImage, Pushed, "the registry's token"},
	{Use{Functions, []string{"lambda:InvokeFunction"}}, OwnImage, Waking, waking},

	{Use{ServiceRole, []string{"iam:PassRole"}}, RoleARN, Implied, "CloudFormation works with the role"},
}

const waking = "waking the function behind the custom resource, if it has not run for weeks"

// pushing is what reading and writing images and records needs. Lambda reads
// images with two of these in the deployer's name.
var pushing = []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload",
	"ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:ListImages", "ecr:PutImage", "ecr:UploadLayerPart"}

// CompanionTypes are the types of resources that the companion's template has.
var CompanionTypes = []Type{
	{
		Name: "AWS::ECR::Repository",
		Create: []Use{{ManagedRepositories, []string{"ecr:CreateRepository", "ecr:DescribeRepositories",
			"ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource", "ecr:PutLifecyclePolicy",
			"ecr:SetRepositoryPolicy", "ecr:TagResource"}}},
		Update: []Use{{ManagedRepositories, []string{"ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability",
			"ecr:UntagResource"}}},
		Delete: []Use{{ManagedRepositories, []string{"ecr:DeleteRepository"}}},
	},
}

// Optional are the actions that the commands ask for and do without where they
// are not allowed, with the reason.
var Optional = map[string]string{
	"s3:ListAllMyBuckets": "a bucket with a random name is looked for everywhere, but only the regions without " +
		"account-regional names can have one",
}
