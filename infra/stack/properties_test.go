package stack

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/devtools/dist"
	"soci-index-builder/internal/function/contract"
)

// property is one thing that must hold of the template; resource may name
// several, apart by blanks. An empty want is the property's absence.
type property struct{ resource, path, want, why string }

const (
	functions = "FilterFunction GeneratorFunction RepositoryNameFunction StepsFunction"
	roles     = "FilterRole GeneratorRole MachineRole RepositoryNameRole StepsRole"
	logGroups = "FilterLogGroup GeneratorLogGroup RepositoryNameLogGroup StepsLogGroup"
	rules     = "PushRule ReplicationRule PullThroughCacheRule"
	async     = "FilterAsyncConfig GeneratorAsyncConfig"
	tagged    = "if(Untagged, nothing, [{anything-but: [\"\"]}])"
)

var promises = []property{
	// The functions.
	{functions, "Runtime", "provided.al2023", "Go without a runtime of Lambda's"},
	{functions, "Handler", "bootstrap", "as make build names the program"},
	{functions, "EphemeralStorage", "", "nothing is written to disk"},
	{functions, "LoggingConfig.LogFormat", "JSON", "the lines are JSON"},
	{functions, "LoggingConfig.ApplicationLogLevel", "if(Debug, DEBUG, INFO)", "above INFO Lambda drops the metrics"},
	{functions, "LoggingConfig.SystemLogLevel", "", "by default INFO: the REPORT lines stay"},
	{functions, "Environment.Variables.LOG_LEVEL", "${LogLevel}", "governs the log alone"},
	{"FilterFunction GeneratorFunction StepsFunction", "VpcConfig", "if(VPC, {SecurityGroupIds: split([,, " +
		"${SecurityGroupIds}]), SubnetIds: split([,, ${SubnetIds}])}, nothing)", "in a private network when asked to"},
	{"RepositoryNameFunction", "VpcConfig", "", "it must reach CloudFormation"},
	{functions, "FunctionName", "", "two stacks live side by side"},
	{"FilterFunction", "Timeout", "60", "two calls, tried again"},
	{"FilterFunction", "MemorySize", "256", "it decides, and is paid for each push"},
	{"FilterFunction", "Role", "${FilterRole.Arn}", "one role per function"},
	{"FilterFunction", "LoggingConfig.LogGroup", "${FilterLogGroup}", "the stack's log group"},
	{"FilterFunction", "@DependsOn", "GeneratorRepositoryPolicy, StepsRepositoryPolicy",
		"no event is passed on before the generator's rights, also when filters change"},
	{"FilterFunction", "Environment.Variables.SOCI_REPOSITORY_IMAGE_TAG_FILTERS",
		"join(,, ${SociRepositoryImageTagFilters})", "the filters"},
	{"FilterFunction", "Environment.Variables.SOCI_INDEX_GENERATOR_LAMBDA_ARN", "${GeneratorFunction.Arn}",
		"whom it calls"},
	{"FilterFunction", "Environment.Variables.SOCI_TAG_SUFFIX", "${SociTagSuffix}", "it knows our own tags"},
	{"FilterFunction", "Environment.Variables.SOCI_INDEX_UNTAGGED_IMAGES", "${IndexUntaggedImages}", "the parameter"},
	{"FilterFunction", "Environment.Variables.SOCI_FAILURE_QUEUE_URL", "${FailureQueue}", "its permanent failures"},
	{"FilterFunction", "Environment.Variables.SOCI_STACK_NAME", "${AWS::StackName}", "dimension of the metrics"},
	{"GeneratorFunction", "Timeout", "900", "the longest that Lambda has"},
	{"GeneratorFunction", "MemorySize", "${GeneratorMemorySize}", "a parameter with a measured default"},
	{"GeneratorFunction", "ReservedConcurrentExecutions", "if(Concurrency, ${GeneratorReservedConcurrency}, nothing)",
		"optional"},
	{"GeneratorFunction", "Role", "${GeneratorRole.Arn}", "one role per function"},
	{"GeneratorFunction", "LoggingConfig.LogGroup", "${GeneratorLogGroup}", "the stack's log group"},
	{"GeneratorFunction", "Environment.Variables.SOCI_INDEX_VERSION", "${SociIndexVersion}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_TAG_SUFFIX", "${SociTagSuffix}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_TAG_UNINDEXED_IMAGES", "${TagUnindexedImages}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_PREFETCH", "${Prefetch}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_MIN_LAYER_SIZE_MIB", "${MinLayerSizeMiB}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_PLATFORMS", "${Platforms}", "the parameter"},
	{"StepsFunction", "Environment.Variables.SOCI_PLATFORMS", "${Platforms}", "the same"},
	{"GeneratorFunction", "Environment.Variables.SOCI_EVENT_BUS", "${EventBusName}", "announcements"},
	{"GeneratorFunction", "Environment.Variables.SOCI_FAILURE_QUEUE_URL", "${FailureQueue}", "its permanent failures"},
	{"GeneratorFunction", "Environment.Variables.SOCI_STACK_NAME", "${AWS::StackName}", "dimension of the metrics"},
	{"GeneratorFunction", "Environment.Variables.SOCI_STATE_MACHINE_ARN", "${SociLargeImages}",
		"hands large images over"},
	{"GeneratorFunction", "Environment.Variables.SOCI_FAN_OUT_FROM_GIB", "${FanOutFromGiB}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_STEPS_MEMORY_MIB", "${StepsMemorySize}", "the parameter"},
	{"GeneratorFunction", "Environment.Variables.SOCI_HANDLER", "", "events of ECR"},
	{"StepsFunction", "Environment.Variables.SOCI_HANDLER", "steps", "requests of the state machine"},
	{"StepsFunction", "Environment.Variables.SOCI_STATE_MACHINE_ARN", "", "it starts nothing"},
	{"StepsFunction", "Environment.Variables.SOCI_INDEX_VERSION", "${SociIndexVersion}", "as the generator's"},
	{"StepsFunction", "Environment.Variables.SOCI_TAG_SUFFIX", "${SociTagSuffix}", "the same"},
	{"StepsFunction", "Environment.Variables.SOCI_TAG_UNINDEXED_IMAGES", "${TagUnindexedImages}", "the same"},
	{"StepsFunction", "Environment.Variables.SOCI_PREFETCH", "${Prefetch}", "the same"},
	{"StepsFunction", "Environment.Variables.SOCI_MIN_LAYER_SIZE_MIB", "${MinLayerSizeMiB}", "the same"},
	{"StepsFunction", "Environment.Variables.SOCI_EVENT_BUS", "${EventBusName}", "announcements"},
	{"StepsFunction", "Environment.Variables.SOCI_FAILURE_QUEUE_URL", "${FailureQueue}", "failures of large images"},
	{"StepsFunction", "Environment.Variables.SOCI_STACK_NAME", "${AWS::StackName}", "dimension of the metrics"},
	{"StepsFunction", "Timeout", "900", "the longest that Lambda has"},
	{"StepsFunction", "MemorySize", "${StepsMemorySize}", "a parameter"},
	{"StepsFunction", "ReservedConcurrentExecutions", "", "the account's concurrency and FanOutConcurrency bound it"},
	{"StepsFunction", "Role", "${StepsRole.Arn}", "one role per function"},
	{"StepsFunction", "LoggingConfig.LogGroup", "${StepsLogGroup}", "the stack's log group"},
	{"StepsFunction", "@DependsOn", "StepsRepositoryPolicy", "new code has the rights that it needs"},
	{"SociLargeImages", "RoleArn", "${MachineRole.Arn}", "it invokes the steps"},
	{"SociLargeImages", "StateMachineType", "", "by default standard: it may run for hours"},
	{"SociLargeImages", "StateMachineName", "", "two stacks live side by side"},
	{"SociLargeImages", "LoggingConfiguration", "", "the rights for it know no resource"},
	{"ExecutionRule", "EventPattern.source", "[aws.states]", "Step Functions' own events"},
	{"ExecutionRule", "EventPattern.detail-type", "[Step Functions Execution Status Change]", "ends of executions"},
	{"ExecutionRule", "EventPattern.detail.status", "[FAILED, TIMED_OUT, ABORTED]", "that nobody was told of"},
	{"ExecutionRule", "EventPattern.detail.stateMachineArn", "[${SociLargeImages}]", "of this state machine alone"},
	{"ExecutionRule", "Targets.0.Arn", "${FailureQueue.Arn}", "nothing is lost"},
	{"ExecutionRule", "Targets.0.DeadLetterConfig.Arn", "${FailureQueue.Arn}", "its alarm tells when that fails"},
	{"ExecutionRule", "Targets.1", "", "one target"},
	{"StepsPullTimeExclusion", "PrincipalArn", "${StepsRole.Arn}", "nor do these"},
	{"StepsRepositoryPolicy", "RoleName", "${StepsRole}", "exactly the same repositories"},
	{"StepsRepositoryPolicy", "PolicyName", "repositories-${Repositories.RepositoryArnsDigest}", "as the generator's"},
	{"StepsRepositoryPolicy", "PolicyDocument.Statement.0.Resource", "${Repositories.RepositoryArns}",
		"as the generator's"},
	{"RepositoryNameFunction", "Role", "${RepositoryNameRole.Arn}", "one role per function"},
	{"RepositoryNameFunction", "LoggingConfig.LogGroup", "${RepositoryNameLogGroup}", "the stack's log group"},
	{"RepositoryNameFunction", "Timeout", "60", "well before CloudFormation gives up"},

	// Events that fail.
	{async, "MaximumRetryAttempts", "2", "explicitly, as many as Lambda makes"},
	{async, "MaximumEventAgeInSeconds", "21600", "explicitly, as long as Lambda can"},
	{async, "DestinationConfig.OnFailure.Destination", "${FailureQueue.Arn}", "nothing is lost"},
	{async, "Qualifier", "$LATEST", "the function without a version"},
	{"FilterAsyncConfig", "FunctionName", "${FilterFunction}", "of the filter"},
	{"GeneratorAsyncConfig", "FunctionName", "${GeneratorFunction}", "of the generator"},
	{"FailureQueue", "SqsManagedSseEnabled", "true", "EventBridge cannot write under the AWS-managed KMS key"},
	{"FailureQueue", "KmsMasterKeyId", "", "the same"},
	{"FailureQueue", "MessageRetentionPeriod", "1209600", "14 days, the longest"},
	{"FailureQueue", "FifoQueue", "", "Lambda's destinations take standard queues alone"},
	{"FailureQueue", "QueueName", "", "two stacks live side by side"},

	// The rules.
	{rules, "State", "", "by default enabled: no switch to forget"},
	{rules, "EventPattern.source", "[aws.ecr]", "ECR's own events"},
	{rules, "EventPattern.account", "[${AWS::AccountId}]", "other accounts can send to the bus"},
	{rules, "EventPattern.region", "[${AWS::Region}]", "other regions can send to the bus"},
	{rules, "EventPattern.detail.image-tag", tagged,
		"images without a tag only when asked for; then also without the field"},
	{rules, "Targets.0.Arn", "${FilterFunction.Arn}", "the filter decides"},
	{rules, "Targets.1", "", "one target"},
	{rules, "Targets.0.RetryPolicy.MaximumRetryAttempts", "185", "explicitly"},
	{rules, "Targets.0.RetryPolicy.MaximumEventAgeInSeconds", "21600", "explicitly"},
	{rules, "Targets.0.DeadLetterConfig.Arn", "${FailureQueue.Arn}", "EventBridge drops events otherwise"},
	{rules, "EventBusName", "", "ECR sends to the default bus"},
	{rules, "Name", "", "two stacks live side by side"},
	{"PushRule", "@DependsOn",
		"FilterAsyncConfig, GeneratorAsyncConfig, GeneratorPullTimeExclusion, GeneratorRepositoryPolicy, " +
			"StepsPullTimeExclusion, StepsRepositoryPolicy",
		"no event arrives before the rights"},
	{"ReplicationRule PullThroughCacheRule", "@DependsOn", "PushRule", "nor these"},
	{"PushRule", "EventPattern.detail-type", "[ECR Image Action]", "pushes"},
	{"PushRule", "EventPattern.detail.action-type", "[PUSH]", "no deletions"},
	{"PushRule", "EventPattern.detail.result", "[SUCCESS]", "successful ones"},
	{"PushRule", "@Condition", "", "always there"},
	{"ReplicationRule", "EventPattern.detail-type", "[ECR Replication Action]", "replication"},
	{"ReplicationRule", "EventPattern.detail.action-type", "[REPLICATE]", "replication"},
	{"ReplicationRule", "EventPattern.detail.result", "[SUCCESS]", "successful ones"},
	{"ReplicationRule ReplicationRulePermission", "@Condition", "Replicated", "by parameter"},
	{"PullThroughCacheRule", "EventPattern.detail-type", "[ECR Pull Through Cache Action]", "pull-through cache"},
	{"PullThroughCacheRule", "EventPattern.detail.sync-status", "[SUCCESS]", "successful ones"},
	{"PullThroughCacheRule PullThroughCacheRulePermission", "@Condition", "Cached", "by parameter"},

	// The custom resource.
	{"Repositories", "ServiceToken", "${RepositoryNameFunction.Arn}", "the repository-name parser"},
	{"Repositories", "ServiceTimeout", "300", "an hour is CloudFormation's own"},
	{"Repositories", "Filters", "${SociRepositoryImageTagFilters}", "runs again when they change"},
	{"GeneratorRepositoryPolicy", "RoleName", "${GeneratorRole}", "the generator gets exactly these repositories"},
	{"GeneratorRepositoryPolicy", "PolicyName", "repositories-${Repositories.RepositoryArnsDigest}",
		"another name makes CloudFormation add the new policy before it removes the old one"},
	{"GeneratorRepositoryPolicy", "PolicyDocument.Statement.0.Resource", "${Repositories.RepositoryArns}",
		"the custom resource's answer"},

	// Logs.
	{logGroups, "RetentionInDays", "${LogRetentionDays}", "a parameter"},
	{logGroups, "@DeletionPolicy", "", "by default deleted with the stack"},
	{logGroups, "@UpdateReplacePolicy", "", "the same"},

	// Roles and the rest.
	{roles, "PermissionsBoundary", "if(Boundary, ${IamPermissionsBoundaryArn}, nothing)", "a parameter"},
	{roles, "RoleName", "", "two stacks live side by side"},
	{roles, "ManagedPolicyArns", "", "AWSLambdaBasicExecutionRole may create log groups"},
	{"GeneratorPullTimeExclusion", "PrincipalArn", "${GeneratorRole.Arn}", "its pulls do not keep old images alive"},
}

// The table of what the stack promises, beside what the other tests look at:
// permissions, names, order, and where the code is.
func TestProperties(t *testing.T) {
	tmpl := synth(t)
	for _, p := range promises {
		for id := range strings.FieldsSeq(p.resource) {
			r, ok := tmpl.Resources[id]
			if !ok {
				t.Errorf("%s is not in the template", id)
				continue
			}
			if got := r.at(p.path); got != p.want {
				t.Errorf("%s: %s is %q, want %q: %s", id, p.path, got, p.want, p.why)
			}
		}
	}
}

// Every resource of these types is in the table, under these names.
func TestResourcesAreKnown(t *testing.T) {
	tmpl := synth(t)
	for kind, want := range map[string]string{
		"AWS::Lambda::Function": functions,
		"AWS::IAM::Role":        roles,
		"AWS::IAM::RolePolicy":  "GeneratorRepositoryPolicy StepsRepositoryPolicy",
		"AWS::Logs::LogGroup":   logGroups,
		"AWS::Events::Rule":     "ExecutionRule PullThroughCacheRule PushRule ReplicationRule",
		"AWS::Lambda::Permission": "PullThroughCacheRulePermission PushRulePermission " +
			"ReplicationRulePermission",
		"AWS::Lambda::EventInvokeConfig":    async,
		"AWS::SQS::Queue":                   "FailureQueue",
		"AWS::SQS::QueuePolicy":             "FailureQueuePolicy",
		"Custom::SociRepositoryArns":        "Repositories",
		"AWS::ECR::PullTimeUpdateExclusion": "GeneratorPullTimeExclusion StepsPullTimeExclusion",
		"AWS::StepFunctions::StateMachine":  "SociLargeImages",
	} {
		if got := strings.Join(tmpl.ids(kind), " "); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
	if len(dist.Functions) != len(strings.Fields(functions))-1 {
		t.Errorf("%q are built, of which the steps have the generator's", dist.Functions)
	}
	if len(tmpl.Rules) != 1 || tmpl.Rules["Network"] == nil {
		t.Errorf("rules %v: the bootstrap stack is no prerequisite of the plain template", tmpl.Rules)
	}
}

// The custom resource measures the filter's environment: the same variables, to
// which it adds the filters and the generator's ARN.
func TestMeasuredIsWhatIsMade(t *testing.T) {
	tmpl := synth(t)
	measured := tmpl.Resources["Repositories"]
	made := tmpl.Resources["FilterFunction"].Properties["Environment"].(map[string]any)["Variables"].(map[string]any)
	for name, value := range made {
		got, want := measured.at("FilterEnvironment."+name), textOf(value)
		if name == "SOCI_REPOSITORY_IMAGE_TAG_FILTERS" || name == "SOCI_INDEX_GENERATOR_LAMBDA_ARN" {
			want = ""
		}
		if got != want {
			t.Errorf("%s is %s, measured is %s", name, want, got)
		}
	}
	if n := len(measured.Properties["FilterEnvironment"].(map[string]any)); n != len(made)-2 {
		t.Errorf("%d variables are measured, there are %d", n, len(made))
	}
}

// A role has room for the policies of the generator, whatever the stack is
// called: for its own, in private subnets and with all signing profiles that it
// can have, and during an update for those of the filters before and after it,
// each with as many ARNs as a custom resource can answer with.
func TestRolePoliciesFit(t *testing.T) {
	for _, name := range []string{"s", strings.Repeat("s", 128)} {
		rolePoliciesFit(t, name)
	}
}

func rolePoliciesFit(t *testing.T, stack string) {
	t.Helper()
	const (
		most     = 10_240 // characters without white space, of all inline policies of a role
		response = 4_096  // bytes, of a custom resource's answer
		uuid     = "51af3dc0-da77-11e4-872e-1234567db123"
	)
	// An answer has at least this besides the ARNs.
	envelope, err := json.Marshal(map[string]any{
		"Status": "SUCCESS", "PhysicalResourceId": "s", "LogicalResourceId": "Repositories", "RequestId": uuid,
		"StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/" + stack + "/" + uuid,
		"Data":    map[string]any{contract.AttrARNs: []string{}, contract.AttrDigest: strings.Repeat("d", 16)},
	})
	if err != nil {
		t.Fatal(err)
	}
	profile := "arn:aws-us-gov:signer:ap-northeast-99:123456789012:/signing-profiles/" + strings.Repeat("p", 64)
	if p := parameters()[deployed.ParamSigningProfiles]; !accepts(t, p, profile+","+profile+","+profile) ||
		accepts(t, p, profile+","+profile+","+profile+","+profile) {
		t.Error("the parameter does not take 3 profiles, or more")
	}
	longest := strings.NewReplacer(
		"${AWS::Partition}", "aws-us-gov", "${AWS::Region}", "ap-northeast-99", "${AWS::AccountId}", "123456789012",
		"${EventBusName}", strings.Repeat("b", 256),
		"${SociLargeImages}",
		strings.Repeat("m", len("arn:aws-us-gov:states:ap-northeast-99:123456789012:stateMachine:")+40),
		"${SociLargeImages.Name}", strings.Repeat("m", 40), // the logical id, and characters of CloudFormation's
		"${FailureQueue.Arn}", strings.Repeat("q", len("arn:aws-us-gov:sqs:ap-northeast-99:123456789012:")+80),
		"${GeneratorLogGroup.Arn}",
		strings.Repeat("g", len("arn:aws-us-gov:logs:ap-northeast-99:123456789012:log-group::*")+
			len("/aws/lambda/-SociIndexGeneratorLambda")+len(stack)),
		"split([,, ${SigningProfileArns}])", "["+strings.Join([]string{profile, profile, profile}, ", ")+"]",
		"if(EventBus, ", "", "if(Signing, ", "", "if(VPC, ", "", ", nothing)", "",
		"${Repositories.RepositoryArns}", "[]")
	tmpl := synth(t)
	size := func(v any) int {
		text := longest.Replace(textOf(v))
		if strings.Contains(text, "${") || strings.Contains(text, "if(") {
			t.Errorf("the size of %s is not known", text)
		}
		// Each name and each text has two quotation marks in JSON.
		return len(strings.ReplaceAll(text, " ", "")) + 2*len(regexp.MustCompile(`[^][{}, ]+`).FindAllString(text, -1))
	}
	own := 0
	for _, p := range tmpl.Resources["GeneratorRole"].Properties["Policies"].([]any) {
		own += size(p.(map[string]any)["PolicyDocument"])
	}
	repositories, arns := size(tmpl.Resources["GeneratorRepositoryPolicy"].Properties["PolicyDocument"]),
		response-len(envelope)
	if own < 500 || repositories < 200 || own+2*(repositories+arns) > most {
		t.Errorf("stack name of %d: the policies have %d and twice %d characters besides the ARNs, which have %d at "+
			"most: a role takes %d", len(stack), own, repositories, arns, most)
	}
}
