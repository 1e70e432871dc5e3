// Package contract has the names that the stack's template and the functions must
// agree on: variables of the functions' environment, and what the custom resource is
// asked and answers. It imports nothing.
package contract

// The variables that the template gives to functions. Others, which only people set,
// are in the functions' configurations alone.
const (
	// Of the filter.
	VarFilters         = "SOCI_REPOSITORY_IMAGE_TAG_FILTERS"
	VarGenerator       = "SOCI_INDEX_GENERATOR_LAMBDA_ARN"
	VarUntagged        = "SOCI_INDEX_UNTAGGED_IMAGES"
	VarOwnRepositories = "SOCI_OWN_REPOSITORIES" // where the functions are images

	// Of the generator, and of the function that does the steps.
	VarIndexVersion    = "SOCI_INDEX_VERSION"
	VarTagUnindexed    = "SOCI_TAG_UNINDEXED_IMAGES"
	VarPrefetch        = "SOCI_PREFETCH"
	VarPlatforms       = "SOCI_PLATFORMS"
	VarMinLayerSizeMiB = "SOCI_MIN_LAYER_SIZE_MIB"
	VarEventBus        = "SOCI_EVENT_BUS"
	VarStateMachine    = "SOCI_STATE_MACHINE_ARN"
	VarFanOutFromGiB   = "SOCI_FAN_OUT_FROM_GIB"
	VarStepsMemoryMiB  = "SOCI_STEPS_MEMORY_MIB"
	VarHandler         = "SOCI_HANDLER"

	// Of all of these, and VarLogLevel of the custom resource's function too.
	VarTagSuffix    = "SOCI_TAG_SUFFIX"
	VarFailureQueue = "SOCI_FAILURE_QUEUE_URL"
	VarStackName    = "SOCI_STACK_NAME"
	VarLogLevel     = "LOG_LEVEL"
)

// DoesSteps is the value of VarHandler for the function that does the steps of the
// state machine.
const DoesSteps = "steps"
