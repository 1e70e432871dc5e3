package stack

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
)

// alarm is on one metric of AWS. Its names are CloudFormation's to choose.
type alarm struct {
	id          string
	description string // what it means and what to do; ${AWS::StackName} may be in it
	namespace   string
	metric      string
	statistic   string
	dimension   string
	of          *string // the dimension's value
	least       float64 // of the statistic in a period of 5 minutes

	// ofThree tells in how many of three periods it must be so; 0: in one of
	// one. A passing fault that Lambda's own attempts mend is nothing to wake
	// somebody for.
	ofThree int

	condition awscdk.CfnCondition // nil: the alarm is always there
}

const (
	alarmPeriod = 5 * 60 // seconds

	// nearTimeout of the generator's time is close to the limit.
	nearTimeout = 0.8

	// queueAge is when the failure queue's oldest event needs somebody, in
	// seconds: four days before SQS deletes it.
	queueAge = failureRetention - 4*24*60*60
)

// addAlarms adds what tells people that something needs them. Without a topic
// the alarms are seen in the console only.
func addAlarms(s *builder) {
	queue := func(id, metric string, least float64, description string) alarm {
		return alarm{id: id, description: description, namespace: "AWS/SQS", metric: metric, statistic: "Maximum",
			dimension: "QueueName", of: s.queue.AttrQueueName(), least: least}
	}
	lambda := func(id string, f function, metric, description string) alarm {
		return alarm{id: id, description: description, namespace: "AWS/Lambda", metric: metric, statistic: "Sum",
			dimension: "FunctionName", of: f.resource.Ref(), least: 1}
	}
	lasting := func(a alarm, datapoints int) alarm {
		a.ofThree = datapoints
		return a
	}
	duration := lambda("GeneratorDurationAlarm", s.generator, "Duration", fmt.Sprintf(
		"An image took the generator more than %.0f of its %.0f minutes; one that takes all of them gets no SOCI index. "+
			"See which: soci-index-builder logs --stack ${AWS::StackName} slowest. Raise the parameter %s: more memory has more processors. See docs/performance.md.",
		nearTimeout*s.generator.timeout/60, s.generator.timeout/60, deployed.ParamGeneratorMemorySize))
	duration.statistic, duration.least = "Maximum", nearTimeout*s.generator.timeout*1000

	alarms := []alarm{
		queue("FailureQueueAlarm", "ApproximateNumberOfMessagesVisible", 1,
			"Images got no SOCI index, and their events wait in the failure queue. "+
				"See them with their reasons: soci-index-builder redrive --stack ${AWS::StackName}. See docs/operations.md."),
		queue("FailureQueueAgeAlarm", "ApproximateAgeOfOldestMessage", queueAge,
			"The oldest event in the failure queue will be deleted within four days. "+
				"Send it to its function again or discard it: soci-index-builder redrive --stack ${AWS::StackName}. See docs/operations.md."),

		lasting(lambda("FilterErrorsAlarm", s.filter, "Errors",
			"The filter fails again and again, so images may not be indexed. Lambda tries their events again for up to six hours, then they go to the failure queue. "+
				"See why: soci-index-builder logs --stack ${AWS::StackName} failures, and crashes. See docs/troubleshooting.md."), 2),
		lasting(lambda("GeneratorErrorsAlarm", s.generator, "Errors",
			"The generator fails again and again. Lambda tries the events again for up to six hours, then they go to the failure queue. "+
				"See why: soci-index-builder logs --stack ${AWS::StackName} failures, and crashes. See docs/troubleshooting.md."), 2),
		lambda("RepositoryNameErrorsAlarm", s.reponame, "Errors",
			"The function behind the custom resource ended without its answer reaching CloudFormation, which waits for it and then fails the deployment. "+
				"See why: soci-index-builder logs --stack ${AWS::StackName} repositories, and the stack's events. See docs/troubleshooting.md."),

		lasting(lambda("FilterThrottlesAlarm", s.filter, "Throttles",
			"Lambda has not let the filter run for a quarter of an hour: the account's concurrency is used up. "+
				"Events wait for up to six hours, then they go to the failure queue. Ask for more concurrency, or reserve less for other functions. See the dashboard ${AWS::StackName}."), 3),
		lasting(lambda("GeneratorThrottlesAlarm", s.generator, "Throttles",
			"Lambda has not let the generator run as often as images came for a quarter of an hour: raise the parameter "+deployed.ParamGeneratorConcurrency+
				", or the account's concurrency. Events wait for up to six hours, then they go to the failure queue. See the dashboard ${AWS::StackName}."), 3),

		duration,

		lambda("FilterEventsLostAlarm", s.filter, "DestinationDeliveryFailures",
			"Lambda could not put a failed event of the filter into the failure queue: an image may have no SOCI index without any other trace. "+
				"Check the queue and the right of the function's role to write to it, then index what was pushed since: soci-index-builder backfill --stack ${AWS::StackName}."),
		lambda("GeneratorEventsLostAlarm", s.generator, "DestinationDeliveryFailures",
			"Lambda could not put a failed event of the generator into the failure queue: an image may have no SOCI index without any other trace. "+
				"Check the queue and the right of the function's role to write to it, then index what was pushed since: soci-index-builder backfill --stack ${AWS::StackName}."),
	}
	for _, r := range s.rules {
		alarms = append(alarms, alarm{
			id: *r.resource.Node().Id() + "EventsLostAlarm", namespace: "AWS/Events", metric: "InvocationsFailedToBeSentToDlq", statistic: "Sum",
			dimension: "RuleName", of: r.resource.Ref(), least: 1, condition: r.condition,
			description: "EventBridge could not put an event that the filter did not take into the failure queue: an image may have no SOCI index without any other trace. " +
				"Check the queue and its policy, then index what was pushed since: soci-index-builder backfill --stack ${AWS::StackName}.",
		})
	}
	for _, a := range alarms {
		addAlarm(s, a)
	}
}

func addAlarm(s *builder, a alarm) {
	actions := &[]any{awscdk.Token_AsString(ifOnly(s.conditions.alarmTopic, s.param(deployed.ParamAlarmTopic)), nil)}
	props := &awscloudwatch.CfnAlarmProps{
		AlarmDescription:   s.sub(a.description),
		Namespace:          jsii.String(a.namespace),
		MetricName:         jsii.String(a.metric),
		Dimensions:         []any{&awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(a.dimension), Value: a.of}},
		Statistic:          jsii.String(a.statistic),
		Period:             jsii.Number(alarmPeriod),
		EvaluationPeriods:  jsii.Number(1),
		Threshold:          jsii.Number(a.least),
		ComparisonOperator: jsii.String("GreaterThanOrEqualToThreshold"),
		TreatMissingData:   jsii.String("notBreaching"),
		AlarmActions:       actions,
		OkActions:          actions,
	}
	if a.ofThree > 0 {
		props.EvaluationPeriods = jsii.Number(3)
		props.DatapointsToAlarm = jsii.Number(a.ofThree)
	}
	resource := awscloudwatch.NewCfnAlarm(s.stack, jsii.String(a.id), props)
	if a.condition != nil {
		resource.CfnOptions().SetCondition(a.condition)
	}
}
