package stack

import (
	"cmp"
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
	above       float64 // of the statistic in a period of 5 minutes

	// ofThree tells in how many of three periods it must be so; 0: in one of
	// one. A passing fault that Lambda's retries fix should wake no one.
	ofThree int

	condition awscdk.CfnCondition // nil: the alarm is always there

	// event: the alarm is about something that happened once. It is not over when it
	// does not happen again, so the alarm's end is not notified.
	event bool
}

const (
	alarmPeriod = 5 * 60 // seconds

	// nearTimeout of the generator's time is close to the limit.
	nearTimeout = 0.8

	// queueAge is the age at which the failure queue's oldest event needs
	// attention, in seconds: four days before SQS deletes it.
	queueAge = failureRetention - 4*24*60*60
)

// addAlarms adds what tells people that something needs them. Without a topic
// the alarms are seen in the console only.
func addAlarms(s *builder) {
	queue := func(id, metric string, above float64, description string) alarm {
		return alarm{id: id, description: description, namespace: "AWS/SQS", metric: metric, statistic: "Maximum",
			dimension: "QueueName", of: s.queue.AttrQueueName(), above: above}
	}
	lambda := func(id string, f function, metric, description string) alarm {
		return alarm{id: id, description: description, namespace: "AWS/Lambda", metric: metric, statistic: "Sum",
			dimension: "FunctionName", of: f.resource.Ref()}
	}
	lasting := func(a alarm, datapoints int) alarm {
		a.ofThree = datapoints
		return a
	}
	duration := lambda("GeneratorDurationAlarm", s.generator, "Duration", fmt.Sprintf(
		"An image took more than %.0f of the generator's %.0f minutes; one that takes all gets no SOCI index. "+
			"See which: soci-index-builder logs --stack ${AWS::StackName} slowest. Raise %s",
		nearTimeout*s.generator.timeout/60, s.generator.timeout/60, deployed.ParamGeneratorMemorySize))
	duration.statistic, duration.above = "Maximum", nearTimeout*s.generator.timeout*1000

	duration.event = true
	lost := func(a alarm) alarm {
		a.event = true
		return a
	}

	const (
		stack = "--stack ${AWS::StackName}"
		kept  = "Events wait for six hours. "
		may   = "an image may lack its SOCI index. Check "
	)
	alarms := []alarm{
		queue("FailureQueueAlarm", "ApproximateNumberOfMessagesVisible", 0,
			"Images got no SOCI index; their events wait in the failure queue. See why: soci-index-builder redrive "+
				stack),
		queue("FailureQueueAgeAlarm", "ApproximateAgeOfOldestMessage", queueAge,
			"The failure queue's oldest event is deleted within four days. Send it again or discard it: "+
				"soci-index-builder redrive "+stack),

		lasting(lambda("FilterErrorsAlarm", s.filter, "Errors",
			"The filter fails again and again. "+kept+"See why: soci-index-builder logs "+stack+
				" failures, and crashes"), 2),
		lasting(lambda("GeneratorErrorsAlarm", s.generator, "Errors",
			"The generator fails again and again. "+kept+"See why: soci-index-builder logs "+stack+
				" failures, and crashes"), 2),
		lambda("RepositoryNameErrorsAlarm", s.reponame, "Errors",
			"The custom resource's function did not answer CloudFormation: the deployment fails. "+
				"See why: soci-index-builder logs "+stack+" repositories, and the stack's events"),

		lasting(lambda("FilterThrottlesAlarm", s.filter, "Throttles",
			"Lambda has not let the filter run for 15 minutes: the account's concurrency is used up. "+kept+
				"Ask for more, or reserve less elsewhere"), 3),
		lasting(lambda("GeneratorThrottlesAlarm", s.generator, "Throttles",
			"Lambda has not let the generator run as often as images came for 15 minutes. "+kept+
				"Raise "+deployed.ParamGeneratorConcurrency+", or the account's concurrency"), 3),
		duration,

		lost(lambda("FilterEventsLostAlarm", s.filter, "DestinationDeliveryFailures",
			"Lambda lost a failed event of the filter: "+may+
				"its permission to write to the queue, then: soci-index-builder backfill "+stack)),
		lost(lambda("GeneratorEventsLostAlarm", s.generator, "DestinationDeliveryFailures",
			"Lambda lost a failed event of the generator: "+may+
				"its permission to write to the queue, then: soci-index-builder backfill "+stack)),
	}
	for _, r := range s.rules {
		alarms = append(alarms, alarm{
			event: true, id: *r.resource.Node().Id() + "EventsLostAlarm", namespace: "AWS/Events",
			metric:    "InvocationsFailedToBeSentToDlq",
			statistic: "Sum",
			dimension: "RuleName", of: r.resource.Ref(), condition: cmp.Or(r.condition, r.used),
			description: "EventBridge lost an event that failed: " + may +
				"the queue's policy, then: soci-index-builder backfill " + stack,
		})
	}
	for _, a := range alarms {
		addAlarm(s, a)
	}
}

func addAlarm(s *builder, a alarm) {
	actions := list(ifElse(s.conditions.alarmTopic, []any{s.param(deployed.ParamAlarmTopic)}, []any{}))
	props := &awscloudwatch.CfnAlarmProps{
		AlarmDescription: s.sub(a.description),
		Namespace:        jsii.String(a.namespace),
		MetricName:       jsii.String(a.metric),
		Dimensions: []any{&awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(a.dimension),
			Value: a.of}},
		Statistic:          jsii.String(a.statistic),
		Period:             jsii.Number(alarmPeriod),
		EvaluationPeriods:  jsii.Number(1),
		Threshold:          jsii.Number(a.above),
		ComparisonOperator: jsii.String("GreaterThanThreshold"),
		TreatMissingData:   jsii.String("notBreaching"),
		AlarmActions:       actions,
	}
	if !a.event {
		props.OkActions = actions
	}
	if a.ofThree > 0 {
		props.EvaluationPeriods = jsii.Number(3)
		if a.ofThree < 3 {
			props.DatapointsToAlarm = jsii.Number(a.ofThree)
		}
	}
	resource := awscloudwatch.NewCfnAlarm(s.stack, jsii.String(a.id), props)
	if a.condition != nil {
		resource.CfnOptions().SetCondition(a.condition)
	}
}

// list is a property that takes a list and gets what CloudFormation works out.
func list(value any) *[]any {
	token := *awscdk.Token_AsList(value, nil)
	all := make([]any, len(token))
	for i, part := range token {
		all[i] = part
	}
	return &all
}
