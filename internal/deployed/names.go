// Package deployed knows a stack of this project that runs in an account: the
// names of its parameters and outputs, and what CloudFormation says of it.
//
// Start with [Find].
package deployed

// Metadata is the key in the metadata of every template of this project; what
// stands there is an object with the Version.
const Metadata = "SociIndexBuilder"

// The stack's parameters. The template declares them under these names.
const (
	ParamFilters              = "SociRepositoryImageTagFilters"
	ParamIndexVersion         = "SociIndexVersion"
	ParamTagSuffix            = "SociTagSuffix"
	ParamTagUnindexed         = "TagUnindexedImages"
	ParamPrefetch             = "Prefetch"
	ParamMinLayerSizeMiB      = "MinLayerSizeMiB"
	ParamIndexUntagged        = "IndexUntaggedImages"
	ParamIndexReplicated      = "IndexReplicatedImages"
	ParamIndexPullThrough     = "IndexPullThroughCacheImages"
	ParamGeneratorMemorySize  = "GeneratorMemorySize"
	ParamGeneratorConcurrency = "GeneratorReservedConcurrency"
	ParamFanOutFromGiB        = "FanOutFromGiB"
	ParamFanOutConcurrency    = "FanOutConcurrency"
	ParamStepsMemorySize      = "StepsMemorySize"
	ParamPlatforms            = "Platforms"
	ParamSigningProfiles      = "SigningProfileArns"
	ParamSubnets              = "SubnetIds"
	ParamSecurityGroups       = "SecurityGroupIds"
	ParamLogRetentionDays     = "LogRetentionDays"
	ParamLogLevel             = "LogLevel"
	ParamPermissionsBoundary  = "IamPermissionsBoundaryArn"
	ParamAlarmTopic           = "AlarmTopicArn"
	ParamEventBus             = "EventBusName"

	// Of the template whose functions are zip files in a bucket.
	ParamCodeBucket    = "CodeS3Bucket"
	ParamCodeKeyPrefix = "CodeS3KeyPrefix"

	// Of the template whose functions are container images.
	ParamFilterImage         = FilterID + ImageSuffix
	ParamGeneratorImage      = GeneratorID + ImageSuffix
	ParamRepositoryNameImage = RepositoryNameID + ImageSuffix
)

// ImageSuffix ends the names of the parameters that take functions' images; the
// function's logical id is in front of it.
const ImageSuffix = "ImageUri"

// The stack's outputs.
const (
	OutFilterFunctionName     = "FilterFunctionName"
	OutFilterFunctionARN      = "FilterFunctionArn"
	OutGeneratorFunctionName  = "GeneratorFunctionName"
	OutGeneratorFunctionARN   = "GeneratorFunctionArn"
	OutRepositoryFunctionName = "RepositoryNameFunctionName"
	OutFilterLogGroup         = "FilterLogGroupName"
	OutGeneratorLogGroup      = "GeneratorLogGroupName"
	OutRepositoryLogGroup     = "RepositoryNameLogGroupName"
	OutFailureQueueURL        = "FailureQueueUrl"
	OutFailureQueueARN        = "FailureQueueArn"
	OutStepsFunctionARN       = "StepsFunctionArn"
	OutStepsLogGroup          = "StepsLogGroupName"
	OutStateMachineARN        = "StateMachineArn"
	OutRuleName               = "RuleName"
	OutGeneratorRoleName      = "GeneratorRoleName"
	OutDashboardURL           = "DashboardUrl"
	OutTailFilterLogs         = "TailFilterLogs"
	OutTailGeneratorLogs      = "TailGeneratorLogs"
	OutVersion                = "Version"
)

// The logical ids of the functions. StepsID has the generator's code.
const (
	FilterID         = "FilterFunction"
	GeneratorID      = "GeneratorFunction"
	StepsID          = "StepsFunction"
	RepositoryNameID = "RepositoryNameFunction"
)

// StepsRoleID is the logical id of the role of the function that does the steps
// of the state machine.
const StepsRoleID = "StepsRole"

// MachineID is the logical id of the state machine, with which CloudFormation
// begins its name: it does not begin with the stack's.
const MachineID = "SociLargeImages"
