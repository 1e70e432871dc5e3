package stack

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsstepfunctions"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/permission"
)

// addSteps adds the function that does the steps of the state machine. It has
// the generator's code.
func addSteps(s *builder) {
	f := function{name: "steps", timeout: generatorTimeout}
	f.logGroup = addLogGroup(s, "StepsLogGroup", "SociIndexStepsLambda")
	f.role = addRole(s, deployed.StepsRoleID, s.rights(f.name, f.logGroup, map[permission.Target]any{
		permission.Everything:      "*",
		permission.EventBus:        s.busARN(),
		permission.SigningProfiles: s.list(deployed.ParamSigningProfiles),
		permission.FailureQueue:    s.queue.AttrArn(),
	}))
	s.stepsPolicy = addRepositoryPolicy(s, "StepsRepositoryPolicy", f.name, f.role)
	env := s.builderEnvironment()
	env[contract.VarHandler] = contract.DoesSteps
	addFunction(s, deployed.StepsID, &f, env, &awslambda.CfnFunctionProps{
		VpcConfig:  s.network(),
		MemorySize: s.params[deployed.ParamStepsMemorySize].ValueAsNumber(),
	})
	f.resource.AddResourceDependency(s.stepsPolicy, nil)
	s.steps = f
	s.first = append(s.first,
		awsecr.NewCfnPullTimeUpdateExclusion(s.stack, jsii.String("StepsPullTimeExclusion"),
			&awsecr.CfnPullTimeUpdateExclusionProps{PrincipalArn: f.role.AttrArn()}))
}

// addMachine adds the state machine that works on large images. CloudFormation
// names it by its logical id, which the policies of package deployer know.
func addMachine(s *builder) {
	role := addRoleFor(s, "MachineRole", "states.amazonaws.com", "machine",
		policy(statement("Allow", permission.Machine, permission.Steps, s.steps.resource.AttrArn())))
	s.large = s.condition("Large", awscdk.Fn_ConditionNot(awscdk.Fn_ConditionEquals(
		s.params[deployed.ParamFanOutFromGiB].Value(), jsii.String("0"))))
	text, task, caught, input := definition()
	s.machine = awsstepfunctions.NewCfnStateMachine(s.stack, jsii.String(deployed.MachineID),
		&awsstepfunctions.CfnStateMachineProps{
			RoleArn: role.AttrArn(),
			DefinitionString: unquote(awscdk.Fn_Sub(quote(text),
				&map[string]*string{"Task": awscdk.Fn_Sub(quote(task), nil), "Catch": quote(caught),
					"Event": quote(input)})),
		})
}

// The retries of a step. Lambda's own errors have backoff over more than 15
// minutes; a layer has at most 5 retries, so that 1,016 layers stay under the
// 25,000 events that an execution may have. That a function ran out of time or
// of memory is not among them.
const (
	transientRetries = 2
	lambdaRetries    = 3
)

// executionTimeout is when an execution is given up, in seconds.
const executionTimeout = 24 * 60 * 60

// definition returns the state machine in Amazon States Language with variables
// for Fn::Sub, among them Task, Catch and Event, and what these stand for.
func definition() (text, task, caught, input string) {
	type object = map[string]any
	var transient []string
	for _, r := range failure.Reasons() {
		if failure.ClassOf(r) == failure.Transient {
			transient = append(transient, string(r))
		}
	}
	retry := []object{
		{"ErrorEquals": transient, "IntervalSeconds": 20, "BackoffRate": 3, "MaxAttempts": transientRetries,
			"JitterStrategy": "FULL"},
		{"ErrorEquals": failure.LambdaErrors(), "IntervalSeconds": 100, "BackoffRate": 3,
			"MaxAttempts": lambdaRetries},
	}
	task = strings.Trim(encode(object{"Type": "Task", "Resource": "${" + deployed.StepsID + ".Arn}", "Retry": retry}),
		"{}")
	caught = encode([]object{{"ErrorEquals": []string{"States.ALL"}, "Next": "Fail"}})

	const event = "$$.Execution.Input"
	step := func(name string, parameters, more object) object {
		state := object{"Type": "${Task}", "Parameters": object{"step": name, "event.$": event}}
		maps.Copy(state["Parameters"].(object), parameters)
		maps.Copy(state, more)
		return state
	}
	text = encode(object{
		"StartAt":        "Plan",
		"TimeoutSeconds": executionTimeout,
		"States": object{
			"Plan": step("plan", nil, object{"Catch": "${Catch}", "Next": "Layers"}),
			"Layers": object{
				"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": "${" + deployed.ParamFanOutConcurrency + "}",
				"ItemSelector": object{"step": "layer", "event.$": event, "layer.$": "$$.Map.Item.Value"},
				"ItemProcessor": object{
					"ProcessorConfig": object{"Mode": "INLINE"},
					"StartAt":         "BuildLayer",
					"States":          object{"BuildLayer": object{"Type": "${Task}", "End": true}},
				},
				"ResultPath": "$.results", "Catch": "${Catch}", "Next": "Publish",
			},
			"Publish": step("publish", object{"items.$": "$.items", "results.$": "$.results"},
				object{"Catch": "${Catch}", "End": true}),
			"Fail": step("fail", object{"error.$": "$.Error", "cause.$": "$.Cause"}, object{"End": true}),
		},
	})
	for _, bare := range []string{"Catch", deployed.ParamFanOutConcurrency} { // they are no text
		text = strings.ReplaceAll(text, `"${`+bare+`}"`, "${"+bare+"}")
	}
	input = `"event.$":"` + event + `"`
	text = strings.ReplaceAll(text, input, "${Event}")
	return strings.ReplaceAll(text, `"Type":"${Task}"`, "${Task}"), task, caught, input
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return string(b)
}

// addMachineRule leads what the state machine could not tell of itself to the
// failure queue: an execution that did not come to an end of its own. Its dead letters
// go to the same queue: that helps against a refusal that has passed by then, as while
// the queue's policy is replaced. Against a queue that is gone or closed nothing here
// does, but the metric of lost dead letters, which the alarm is on, tells of it.
func addMachineRule(s *builder) {
	r := awsevents.NewCfnRule(s.stack, jsii.String("ExecutionRule"), &awsevents.CfnRuleProps{
		EventPattern: map[string]any{
			"source":      []any{"aws.states"},
			"detail-type": []any{"Step Functions Execution Status Change"},
			"detail": map[string]any{
				"status":          []any{"FAILED", "TIMED_OUT", "ABORTED"},
				"stateMachineArn": []any{s.machine.Ref()},
			},
		},
		Targets: []any{&awsevents.CfnRule_TargetProperty{
			Id:               jsii.String("Queue"),
			Arn:              s.queue.AttrArn(),
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: s.queue.AttrArn()},
		}},
	})
	s.rules = append(s.rules, rule{resource: r, used: s.large})
}

// executions is the ARN of all executions of the state machine.
func (s *builder) executions() *string {
	return s.sub("arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${" + deployed.MachineID +
		".Name}:*")
}
