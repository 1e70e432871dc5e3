package doctor_test

import (
	"fmt"
	"strings"
	"time"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

type row struct {
	name     string
	breakIt  func(*stacktest.Deployment)
	check    doctor.Check
	severity doctor.Severity
	subject  func(*stacktest.Deployment) string
	found    string
	hint     string
}

// physical is a subject by its logical id.
func physical(id string) func(*stacktest.Deployment) string {
	return func(d *stacktest.Deployment) string { return d.Resources[id].Physical }
}

func queue(d *stacktest.Deployment) string {
	url := d.Resources["FailureQueue"].Physical
	return url[strings.LastIndexByte(url, '/')+1:]
}

func named(name string) func(*stacktest.Deployment) string {
	return func(*stacktest.Deployment) string { return name }
}

// set changes a property by hand.
func set(id string, value any, path ...string) func(*stacktest.Deployment) {
	return func(d *stacktest.Deployment) { d.Resources[id].Set(value, path...) }
}

func remove(id string) func(*stacktest.Deployment) {
	return func(d *stacktest.Deployment) { d.Resources[id].Deleted = true }
}

func function(id, key string, value any) func(*stacktest.Deployment) {
	return func(d *stacktest.Deployment) { d.Functions[id] = map[string]any{key: value} }
}

// target changes the first target of the rule on pushes.
func target(key string, value any) func(*stacktest.Deployment) {
	return func(d *stacktest.Deployment) {
		t := d.Resources["PushRule"].At("Targets").([]any)[0].(map[string]any)
		if value == nil {
			delete(t, key)
			return
		}
		t[key] = value
	}
}

func repository(name string, r awstest.Repository) func(*stacktest.Deployment) {
	return func(d *stacktest.Deployment) { d.ECR.Repository(name, r) }
}

func counting(selection string) func(*stacktest.Deployment) {
	return repository("prod/api", awstest.Repository{LifecyclePolicy: `{"rules": [
		{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 30}, "action": {"type": "expire"}},
		{"rulePriority": 7, "selection": {` + selection + `, "countType": "imageCountMoreThan", "countNumber": 11}, "action": {"type": "expire"}}]}`})
}

func denying(principal, rest string) func(*stacktest.Deployment) {
	return repository("prod/api", awstest.Repository{Policy: `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"},
		{"Sid": "NoPush", "Effect": "Deny", ` + principal + `, "Action": ["ecr:PutImage", "ecr:DeleteRepository"]` + rest + `}]}`})
}

// quiet leaves only these metrics.
func quiet(points map[string]float64) func(*stacktest.Deployment) {
	return func(d *stacktest.Deployment) {
		d.Metrics = map[string][]stacktest.Point{}
		for name, v := range points {
			d.Metrics[name] = []stacktest.Point{{At: now.Add(-30 * time.Hour), Value: v}}
		}
	}
}

const (
	filterFunction = "FilterFunction"
	generator      = "GeneratorFunction"
)

// profile is the ARN of a signing profile.
func profile(name string) string {
	return "arn:aws:signer:" + awstest.Region + ":" + awstest.Account + ":/signing-profiles/" + name
}

var broken = []row{
	// Signing and network.
	{"signed by others alone", func(d *stacktest.Deployment) {
		d.ECR.Sign(awstest.SigningRule{Profile: profile("release"), Repositories: []string{"prod/*"}})
	}, doctor.CheckSigning, doctor.Warning, named(profile("release")), "but not what the generator pushes",
		deployed.ParamSigningProfiles + "=" + profile("release")},
	{"other subnets", function(generator, "VpcConfig",
		map[string]any{"VpcId": "vpc-1", "SubnetIds": []string{"subnet-1"}}),
		doctor.CheckNetwork, doctor.Problem, physical(generator), "its subnets are subnet-1, the stack's are none",
		"an update of the stack"},

	// The stack.
	{"stack rolled back", func(d *stacktest.Deployment) { d.Stack.Status = "UPDATE_ROLLBACK_COMPLETE" },
		doctor.CheckStackStatus, doctor.Warning, named(""), "the last update failed",
		"describe-stack-events --stack-name prod-soci"},
	{"stack in between", func(d *stacktest.Deployment) { d.Stack.Status = "UPDATE_ROLLBACK_FAILED" },
		doctor.CheckStackStatus, doctor.Problem, named(""), "UPDATE_ROLLBACK_FAILED", "describe-stack-events"},
	{"stack being updated", func(d *stacktest.Deployment) { d.Stack.Status = "UPDATE_IN_PROGRESS" },
		doctor.CheckStackStatus, doctor.Warning, named(""), "is being updated", "stack-update-complete"},
	{"version", func(d *stacktest.Deployment) { d.Stack.Outputs[deployed.OutVersion] = "0.0.1" },
		doctor.CheckStackVersion, doctor.Warning, named(""), "the stack is of version 0.0.1", "docs/deploy.md"},
	{"resource failed", func(d *stacktest.Deployment) {
		for i, r := range d.Stack.Resources {
			if r.LogicalID == "RepositoryNameFunction" {
				d.Stack.Resources[i].Status = "UPDATE_FAILED"
			}
		}
	}, doctor.CheckResources, doctor.Problem, named("RepositoryNameFunction"), "AWS::Lambda::Function is UPDATE_FAILED",
		"describe-stack-events"},

	// The rule.
	{"rule deleted", remove("PushRule"), doctor.CheckRule, doctor.Problem, physical("PushRule"), "was deleted by hand",
		"docs/deploy.md"},
	{"rule disabled", set("PushRule", "DISABLED", "State"),
		doctor.CheckRule, doctor.Problem, physical("PushRule"), "is disabled",
		"aws events enable-rule --name prod-soci-PushRule-1A2B3C4D5E6F"},
	{"rule pattern", set("PushRule", []any{"ECR Image Scan"}, "EventPattern", "detail-type"),
		doctor.CheckRule, doctor.Problem, physical("PushRule"), "ECR Image Scan",
		`aws events put-rule --name prod-soci-PushRule-1A2B3C4D5E6F --event-pattern '{"account":["123456789012"],"detail":{"action-type":["PUSH"]`},
	{"no target", set("PushRule", []any{}, "Targets"),
		doctor.CheckTarget, doctor.Problem, physical("PushRule"),
		"does not pass its events to the filter function arn:aws:lambda:",
		"aws events put-targets --rule prod-soci-PushRule-1A2B3C4D5E6F --targets '[{\"Arn\":\"arn:aws:lambda:"},
	{"no dead-letter queue", target("DeadLetterConfig", nil),
		doctor.CheckTarget, doctor.Problem, physical("PushRule"), "has dead-letter queue none",
		`"DeadLetterConfig":{"Arn":"arn:aws:sqs:`},
	{"event changed", target("InputPath", "$.detail"), doctor.CheckTarget, doctor.Problem, physical("PushRule"),
		"changes the events", "put-targets"},
	{"retries of the rule", target("RetryPolicy",
		map[string]any{"MaximumRetryAttempts": 0.0, "MaximumEventAgeInSeconds": 21600.0}),
		doctor.CheckTarget, doctor.Warning, physical("PushRule"), "MaximumRetryAttempts 0, the stack's is 185",
		"put-targets"},
	{"another target", func(d *stacktest.Deployment) {
		r := d.Resources["PushRule"]
		r.Set(append(r.At("Targets").([]any), map[string]any{"Id": "x", "Arn": "arn:aws:sns:eu-west-1:123456789012:x"}),
			"Targets")
	}, doctor.CheckTarget, doctor.Warning, physical("PushRule"), "1 more target than", "list-targets-by-rule"},
	{"rule of executions disabled", set("ExecutionRule", "DISABLED", "State"),
		doctor.CheckRule, doctor.Problem, physical("ExecutionRule"),
		"is disabled: no failed execution reaches the failure queue",
		"aws events enable-rule --name prod-soci-ExecutionRule"},
	{"no target of executions", set("ExecutionRule", []any{}, "Targets"),
		doctor.CheckTarget, doctor.Problem, physical("ExecutionRule"),
		"does not pass its events to the failure queue arn:aws:sqs:", "aws events put-targets"},
	{"rule may not invoke", remove("PushRulePermission"),
		doctor.CheckPermission, doctor.Problem, physical(filterFunction),
		"may not be invoked by arn:aws:events:eu-west-1:123456789012:rule/prod-soci-PushRule-1A2B3C4D5E6F",
		"aws lambda add-permission"},
	{"another rule may invoke",
		set("PushRulePermission", "arn:aws:events:eu-west-1:123456789012:rule/other", "SourceArn"),
		doctor.CheckPermission, doctor.Problem, physical(filterFunction), "may not be invoked",
		"--principal events.amazonaws.com"},

	// The functions.
	{"function deleted", func(d *stacktest.Deployment) {
		d.Resources["RepositoryNameFunction"].Deleted = true
	}, doctor.CheckFunction, doctor.Problem, physical("RepositoryNameFunction"), "was deleted by hand",
		"docs/deploy.md"},
	{"function failed", func(d *stacktest.Deployment) {
		d.Functions[generator] = map[string]any{"State": "Failed", "StateReason": "no code",
			"StateReasonCode": "InvalidZipFileException"}
	}, doctor.CheckFunction, doctor.Problem, physical(generator), "state Failed, no code (InvalidZipFileException)",
		"update the stack"},
	{"function pending", function(generator, "State", "Pending"), doctor.CheckFunction, doctor.Warning,
		physical(generator), "is being made", "wait"},
	{"update of a function failed", function(filterFunction, "LastUpdateStatus", "Failed"), doctor.CheckFunction,
		doctor.Problem, physical(filterFunction), "its last update failed", "update the stack"},
	{"function being updated", function(filterFunction, "LastUpdateStatus", "InProgress"), doctor.CheckFunction,
		doctor.Warning, physical(filterFunction), "is being updated", "wait"},
	{"variables unreadable",
		function(filterFunction, "Environment",
			map[string]any{"Error": map[string]any{"ErrorCode": "AccessDeniedException", "Message": "kms"}}),
		doctor.CheckFunction, doctor.Problem, physical(filterFunction),
		"its variables cannot be read: AccessDeniedException, kms", "KMS key"},
	{"runtime", set(generator, "provided.al2", "Runtime"), doctor.CheckConfiguration, doctor.Problem,
		physical(generator), "runtime is provided.al2, the stack's is provided.al2023", "set it back"},
	{"handler", set(generator, "main", "Handler"), doctor.CheckConfiguration, doctor.Problem, physical(generator),
		"handler is main", "set it back"},
	{"role of a function", set(generator, "arn:aws:iam::123456789012:role/x", "Role"), doctor.CheckConfiguration,
		doctor.Problem, physical(generator), "role is arn:aws:iam::123456789012:role/x", "set it back"},
	{"timeout", set(generator, 3.0, "Timeout"), doctor.CheckConfiguration, doctor.Warning, physical(generator),
		"timeout in seconds is 3, the stack's is 900", "set it back"},
	{"memory", set(generator, "512", "MemorySize"), doctor.CheckConfiguration, doctor.Warning, physical(generator),
		"memory in MB is 512, the stack's is 1769", "set it back"},
	{"filters changed by hand",
		set(filterFunction, "*:*", "Environment", "Variables", "SOCI_REPOSITORY_IMAGE_TAG_FILTERS"),
		doctor.CheckEnvironment, doctor.Problem, physical(filterFunction),
		`variable SOCI_REPOSITORY_IMAGE_TAG_FILTERS is "*:*", the stack's is "prod/*:*,!*:*-debug"`, "set it back"},
	{"variable taken away", set(generator, nil, "Environment", "Variables", "SOCI_FAILURE_QUEUE_URL"),
		doctor.CheckEnvironment, doctor.Problem, physical(generator), "variable SOCI_FAILURE_QUEUE_URL is not set",
		"set it back"},
	{"variable added", set(generator, "2", "Environment", "Variables", "SOCI_CONCURRENCY"),
		doctor.CheckEnvironment, doctor.Warning, physical(generator), "variable SOCI_CONCURRENCY is set",
		"set it back"},
	{"log level of Lambda", set(generator, "WARN", "LoggingConfig", "ApplicationLogLevel"),
		doctor.CheckLogging, doctor.Problem, physical(generator), "metrics are dropped",
		"--logging-config LogFormat=JSON,ApplicationLogLevel=INFO"},
	{"log format", set(filterFunction, "Text", "LoggingConfig", "LogFormat"), doctor.CheckLogging, doctor.Warning,
		physical(filterFunction), "log format is Text", "LogFormat=JSON"},
	{"another log group", set(filterFunction, "/other", "LoggingConfig", "LogGroup"), doctor.CheckLogging,
		doctor.Problem, physical(filterFunction), "logs to /other", "LogGroup=/aws/lambda/prod-soci-"},
	{"held back", set(generator, "0", "ReservedConcurrentExecutions"),
		doctor.CheckConcurrency, doctor.Problem, physical(generator), "it never runs",
		"aws lambda delete-function-concurrency --function-name prod-soci-GeneratorFunction-1A2B3C4D5E6F"},
	{"concurrency", set(filterFunction, "3", "ReservedConcurrentExecutions"),
		doctor.CheckConcurrency, doctor.Warning, physical(filterFunction),
		"has a reserved concurrency of 3, the stack has none", "delete-function-concurrency"},
	{"no asynchronous configuration", remove("GeneratorAsyncConfig"),
		doctor.CheckAsync, doctor.Problem, physical(generator), "events that fail are lost",
		"aws lambda put-function-event-invoke-config --function-name prod-soci-GeneratorFunction-1A2B3C4D5E6F " +
			"--maximum-retry-attempts 2 --maximum-event-age-in-seconds 21600 --destination-config " +
			"'{\"OnFailure\":{\"Destination\":\"arn:aws:sqs:"},
	{"another destination", set("FilterAsyncConfig", "arn:aws:sns:eu-west-1:123456789012:x", "DestinationConfig",
		"OnFailure", "Destination"),
		doctor.CheckAsync, doctor.Problem, physical(filterFunction),
		"go to arn:aws:sns:eu-west-1:123456789012:x, not to the failure queue", "put-function-event-invoke-config"},
	{"retries", set("FilterAsyncConfig", 0.0, "MaximumRetryAttempts"), doctor.CheckAsync, doctor.Warning,
		physical(filterFunction), "tried again 0 times, the stack's number is 2", "put-function-event-invoke-config"},
	{"age of events", set("FilterAsyncConfig", 60.0, "MaximumEventAgeInSeconds"), doctor.CheckAsync, doctor.Warning,
		physical(filterFunction), "kept for 60 seconds", "put-function-event-invoke-config"},

	// The roles.
	{"role deleted", remove("RepositoryNameRole"), doctor.CheckRole, doctor.Problem, physical("RepositoryNameRole"),
		"was deleted by hand", "docs/deploy.md"},
	{"rights on repositories", remove("GeneratorRepositoryPolicy"),
		doctor.CheckRole, doctor.Problem, physical("GeneratorRole"),
		"lacks ecr:BatchGetImage on arn:aws:ecr:eu-west-1:123456789012:repository/prod/*, ", "docs/permissions.md"},
	{"rights on other repositories", func(d *stacktest.Deployment) {
		s := d.Resources["GeneratorRepositoryPolicy"].At("PolicyDocument", "Statement").([]any)[0].(map[string]any)
		s["Resource"] = "arn:aws:ecr:eu-west-1:123456789012:repository/prod/api"
	}, doctor.CheckRole, doctor.Problem, physical("GeneratorRole"), " and 5 more", "docs/permissions.md"},
	{"right denied", func(d *stacktest.Deployment) {
		document := d.Resources["GeneratorRepositoryPolicy"].At("PolicyDocument").(map[string]any)
		document["Statement"] = append(document["Statement"].([]any),
			map[string]any{"Effect": "Deny", "Action": "ecr:Put*", "Resource": "*"})
	}, doctor.CheckRole, doctor.Problem, physical("GeneratorRole"),
		"lacks ecr:PutImage on arn:aws:ecr:eu-west-1:123456789012:repository/prod/*", "docs/permissions.md"},
	{"boundary", set("FilterRole", "arn:aws:iam::123456789012:policy/b", "PermissionsBoundary"),
		doctor.CheckRole, doctor.Warning, physical("FilterRole"),
		"has permissions boundary arn:aws:iam::123456789012:policy/b, the stack's is none", "set it back"},

	// Log groups, queue, alarms.
	{"log group deleted", remove("FilterLogGroup"),
		doctor.CheckLogGroup, doctor.Problem, physical("FilterLogGroup"), "was deleted by hand",
		"aws logs create-log-group --log-group-name /aws/lambda/prod-soci-ECRImageActionEventFilteringLambda " +
			"--region eu-west-1 && aws logs put-retention-policy"},
	{"retention", set("GeneratorLogGroup", nil, "RetentionInDays"), doctor.CheckLogGroup, doctor.Warning,
		physical("GeneratorLogGroup"), "keeps its lines for ever, the stack's retention is 30 days",
		"--retention-in-days 30"},
	{"queue deleted", remove("FailureQueue"), doctor.CheckQueue, doctor.Problem, queue, "was deleted by hand",
		"docs/deploy.md"},
	{"queue takes no dead letters", remove("FailureQueuePolicy"), doctor.CheckQueue, doctor.Problem, queue,
		"takes nothing from the rules prod-soci-ExecutionRule-1A2B3C4D5E6F, prod-soci-PushRule-1A2B3C4D5E6F",
		"DeadLettersOfTheRules"},
	{"queue under a KMS key", set("FailureQueue", "alias/aws/sqs", "KmsMasterKeyId"), doctor.CheckQueue, doctor.Problem,
		queue, "KMS key alias/aws/sqs", "SqsManagedSseEnabled=true"},
	{"queue forgets", set("FailureQueue", 60.0, "MessageRetentionPeriod"), doctor.CheckQueue, doctor.Warning, queue,
		"keeps events for 1m0s, the stack's time is 336h0m0s", "MessageRetentionPeriod=1209600"},
	{"failed events", func(d *stacktest.Deployment) {
		d.Waiting = 7
		d.Metrics["ApproximateAgeOfOldestMessage"] = []stacktest.Point{{At: now.Add(-3 * time.Minute),
			Value: 3 * 24 * 3600}}
	}, doctor.CheckMessages, doctor.Problem, queue,
		"7 events that failed wait in the failure queue, the oldest for 3 days",
		"soci-index-builder redrive --stack prod-soci --region eu-west-1"},
	{"one failed event", func(d *stacktest.Deployment) { d.Waiting = 1 }, doctor.CheckMessages, doctor.Problem, queue,
		"1 event that failed waits in the failure queue", "redrive"},
	{"alarm", func(d *stacktest.Deployment) {
		d.Alarms[anAlarm(d)] = map[string]any{"StateValue": "ALARM", "StateReason": "Threshold Crossed"}
	}, doctor.CheckAlarm, doctor.Problem,
		func(d *stacktest.Deployment) string { return d.Resources[anAlarm(d)].Physical },
		"is in ALARM: Threshold Crossed", "docs/troubleshooting.md"},
	{"alarm deleted", func(d *stacktest.Deployment) { d.Resources[anAlarm(d)].Deleted = true },
		doctor.CheckAlarm, doctor.Warning,
		func(d *stacktest.Deployment) string { return d.Resources[anAlarm(d)].Physical },
		"was deleted by hand", "docs/deploy.md"},
	{"alarm without an action", func(d *stacktest.Deployment) { d.Resources[anAlarm(d)].Set([]any{}, "AlarmActions") },
		doctor.CheckAlarmActions, doctor.Warning, named(""), "1 alarm tells nobody", deployed.ParamAlarmTopic},
	{"actions switched off",
		func(d *stacktest.Deployment) { d.Alarms[anAlarm(d)] = map[string]any{"ActionsEnabled": false} },
		doctor.CheckAlarmActions, doctor.Warning,
		func(d *stacktest.Deployment) string { return d.Resources[anAlarm(d)].Physical }, "switched off",
		"aws cloudwatch enable-alarm-actions --alarm-names"},

	// Activity.
	{"only failures", quiet(map[string]float64{"ImagesMatched": 3, "ImagesFailed": 9}), doctor.CheckActivity,
		doctor.Problem, named(""), "no image was indexed in 14 days, and 9 attempts failed",
		"logs --stack prod-soci --region eu-west-1 failures"},
	{"nothing to index", quiet(map[string]float64{"ImagesMatched": 3, "ImagesSkipped": 3}), doctor.CheckActivity,
		doctor.Warning, named(""), "although 3 were passed on", "--image REPOSITORY:TAG"},
	{"nothing chosen", quiet(map[string]float64{"ImagesSkipped": 5}), doctor.CheckActivity, doctor.Warning, named(""),
		"no filter chose an image in 14 days, of 5 that came", "filters test --stack prod-soci"},
	{"no event", quiet(nil), doctor.CheckActivity, doctor.Warning, named(""), "no event came in 14 days",
		"aws logs tail /aws/lambda/prod-soci-ECRImageActionEventFilteringLambda"},

	// The registry.
	{"filter without a repository", func(d *stacktest.Deployment) {
		const list = "prod/*:*,!*:*-debug,staging/*:*"
		d.Stack.Parameters[deployed.ParamFilters] = list
		d.Resources[filterFunction].Set(list, "Environment", "Variables", "SOCI_REPOSITORY_IMAGE_TAG_FILTERS")
		for _, policy := range []string{"GeneratorRepositoryPolicy", "StepsRepositoryPolicy"} {
			s := d.Resources[policy].At("PolicyDocument", "Statement").([]any)[0].(map[string]any)
			s["Resource"] = append(s["Resource"].([]any), "arn:aws:ecr:eu-west-1:123456789012:repository/staging/*")
		}
	}, doctor.CheckFilters, doctor.Warning, named("staging/*:*"), "matches none of the 3 repositories",
		"filters test --filters"},
	{"policy denies everybody", denying(`"Principal": "*"`, ""), doctor.CheckPolicy, doctor.Problem, named("prod/api"),
		"statement 2 (NoPush) of its policy denies the generator ecr:PutImage", "aws ecr set-repository-policy"},
	{"policy denies the account", denying(`"Principal": {"AWS": "123456789012"}`, ""), doctor.CheckPolicy,
		doctor.Problem, named("prod/api"), "ecr:PutImage", "set-repository-policy"},
	{"policy denies all but one", denying(`"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:role/ci"}`, ""),
		doctor.CheckPolicy, doctor.Problem, named("prod/api"), "ecr:PutImage", "set-repository-policy"},
	{"policy denies the steps alone", func(d *stacktest.Deployment) {
		denying(fmt.Sprintf(`"Principal": {"AWS": "arn:aws:iam::%s:role/%s"}`, awstest.Account,
			d.Resources[deployed.StepsRoleID].Physical), "")(d)
	}, doctor.CheckPolicy, doctor.Problem, named("prod/api"),
		"statement 2 (NoPush) of its policy denies the steps of the state machine ecr:PutImage", "StepsRole"},
	{"policy denies the steps too", denying(`"Principal": "*"`, ""), doctor.CheckPolicy, doctor.Problem,
		named("prod/api"), "denies the generator ecr:PutImage; the steps of the state machine too", "StepsRole"},
	{"policy denies under a condition",
		denying(`"Principal": "*"`, `, "Condition": {"StringNotEquals": {"aws:PrincipalTag/team": "ci"}}`),
		doctor.CheckPolicy, doctor.Warning, named("prod/api"), "under a condition", "aws ecr get-repository-policy"},
	{"immutable tags", repository("prod/api", awstest.Repository{Mutability: "IMMUTABLE"}),
		doctor.CheckMutability, doctor.Warning, named("prod/api"),
		"its tags are immutable, those that end with -soci too",
		"aws ecr put-image-tag-mutability --repository-name prod/api --image-tag-mutability IMMUTABLE_WITH_EXCLUSION " +
			"--image-tag-mutability-exclusion-filters filterType=WILDCARD,filter='*-soci' --region"},
	{"immutable tags but others",
		repository("prod/api", awstest.Repository{Mutability: "IMMUTABLE_WITH_EXCLUSION",
			Exclusions: []string{"latest", "v*-soci"}}),
		doctor.CheckMutability, doctor.Warning, named("prod/api"), "its tags are immutable",
		"filter='*-soci' filterType=WILDCARD,filter='latest' filterType=WILDCARD,filter='v*-soci'"},
	{"suffixed tags made immutable",
		repository("prod/api", awstest.Repository{Mutability: "MUTABLE_WITH_EXCLUSION", Exclusions: []string{"*"}}),
		doctor.CheckMutability, doctor.Warning, named("prod/api"),
		"the filters of its mutable tags make those that end with -soci immutable", "put-image-tag-mutability"},
	{"lifecycle rule on any tag", counting(`"tagStatus": "any"`), doctor.CheckLifecycle, doctor.Warning,
		named("prod/api"), "lifecycle rule 7 keeps 11 images, and counts those with the tag suffix -soci: about 6",
		"set its countNumber to 22"},
	{"lifecycle rule on a prefix", counting(`"tagStatus": "tagged", "tagPrefixList": ["v"]`), doctor.CheckLifecycle,
		doctor.Warning, named("prod/api"), "lifecycle rule 7", "put-lifecycle-policy --repository-name prod/api"},
	{"lifecycle rule on a pattern", counting(`"tagStatus": "tagged", "tagPatternList": ["v*"]`), doctor.CheckLifecycle,
		doctor.Warning, named("prod/api"), "lifecycle rule 7", "countNumber"},

	// The state machine.
	{"state machine deleted", remove(deployed.MachineID), doctor.CheckMachine, doctor.Problem,
		physical(deployed.MachineID), "was deleted by hand", "docs/deploy.md"},
	{"state machine being deleted", set(deployed.MachineID, "DELETING", "Status"), doctor.CheckMachine, doctor.Problem,
		physical(deployed.MachineID), "is DELETING: large images are not indexed", "update the stack"},
	{"role of the state machine", set(deployed.MachineID, "arn:aws:iam::123456789012:role/other", "RoleArn"),
		doctor.CheckMachine, doctor.Problem, physical(deployed.MachineID),
		"has the role arn:aws:iam::123456789012:role/other, the stack's is " +
			"arn:aws:iam::123456789012:role/prod-soci-MachineRole",
		"aws stepfunctions update-state-machine --state-machine-arn arn:aws:states:"},
	{"definition of the state machine", set(deployed.MachineID, `{"StartAt": "Other"}`, "DefinitionString"),
		doctor.CheckMachine, doctor.Problem, physical(deployed.MachineID), "its definition is not the stack's",
		`--definition '{"StartAt":"Plan"`},
	{"role of the state machine's rights", func(d *stacktest.Deployment) {
		d.Resources["MachineRole"].Set([]any{}, "Policies")
	}, doctor.CheckRole, doctor.Problem, physical("MachineRole"), "lacks lambda:InvokeFunction on arn:aws:lambda:",
		"docs/permissions.md"},
	{"memory of the steps", function("StepsFunction", "MemorySize", 512), doctor.CheckConfiguration, doctor.Warning,
		physical("StepsFunction"), "memory in MB is 512, the stack's is 3008", ""},
	{"steps with another handler", set("StepsFunction", "generator", "Environment", "Variables", "SOCI_HANDLER"),
		doctor.CheckEnvironment, doctor.Problem, physical("StepsFunction"),
		`variable SOCI_HANDLER is "generator", the ` +
			`stack's is "steps"`, ""},
	{"handed over and nothing indexed", quiet(map[string]float64{"ImagesMatched": 3, "ImagesHandedOver": 2}),
		doctor.CheckActivity, doctor.Warning, named(""),
		"although 3 were passed on (2 handed over to the state machine)", "--image REPOSITORY:TAG"},
	{"pulls of the steps count", func(d *stacktest.Deployment) {
		r := d.Resources[deployed.StepsRoleID]
		for i := range d.Stack.Resources {
			if d.Stack.Resources[i].PhysicalID == r.Physical {
				d.Stack.Resources[i].PhysicalID = "renamed"
			}
		}
		r.Physical = "renamed"
		d.Resources["StepsRepositoryPolicy"].Set("renamed", "RoleName")
		d.Resources["StepsFunction"].Set("arn:aws:iam::"+awstest.Account+":role/renamed", "Role")
	}, doctor.CheckPullTime, doctor.Warning, named("renamed"), "its pulls count as pulls",
		"aws ecr register-pull-time-update-exclusion --principal-arn arn:aws:iam::123456789012:role/renamed"},
	{"pulls count", func(d *stacktest.Deployment) {
		r := d.Resources["GeneratorRole"]
		old := r.Physical
		r.Physical = "renamed"
		renameRole(d, old, r.Physical)
	}, doctor.CheckPullTime, doctor.Warning, named("renamed"), "its pulls count as pulls",
		"aws ecr register-pull-time-update-exclusion --principal-arn arn:aws:iam::123456789012:role/renamed"},
}

// anAlarm is the logical id of the stack's first one.
func anAlarm(d *stacktest.Deployment) string {
	for _, r := range d.Stack.Resources {
		if r.Type == "AWS::CloudWatch::Alarm" {
			return r.LogicalID
		}
	}
	return ""
}

// renameRole gives the generator's role another name, under which nobody
// registered it.
func renameRole(d *stacktest.Deployment, old, name string) {
	d.Stack.Outputs[deployed.OutGeneratorRoleName] = name
	for i := range d.Stack.Resources {
		if d.Stack.Resources[i].PhysicalID == old {
			d.Stack.Resources[i].PhysicalID = name
		}
	}
	d.Resources["GeneratorRepositoryPolicy"].Set(name, "RoleName")
	d.Resources[generator].Set(fmt.Sprintf("arn:aws:iam::%s:role/%s", awstest.Account, name), "Role")
}
